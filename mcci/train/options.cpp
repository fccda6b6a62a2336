#include "mcci/train/options.hpp"

#include <charconv>

#include "mcci/core/error.hpp"

namespace mcci {

void OptimizerOptions::declare(OptionSet& set) {
  set.add("optimizer", optimizer, "paper: adadelta", {"sgd", "adadelta", "adam", "adamw"});
  set.add("lr", lr, "peak learning rate (paper: 0.1)", {1e-8, 100.0});
  set.add("momentum", momentum, "of sgd (Nesterov); beta 1 of adam and adamw", {0.0, 0.9999});
  set.add("weight-decay", weight_decay,
          "L2 penalty (paper: 1e-4); of adamw: shrinks parameters, apart from the gradient", {0.0, 1.0});
  set.add("decay-vectors", decay_vectors,
          "weight decay also for biases and the scales of normalisations: all parameters of one dimension");
  set.add("accumulate", accumulate, "batches whose gradients make one step, as one batch of all their images",
          {1, 65536});
  set.add("clip-norm", clip_norm, "largest norm of all gradients of a step together; 0: any", {0.0, 1e6});
  set.add(
      "average", average,
      "how much of an exponential moving average of the weights each step keeps (0.999); the average is what "
      "is evaluated and what remains; 0: none",
      {0.0, 0.999999});
}

void ScheduleOptions::declare(OptionSet& set) {
  set.add("schedule", schedule, "of the learning rate; one-cycle: linear warm-up, then cosine to zero",
          {"constant", "steps", "one-cycle"});
  set.add("milestones", milestones,
          "epochs after which `steps` multiplies the learning rate (paper: 30,60,90)");
  set.add("decay", decay, "factor at each milestone (paper: 0.1)", {0.0, 1.0});
  set.add("warmup", warmup, "share of the steps that one-cycle spends warming up", {0.0, 1.0});
  set.add("lr-floor", lr_floor, "share of the learning rate at which one-cycle ends", {0.0, 1.0});
}

void FineTuneOptions::declare(OptionSet& set) {
  set.add("fine-tune", fine_tune,
          "what of the backbone is trained: all, its last --trained-blocks and the head, the head and a "
          "pair of matrices of low rank beside each matrix of its blocks, or the head alone",
          {"full", "last-blocks", "lora", "linear-probe"});
  set.add("trained-blocks", trained_blocks, "blocks that --fine-tune last-blocks trains", {0, 1000});
  set.add("lora-rank", lora_rank, "columns and rows of these pairs; only matrices larger than theirs get one",
          {1, 4096});
  set.add("lora-alpha", lora_alpha, "the pairs' product counts this much, divided by their rank",
          {1e-6, 1e6});
  set.add("layer-decay", layer_decay,
          "factor on the learning rate for every block further from the head; 1: the same everywhere",
          {0.01, 1.0});
}

std::vector<std::int64_t> ScheduleOptions::milestone_epochs() const {
  std::vector<std::int64_t> epochs;
  for (const std::string& text : milestones) {
    std::int64_t epoch = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), epoch);
    if (error != std::errc() || end != text.data() + text.size() || epoch < 1) {
      throw Error(ErrorKind::usage, "'" + text + "' is not an epoch", "--milestones",
                  "give positive integers: 30,60,90");
    }
    epochs.push_back(epoch);
  }
  return epochs;
}

void CleanDataOptions::declare(OptionSet& set) {
  set.add(
      "clean-data", clean_data,
      "images known to be clean, none of them from the test set: a folder, or the name of an installed set, "
      "of which the training split is taken");
  set.add("clean-share", clean_share, "share of each of its classes that is used, drawn by the seed",
          {1e-9, 1.0});
  set.add("clean-per-class", clean_per_class,
          "images of each of its classes instead of a share; 0: the share", {0, 1000000000});
}

void TrainOptions::declare(OptionSet& set) {
  set.add("epochs", epochs, "passes over the training set (paper: 100)", {1, 100000});
  set.add("seed", seed, "of initial weights, order, augmentation and dropout", {0, std::int64_t{1} << 53});
  set.add("checkpoint-minutes", checkpoint_minutes,
          "at most this much work is lost when the process is killed", {0.0, 1440.0});
  optimizer.declare(set);
  schedule.declare(set);
  fine_tune.declare(set);
  loader.declare(set);
  augment.declare(set);
}

}  // namespace mcci
