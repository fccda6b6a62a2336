#include "mcci/train/trainer.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

#include <ATen/ATen.h>
#include <torch/types.h>

#include "mcci/core/interrupt.hpp"
#include "mcci/core/log.hpp"
#include "mcci/core/progress.hpp"
#include "mcci/core/random.hpp"
#include "mcci/train/fine_tuning.hpp"
#include "mcci/train/schedule.hpp"

namespace mcci {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// One call of train(): the state that its steps share.
class Run {
 public:
  Run(Learner& learner, const TrainingRun& run)
      : learner_(learner),
        run_(run),
        fine_tuning_(learner.module(), run.options.fine_tune),
        seed_(static_cast<std::uint64_t>(run.options.seed)),
        last_save_(Clock::now()) {}

  RunState operator()();

 private:
  // What a phase changes, and what it has of its own.
  struct Updating {
    TensorList parameters;           // as the optimizer sees them
    std::unique_ptr<LowRank> pairs;  // null: none
    std::unique_ptr<Optimizer> optimizer;
    std::unique_ptr<WeightAverage> average;  // null: none is kept
    Updates parts() const { return {optimizer.get(), average.get(), pairs.get()}; }
  };

  void train_phase(std::size_t index, const Phase& phase, const Checkpoint* resumed);
  void train_epoch(std::size_t index, const Phase& phase, Updating& updating);
  void end_epoch(const Phase& phase, double lr, Updating& updating);
  void save(const Updating* updating);

  Learner& learner_;
  const TrainingRun& run_;
  FineTuning fine_tuning_;
  std::uint64_t seed_;
  RunState state_;
  Clock::time_point last_save_;
};

RunState Run::operator()() {
  std::unique_ptr<Checkpoint> resumed;
  if (run_.resume && std::filesystem::exists(run_.checkpoint)) {
    resumed = std::make_unique<Checkpoint>(load_checkpoint(run_.checkpoint, run_.config_hash));
    restore(learner_, *resumed, run_.checkpoint.string());
    state_ = resumed->state;
  }
  const std::vector<Phase> phases = learner_.phases(run_.options);
  while (!state_.finished && state_.phase < static_cast<std::int64_t>(phases.size())) {
    const auto index = static_cast<std::size_t>(state_.phase);
    train_phase(index, phases[index], resumed.get());
    resumed.reset();
    state_.phase += 1;
    state_.epoch = 0;
    if (index + 1 < phases.size()) save(nullptr);
  }
  if (!state_.finished) {
    const auto start = Clock::now();
    learner_.finish(run_.data);
    state_.seconds += seconds_since(start);
    state_.finished = true;
    save(nullptr);
  }
  learner_.module().eval();
  return state_;
}

void Run::train_phase(std::size_t index, const Phase& phase, const Checkpoint* resumed) {
  Updating updating;
  const TensorList trained = fine_tuning_.trained(phase.parameters);
  if (trained.empty()) {
    throw Error(ErrorKind::usage, "nothing is left to be trained", run_.title + ", " + phase.name,
                "freeze less: --fine-tune full");
  }
  updating.parameters = trained;
  std::vector<double> scales = fine_tuning_.scales(trained);
  if (const TensorList adapted = fine_tuning_.adapted(trained); !adapted.empty()) {
    const FineTuneOptions& options = run_.options.fine_tune;
    updating.pairs = std::make_unique<LowRank>(adapted, options.lora_rank, options.lora_alpha,
                                               derive_seed(seed_, "phase", {index}));
    updating.parameters = updating.pairs->optimised(trained);
    scales = updating.pairs->optimised(trained, scales);
  }
  updating.optimizer = make_optimizer(phase.optimizer, updating.parameters, scales);
  if (phase.optimizer.average > 0) {
    updating.average = std::make_unique<WeightAverage>(learner_.module(), trained, phase.optimizer.average);
  }
  if (state_.epoch > 0 || state_.batch > 0) restore(updating.parts(), *resumed, run_.checkpoint.string());
  for (; state_.epoch < phase.epochs; ++state_.epoch) {
    train_epoch(index, phase, updating);
    if (seconds_since(last_save_) > 60 * run_.options.checkpoint_minutes && state_.epoch + 1 < phase.epochs) {
      ++state_.epoch;
      save(&updating);
      --state_.epoch;
    }
  }
  if (updating.average) updating.average->swap();  // the average is what remains
}

void Run::train_epoch(std::size_t index, const Phase& phase, Updating& updating) {
  auto start = Clock::now();
  const auto settle_time = [&] {
    const double elapsed = seconds_since(start);
    state_.epoch_seconds += elapsed;
    state_.seconds += elapsed;
    start = Clock::now();
  };
  if (state_.batch == 0) learner_.begin_epoch(index, state_.epoch, run_.data);
  const auto epoch = static_cast<std::uint64_t>(state_.history.size());
  const DatasetPtr data = learner_.source(index, run_.data);
  const at::Tensor pool = learner_.pool(index);
  if (pool.defined() && pool.size(0) == 0) return settle_time();
  at::Tensor order =
      epoch_order(pool.defined() ? pool.size(0) : data->size(), seed_, static_cast<std::int64_t>(epoch));
  if (pool.defined()) order = pool.index_select(0, order);
  if (phase.images > 0 && phase.images < order.size(0)) order = order.narrow(0, 0, phase.images);
  Loader loader(data, order, run_.options.loader, phase.augment, seed_, static_cast<std::int64_t>(epoch),
                state_.batch,
                /*drop_single=*/true);
  const std::int64_t per_step = phase.optimizer.accumulate;
  const std::int64_t steps = (loader.batches() + per_step - 1) / per_step;
  Progression at{state_.epoch, 0, steps * phase.epochs};
  at::Tensor loss_sum = at::full({}, state_.epoch_loss, at::device(run_.compute.device).dtype(at::kDouble));
  at::Tensor correct = at::full({}, state_.epoch_correct, at::device(run_.compute.device).dtype(at::kLong));
  const auto settle_sums = [&] {
    state_.epoch_loss = loss_sum.item<double>();
    state_.epoch_correct = correct.item<std::int64_t>();
  };

  Progress progress(run_.title + ", " + phase.name + " " + std::to_string(state_.epoch + 1) + "/" +
                        std::to_string(phase.epochs),
                    order.size(0), "images");
  progress.start_at(state_.epoch_samples);
  fine_tuning_.set_training_mode();
  const auto rate_of_step = [&](std::int64_t batch) {
    at.step = state_.epoch * steps + batch / per_step;
    return learning_rate(phase.schedule, phase.optimizer.lr, at);
  };
  double lr = rate_of_step(std::max<std::int64_t>(0, state_.batch - 1));
  while (auto batch = loader.next()) {
    // Dropout draws from the global generator: seeded per step, there is no generator state to save.
    torch::manual_seed(derive_seed(seed_, "step", {epoch, static_cast<std::uint64_t>(state_.batch)}));
    lr = rate_of_step(state_.batch);
    batch->images = place(batch->images, run_.compute);
    batch->labels = batch->labels.to(run_.compute.device);
    batch->indices = batch->indices.to(run_.compute.device);

    // The batches of one step weigh as their images do: their sum is the loss of one large batch.
    const std::int64_t first = state_.batch / per_step * per_step;
    const std::int64_t end = std::min(first + per_step, loader.batches());
    const std::int64_t batch_size = run_.options.loader.batch_size;
    const std::int64_t samples = batch->labels.size(0);
    const std::int64_t samples_of_step = std::min(end * batch_size, order.size(0)) - first * batch_size;
    const bool is_step = state_.batch + 1 == end;

    if (state_.batch == first) updating.optimizer->zero_grad();
    const StepOutput output = learner_.loss(index, *batch);
    (end - first == 1 ? output.loss
                      : output.loss * (static_cast<double>(samples) / static_cast<double>(samples_of_step)))
        .backward();
    if (is_step) {
      if (updating.pairs) updating.pairs->take_gradients();
      if (phase.optimizer.clip_norm > 0) clip_gradients(updating.parameters, phase.optimizer.clip_norm);
      updating.optimizer->step(lr);
      if (updating.pairs) updating.pairs->apply();
      if (updating.average) updating.average->update();
    }

    loss_sum.add_(output.loss.detach().to(at::kDouble), static_cast<double>(samples));
    if (phase.classifies) correct.add_(output.logits.detach().argmax(1).eq(batch->labels).sum());
    state_.epoch_samples += samples;
    state_.batch += 1;
    progress.advance(samples);
    // Gradients that wait for more are in no checkpoint.
    if (is_step &&
        (interrupt_requested() || seconds_since(last_save_) > 60 * run_.options.checkpoint_minutes)) {
      settle_sums();
      settle_time();
      save(&updating);
      if (interrupt_requested()) {
        progress.finish();
        const std::string where = run_.checkpoint.empty() ? "nothing was saved" : run_.checkpoint.string();
        throw Error(ErrorKind::interrupted, "training was interrupted in epoch " + std::to_string(epoch + 1),
                    where, run_.checkpoint.empty() ? "" : "continue with --resume");
      }
    }
  }
  progress.finish();
  settle_sums();
  settle_time();
  end_epoch(phase, lr, updating);
}

void Run::end_epoch(const Phase& phase, double lr, Updating& updating) {
  const auto samples = static_cast<double>(std::max<std::int64_t>(1, state_.epoch_samples));
  const double loss = state_.epoch_loss / samples;
  if (!std::isfinite(loss)) {
    throw Error(ErrorKind::usage, "the training loss is no longer a number", run_.title + ", " + phase.name,
                "lower --lr, or use --precision fp32");
  }
  Json entry = {{"epoch", static_cast<std::int64_t>(state_.history.size()) + 1},
                {"phase", phase.name},
                {"loss", loss},
                {"train_accuracy", nullptr},
                {"lr", lr},
                {"seconds", state_.epoch_seconds},
                {"ca", nullptr},
                {"asr", nullptr},
                {"pa", nullptr}};
  if (phase.classifies) entry["train_accuracy"] = 100.0 * static_cast<double>(state_.epoch_correct) / samples;
  if (run_.on_epoch) {
    if (updating.average) updating.average->swap();
    run_.on_epoch(entry);
    if (updating.average) updating.average->swap();
  }
  state_.history.push_back(std::move(entry));
  state_.batch = 0;
  state_.epoch_loss = 0;
  state_.epoch_correct = 0;
  state_.epoch_samples = 0;
  state_.epoch_seconds = 0;
}

void Run::save(const Updating* updating) {
  last_save_ = Clock::now();
  if (run_.checkpoint.empty()) return;
  save_checkpoint(run_.checkpoint, learner_, updating == nullptr ? Updates() : updating->parts(), state_,
                  run_.config_hash);
}

}  // namespace

RunState train(Learner& learner, const TrainingRun& run) {
  if (run.data->size() < 2) {
    throw Error(ErrorKind::data, "the training set has fewer than two images", run.title,
                "check the data set's folder");
  }
  return Run(learner, run)();
}

}  // namespace mcci
