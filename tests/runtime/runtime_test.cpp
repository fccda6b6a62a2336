#include <mutex>
#include <sched.h>
#include <set>
#include <sstream>
#include <stdexcept>
#include <stdlib.h>
#include <string>
#include <thread>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/conv.h>

#include "mcci/core/error.hpp"
#include "mcci/runtime/compute.hpp"
#include "mcci/runtime/environment.hpp"
#include "mcci/runtime/processor.hpp"
#include "mcci/runtime/workers.hpp"

namespace mcci {
namespace {

TEST(Compute, TakesAllCoresUnlessTold) {
  ::unsetenv("OMP_NUM_THREADS");
  cpu_set_t set;
  sched_getaffinity(0, sizeof set, &set);
  EXPECT_EQ(setup_compute({}).threads, CPU_COUNT(&set));
  EXPECT_EQ(at::get_num_threads(), CPU_COUNT(&set));
  ::setenv("OMP_NUM_THREADS", "3", 1);
  EXPECT_EQ(setup_compute({}).threads, 3);
  ComputeOptions one;
  one.threads = 1;
  EXPECT_EQ(setup_compute(one).threads, 1);
  EXPECT_EQ(at::get_num_threads(), 1);
}

TEST(Compute, LeavesOtherThreadsToThemselves) {
  if (at::hasMKL()) GTEST_SKIP() << "MKL has one count for all threads";
  ComputeOptions three;
  three.threads = 3;
  setup_compute(three);
  std::thread([] { EXPECT_EQ(at::get_num_threads(), 1); }).join();
  EXPECT_EQ(at::get_num_threads(), 3);
}

TEST(Compute, RefusesAnAbsentDevice) {
  if (at::hasCUDA()) GTEST_SKIP() << "there is a CUDA device";
  ComputeOptions options;
  options.device = "cuda";
  EXPECT_THROW(setup_compute(options), Error);
}

TEST(Compute, TakesDenormalNumbersForZeroInEveryThread) {
  ComputeOptions two;
  two.threads = 2;
  setup_compute(two);
  const at::Tensor small = at::full({1 << 20}, 1e-30F);  // large enough for both threads
  EXPECT_EQ((small * 1e-10F).count_nonzero().item<std::int64_t>(), 0);
  EXPECT_GT((small * 1e-7F).min().item<float>(), 0);
}

TEST(ParallelEach, VisitsEachOnceOnSoManyThreads) {
  for (const std::int64_t threads : {1, 2, 0}) {
    std::vector<int> visits(50);
    std::mutex mutex;
    std::set<std::thread::id> seen;
    parallel_each(50, {"counting", "numbers", 1000, threads}, [&](std::int64_t i) {
      ++visits[static_cast<std::size_t>(i)];
      EXPECT_EQ(at::get_num_threads(), 1);
      const std::lock_guard lock(mutex);
      seen.insert(std::this_thread::get_id());
    });
    EXPECT_EQ(visits, std::vector<int>(50, 1));
    EXPECT_LE(static_cast<std::int64_t>(seen.size()), threads > 0 ? threads : allowed_cpus());
  }
}

TEST(ParallelEach, ThrowsTheFirstError) {
  try {
    parallel_each(20, {"counting"}, [](std::int64_t i) {
      if (i >= 5) throw std::runtime_error(std::to_string(i));
    });
    FAIL();
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "5");
  }
}

Processor processor(const std::string& vendor, const std::string& flags) {
  std::istringstream text("processor\t: 0\nvendor_id\t: " + vendor +
                          "\nmodel name\t: A Processor @ 2.50GHz\nflags\t\t: fpu " + flags +
                          "\npower management:\n\nprocessor\t: 1\nflags\t\t: amx_bf16\n");
  return read_processor(text);
}

TEST(Processor, IsTheFirstOneOfTheText) {
  const Processor read = processor("AuthenticAMD", "avx2 avx512_bf16");
  EXPECT_EQ(read.vendor, "AuthenticAMD");
  EXPECT_EQ(read.name, "A Processor @ 2.50GHz");
  EXPECT_THAT(read.features, ::testing::ElementsAre("avx2", "avx512_bf16", "fpu"));
}

TEST(Processor, IsFasterInBf16WithAMatrixUnitOrFullSpeedInstructions) {
  EXPECT_FALSE(faster_in_bf16(processor("GenuineIntel", "avx512f")));
  EXPECT_TRUE(faster_in_bf16(processor("AuthenticAMD", "avx512f avx512_bf16")));
  EXPECT_TRUE(faster_in_bf16(processor("GenuineIntel", "avx512f avx512_bf16")));  // Cooper Lake
  EXPECT_TRUE(faster_in_bf16(processor("GenuineIntel", "avx512_bf16 avx512_fp16 amx_bf16")));
  EXPECT_FALSE(faster_in_bf16(processor("GenuineIntel", "avx512_bf16 avx512_fp16")));
  EXPECT_FALSE(faster_in_bf16(Processor{}));
}

TEST(Autocast, AppliesInItsScopeOnly) {
  torch::nn::Conv2d layer(1, 2, 3);
  const at::Tensor x = at::ones({1, 1, 4, 4});
  Compute compute;
  const auto type = [&] {
    const Autocast autocast(compute);
    return layer->forward(x).scalar_type();
  };
  EXPECT_EQ(type(), at::kFloat);
  compute.bf16 = true;
  EXPECT_EQ(type(), at::kBFloat16);
  EXPECT_EQ(layer->forward(x).scalar_type(), at::kFloat);
  EXPECT_EQ(layer->weight.scalar_type(), at::kFloat);
}

TEST(Place, PutsWeightsAndImagesInTheFastLayout) {
  torch::nn::Conv2d layer(3, 4, 3);
  place(*layer, Compute{});
  EXPECT_TRUE(layer->weight.is_contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_TRUE(place(at::zeros({2, 3, 8, 8}), Compute{}).is_contiguous(at::MemoryFormat::ChannelsLast));
}

TEST(Place, LeavesNoDoubtOfTheLayoutOfImagesOfOneChannel) {
  torch::nn::Conv2d layer(1, 4, 3);
  place(*layer, Compute{});
  const at::Tensor images = at::rand({2, 1, 8, 8});
  const at::Tensor window = images.narrow(2, 1, 5).narrow(3, 2, 5);
  EXPECT_NE(images.suggest_memory_format(), at::MemoryFormat::ChannelsLast);
  EXPECT_EQ(layer->forward(images).suggest_memory_format(), at::MemoryFormat::ChannelsLast)
      << "the filters say it too, for images that were changed since they were placed";
  for (const at::Tensor& given : {images, window}) {
    const at::Tensor placed = place(given, Compute{});
    EXPECT_TRUE(placed.equal(given));
    EXPECT_EQ(placed.suggest_memory_format(), at::MemoryFormat::ChannelsLast);
    EXPECT_EQ(layer->forward(placed).suggest_memory_format(), at::MemoryFormat::ChannelsLast);
  }
}

TEST(Environment, SaysWhatBitsDependOn) {
  const Json json = environment(Compute{});
  for (const char* key : {"mcci", "libtorch", "processor", "threads", "precision", "device"})
    EXPECT_TRUE(json.contains(key)) << key;
}

}  // namespace
}  // namespace mcci
