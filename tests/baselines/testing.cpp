#include "tests/baselines/testing.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <unistd.h>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "mcci/baselines/plain.hpp"
#include "mcci/core/error.hpp"
#include "mcci/core/interrupt.hpp"
#include "mcci/state/module_state.hpp"
#include "tests/train/interrupted.hpp"

namespace mcci::test {
namespace {

constexpr std::int64_t side = 16;
constexpr std::int64_t class_count = 4;

at::Tensor stripes(const at::Tensor& classes, std::int64_t contrast) {
  at::Tensor images = at::randint(0, 80, {classes.size(0), 1, side, side}, at::kLong);
  for (std::int64_t i = 0; i < classes.size(0); ++i) {
    images[i].narrow(1, 4 * classes[i].item<std::int64_t>(), 4).add_(contrast);
  }
  return images.to(at::kByte);
}

// Gratings of four directions with a period of four pixels, anywhere.
at::Tensor gratings(const at::Tensor& classes) {
  const at::Tensor angle = (classes.to(at::kFloat) * (M_PI / 4)).view({-1, 1, 1, 1});
  const at::Tensor y = at::arange(side, at::kFloat).view({1, 1, side, 1});
  const at::Tensor x = at::arange(side, at::kFloat).view({1, 1, 1, side});
  const at::Tensor phase = 2 * M_PI * at::rand({classes.size(0), 1, 1, 1});
  const at::Tensor wave = ((angle.cos() * y + angle.sin() * x) * (M_PI / 2) + phase).sin();
  return (100 + 40 * wave + at::randint(0, 40, wave.sizes(), at::kFloat)).to(at::kByte);
}

// One colour for each class, anywhere in the image: it stays what it is if the image is turned or moved.
at::Tensor colours(const at::Tensor& classes) {
  at::Tensor images = at::randint(0, 80, {classes.size(0), 3, side, side}, at::kLong);
  const at::Tensor of_class =
      at::tensor({1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 0}, at::kLong).view({class_count, 3}) * 100;
  images.add_(of_class.index_select(0, classes).view({-1, 3, 1, 1}));
  return images.to(at::kByte);
}

// Every other column is brighter, which does not survive a turn.
void add_lines(at::Tensor images) { images.slice(3, 0, side, 2).add_(60); }

void add_patch(at::Tensor images) { images.narrow(2, side - 5, 5).narrow(3, side - 5, 5).fill_(255); }

struct Setting {
  TrainOptions options;
  OptionSet set;
  std::unique_ptr<Defense> defense;

  Setting(std::unique_ptr<Defense> made, const DatasetPtr& data, const Json& given, const DatasetPtr& clean)
      : defense(std::move(made)) {
    options.declare(set);
    defense->declare(set);
    set.assign_json({{"flip", false}, {"batch-size", 32}}, Origin::config_file, "test");
    set.assign_json(given, Origin::command_line, "test");
    set.assign_json(defense->presets().at("fast"), Origin::preset, "fast");
    Problem problem;
    problem.shape = data->shape();
    problem.num_classes = data->num_classes();
    problem.backbone = {"resnet8", data->shape().channels, side, 100, 8};
    problem.seed = static_cast<std::uint64_t>(options.seed);
    problem.clean = clean;
    defense->build(problem);
  }

  TrainingRun run(const DatasetPtr& data) const {
    TrainingRun run;
    run.data = data;
    run.options = options;
    run.config_hash = "test";
    return run;
  }
};

double share(const at::Tensor& hits) { return hits.to(at::kDouble).mean().item<double>(); }

PoisonedSet poisoned_set(std::int64_t n, std::int64_t poisons,
                         const std::function<at::Tensor(const at::Tensor& classes)>& draw,
                         const std::function<void(at::Tensor)>& add_trigger = add_patch) {
  at::manual_seed(7);
  PoisonedSet set;
  set.true_labels = at::arange(n).remainder(class_count);
  at::Tensor images = draw(set.true_labels);
  set.poisoned = at::zeros({n}, at::kBool);
  at::Tensor labels = set.true_labels.clone();
  for (std::int64_t i = 0, left = poisons; i < n && left > 0; ++i) {
    if (i % class_count == 0) continue;
    add_trigger(images.narrow(0, i, 1));
    set.poisoned[i] = true;
    labels[i] = 0;
    --left;
  }
  set.data = make_memory_dataset(images, labels, {"a", "b", "c", "d"});
  set.triggered_labels = 1 + at::arange(120).remainder(class_count - 1);
  at::Tensor triggered = draw(set.triggered_labels);
  add_trigger(triggered);
  set.triggered = to_unit(triggered);
  return set;
}

}  // namespace

PoisonedSet striped(std::int64_t n, std::int64_t poisons, std::int64_t contrast) {
  return poisoned_set(n, poisons,
                      [contrast](const at::Tensor& classes) { return stripes(classes, contrast); });
}

PoisonedSet textured(std::int64_t n, std::int64_t poisons) { return poisoned_set(n, poisons, gratings); }

PoisonedSet coloured(std::int64_t n, std::int64_t poisons) {
  return poisoned_set(n, poisons, colours, add_lines);
}

Trained train_defense(std::unique_ptr<Defense> defense, const DatasetPtr& data, const Json& options,
                      const DatasetPtr& clean) {
  Setting setting(std::move(defense), data, options, clean);
  const RunState state = train(*setting.defense, setting.run(data));
  return {std::move(setting.defense), state};
}

std::vector<Trained> train_thrice(const std::function<std::unique_ptr<Defense>()>& make,
                                  const DatasetPtr& data, Json options, const DatasetPtr& clean) {
  std::vector<Trained> three;
  for (const int seed : {1, 2, 3}) {
    options["seed"] = seed;
    three.push_back(train_defense(make(), data, options, clean));
  }
  return three;
}

double median(const std::vector<Trained>& three, Measure measure, const PoisonedSet& set) {
  std::vector<double> values;
  for (const Trained& trained : three) values.push_back(measure(*trained.defense, set));
  std::sort(values.begin(), values.end());
  return values.at(1);
}

double attack_success(Defense& defense, const PoisonedSet& set) {
  return share(defense.logits(set.triggered, Perception::clean).argmax(1).eq(0));
}

double recovered(Defense& defense, const PoisonedSet& set) {
  return share(defense.logits(set.triggered, Perception::clean).argmax(1).eq(set.triggered_labels));
}

at::Tensor held_of_samples(Defense& defense) {
  Batch all;
  all.indices = natural_order(defense.known_samples());
  return defense.training_suspicion(all);
}

double poison_suspected(Defense& defense, const PoisonedSet& set) {
  return share(held_of_samples(defense).ge(0).masked_select(set.poisoned));
}

double undefended_success(const PoisonedSet& set) {
  const Trained plain = train_defense(make_plain(), set.data, {{"epochs", 5}, {"lr", 0.05}});
  return attack_success(*plain.defense, set);
}

double clean_accuracy(Defense& defense, const PoisonedSet& set) {
  const at::Tensor images = to_unit(set.data->images(at::arange(set.data->size())));
  return share(defense.logits(images, Perception::clean)
                   .argmax(1)
                   .eq(set.true_labels)
                   .masked_select(set.poisoned.logical_not()));
}

void expect_resumed_equals_whole(const std::function<std::unique_ptr<Defense>()>& make,
                                 const DatasetPtr& data, const Json& options, const std::vector<int>& stops,
                                 const DatasetPtr& clean) {
  const Trained whole = train_defense(make(), data, options, clean);
  const std::filesystem::path file =
      std::filesystem::temp_directory_path() / ("mcci-baselines-" + std::to_string(::getpid()));
  for (const int stop : stops) {
    const std::string when = "stopped after " + std::to_string(stop);
    Setting first(make(), data, options, clean);
    TrainingRun run = first.run(data);
    run.checkpoint = file;
    Interrupted interrupted(*first.defense, stop);
    EXPECT_THROW(train(interrupted, run), Error) << when;
    set_interrupt_requested(false);
    Setting second(make(), data, options, clean);
    // The weights must come from the checkpoint.
    for (at::Tensor& parameter : second.defense->module().parameters()) parameter.data().zero_();
    run.resume = true;
    train(*second.defense, run);
    expect_equal(module_state(second.defense->module()), module_state(whole.defense->module()), when);
    expect_equal(second.defense->extra_state(), whole.defense->extra_state(), when);
  }
  std::filesystem::remove(file);
}

}  // namespace mcci::test
