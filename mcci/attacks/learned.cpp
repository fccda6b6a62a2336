#include "mcci/attacks/learned.hpp"

#include <algorithm>
#include <cstdlib>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include "mcci/baselines/plain.hpp"
#include "mcci/core/error.hpp"
#include "mcci/core/hash.hpp"
#include "mcci/core/log.hpp"
#include "mcci/core/random.hpp"
#include "mcci/data/content_hash.hpp"
#include "mcci/state/module_state.hpp"
#include "mcci/train/recipes.hpp"
#include "mcci/train/trainer.hpp"

namespace mcci {

namespace {

namespace fs = std::filesystem;

fs::path cache_folder() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? fs::path() : fs::path(value);
  };
  if (const fs::path own = variable("MCCI_CACHE"); !own.empty()) return own;
  if (const fs::path xdg = variable("XDG_CACHE_HOME"); !xdg.empty()) return xdg / "mcci";
  if (const fs::path home = variable("HOME"); !home.empty()) return home / ".cache" / "mcci";
  return fs::temp_directory_path() / "mcci-cache";
}

TensorList plain_copies(const TensorList& tensors) {
  TensorList copies;
  for (const auto& [name, tensor] : tensors) copies.emplace_back(name, tensor.detach().cpu().contiguous());
  return copies;
}

void keep(const fs::path& file, const TensorList& tensors) {
  std::error_code failure;
  fs::create_directories(file.parent_path(), failure);
  if (failure) {
    throw Error(ErrorKind::io, "cannot create the folder (" + failure.message() + ")",
                file.parent_path().string());
  }
  save_safetensors(file, tensors);
}

// Adversarial training with one step of the signed gradient from a random start (Wong, Rice, Kolter: Fast is
// better than free, 2020): another learner that is its phases and its loss alone, as plain training is, on
// images that are changed to mislead it.
class AdversarialTraining : public Learner {
 public:
  // eps: largest change of a pixel, images being in [0,1].
  AdversarialTraining(Learner& learner, double eps) : learner_(learner), eps_(eps) {}

  torch::nn::Module& module() override { return learner_.module(); }
  std::vector<Phase> phases(const TrainOptions& options) override { return learner_.phases(options); }

  StepOutput loss(std::size_t phase, const Batch& batch) override {
    constexpr double step = 1.25;  // of eps, as published
    Batch changed = batch;
    const at::Tensor start = batch.images + eps_ * (2 * at::rand_like(batch.images) - 1);
    changed.images = start.clamp(0, 1).detach().set_requires_grad(true);
    const at::Tensor gradient =
        torch::autograd::grad({learner_.loss(phase, changed).loss}, {changed.images})[0];
    const at::Tensor moved = changed.images.detach() + step * eps_ * gradient.sign();
    changed.images = at::max(at::min(moved, batch.images + eps_), batch.images - eps_).clamp(0, 1);
    return learner_.loss(phase, changed);
  }

 private:
  Learner& learner_;
  double eps_;
};

}  // namespace

TensorList cached(const Dataset& train, const std::string& name, const Json& recipe,
                  const std::function<TensorList()>& learn) {
  const std::string key = sha256(name + recipe.dump() + content_hash(train));
  const fs::path file = cache_folder() / "attacks" / (name + "-" + key.substr(0, 32) + ".safetensors");
  if (fs::exists(file)) {
    try {
      return load_safetensors(file).tensors;
    } catch (const Error& error) {
      log_warning("learned again: " + std::string(error.what()));
    }
  }
  TensorList tensors = plain_copies(learn());
  try {
    keep(file, tensors);
  } catch (const Error& error) {
    log_warning("not kept for the next time: " + std::string(error.what()));
  }
  return tensors;
}

TensorList learned(const PrepareContext& context, const std::string& name, const Json& recipe,
                   const std::function<TensorList()>& learn) {
  const bool kept = !context.artifacts.empty();
  const fs::path file = context.artifacts / (name + ".safetensors");
  if (kept && fs::exists(file)) return load_safetensors(file).tensors;
  if (context.train == nullptr) {
    throw Error(ErrorKind::data, "what the attack has learned is not there", file.string(),
                "it lies in truth/artifacts of a poisoned set; poison the set again");
  }
  TensorList tensors = cached(*context.train, name, recipe, learn);
  if (kept) keep(file, tensors);
  return tensors;
}

at::Tensor learned_tensor(const TensorList& tensors, const std::string& name, at::IntArrayRef sizes) {
  for (const auto& [key, tensor] : tensors) {
    if (key == name && tensor.sizes() == sizes) return tensor;
  }
  throw Error(ErrorKind::data, "'" + name + "' is missing or has another shape", "artifacts of the attack",
              "poison the set again");
}

void check_prepared(const at::Tensor& pattern, const at::Tensor& images, const std::string& attack) {
  if (pattern.defined() && pattern.sizes().slice(pattern.dim() - 3) == images.sizes().slice(1)) return;
  throw Error(ErrorKind::internal, "prepare() was not called for images of this shape", attack);
}

Compute attack_compute() { return setup_compute({}); }

void train_attacker(Learner& learner, const PrepareContext& context, const TrainOptions& options,
                    const std::string& title) {
  TrainingRun run;
  run.data = context.train;
  run.options = options;
  run.compute = attack_compute();
  run.title = title;
  train(learner, run);
}

void AttackerNetwork::declare(OptionSet& set) {
  set.add("classifier", backbone, "the network that the attacker trains", backbones().names());
  set.add("classifier-width", width, "channels of its first stage; 0: the architecture's own", {0, 1024});
}

BackboneConfig config_of(const AttackerNetwork& network, const PrepareContext& context) {
  BackboneConfig config;
  config.name = network.backbone;
  config.in_channels = context.shape.channels;
  config.image_size = std::max(context.shape.height, context.shape.width);
  config.outputs = context.num_classes;
  config.width = network.width;
  return config;
}

void SurrogateOptions::declare(OptionSet& set) {
  set.add("surrogate", network.backbone, "the network that the attacker trains for himself",
          backbones().names());
  set.add("surrogate-width", network.width, "channels of its first stage; 0: the architecture's own",
          {0, 1024});
  set.add("surrogate-epochs", epochs, "epochs on the clean set", {1, 1000});
}

Json SurrogateOptions::to_json() const {
  return {{"surrogate", network.backbone},
          {"surrogate-width", network.width},
          {"surrogate-epochs", epochs},
          {"surrogate-eps", eps},
          {"surrogate-recipe", recipes().at("fast")}};
}

std::shared_ptr<Backbone> surrogate(const SurrogateOptions& options, const PrepareContext& context) {
  if (context.train == nullptr) {
    throw Error(ErrorKind::data, "there is no clean set to train the surrogate on", "surrogate",
                "poison the set again");
  }
  const Dataset& data = *context.train;
  Problem problem;
  problem.shape = data.shape();
  problem.num_classes = data.num_classes();
  problem.backbone = config_of(options.network, context);
  problem.compute = attack_compute();
  problem.seed = derive_seed(context.plan.seed, "surrogate");

  TrainOptions training;
  OptionSet set;
  training.declare(set);
  set.assign_json(recipes().at("fast"), Origin::preset, "recipe fast");
  training.epochs = options.epochs;
  training.seed = static_cast<std::int64_t>(problem.seed >> 1U);

  const std::unique_ptr<Defense> plain = make_plain();
  plain->build(problem);
  Json recipe = options.to_json();
  recipe["seed"] = problem.seed;
  recipe["training"] = set.to_json();
  const TensorList weights = cached(data, "surrogate", recipe, [&] {
    if (options.eps > 0) {
      AdversarialTraining robust(*plain, static_cast<double>(options.eps) / 255);
      train_attacker(robust, context, training, "surrogate, adversarially");
    } else {
      train_attacker(*plain, context, training, "surrogate");
    }
    return module_state(plain->module());
  });
  load_module_state(plain->module(), weights, "surrogate");
  std::shared_ptr<Backbone> model = plain->folded();
  place(*model, problem.compute);
  for (at::Tensor& parameter : model->parameters()) parameter.requires_grad_(false);
  return model;
}

}  // namespace mcci
