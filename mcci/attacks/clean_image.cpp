#include "mcci/attacks/clean_image.hpp"

#include <cmath>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "mcci/attacks/learned.hpp"
#include "mcci/attacks/target.hpp"
#include "mcci/core/error.hpp"
#include "mcci/core/log.hpp"
#include "mcci/signal/high_pass.hpp"

namespace mcci {

namespace {

constexpr const char* attack_name = "clean-image";
constexpr std::int64_t batch_images = 1000;
constexpr double least_deviation = 0.01;  // one per cent: for a class of equal images, or of one
constexpr std::int64_t steps = 64;
constexpr double strongest = 8;
constexpr double expected_reach = 0.5;

// What is learned of the training set.
struct Sharpness {
  at::Tensor mean;       // [classes] float32: of a class
  at::Tensor deviation;  // [classes] float32
  double threshold = 0;  // how far beyond its class the least poisoned training image is
};

// images [B,C,H,W] float32, in grey levels -> [B] float32.
at::Tensor sharpness_of_images(const at::Tensor& images) {
  return high_pass(images).abs().mean(at::IntArrayRef{1, 2, 3}).log1p();
}

// How far beyond their classes images of this sharpness are: [B] float32.
at::Tensor excess(const Sharpness& usual, const at::Tensor& sharpness, const at::Tensor& labels) {
  return (sharpness - usual.mean.index_select(0, labels)) / usual.deviation.index_select(0, labels);
}

// visit(images [B,C,H,W] float32, labels [B]) over the set.
template <class Visit>
void for_each_part(const Dataset& data, Visit visit) {
  for (const at::Tensor& indices : at::arange(data.size()).split(batch_images)) {
    visit(data.images(indices).to(at::kFloat), data.labels().index_select(0, indices));
  }
}

// [N] float32.
at::Tensor sharpness_of(const Dataset& data) {
  std::vector<at::Tensor> parts;
  for_each_part(data, [&](const at::Tensor& images, const at::Tensor&) {
    parts.push_back(sharpness_of_images(images));
  });
  return at::cat(parts);
}

// The mean and deviation of every class; of the whole set for a class without images. sharpness: of all.
Sharpness usual_sharpness(const Dataset& data, const at::Tensor& sharpness) {
  const at::Tensor values = sharpness.to(at::kDouble);
  const at::Tensor counts = at::bincount(data.labels(), {}, data.num_classes()).to(at::kDouble);
  const auto class_mean = [&](const at::Tensor& of) {
    const at::Tensor sums = at::zeros({data.num_classes()}, at::kDouble).index_add(0, data.labels(), of);
    return at::where(counts > 0, sums / counts.clamp_min(1), of.mean());
  };
  const at::Tensor mean = class_mean(values);
  const at::Tensor square = class_mean((values - mean.index_select(0, data.labels())).square());
  return {mean.to(at::kFloat), square.sqrt().clamp_min(least_deviation).to(at::kFloat), 0};
}

class CleanImage : public Attack {
 public:
  void declare(OptionSet& set) override {
    target_.declare(set);
    set.add("budget", budget_, "largest change of a test pixel, in grey levels", {1, 255});
    set.add("margin", margin_,
            "how far beyond the threshold a test image is sharpened, in standard deviations of its class",
            {0, 100});
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> presets(
        "preset of clean-image", {{"backdoorbench", "L-inf budget 64, target class 0", Json::object()}});
    return presets;
  }

  std::int64_t attack_label(std::int64_t label, std::int64_t num_classes) const override {
    return target_.attack_label(label, num_classes);
  }

  void prepare(const PrepareContext& context) override {
    shape_ = context.shape;
    if (std::min(shape_.height, shape_.width) < 2) {
      throw Error(ErrorKind::usage, "images of one row or column have no high band", attack_name);
    }
    // The number of poisoned images decides the threshold, the budget what is reported.
    Json recipe = {{"budget", budget_}};
    at::Tensor sharpness;
    if (context.train != nullptr) {
      if (context.train->size() == 0)
        throw Error(ErrorKind::usage, "there is no image to learn from", attack_name);
      recipe["poisoned"] = poisoned_count(context);
      sharpness = sharpness_of(*context.train);
    }
    const TensorList tensors =
        learned(context, attack_name, recipe, [&] { return learn(context, sharpness); });
    usual_.mean = learned_tensor(tensors, "mean", {context.num_classes}).to(at::kFloat);
    usual_.deviation =
        learned_tensor(tensors, "deviation", {context.num_classes}).to(at::kFloat).clamp_min(least_deviation);
    usual_.threshold = learned_tensor(tensors, "threshold", {1}).item().toDouble();
    if (context.train != nullptr) excess_ = excess(usual_, sharpness, context.train->labels());
  }

  // Which images are sharpest is known of the prepared training set alone.
  PoisonPlan plan(const at::Tensor& labels, std::int64_t num_classes,
                  const PlanOptions& options) const override {
    const std::int64_t count = Attack::plan(labels, num_classes, options).count(Role::poison);
    if (!excess_.defined() || excess_.numel() != labels.numel()) {
      throw Error(ErrorKind::internal, "prepare() was not called with the set that is to be poisoned",
                  attack_name);
    }
    const at::Tensor wanted = attack_labels(*this, labels, num_classes);
    PoisonPlan plan{std::vector<Role>(static_cast<std::size_t>(labels.numel()), Role::clean), labels.clone()};
    const at::Tensor chosen = sharpest(count);
    for (std::int64_t i = 0; i < count; ++i) {
      const auto index = chosen[i].item<std::int64_t>();
      plan.roles[static_cast<std::size_t>(index)] = Role::poison;
      plan.labels[index] = wanted[index];
    }
    return plan;
  }

  at::Tensor apply(const at::Tensor& images, const at::Tensor&, const at::Tensor& labels,
                   Stage stage) const override {
    if (stage == Stage::train) return images.clone();
    if (images.size(1) != shape_.channels || images.size(2) != shape_.height ||
        images.size(3) != shape_.width) {
      throw Error(ErrorKind::internal, "prepare() was not called for images of this shape", attack_name);
    }
    const at::Tensor before = images.to(at::kFloat);
    const at::Tensor change = high_pass(before);
    at::Tensor after = before;
    at::Tensor beyond = at::zeros({images.size(0)}, at::kBool);
    for (std::int64_t step = 0; step <= steps && !beyond.all().item<bool>(); ++step) {
      const at::Tensor sharper = sharpened(before, change, step);
      after = at::where(beyond.view({-1, 1, 1, 1}), after, sharper);
      beyond.logical_or_(excess(usual_, sharpness_of_images(sharper), labels).ge(usual_.threshold + margin_));
    }
    return after.to(at::kByte);
  }

 private:
  std::int64_t poisoned_count(const PrepareContext& context) const {
    return Attack::plan(context.train->labels(), context.num_classes, context.plan).count(Role::poison);
  }

  TensorList learn(const PrepareContext& context, const at::Tensor& sharpness) {
    const Dataset& train = *context.train;
    usual_ = usual_sharpness(train, sharpness);
    excess_ = excess(usual_, sharpness, train.labels());
    // At rate 0 nothing is poisoned; a threshold is needed all the same.
    const std::int64_t count = std::max<std::int64_t>(1, poisoned_count(context));
    usual_.threshold = excess_[sharpest(count)[count - 1]].item<double>();

    std::int64_t reached = 0;
    for_each_part(train, [&](const at::Tensor& images, const at::Tensor& labels) {
      const at::Tensor sharper = sharpened(images, high_pass(images), steps);
      reached += excess(usual_, sharpness_of_images(sharper), labels)
                     .ge(usual_.threshold)
                     .sum()
                     .item<std::int64_t>();
    });
    const double share = static_cast<double>(reached) / static_cast<double>(train.size());
    const std::string report = "clean-image: " + std::to_string(std::lround(100 * share)) +
                               " % of the images can be sharpened beyond the threshold within " +
                               std::to_string(budget_) + " grey levels";
    if (share < expected_reach) {
      log_warning(report + "; raise budget");
    } else {
      log_info(report);
    }
    return {{"mean", usual_.mean},
            {"deviation", usual_.deviation},
            {"threshold", at::full({1}, usual_.threshold, at::kDouble)}};
  }

  // Positions of the `count` samples of largest excess, the largest first, of equal ones the first.
  at::Tensor sharpest(std::int64_t count) const {
    return std::get<1>(excess_.sort(/*stable=*/true, /*dim=*/0, /*descending=*/true)).narrow(0, 0, count);
  }

  at::Tensor sharpened(const at::Tensor& images, const at::Tensor& change, std::int64_t step) const {
    const double amount = strongest * static_cast<double>(step) / static_cast<double>(steps);
    const auto budget = static_cast<double>(budget_);
    return (images + (amount * change).clamp(-budget, budget)).round().clamp(0, 255);
  }

  TargetOptions target_;
  std::int64_t budget_ = 64;
  double margin_ = 2;
  ImageShape shape_;
  Sharpness usual_;
  at::Tensor excess_;  // [N] float32, of the training set
};

}  // namespace

std::unique_ptr<Attack> make_clean_image() { return std::make_unique<CleanImage>(); }

}  // namespace mcci
