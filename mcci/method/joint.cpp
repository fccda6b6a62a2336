#include "mcci/method/joint.hpp"

#include <cmath>

#include <torch/nn/functional/loss.h>
#include <torch/types.h>

#include "mcci/core/error.hpp"
#include "mcci/core/random.hpp"
#include "mcci/method/folding.hpp"
#include "mcci/method/inference_control.hpp"
#include "mcci/method/mind_control_model.hpp"

namespace mcci {
namespace {

namespace F = torch::nn::functional;

const Registry<Indicator>& indicators() {
  static const Registry<Indicator> table(
      "indicator", {{"raw", "the DCT, unscaled", Indicator::raw},
                    {"log", "its logarithm, with sign", Indicator::log},
                    {"high-band", "its high frequencies, in pixels", Indicator::high_band}});
  return table;
}

struct JointOptions {
  std::string indicator = "raw";
  std::string fake_indicator = "robust-centre";
  std::vector<std::string> clean_images;

  void declare(OptionSet& set) {
    set.add("indicator", indicator, "of joint training: how the AIN is shown the spectrum (paper: raw)",
            indicators().names());
    set.add(
        "fake-indicator", fake_indicator,
        "of joint training, shown at inference: a robust centre over the training set, or the mean spectrum "
        "of clean images (paper)",
        {"robust-centre", "clean-images"});
    set.add("clean-images", clean_images,
            "of joint training: files or folders of images known to be clean; one image is enough");
  }
};

class JointMcci : public Defense {
 public:
  explicit JointMcci(const AinOptions& ain) : ain_(ain) {}

  void declare(OptionSet& set) override { options_.declare(set); }

  const Registry<Json>& presets() const override { return mcci_presets(); }

  void build(const Problem& problem) override {
    problem_ = problem;
    MindControlOptions model;
    model.backbone = problem.backbone;
    model.shape = problem.shape;
    model.num_classes = problem.num_classes;
    model.embedding = ain_.embedding;
    model.ain_width = ain_.ain_width;
    model.indicator = indicators().at(options_.indicator);
    torch::manual_seed(derive_seed(problem.seed, "weights"));
    model_ = MindControlModel(model, problem.compute);
  }

  torch::nn::Module& module() override { return *model_; }

  std::vector<Phase> phases(const TrainOptions& options) override {
    return {make_phase("joint", parameter_list(*model_), options)};
  }

  StepOutput loss(std::size_t /*phase*/, const Batch& batch) override {
    const torch::Tensor logits =
        semantic_logits(batch.images) +
        model_->indicator_logits(model_->indicator_embedding(model_->spectrum(batch.images)));
    return {F::cross_entropy(logits, batch.labels), logits};
  }

  void finish(const DatasetPtr& data) override {
    const torch::NoGradGuard no_grad;
    estimate_reference_indicators(model_, data, problem_.compute);
    if (options_.fake_indicator == "clean-images") model_->clean_indicator.copy_(clean_centre(data));
  }

  at::Tensor logits(const at::Tensor& images, Perception perception) override {
    const torch::NoGradGuard no_grad;
    model_->eval();
    const torch::Tensor semantic = semantic_logits(images);
    return semantic + model_->indicator_logits(shown_indicator(images, perception));
  }

  // [z ; z_f], with the z_f that the perception presents.
  at::Tensor embedding(const at::Tensor& images, Perception perception) override {
    const torch::NoGradGuard no_grad;
    model_->eval();
    const torch::Tensor z = model_->semantic_embedding(images);
    return torch::cat({z, shown_indicator(images, perception).expand_as(z)}, 1);
  }

  std::int64_t indicator_size() const override { return ain_.embedding; }

  bool has_suspicion() const override { return true; }

  at::Tensor suspicion(const at::Tensor& images, const at::Tensor& labels) override {
    const torch::NoGradGuard no_grad;
    model_->eval();
    return indicator_evidence(model_, model_->semantic_embedding(images),
                              model_->indicator_embedding(model_->spectrum(images)), labels);
  }

  // The own indicator makes the label ten times as likely as the fake one does.
  double suspicion_threshold() const override { return std::log(10.0); }

  std::shared_ptr<Backbone> folded() override { return fold(model_); }

 private:
  torch::Tensor semantic_logits(const torch::Tensor& images) {
    return model_->semantic_logits(model_->semantic_embedding(images));
  }

  // z_f [B, embedding] or [embedding].
  torch::Tensor shown_indicator(const torch::Tensor& images, Perception perception) {
    switch (perception) {
      case Perception::clean:
        return model_->clean_indicator;
      case Perception::own:
        return model_->indicator_embedding(model_->spectrum(images));
      case Perception::attacked:
        return model_->attacked_indicator;
    }
    throw Error(ErrorKind::internal, "unknown perception");
  }

  torch::Tensor clean_centre(const DatasetPtr& data) {
    if (options_.clean_images.empty()) {
      throw Error(ErrorKind::usage, "--fake-indicator clean-images needs the images", "--clean-images",
                  "name files or folders, none of them from the test set");
    }
    const std::vector<std::filesystem::path> paths(options_.clean_images.begin(),
                                                   options_.clean_images.end());
    return clean_image_centre(model_, open_images(paths, data->shape(), data->classes()), problem_.compute);
  }

  const AinOptions& ain_;
  JointOptions options_;
  Problem problem_;
  MindControlModel model_{nullptr};
};

}  // namespace

std::unique_ptr<Defense> make_joint_mcci(const AinOptions& ain) { return std::make_unique<JointMcci>(ain); }

}  // namespace mcci
