#include <chrono>
#include <memory>
#include <vector>

#include <ATen/ATen.h>

#include "benchmarks/convolutions.hpp"
#include "benchmarks/jpegs.hpp"
#include "benchmarks/measurement.hpp"
#include "benchmarks/training_step.hpp"
#include "mcci/core/error.hpp"
#include "mcci/data/loader.hpp"

namespace mcci::benchmarks {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t images_per_step = 128;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The epoch's loop as the trainer has it, over one data set again and again.
class WaitingLoop {
 public:
  WaitingLoop(DatasetPtr data, std::int64_t width, const Compute& compute)
      : data_(std::move(data)), step_("mcci", width, compute) {
    options_.batch_size = images_per_step;
  }

  // The share of the time that goes by until the loader has the next batch. The first is not counted: an
  // epoch of a real set has hundreds.
  double share(double seconds) {
    std::vector<at::Tensor> orders;
    for (std::int64_t batches = 0; batches < 64; batches += data_->size() / images_per_step)
      orders.push_back(epoch_order(data_->size(), 0, batches));
    Loader loader(data_, at::cat(orders), options_, AugmentOptions{}, 0, 0);
    step_.run(*loader.next());
    double waited = 0;
    double spent = 0;
    while (spent < seconds) {
      const auto start = Clock::now();
      const std::unique_ptr<Batch> batch = loader.next();
      if (batch == nullptr) break;
      waited += seconds_since(start);
      step_.run(*batch);
      spent += seconds_since(start);
    }
    return waited / spent;
  }

 private:
  DatasetPtr data_;
  TrainingStep step_;
  LoaderOptions options_;
};

DatasetPtr random_dataset() {
  constexpr std::int64_t images = 20 * images_per_step;
  std::vector<std::string> classes;
  for (int c = 0; c < 10; ++c) classes.push_back(std::to_string(c));
  return make_memory_dataset(at::randint(0, 256, {images, 3, 32, 32}, at::kByte),
                             at::randint(0, 10, {images}, at::kLong), classes);
}

}  // namespace

Measurement training(const std::string& defense, std::int64_t width, const Compute& compute) {
  const auto step = std::make_shared<TrainingStep>(defense, width, compute);
  const Batch batch = random_batch(images_per_step);
  return rate("images/s", static_cast<double>(images_per_step), [step, batch] { step->run(batch); });
}

Measurement operations(const std::string& defense, std::int64_t width, const Compute& compute) {
  const auto step = std::make_shared<TrainingStep>(defense, width, compute);
  const Batch batch = random_batch(images_per_step);
  return {"FLOP/step", [step, batch](double /*seconds*/) {
            const ObservedConvolutions convolutions;
            step->run(batch);
            double sum = 0;
            for (const Convolution& convolution : convolutions.seen()) sum += convolution.operations;
            return sum;
          }};
}

Measurement convolution_share(const std::string& defense, std::int64_t width, const Compute& compute) {
  const auto step = std::make_shared<TrainingStep>(defense, width, compute);
  const Batch batch = random_batch(images_per_step);
  step->run(batch);
  return {"of the time", [step, batch](double seconds) {
            const ObservedConvolutions convolutions;
            const auto start = Clock::now();
            do step->run(batch);
            while (seconds_since(start) < seconds);
            const double all = seconds_since(start);
            double sum = 0;
            for (const Convolution& convolution : convolutions.seen()) sum += convolution.seconds;
            return sum / all;
          }};
}

Measurement waiting(const std::string& source, std::int64_t width, const Compute& compute) {
  if (source != "memory" && source != "jpeg") {
    throw Error(ErrorKind::usage, "images come from 'memory' or 'jpeg', not from '" + source + "'");
  }
  const DatasetPtr data = source == "memory" ? random_dataset() : jpeg_dataset(32);
  const auto loop = std::make_shared<WaitingLoop>(data, width, compute);
  return {"of the time", [loop](double seconds) { return loop->share(seconds); }};
}

}  // namespace mcci::benchmarks
