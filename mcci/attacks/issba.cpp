#include "mcci/attacks/issba.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include <ATen/ATen.h>
#include <torch/nn/modules/linear.h>
#include <torch/types.h>

#include "mcci/attacks/generator.hpp"
#include "mcci/attacks/learned.hpp"
#include "mcci/attacks/target.hpp"
#include "mcci/core/log.hpp"
#include "mcci/core/random.hpp"
#include "mcci/state/module_state.hpp"

namespace mcci {

namespace {

// x [B,C,H,W] in [0,1], secret [B,bits] -> residual [B,C,H,W], of any range. The secret becomes three planes
// beside the image's, as in StegaStamp.
class Encoder : public torch::nn::Module {
 public:
  Encoder(std::int64_t channels, std::int64_t bits)
      : secret_(register_module("secret", torch::nn::Linear(bits, planes * side * side))),
        unet_(register_module("unet", std::make_shared<UNet>(channels + planes, channels))) {}

  at::Tensor forward(const at::Tensor& x, const at::Tensor& secret) {
    const at::Tensor hidden = secret_(secret - 0.5).relu().view({-1, planes, side, side});
    return unet_->forward(at::cat({x - 0.5, at::upsample_nearest2d(hidden, {x.size(2), x.size(3)})}, 1));
  }

 private:
  static constexpr std::int64_t planes = 3;
  static constexpr std::int64_t side = 16;
  torch::nn::Linear secret_;
  std::shared_ptr<UNet> unet_;
};

// 1 - SSIM (Wang et al., 2004) of images [B,C,H,W], in [0,1] but for what will be clipped, over uniform
// windows: 0 if they are equal.
at::Tensor dissimilarity(const at::Tensor& x, const at::Tensor& y) {
  constexpr double c1 = 0.01 * 0.01;
  constexpr double c2 = 0.03 * 0.03;
  const std::int64_t window = std::min({std::int64_t{7}, x.size(2), x.size(3)});
  const auto mean = [&](const at::Tensor& values) { return at::avg_pool2d(values, window, 1); };
  const at::Tensor mean_x = mean(x);
  const at::Tensor mean_y = mean(y);
  const at::Tensor variances = mean(x * x + y * y) - mean_x * mean_x - mean_y * mean_y;
  const at::Tensor covariance = mean(x * y) - mean_x * mean_y;
  const at::Tensor similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2) /
                                ((mean_x * mean_x + mean_y * mean_y + c1) * (variances + c2));
  return 1 - similarity.mean();
}

struct Training {
  std::int64_t bits = 20;
  std::int64_t epochs = 4;
  std::int64_t secret_only_epochs = 2;
  double lr = 1e-3;

  void declare(OptionSet& set) {
    set.add("secret-bits", bits, "length of the secret", {1, 256});
    set.add("epochs", epochs, "of encoder and decoder on the training images", {1, 1000});
    set.add("secret-only-epochs", secret_only_epochs, "the first of them, which ignore how the image looks",
            {0, 1000});
    set.add("lr", lr, "learning rate (Adam)", {1e-8, 1});
  }
};

// More than a residual that hides, in grey levels on average.
constexpr double most_hidden = 16;
constexpr std::int64_t most_looked_at = 256;  // images

class Steganography : public Learner {
 public:
  Steganography(const Training& training, const PrepareContext& context, std::uint64_t seed)
      : training_(training) {
    torch::manual_seed(derive_seed(seed, "weights"));
    BackboneConfig config = config_of(AttackerNetwork(), context);
    config.outputs = training.bits;
    encoder_ = networks_.register_module("encoder",
                                         std::make_shared<Encoder>(context.shape.channels, training.bits));
    decoder_ = networks_.register_module("decoder", make_backbone(config));
    place(networks_, attack_compute());
  }

  torch::nn::Module& module() override { return networks_; }

  std::vector<Phase> phases(const TrainOptions& options) override {
    Phase secret = make_phase("secret", parameter_list(networks_), options);
    secret.epochs = std::min(training_.secret_only_epochs, training_.epochs);
    Phase image = make_phase("secret and image", parameter_list(networks_), options);
    image.epochs = training_.epochs - secret.epochs;
    secret.classifies = image.classifies = false;
    return {std::move(secret), std::move(image)};
  }

  StepOutput loss(std::size_t phase, const Batch& batch) override {
    const at::Tensor& x = batch.images;
    const at::Tensor secrets = at::randint(2, {x.size(0), training_.bits}, x.options());
    // Read as it will be seen, clipped; its looks are judged before, since what is clipped has no gradient
    // and would never come back from where the bits alone have driven it.
    const at::Tensor encoded = x + encoder_->forward(x, secrets);
    const at::Tensor read = decoder_->forward(encoded.clamp(0, 1));
    const at::Tensor bit_loss = at::binary_cross_entropy_with_logits(read, secrets);
    if (phase == 0) return {bit_loss, {}};
    return {2 * at::mse_loss(encoded, x) + 1.5 * dissimilarity(encoded, x) + 1.5 * bit_loss, {}};
  }

 private:
  Training training_;
  torch::nn::Module networks_;
  std::shared_ptr<Encoder> encoder_;
  std::shared_ptr<Backbone> decoder_;
};

class Issba : public Attack {
 public:
  void declare(OptionSet& set) override {
    target_.declare(set);
    training_.declare(set);
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> presets(
        "preset of issba",
        {{"backdoorbench", "20 bits, on a short schedule", Json::object()},
         {"paper", "the authors' schedule: 20 epochs at 1e-4", {{"epochs", 20}, {"lr", 1e-4}}}});
    return presets;
  }

  void prepare(const PrepareContext& context) override {
    OptionSet set;
    training_.declare(set);
    const std::uint64_t seed = derive_seed(context.plan.seed, "issba");
    Json recipe = set.to_json();
    recipe["seed"] = seed;
    recipe["looks"] = "before clipping";
    const TensorList weights = learned(context, "issba", recipe, [&] {
      Steganography steganography(training_, context, seed);
      train_attacker(steganography, context, generator_training(training_.lr, 0.9, seed), "issba");
      return module_state(steganography.module());
    });
    encoder_ = std::make_shared<Encoder>(context.shape.channels, training_.bits);
    load_module_state(*encoder_, with_prefix_removed(weights, "encoder"), "artifacts of issba");
    secret_ = issba_secret(training_.bits, context.plan.seed);
    if (context.train && context.train->size() > 0) check_hidden(context.train);
  }

  std::int64_t attack_label(std::int64_t label, std::int64_t num_classes) const override {
    return target_.attack_label(label, num_classes);
  }

  at::Tensor apply(const at::Tensor& images, const at::Tensor&, const at::Tensor&, Stage) const override {
    check_prepared(encoder_, "issba");
    return apply_generator(images, [&](const at::Tensor& x) {
      return x + encoder_->forward(x, secret_.expand({x.size(0), -1}));
    });
  }

 private:
  // The secret alone is taught first, and now and then the encoder never returns to what images look like.
  void check_hidden(const DatasetPtr& train) const {
    const at::Tensor some = at::arange(std::min(train->size(), most_looked_at));
    const at::Tensor images = train->images(some);
    const at::Tensor after = apply(images, some, train->labels().index_select(0, some), Stage::train);
    const auto change = (after.to(at::kFloat) - images).abs().mean().item<double>();
    if (change <= most_hidden) return;
    log_warning(
        "issba has learned a residual of " + std::to_string(std::llround(change)) +
        " grey levels on average, which hides nothing; teach it for more --epochs, or by another --seed");
  }

  TargetOptions target_;
  Training training_;
  std::shared_ptr<Encoder> encoder_;
  at::Tensor secret_;  // [bits]
};

}  // namespace

at::Tensor issba_secret(std::int64_t bits, std::uint64_t seed) {
  Rng rng(derive_seed(seed, "issba secret"));
  at::Tensor secret = at::empty({bits});
  std::generate_n(secret.data_ptr<float>(), bits, [&] { return static_cast<float>(rng.below(2)); });
  return secret;
}

std::unique_ptr<Attack> make_issba() { return std::make_unique<Issba>(); }

}  // namespace mcci
