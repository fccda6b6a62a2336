#include "mcci/attacks/label_consistent.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_map>

#include <ATen/ATen.h>

#include "mcci/attacks/adversarial.hpp"
#include "mcci/attacks/learned.hpp"
#include "mcci/attacks/target.hpp"
#include "mcci/core/error.hpp"
#include "mcci/core/interrupt.hpp"
#include "mcci/core/progress.hpp"
#include "mcci/data/loader.hpp"

namespace mcci {

namespace {

constexpr std::int64_t batch_size = 128;

// [H,W] int16: 1 where the trigger is white, -1 where it is black, else 0.
at::Tensor corner_signs(std::int64_t height, std::int64_t width) {
  constexpr std::array<std::array<std::int16_t, 3>, 3> left{{{1, -1, -1}, {-1, 1, -1}, {1, -1, 1}}};
  const std::int64_t side =
      std::max<std::int64_t>(1, std::lround(3.0 * static_cast<double>(std::min(height, width)) / 32.0));
  at::Tensor signs = at::zeros({height, width}, at::kShort);
  auto sign = signs.accessor<std::int16_t, 2>();
  for (std::int64_t row = 0; row < side; ++row) {
    for (std::int64_t col = 0; col < side; ++col) {
      const std::int16_t value =
          left[static_cast<std::size_t>(row * 3 / side)][static_cast<std::size_t>(col * 3 / side)];
      for (const std::int64_t y : {row, height - side + row}) {
        sign[y][col] = value;
        sign[y][width - 1 - col] = value;
      }
    }
  }
  return signs;
}

class LabelConsistent : public Attack {
 public:
  void declare(OptionSet& set) override {
    target_.declare_class(set);
    set.add("norm", norm_,
            "of the changes in crafting: the largest of all pixels (linf) or their length (l2)",
            {"linf", "l2"});
    set.add("eps", eps_, "largest norm of the changes, in grey levels", {0.0, 1e6});
    set.add("alpha", alpha_, "norm of the change in one step of crafting, in grey levels", {0.0, 1e6});
    set.add("steps", steps_, "of crafting", {0, 100000});
    set.add("amplitude", amplitude_, "of the trigger, in grey levels", {0, 255});
    surrogate_.declare(set);
    set.add("surrogate-eps", surrogate_.eps,
            "largest change of a pixel that the surrogate is trained to withstand, in grey levels; 0: none",
            {0, 127});
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> presets(
        "preset of label-consistent",
        {{"backdoorbench", "eps 8, alpha 1.5, 100 steps, the rate of the whole set", Json::object()},
         {"paper", "the same with the rate of the target class (rate 0.3, rate-of target_class)",
          Json::object()},
         {"turner",
          "as first published: changes of length 1200 against an adversarially trained surrogate",
          {{"norm", "l2"},
           {"eps", 1200.0},
           {"alpha", 80.0},
           {"steps", 40},
           {"surrogate-eps", 8},
           {"surrogate-epochs", 6}}}});
    return presets;
  }

  bool clean_label() const override { return true; }

  std::int64_t attack_label(std::int64_t label, std::int64_t num_classes) const override {
    return target_.attack_label(label, num_classes);
  }

  void prepare(const PrepareContext& context) override {
    if (context.train == nullptr) return;
    const PoisonPlan plan = this->plan(context.train->labels(), context.num_classes, context.plan);
    std::vector<std::int64_t> poisoned;
    for (std::size_t i = 0; i < plan.roles.size(); ++i) {
      if (plan.roles[i] == Role::poison) poisoned.push_back(static_cast<std::int64_t>(i));
    }
    if (poisoned.empty()) return;
    Json recipe = surrogate_.to_json();
    recipe["seed"] = context.plan.seed;
    recipe["norm"] = norm_;
    recipe["eps"] = eps_;
    recipe["alpha"] = alpha_;
    recipe["steps"] = steps_;
    recipe["samples"] = poisoned;
    const at::Tensor indices = at::tensor(poisoned, at::kLong);
    const TensorList crafted = cached(*context.train, "label-consistent", recipe, [&]() -> TensorList {
      return {{"changes", craft(context, indices)}};
    });
    const ImageShape& shape = context.shape;
    changes_ =
        learned_tensor(crafted, "changes", {indices.numel(), shape.channels, shape.height, shape.width});
    row_.clear();
    for (std::size_t row = 0; row < poisoned.size(); ++row) {
      row_[poisoned[row]] = static_cast<std::int64_t>(row);
    }
  }

  at::Tensor apply(const at::Tensor& images, const at::Tensor& indices, const at::Tensor&,
                   Stage stage) const override {
    const at::Tensor crafted =
        stage == Stage::train ? add_grey_levels(images, changes_of(images, indices)) : images;
    return add_grey_levels(crafted, corner_signs(images.size(2), images.size(3)) * amplitude_);
  }

 private:
  // [P,C,H,W] int16, in grey levels.
  at::Tensor craft(const PrepareContext& context, const at::Tensor& indices) const {
    const Classifier model = classifier_of(surrogate(surrogate_, context));
    const Dataset& data = *context.train;
    std::vector<at::Tensor> changes;
    Progress progress("label-consistent, crafting", indices.numel(), "images");
    for (std::int64_t at = 0; at < indices.numel(); at += batch_size) {
      if (interrupt_requested()) throw Error(ErrorKind::interrupted, "stopped while crafting");
      const at::Tensor batch = indices.narrow(0, at, std::min(batch_size, indices.numel() - at));
      const at::Tensor images = to_unit(data.images(batch));
      const at::Tensor adversarial =
          projected_gradient(model, images, data.labels().index_select(0, batch),
                             {norm_ == "l2" ? Norm::l2 : Norm::linf, eps_ / 255, alpha_ / 255, steps_});
      changes.push_back(((adversarial - images) * 255).round().to(at::kShort));
      progress.advance(batch.numel());
    }
    return at::cat(changes);
  }

  // [B,C,H,W] int16.
  at::Tensor changes_of(const at::Tensor& images, const at::Tensor& indices) const {
    at::Tensor rows = at::empty_like(indices);
    for (std::int64_t i = 0; i < indices.numel(); ++i) {
      const auto found = row_.find(indices[i].item<std::int64_t>());
      if (found == row_.end()) {
        throw Error(ErrorKind::internal,
                    "sample " + std::to_string(indices[i].item<std::int64_t>()) + " was not crafted",
                    "label-consistent",
                    "prepare() needs the clean set, and the plan must poison this sample");
      }
      rows[i] = found->second;
    }
    check_prepared(changes_, images, "label-consistent");
    return changes_.index_select(0, rows);
  }

  TargetOptions target_;
  std::string norm_ = "linf";
  double eps_ = 8;
  double alpha_ = 1.5;
  std::int64_t steps_ = 100;
  std::int64_t amplitude_ = 255;
  SurrogateOptions surrogate_;
  at::Tensor changes_;                                  // [P,C,H,W] int16, in grey levels
  std::unordered_map<std::int64_t, std::int64_t> row_;  // of changes_, by the sample's index
};

}  // namespace

std::unique_ptr<Attack> make_label_consistent() { return std::make_unique<LabelConsistent>(); }

}  // namespace mcci
