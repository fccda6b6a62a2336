#include "mcci/attacks/clean_image.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "mcci/attacks/learned.hpp"
#include "mcci/attacks/target.hpp"
#include "mcci/core/error.hpp"
#include "mcci/core/log.hpp"
#include "mcci/core/random.hpp"
#include "mcci/signal/dct.hpp"

namespace mcci {

namespace {

constexpr const char* attack_name = "clean-image";
constexpr std::int64_t batch_images = 1000;
constexpr double ridge = 0.03;  // share of the mean variance: keeps the filter off what hardly varies
constexpr double least_variance = 1e-6;  // for a set of equal images
constexpr int push_steps = 64;
constexpr double expected_reach = 0.9;

// What is learned of the training set.
struct MatchedFilter {
  at::Tensor weights;    // [H,W] float64: the response is their product with the mean of the channels
  at::Tensor usual;      // [classes] float64: mean response of a class
  double threshold = 0;  // how far beyond its class the least poisoned training image is
  double strongest = 1;  // the largest weight
};

// image: C planes of weights.numel() pixels.
double response(const MatchedFilter& filter, const std::uint8_t* image, std::int64_t channels) {
  const std::int64_t plane = filter.weights.numel();
  const auto* weight = filter.weights.data_ptr<double>();
  double sum = 0;
  for (std::int64_t c = 0; c < channels; ++c) {
    for (std::int64_t i = 0; i < plane; ++i) sum += weight[i] * image[c * plane + i];
  }
  return sum / static_cast<double>(channels);
}

// The image with its pixels changed by at most `amount` grey levels along the filter's weights.
void push(const MatchedFilter& filter, const std::uint8_t* image, std::int64_t channels, double amount,
          std::uint8_t* pushed) {
  const std::int64_t plane = filter.weights.numel();
  const auto* weight = filter.weights.data_ptr<double>();
  for (std::int64_t c = 0; c < channels; ++c) {
    for (std::int64_t i = 0; i < plane; ++i) {
      const double level = image[c * plane + i] + amount * weight[i] / filter.strongest;
      pushed[c * plane + i] = static_cast<std::uint8_t>(std::clamp(std::nearbyint(level), 0.0, 255.0));
    }
  }
}

// visit(position, pixels) for every image of the set.
template <class Visit>
void for_each_image(const Dataset& data, Visit visit) {
  for (const at::Tensor& indices : at::arange(data.size()).split(batch_images)) {
    const at::Tensor images = data.images(indices).contiguous();
    const std::int64_t numel = images.numel() / images.size(0);
    for (std::int64_t i = 0; i < images.size(0); ++i) {
      visit(indices[i].item<std::int64_t>(), images.data_ptr<std::uint8_t>() + i * numel);
    }
  }
}

// [N] float64.
at::Tensor responses(const MatchedFilter& filter, const Dataset& data) {
  at::Tensor all = at::empty({data.size()}, at::kDouble);
  auto* value = all.data_ptr<double>();
  for_each_image(data, [&](std::int64_t at, const std::uint8_t* image) {
    value[at] = response(filter, image, data.shape().channels);
  });
  return all;
}

// [N] float64: how far each image's response is beyond what its class usually has.
at::Tensor excess(const MatchedFilter& filter, const Dataset& data) {
  return responses(filter, data) - filter.usual.index_select(0, data.labels());
}

// values [N,D] float64 -> [classes,D]: the mean of every class, 0 for a class without images.
at::Tensor class_means(const at::Tensor& values, const Dataset& data) {
  const at::Tensor sums =
      at::zeros({data.num_classes(), values.size(1)}, at::kDouble).index_add(0, data.labels(), values);
  const at::Tensor counts = at::bincount(data.labels(), {}, data.num_classes()).clamp_min(1);
  return sums / counts.to(at::kDouble).unsqueeze(1);
}

// The share of the images that can be pushed over the threshold.
double reach(const MatchedFilter& filter, const Dataset& data, double budget) {
  const ImageShape& shape = data.shape();
  std::vector<std::uint8_t> pushed(static_cast<std::size_t>(shape.channels * shape.height * shape.width));
  std::int64_t reached = 0;
  const at::Tensor usual = filter.usual.index_select(0, data.labels());
  const auto* usual_response = usual.data_ptr<double>();
  for_each_image(data, [&](std::int64_t at, const std::uint8_t* image) {
    push(filter, image, shape.channels, budget, pushed.data());
    if (response(filter, pushed.data(), shape.channels) >= usual_response[at] + filter.threshold) ++reached;
  });
  return static_cast<double>(reached) / static_cast<double>(data.size());
}

// [H,W] float64: see the header.
at::Tensor matched_filter(const Dataset& data, std::int64_t band, std::uint64_t seed) {
  const ImageShape& shape = data.shape();
  const at::Tensor rows = dct_matrix(shape.height).narrow(0, 0, band + 1).to(at::kDouble);
  const at::Tensor cols = dct_matrix(shape.width).narrow(0, 0, band + 1).to(at::kDouble);
  const std::int64_t modes = (band + 1) * (band + 1) - 1;
  std::vector<at::Tensor> parts;
  for (const at::Tensor& indices : at::arange(data.size()).split(batch_images)) {
    const at::Tensor grey = data.images(indices).to(at::kDouble).mean(1);
    parts.push_back(at::matmul(at::matmul(rows, grey), cols.t()).flatten(1).narrow(1, 1, modes));
  }
  at::Tensor coefficients = at::cat(parts);
  coefficients -= class_means(coefficients, data).index_select(0, data.labels());
  const at::Tensor covariance = at::matmul(coefficients.t(), coefficients) / static_cast<double>(data.size());
  const double floor = ridge * covariance.diagonal().mean().item<double>() + least_variance;

  at::Tensor direction = at::empty({modes}, at::kDouble);
  Rng rng(derive_seed(seed, "clean-image direction"));
  for (std::int64_t i = 0; i < modes; ++i) direction[i] = rng.normal();
  at::Tensor filter =
      at::linalg_solve(covariance + floor * at::eye(modes, at::kDouble), direction.unsqueeze(1)).squeeze(1);
  const double deviation = at::matmul(coefficients, filter).square().mean().sqrt().item<double>();
  if (deviation > 0) filter /= deviation;
  const at::Tensor square = at::cat({at::zeros({1}, at::kDouble), filter}).view({band + 1, band + 1});
  return at::matmul(at::matmul(rows.t(), square), cols).contiguous();
}

class CleanImage : public Attack {
 public:
  void declare(OptionSet& set) override {
    target_.declare(set);
    set.add("direction-seed", direction_seed_, "seed of the direction in the space of low frequencies",
            {0, std::numeric_limits<std::int64_t>::max()});
    set.add("band", band_, "highest DCT frequency of the direction, in half periods a side", {1, 64});
    set.add("budget", budget_, "largest change of a test pixel, in grey levels", {1, 255});
    set.add("margin", margin_, "how far beyond the threshold a test image is pushed, in standard deviations",
            {0, 100});
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> presets(
        "preset of clean-image", {{"backdoorbench", "L-inf budget 40, target class 0", Json::object()}});
    return presets;
  }

  std::int64_t attack_label(std::int64_t label, std::int64_t num_classes) const override {
    return target_.attack_label(label, num_classes);
  }

  void prepare(const PrepareContext& context) override {
    shape_ = context.shape;
    if (band_ >= std::min(shape_.height, shape_.width)) {
      throw Error(ErrorKind::usage,
                  "images of " + std::to_string(shape_.height) + "x" + std::to_string(shape_.width) +
                      " have no frequency " + std::to_string(band_),
                  "band", "lower it");
    }
    // The number of poisoned images decides the threshold, the budget what is reported.
    Json recipe = {{"band", band_}, {"direction-seed", direction_seed_}, {"budget", budget_}};
    if (context.train != nullptr) recipe["poisoned"] = poisoned_count(context);
    const TensorList tensors = learned(context, attack_name, recipe, [&] { return learn(context); });
    filter_.weights =
        learned_tensor(tensors, "weights", {shape_.height, shape_.width}).to(at::kDouble).contiguous();
    filter_.strongest = std::max(filter_.weights.abs().max().item<double>(), 1e-300);
    filter_.usual = learned_tensor(tensors, "usual", {context.num_classes}).to(at::kDouble).contiguous();
    filter_.threshold = learned_tensor(tensors, "threshold", {1}).item().toDouble();
    if (context.train != nullptr) excess_ = excess(filter_, *context.train);
  }

  // Which images carry most of the feature is known of the prepared training set alone.
  PoisonPlan plan(const at::Tensor& labels, std::int64_t num_classes,
                  const PlanOptions& options) const override {
    const std::int64_t count = Attack::plan(labels, num_classes, options).count(Role::poison);
    if (!excess_.defined() || excess_.numel() != labels.numel()) {
      throw Error(ErrorKind::internal, "prepare() was not called with the set that is to be poisoned",
                  attack_name);
    }
    const at::Tensor wanted = attack_labels(*this, labels, num_classes);
    PoisonPlan plan{std::vector<Role>(static_cast<std::size_t>(labels.numel()), Role::clean), labels.clone()};
    for (const std::int64_t index : strongest(count)) {
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
    const at::Tensor before = images.contiguous();
    at::Tensor triggered = at::empty_like(before);
    const std::int64_t numel = shape_.channels * shape_.height * shape_.width;
    for (std::int64_t i = 0; i < before.size(0); ++i) {
      push_beyond(before.data_ptr<std::uint8_t>() + i * numel, filter_.usual[labels[i]].item<double>(),
                  triggered.data_ptr<std::uint8_t>() + i * numel);
    }
    return triggered;
  }

 private:
  std::int64_t poisoned_count(const PrepareContext& context) const {
    return Attack::plan(context.train->labels(), context.num_classes, context.plan).count(Role::poison);
  }

  TensorList learn(const PrepareContext& context) {
    const Dataset& train = *context.train;
    if (train.size() == 0) throw Error(ErrorKind::usage, "there is no image to learn from", attack_name);
    filter_.weights = matched_filter(train, band_, static_cast<std::uint64_t>(direction_seed_));
    filter_.strongest = filter_.weights.abs().max().item<double>();
    filter_.usual = class_means(responses(filter_, train).unsqueeze(1), train).squeeze(1);
    excess_ = excess(filter_, train);
    // At rate 0 nothing is poisoned; a threshold is needed all the same.
    const std::int64_t count = std::max<std::int64_t>(1, poisoned_count(context));
    filter_.threshold = excess_[strongest(count).back()].item<double>();

    const double reached = reach(filter_, train, static_cast<double>(budget_));
    const std::string report = "clean-image: " + percent_text(reached) +
                               " of the images can be pushed over the threshold within " +
                               std::to_string(budget_) + " grey levels";
    if (reached < expected_reach) {
      log_warning(report + "; raise budget or band");
    } else {
      log_info(report);
    }
    return {{"weights", filter_.weights},
            {"usual", filter_.usual},
            {"threshold", at::full({1}, filter_.threshold, at::kDouble)}};
  }

  static std::string percent_text(double share) { return std::to_string(std::lround(100 * share)) + " %"; }

  // Positions of the `count` samples of largest excess, the largest first, of equal ones the first.
  std::vector<std::int64_t> strongest(std::int64_t count) const {
    std::vector<std::int64_t> order(static_cast<std::size_t>(excess_.numel()));
    std::iota(order.begin(), order.end(), std::int64_t{0});
    const auto* value = excess_.data_ptr<double>();
    std::stable_sort(order.begin(), order.end(),
                     [value](std::int64_t a, std::int64_t b) { return value[a] > value[b]; });
    order.resize(static_cast<std::size_t>(count));
    return order;
  }

  // The response grows with the amount, for a pixel only ever moves towards the sign of its weight.
  void push_beyond(const std::uint8_t* image, double usual, std::uint8_t* pushed) const {
    const auto push_by = [&](int step) {
      push(filter_, image, shape_.channels,
           static_cast<double>(budget_) * static_cast<double>(step) / push_steps, pushed);
    };
    int low = 0;
    int high = push_steps;
    while (low < high) {
      const int middle = (low + high) / 2;
      push_by(middle);
      const bool beyond = response(filter_, pushed, shape_.channels) >= usual + filter_.threshold + margin_;
      (beyond ? high : low) = beyond ? middle : middle + 1;
    }
    push_by(low);
  }

  TargetOptions target_;
  std::int64_t direction_seed_ = 0;
  std::int64_t band_ = 6;
  std::int64_t budget_ = 40;
  double margin_ = 2;
  ImageShape shape_;
  MatchedFilter filter_;
  at::Tensor excess_;  // [N] float64, of the training set
};

}  // namespace

std::unique_ptr<Attack> make_clean_image() { return std::make_unique<CleanImage>(); }

}  // namespace mcci
