#include "mcci/baselines/pdb.hpp"

#include <torch/nn/functional/loss.h>
#include <torch/types.h>

#include "mcci/baselines/stamp.hpp"
#include "mcci/baselines/views.hpp"
#include "mcci/data/compose.hpp"
#include "mcci/train/recipes.hpp"

namespace mcci {
namespace {

class Pdb : public StampingDefense {
 public:
  Pdb() : StampingDefense("pdb") {}

  void declare(OptionSet& set) override {
    clean_.declare(set);
    set.add("stamp-size", stamp_size_, "pixels a side of the defensive trigger, in the top-left corner",
            {1, 64});
    set.add("stamp-value", stamp_value_, "its value; beyond 1, no image and no other trigger has it",
            {-100.0, 100.0});
    set.add("repeats", repeats_, "how often an epoch visits each clean image", {1, 1000});
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> table = [] {
      const Json own = {{"stamp-size", 7}, {"stamp-value", 2.0}, {"repeats", 5}};
      Json paper = {{"epochs", 100},   {"optimizer", "sgd"},   {"lr", 0.01},
                    {"momentum", 0.9}, {"weight-decay", 5e-4}, {"schedule", "one-cycle"},
                    {"warmup", 0.0},   {"batch-size", 256},    {"flip", true},
                    {"crop-pad", 4}};
      paper.update(own);
      Json fast = recipes().at("fast");
      fast.update(own);
      fast["repeats"] = 10;
      return Registry<Json>("preset",
                            {{"paper", "the authors' program", paper}, {"fast", "the short recipe", fast}});
    }();
    return table;
  }

  std::string assumes() const override { return "clean images with labels"; }
  const CleanDataOptions* clean_data() const override { return &clean_; }

  std::vector<Phase> phases(const TrainOptions& options) override {
    return {make_phase("training", parameter_list(backbone()), options)};
  }

  DatasetPtr source(std::size_t /*phase*/, const DatasetPtr& data) override {
    given_ = data->size();
    return concatenate(data, clean_images());
  }

  // The training set once, the clean images `repeats` times.
  at::Tensor pool(std::size_t /*phase*/) override {
    const at::Tensor clean = given_ + at::arange(clean_images()->size(), at::kLong);
    return at::cat({at::arange(given_, at::kLong), clean.repeat({repeats_})});
  }

  StepOutput loss(std::size_t /*phase*/, const Batch& batch) override {
    ViewOptions varied;
    varied.rotation = 10;
    varied.least_area = 0.8;
    varied.noise = 0.02;
    const at::Tensor is_clean = batch.indices.ge(given_);
    const at::Tensor images = torch::where(is_clean.view({-1, 1, 1, 1}),
                                           with_stamp(random_view(batch.images, varied)), batch.images);
    const at::Tensor labels =
        torch::where(is_clean, (batch.labels + 1).remainder(problem().num_classes), batch.labels);
    const at::Tensor logits = forward(backbone(), place(images, problem().compute));
    // Told back where they were shifted, the logits are of the recorded labels.
    return {torch::nn::functional::cross_entropy(logits, labels),
            torch::where(is_clean.unsqueeze(1), logits.roll(-1, 1), logits)};
  }

  at::Tensor logits(const at::Tensor& images, Perception perception) override {
    return StampingDefense::logits(images, perception).roll(-1, 1);
  }

 protected:
  at::Tensor with_stamp(const at::Tensor& images) const override {
    return stamped(images, stamp_size_, torch::full({images.size(1)}, stamp_value_, images.options()));
  }

 private:
  CleanDataOptions clean_;
  std::int64_t stamp_size_ = 7;
  double stamp_value_ = 2;
  std::int64_t repeats_ = 5;
  std::int64_t given_ = 0;  // size of the training set, behind which the clean images stand
};

}  // namespace

std::unique_ptr<Defense> make_pdb() { return std::make_unique<Pdb>(); }

}  // namespace mcci
