// Training steps of the plain model and of MCCI, and the spectrum, in interleaved rounds on random images:
// medians over the rounds and ratios, since single timings on a shared machine mean little.
//
//   ./dev bench [ROUNDS]       default 7

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "mcci/baselines/plain.hpp"
#include "mcci/core/error.hpp"
#include "mcci/method/mcci.hpp"
#include "mcci/method/spectrum.hpp"
#include "mcci/train/optimizer.hpp"

namespace mcci {
namespace {

constexpr std::int64_t images_per_step = 128;
constexpr int steps_per_round = 8;

// Trains on one batch again and again: what a step costs, without data loading.
class Contender {
 public:
  Contender(std::unique_ptr<Defense> defense, const std::string& preset, const Compute& compute)
      : defense_(std::move(defense)) {
    OptionSet set;
    options_.declare(set);
    defense_->declare(set);
    set.assign_json(defense_->presets().at(preset), Origin::preset, preset);
    Problem problem;
    problem.shape = {3, 32, 32};
    problem.num_classes = 10;
    problem.backbone = {"resnet18", 3, 32, 100, 16};
    problem.compute = compute;
    defense_->build(problem);
    phases_ = defense_->phases(options_);
    optimizer_ = make_optimizer(phases_.front().optimizer, phases_.front().parameters);
    batch_.images = place(at::rand({images_per_step, 3, 32, 32}), compute);
    batch_.labels = at::randint(0, 10, {images_per_step}, at::kLong).to(compute.device);
    batch_.indices = at::arange(images_per_step).to(compute.device);
  }

  void step() {
    optimizer_->zero_grad();
    defense_->loss(0, batch_).loss.backward();
    optimizer_->step(0.01);
  }

 private:
  std::unique_ptr<Defense> defense_;
  TrainOptions options_;
  std::vector<Phase> phases_;
  std::unique_ptr<Optimizer> optimizer_;
  Batch batch_;
};

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < steps_per_round; ++i) work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct Entry {
  std::string name;
  std::function<void()> work;
  std::vector<double> rates;
};

void run(int rounds) {
  const Compute compute = setup_compute({});
  Contender plain(make_plain(), "paper", compute);
  Contender paper(make_mcci(), "paper", compute);
  Contender head_start(make_mcci(), "fast", compute);
  const at::Tensor images = at::rand({images_per_step, 3, 32, 32});
  std::vector<Entry> entries = {
      {"plain step, resnet18 width 16", [&] { plain.step(); }, {}},
      {"mcci step, preset paper", [&] { paper.step(); }, {}},
      {"mcci head start step, preset fast", [&] { head_start.step(); }, {}},
      {"spectrum (DCT of 3x32x32)", [&] { attack_indicator(images, Indicator::raw); }, {}}};
  for (Entry& entry : entries) seconds_of(entry.work);  // warm-up
  for (int round = 0; round < rounds; ++round) {
    for (Entry& entry : entries)
      entry.rates.push_back(images_per_step * steps_per_round / seconds_of(entry.work));
  }
  std::printf("%lld threads, %s, medians of %d interleaved rounds\n", static_cast<long long>(compute.threads),
              compute.bf16 ? "bf16" : "fp32", rounds);
  double first = 0;
  for (Entry& entry : entries) {
    std::sort(entry.rates.begin(), entry.rates.end());
    const double median = entry.rates[entry.rates.size() / 2];
    if (first == 0) first = median;
    std::printf("%-36s %9.0f images/s   (%.0f .. %.0f)   %.2f x the first\n", entry.name.c_str(), median,
                entry.rates.front(), entry.rates.back(), median / first);
  }
}

}  // namespace
}  // namespace mcci

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 7;
  if (rounds < 1) {
    std::fprintf(stderr, "usage: mcci_bench [ROUNDS], a positive number\n");
    return 2;
  }
  try {
    mcci::run(rounds);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "mcci_bench: error: %s\n", error.what());
    return 1;
  }
}
