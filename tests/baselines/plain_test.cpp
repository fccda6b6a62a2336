#include "mcci/baselines/plain.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "mcci/core/error.hpp"
#include "mcci/train/trainer.hpp"

namespace mcci {
namespace {

TEST(Plain, OverfitsABatchAndFoldsToItself) {
  at::manual_seed(5);
  const at::Tensor images = at::randint(0, 256, {32, 1, 16, 16}, at::kLong).to(at::kByte);
  TrainingRun run;
  run.data = make_memory_dataset(images, at::randint(0, 4, {32}, at::kLong), {"a", "b", "c", "d"});
  run.options.epochs = 40;
  run.options.optimizer.lr = 0.05;
  run.options.loader.batch_size = 16;
  run.options.augment = AugmentOptions::none();
  Problem problem;
  problem.shape = run.data->shape();
  problem.num_classes = 4;
  problem.backbone = {"resnet8", 1, 16, 100, 8};
  const auto plain = make_plain();
  plain->build(problem);
  const RunState state = train(*plain, run);
  EXPECT_EQ(state.history.back()["train_accuracy"],
            100.0);  // random labels: it can only have learned them by heart

  const at::NoGradGuard no_grad;
  const at::Tensor x = to_unit(images);
  EXPECT_TRUE(at::allclose(plain->folded()->forward(x), plain->logits(x, Perception::clean), 1e-4, 1e-5));
}

TEST(Plain, HasNoIndicator) {
  Problem problem;
  problem.shape = {1, 16, 16};
  problem.num_classes = 2;
  problem.backbone = {"resnet8", 1, 16, 100, 2};
  const auto plain = make_plain();
  plain->build(problem);
  const at::Tensor x = at::zeros({2, 1, 16, 16});
  EXPECT_FALSE(plain->has_suspicion());
  EXPECT_THROW(plain->logits(x, Perception::own), Error);
  EXPECT_THROW(plain->suspicion(x, at::zeros({2}, at::kLong)), Error);
}

}  // namespace
}  // namespace mcci
