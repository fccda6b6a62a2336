#include "mcci/method/robust.hpp"

#include <vector>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "mcci/method/contradiction.hpp"
#include "mcci/method/keyholes.hpp"
#include "mcci/train/trainer.hpp"

namespace mcci {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// [1,1,32,32]: a bright square, top left, on black.
at::Tensor square() {
  at::Tensor image = at::zeros({1, 1, 32, 32});
  image.narrow(2, 4, 12).narrow(3, 4, 12).fill_(0.9);
  return image;
}

at::Tensor through_keyholes(Keyholes& keyholes, const at::Tensor& image) {
  const at::NoGradGuard no_grad;
  return keyholes->forward(image, at::full({1, 1, 1, 1}, 0.5)).squeeze(1);
}

TEST(KeyholesTest, DoNotSeeWhatLiesOutsideTheirWindow) {
  torch::manual_seed(1);
  Keyholes keyholes(1, 4);
  keyholes->eval();
  const at::Tensor before = through_keyholes(keyholes, square());
  at::Tensor patched = square();
  patched.narrow(2, 24, 8).narrow(3, 24, 8).fill_(0.9);
  const at::Tensor after = through_keyholes(keyholes, patched);
  ASSERT_EQ(before.sizes(), (std::vector<std::int64_t>{Keyholes::Impl::count, 4}));
  // The whole image, its top, bottom, left and right half.
  const std::vector<bool> sees_the_corner = {true, false, true, false, true};
  for (std::size_t i = 0; i < sees_the_corner.size(); ++i) {
    const auto at = static_cast<std::int64_t>(i);
    EXPECT_EQ(!before[at].equal(after[at]), sees_the_corner[i]) << i;
  }
}

TEST(KeyholesTest, AreBlindToAFaintPatternAndToBrightness) {
  torch::manual_seed(1);
  Keyholes keyholes(1, 4);
  keyholes->eval();
  const at::Tensor before = through_keyholes(keyholes, square());
  torch::manual_seed(2);
  const at::Tensor faint = square() * 0.9 + 0.1 * at::rand({1, 1, 32, 32});
  EXPECT_TRUE(through_keyholes(keyholes, faint).equal(before));
  EXPECT_TRUE(through_keyholes(keyholes, 0.1 + 0.5 * square()).equal(before));
}

TEST(KeyholesTest, TakeAnySizeAndChannels) {
  Keyholes keyholes(3, 7);
  const at::Tensor logits = keyholes_in_training(keyholes, at::rand({5, 3, 28, 45}));
  EXPECT_EQ(logits.sizes(), (std::vector<std::int64_t>{Keyholes::Impl::count, 5, 7}));
}

// 1,000 samples of 5 labels in turn, as one keyhole sees them: sure of the label, but for those that are said
// otherwise.
struct Opinions {
  at::Tensor labels = at::arange(1000).remainder(5);
  at::Tensor of_keyhole = at::one_hot(labels, 5).to(at::kFloat) * 0.9 + 0.02;

  // The first `count` samples of `label` are taken for the classes of `meanings`, in turn.
  void contradict(std::int64_t label, std::int64_t count, const std::vector<std::int64_t>& meanings) {
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t sample = 5 * i + label;
      of_keyhole[sample].fill_(0.02);
      of_keyhole[sample][meanings[static_cast<std::size_t>(i) % meanings.size()]] = 0.92;
    }
  }
  Contradiction found() const { return contradictions(of_keyhole.unsqueeze(0), labels, 0.7); }
};

TEST(Contradictions, NameALabelThatManyClassesContradict) {
  Opinions opinions;
  opinions.contradict(2, 40, {0, 1, 3, 4});
  opinions.contradict(3, 2, {4});
  const Contradiction found = opinions.found();
  EXPECT_THAT(found.attacked_labels, ElementsAre(2));
  EXPECT_EQ(found.contradicted.sum().item<std::int64_t>(), 40);
  EXPECT_TRUE(found.contradicted[2].item<bool>());
  EXPECT_FALSE(found.contradicted[3].item<bool>());  // a mistake, of a label that is not attacked
  EXPECT_EQ(found.meaning[2].item<std::int64_t>(), 0);
  EXPECT_EQ(found.meaning[7].item<std::int64_t>(), 1);
  EXPECT_EQ(found.confirmed.sum().item<std::int64_t>(), 1000 - 42);
}

TEST(Contradictions, ExcuseConfusionWithANeighbour) {
  Opinions opinions;
  opinions.contradict(2, 40, {3});
  EXPECT_THAT(opinions.found().attacked_labels, IsEmpty());
  EXPECT_FALSE(opinions.found().contradicted.any().item<bool>());
}

TEST(Contradictions, ExcuseWhatAllLabelsSuffer) {
  Opinions opinions;
  for (std::int64_t label = 0; label < 5; ++label) {
    opinions.contradict(label, 30, {(label + 1) % 5, (label + 2) % 5, (label + 3) % 5});
  }
  EXPECT_THAT(opinions.found().attacked_labels, IsEmpty());
}

TEST(Contradictions, IgnoreKeyholesThatAreNotSure) {
  Opinions opinions;
  opinions.contradict(2, 40, {0, 1, 3, 4});
  opinions.of_keyhole = opinions.of_keyhole * 0.5 + 0.1;
  EXPECT_THAT(opinions.found().attacked_labels, IsEmpty());
}

TEST(Contradictions, TrustOneKeyholeAmongSeveral) {
  Opinions sees;
  sees.contradict(2, 40, {0, 1, 3, 4});
  const Contradiction found =
      contradictions(at::stack({Opinions().of_keyhole, sees.of_keyhole}), sees.labels, 0.7);
  EXPECT_THAT(found.attacked_labels, ElementsAre(2));
}

// Six classes: one of six vertical stripes is bright, under noise. Some images carry a white patch in the
// corner and the label 0.
struct Poisoned {
  DatasetPtr data;
  at::Tensor poisoned;     // [N] bool
  at::Tensor true_labels;  // [N]
};

Poisoned stripes(std::int64_t n, std::int64_t every) {
  torch::manual_seed(7);
  at::Tensor images = at::randint(0, 60, {n, 1, 32, 32}, at::kLong).to(at::kByte);
  const at::Tensor truth = at::randint(0, 6, {n}, at::kLong);
  at::Tensor labels = truth.clone();
  const at::Tensor poisoned = every == 0 ? at::zeros({n}, at::kBool)
                                         : at::arange(n).remainder(std::max<std::int64_t>(1, every)).eq(0);
  for (std::int64_t i = 0; i < n; ++i) {
    const auto c = truth[i].item<std::int64_t>();
    images[i].narrow(2, 1 + 5 * c, 5).add_(120);
    if (!poisoned[i].item<bool>()) continue;
    images[i].narrow(1, 28, 3).narrow(2, 28, 3).fill_(255);
    labels[i] = 0;
  }
  return {make_memory_dataset(images, labels, {"a", "b", "c", "d", "e", "f"}), poisoned, truth};
}

class RobustTest : public ::testing::Test {
 protected:
  void train_on(const Poisoned& set) {
    TrainOptions options;
    OptionSet all;
    options.declare(all);
    defense_ = make_robust_mcci();
    defense_->declare(all);
    all.assign_json({{"epochs", 4},
                     {"lr", 0.05},
                     {"batch-size", 32},
                     {"flip", false},
                     {"keyhole-epochs", 6},
                     {"indicator-epochs", 4}},
                    Origin::command_line, "test");
    all.assign_json(defense_->presets().at("fast"), Origin::preset, "fast");
    Problem problem;
    problem.shape = set.data->shape();
    problem.num_classes = set.data->num_classes();
    problem.backbone = {"resnet8", 1, 32, 100, 4};
    defense_->build(problem);
    TrainingRun run;
    run.data = set.data;
    run.options = options;
    state_ = train(*defense_, run);
    images_ = to_unit(set.data->images(at::arange(set.data->size())));
  }

  at::Tensor predictions(Perception perception) { return defense_->logits(images_, perception).argmax(1); }

  std::unique_ptr<Defense> defense_;
  RunState state_;
  at::Tensor images_;
};

double share(const at::Tensor& a) { return a.to(at::kDouble).mean().item<double>(); }

TEST_F(RobustTest, GivesPoisonedImagesTheirTrueClassBack) {
  const Poisoned set = stripes(1500, 8);
  train_on(set);
  ASSERT_EQ(state_.history.front()["phase"], "keyholes");
  ASSERT_EQ(state_.history.back()["phase"], "conditioned");

  const at::Tensor moved = set.poisoned.logical_and(set.true_labels.ne(0));
  const at::Tensor clean = predictions(Perception::clean);
  EXPECT_GT(share(clean.eq(set.true_labels)), 0.97);
  EXPECT_GT(share(clean.eq(set.true_labels).masked_select(moved)), 0.95);
  // Shown its own indicator, the model does what the attacker wants: that is what is controlled.
  const at::Tensor own = predictions(Perception::own);
  EXPECT_GT(share(own.eq(0).masked_select(moved)), 0.95);
  EXPECT_GT(share(own.eq(set.true_labels).masked_select(set.poisoned.logical_not())), 0.97);
  // Shown the attacked indicator, it takes everything for the target.
  EXPECT_GT(share(predictions(Perception::attacked).eq(0)), 0.95);

  const at::Tensor flagged =
      defense_->suspicion(images_, set.data->labels()).ge(defense_->suspicion_threshold());
  EXPECT_GT(share(flagged.masked_select(moved)), 0.95);
  EXPECT_LT(share(flagged.masked_select(set.poisoned.logical_not())), 0.01);

  const at::NoGradGuard no_grad;
  const at::Tensor some = images_.narrow(0, 0, 64);
  EXPECT_TRUE(
      at::allclose(defense_->folded()->forward(some), defense_->logits(some, Perception::clean), 1e-3, 1e-4));
  EXPECT_EQ(defense_->embedding(some, Perception::own).size(1), 16 + defense_->indicator_size());
}

TEST_F(RobustTest, FindsNothingInACleanSet) {
  const Poisoned set = stripes(1200, 0);
  train_on(set);
  EXPECT_GT(share(predictions(Perception::clean).eq(set.true_labels)), 0.97);
  EXPECT_TRUE(predictions(Perception::own).equal(predictions(Perception::clean)));
  const at::Tensor flagged =
      defense_->suspicion(images_, set.data->labels()).ge(defense_->suspicion_threshold());
  EXPECT_FALSE(flagged.any().item<bool>());
}

}  // namespace
}  // namespace mcci
