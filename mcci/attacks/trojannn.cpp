#include "mcci/attacks/trojannn.hpp"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "mcci/attacks/learned.hpp"
#include "mcci/attacks/target.hpp"
#include "mcci/core/error.hpp"
#include "mcci/core/interrupt.hpp"
#include "mcci/core/progress.hpp"
#include "mcci/core/random.hpp"
#include "mcci/data/loader.hpp"
#include "mcci/train/optimizer.hpp"

namespace mcci {

namespace {

constexpr std::int64_t batch_size = 256;

// [C,H,W] float32 in [0,1].
at::Tensor mean_image(const DatasetPtr& data) {
  const ImageShape& shape = data->shape();
  at::Tensor sum = at::zeros({shape.channels, shape.height, shape.width}, at::kDouble);
  for_each_batch(data, batch_size, [&](const Batch& batch) { sum += batch.images.to(at::kDouble).sum(0); });
  return (sum / static_cast<double>(data->size())).to(at::kFloat);
}

// [C,H,W] float32: uniform over [0,1).
at::Tensor noise(const ImageShape& shape, std::uint64_t seed) {
  at::Tensor values = at::empty({shape.channels, shape.height, shape.width}, at::kFloat);
  Rng rng(derive_seed(seed, "trojannn noise"));
  auto* value = values.data_ptr<float>();
  for (std::int64_t i = 0; i < values.numel(); ++i) value[i] = static_cast<float>(rng.uniform());
  return values;
}

class TrojanNN : public Attack {
 public:
  void declare(OptionSet& set) override {
    target_.declare(set);
    set.add("mask", mask_shape_, "shape of the patch", {"square", "round"});
    set.add("mask-size", mask_size_, "side or diameter of the patch in pixels; 0: a quarter of the image",
            {0, 65536});
    set.add("neurons", neurons_, "that shall answer to the trigger", {1, 1000000});
    set.add("target-value", target_value_, "activation that they shall reach", {0, 1e6});
    set.add("iterations", iterations_, "of optimising the patch", {0, 1000000});
    set.add("lr", rate_, "of Adam, for pixels in [0,1]", {1e-6, 1});
    surrogate_.declare(set);
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> presets(
        "preset of trojannn",
        {{"backdoorbench", "two neurons, target value 100, 1000 iterations, class 0", Json::object()}});
    return presets;
  }

  std::int64_t attack_label(std::int64_t label, std::int64_t num_classes) const override {
    return target_.attack_label(label, num_classes);
  }

  void prepare(const PrepareContext& context) override {
    mask_ = make_mask(context.shape);
    Json recipe = surrogate_.to_json();
    recipe["seed"] = context.plan.seed;
    recipe["mask"] = mask_shape_;
    recipe["mask-size"] = mask_size_;
    recipe["neurons"] = neurons_;
    recipe["target-value"] = target_value_;
    recipe["iterations"] = iterations_;
    recipe["lr"] = rate_;
    const TensorList tensors = learned(context, "trojannn", recipe, [&]() -> TensorList {
      return {{"trigger", learn(context)}};
    });
    const ImageShape& shape = context.shape;
    trigger_ = learned_tensor(tensors, "trigger", {shape.channels, shape.height, shape.width}).to(at::kByte);
  }

  at::Tensor apply(const at::Tensor& images, const at::Tensor&, const at::Tensor&, Stage) const override {
    check_prepared(trigger_, images, "trojannn");
    return at::where(mask_, trigger_, images);
  }

 private:
  // [H,W] bool.
  at::Tensor make_mask(const ImageShape& shape) const {
    const std::int64_t shorter = std::min(shape.height, shape.width);
    const std::int64_t side = mask_size_ > 0
                                  ? mask_size_
                                  : std::max<std::int64_t>(1, std::lround(static_cast<double>(shorter) / 4));
    if (side > shorter) {
      throw Error(ErrorKind::usage,
                  "a patch of " + std::to_string(side) + " pixels does not fit into images of " +
                      std::to_string(shape.height) + "x" + std::to_string(shape.width),
                  "mask-size", "lower it");
    }
    const double radius = static_cast<double>(side) / 2;
    const at::Tensor square = (at::arange(side, at::kDouble) + 0.5 - radius).square();
    const at::Tensor disc = square.unsqueeze(1) + square <= radius * radius;
    at::Tensor mask = at::zeros({shape.height, shape.width}, at::kBool);
    mask.narrow(0, shape.height - side, side)
        .narrow(1, shape.width - side, side)
        .copy_(mask_shape_ == "round" ? disc : at::ones_like(disc));
    return mask;
  }

  // The inputs of the last linear layer with the largest weights: [neurons] int64.
  at::Tensor most_connected(const Backbone& model) const {
    const at::Tensor weight = model.named_parameters()[model.head_name() + ".weight"];
    if (neurons_ > weight.size(1)) {
      throw Error(ErrorKind::usage,
                  "the surrogate's last layer reads only " + std::to_string(weight.size(1)) + " neurons",
                  "neurons", "lower it, or take a wider surrogate");
    }
    return std::get<1>(weight.detach().abs().sum(0).topk(neurons_));
  }

  // [C,H,W] uint8, 0 outside the mask.
  at::Tensor learn(const PrepareContext& context) const {
    const std::shared_ptr<Backbone> model = surrogate(surrogate_, context);
    const Compute compute = attack_compute();
    const at::Tensor neurons = most_connected(*model);
    const at::Tensor background = mean_image(context.train);
    at::Tensor pixels = noise(context.shape, context.plan.seed).set_requires_grad(true);
    OptimizerOptions options;
    options.optimizer = "adam";
    options.weight_decay = 0;
    const std::unique_ptr<Optimizer> optimizer = make_optimizer(options, {{"pixels", pixels}});

    at::Tensor best;
    double best_loss = 0;
    Progress progress("trojannn, trigger", iterations_, "iterations");
    for (std::int64_t iteration = 0; iteration <= iterations_; ++iteration) {
      if (interrupt_requested()) throw Error(ErrorKind::interrupted, "stopped while learning a trigger");
      const at::Tensor image = at::where(mask_, pixels, background).unsqueeze(0);
      const at::Tensor activations = model->features(place(image, compute)).index_select(1, neurons);
      const at::Tensor loss = (activations - target_value_).square().sum();
      if (!best.defined() || loss.item<double>() < best_loss) {
        best = pixels.detach().clone();
        best_loss = loss.item<double>();
      }
      if (iteration == iterations_) break;
      optimizer->zero_grad();
      loss.backward();
      optimizer->step(rate_);
      pixels.detach().clamp_(0, 1);
      progress.advance();
    }
    return ((best * 255).round() * mask_).to(at::kByte);
  }

  TargetOptions target_;
  std::string mask_shape_ = "square";
  std::int64_t mask_size_ = 0;
  std::int64_t neurons_ = 2;
  double target_value_ = 100;
  std::int64_t iterations_ = 1000;
  double rate_ = 0.02;
  SurrogateOptions surrogate_;
  at::Tensor mask_;     // [H,W] bool
  at::Tensor trigger_;  // [C,H,W] uint8
};

}  // namespace

std::unique_ptr<Attack> make_trojannn() { return std::make_unique<TrojanNN>(); }

}  // namespace mcci
