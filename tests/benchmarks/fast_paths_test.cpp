#include <sched.h>
#include <stdlib.h>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "benchmarks/convolutions.hpp"
#include "benchmarks/training_step.hpp"
#include "mcci/runtime/processor.hpp"

namespace mcci::benchmarks {
namespace {

using ::testing::Each;
using ::testing::Field;

constexpr std::size_t of_resnet18 = 20;
constexpr std::size_t of_ain = 6;

int allowed_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  return CPU_COUNT(&set);
}

std::vector<Convolution> convolutions_of_a_step(const std::string& defense) {
  ::unsetenv("OMP_NUM_THREADS");
  TrainingStep step(defense, 8, setup_compute({}));
  const Batch batch = random_batch(4);
  const ObservedConvolutions convolutions;
  step.run(batch);
  return convolutions.seen();
}

TEST(FastPaths, AreTakenByEveryConvolutionOfAStep) {
  if (at::hasCUDA()) GTEST_SKIP() << "the processor's paths are not taken where there is a CUDA device";
  const at::ScalarType fast = faster_in_bf16(this_processor()) ? at::kBFloat16 : at::kFloat;
  for (const auto& [defense, layers] :
       {std::pair("plain", of_resnet18), std::pair("mcci", of_resnet18 + of_ain)}) {
    const std::vector<Convolution> seen = convolutions_of_a_step(defense);
    EXPECT_EQ(seen.size(), 2 * layers) << defense;  // forward and gradients
    EXPECT_THAT(seen, Each(Field(&Convolution::dtype, fast))) << defense;
    EXPECT_THAT(seen, Each(Field(&Convolution::channels_last, true))) << defense;
    EXPECT_THAT(seen, Each(Field(&Convolution::threads, allowed_cores()))) << defense;
  }
}

TEST(ObservedConvolutions, CountsOperationsOfForwardAndGradients) {
  const at::Tensor image = at::rand({2, 3, 8, 8}).requires_grad_();
  const at::Tensor weight = at::rand({5, 3, 3, 3}).requires_grad_();
  const ObservedConvolutions convolutions;
  at::conv2d(image, weight, {}, 2, 1).sum().backward();
  ASSERT_EQ(convolutions.seen().size(), 2U);
  const double forward = 2.0 * (2 * 5 * 4 * 4) * (3 * 3 * 3);  // outputs times what each is a sum of
  EXPECT_EQ(convolutions.seen()[0].operations, forward);
  EXPECT_EQ(convolutions.seen()[1].operations, 2 * forward);
}

TEST(ObservedConvolutions, SeesWhatIsNotFast) {
  const at::Tensor weight = at::rand({5, 3, 3, 3});
  const ObservedConvolutions convolutions;
  at::conv2d(at::rand({2, 3, 8, 8}), weight);
  ASSERT_EQ(convolutions.seen().size(), 1U);
  EXPECT_FALSE(convolutions.seen()[0].channels_last);
  EXPECT_EQ(convolutions.seen()[0].dtype, at::kFloat);
}

}  // namespace
}  // namespace mcci::benchmarks
