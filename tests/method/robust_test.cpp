#include "mcci/method/robust.hpp"

#include <vector>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "mcci/method/contradiction.hpp"
#include "mcci/method/keyholes.hpp"
#include "mcci/method/witnesses.hpp"
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

// 1,000 samples of 5 labels in turn, as five keyholes see them: sure of the label, but for those that are
// said otherwise.
struct Opinions {
  at::Tensor labels = at::arange(1000).remainder(5);
  at::Tensor of_keyholes = (at::one_hot(labels, 5).to(at::kFloat) * 0.9 + 0.02).repeat({5, 1, 1});
  at::Tensor evidence = at::full({1000}, -3.0F);

  // To one keyhole sample i of a label (the i-th of its 200) means another class.
  void contradict(std::int64_t label, std::int64_t i, std::int64_t keyhole, std::int64_t meaning,
                  double confidence) {
    at::Tensor opinion = of_keyholes[keyhole][5 * i + label];
    opinion.fill_((1 - confidence) / 4);
    opinion[meaning] = confidence;
  }
  // The first `count` samples of a label are contradicted, and the first `marked` of them bear a mark.
  void attack(std::int64_t label, std::int64_t count, std::int64_t marked) {
    for (std::int64_t i = 0; i < count; ++i) {
      contradict(label, i, i % 5, (label + 1 + i % 4) % 5, 0.92);
      if (i < marked) evidence[5 * i + label] = 3;
    }
  }
  Contradiction found() const { return contradictions(of_keyholes, labels, 0.7); }
  Marks found_marks(double share = 0.33) const { return marks(found(), labels, 5, evidence, share); }
};

TEST(Contradictions, TakeTheWordOfOneKeyholeThatIsSure) {
  Opinions opinions;
  opinions.contradict(2, 0, 3, 4, 0.71);
  opinions.contradict(2, 1, 3, 4, 0.69);
  const Contradiction found = opinions.found();
  EXPECT_EQ(found.contradicted.nonzero().item<std::int64_t>(), 2);
  EXPECT_EQ(found.meaning[2].item<std::int64_t>(), 4);
  EXPECT_FALSE(found.confirmed[2].item<bool>());
  EXPECT_TRUE(found.confirmed[7].item<bool>());  // four of five see its label
  EXPECT_EQ(found.meaning[7].item<std::int64_t>(), 2);
}

TEST(Contradictions, ConfirmOnlyWhatNearlyAllKeyholesSee) {
  Opinions opinions;
  for (std::int64_t keyhole = 0; keyhole < 2; ++keyhole) opinions.contradict(2, 0, keyhole, 4, 0.5);
  const Contradiction found = opinions.found();
  EXPECT_FALSE(found.contradicted.any().item<bool>());
  EXPECT_EQ(found.confirmed.logical_not().nonzero().item<std::int64_t>(), 2);
}

TEST(Contradictions, MeanWhatTheSurestContradictionSays) {
  Opinions opinions;
  opinions.contradict(2, 0, 1, 3, 0.8);
  opinions.contradict(2, 0, 4, 0, 0.9);
  EXPECT_EQ(opinions.found().meaning[2].item<std::int64_t>(), 0);
}

TEST(MarksTest, NameALabelWhoseContradictionsBearThem) {
  Opinions opinions;
  for (std::int64_t label = 0; label < 5; ++label) opinions.attack(label, 10, 0);
  opinions.attack(2, 40, 30);
  opinions.attack(4, 40, 13);  // less than a third
  const Marks found = opinions.found_marks();
  EXPECT_THAT(found.attacked_labels, ElementsAre(2));
  EXPECT_EQ(found.marked.sum().item<std::int64_t>(), 30);
  EXPECT_TRUE(found.marked[2].item<bool>());
  EXPECT_FALSE(found.marked[4].item<bool>());  // of a label that is not attacked
  EXPECT_THAT(opinions.found_marks(0.3).attacked_labels, ElementsAre(2, 4));
}

TEST(MarksTest, ExcuseConfusionWithANeighbourHoweverFrequent) {
  Opinions opinions;
  for (std::int64_t i = 0; i < 150; ++i) opinions.contradict(2, i, i % 5, 3, 0.92);
  EXPECT_THAT(opinions.found_marks().attacked_labels, IsEmpty());
  EXPECT_FALSE(opinions.found_marks().marked.any().item<bool>());
}

TEST(MarksTest, ExcuseMistakesThatAllLabelsSuffer) {
  Opinions opinions;
  for (std::int64_t label = 0; label < 5; ++label) opinions.attack(label, label == 2 ? 120 : 20, 0);
  EXPECT_THAT(opinions.found_marks().attacked_labels, IsEmpty());
  opinions.attack(2, 130, 0);  // six times the median, and ten: numbers speak without a mark
  const Marks found = opinions.found_marks();
  EXPECT_THAT(found.attacked_labels, ElementsAre(2));
  EXPECT_EQ(found.marked.sum().item<std::int64_t>(), 130);
}

TEST(MarksTest, NeedTenSamples) {
  Opinions opinions;
  opinions.attack(1, 9, 9);
  opinions.attack(3, 10, 10);
  EXPECT_THAT(opinions.found_marks().attacked_labels, ElementsAre(3));
}

TEST(MarksTest, AreNoneWhereNothingIsContradicted) {
  Opinions opinions;
  opinions.evidence.fill_(5);
  EXPECT_THAT(opinions.found_marks(0).attacked_labels, IsEmpty());
}

TEST(MarksTest, NameAllLabelsOfAnAllToAllAttack) {
  Opinions opinions;
  for (std::int64_t label = 0; label < 5; ++label) opinions.attack(label, 20, 15);
  EXPECT_THAT(opinions.found_marks().attacked_labels, ElementsAre(0, 1, 2, 3, 4));
}

TEST(WitnessesTest, SpeakForTheHalvesThatTheyDidNotLearnFrom) {
  const at::Tensor testimony = at::tensor({1.0, 2.0, 3.0, 4.0}).view({2, 2});
  const at::Tensor witness = at::tensor({0, 1}, at::kLong);
  EXPECT_TRUE(own_testimony(testimony, witness).equal(at::tensor({1.0, 4.0})));
  EXPECT_TRUE(held_out_testimony(testimony, witness).equal(at::tensor({2.0, 3.0})));
}

TEST(WitnessesTest, LearnFromHalvesDrawnBySeed) {
  const at::Tensor first = witness_of(1000, 1);
  EXPECT_EQ(first.sum().item<std::int64_t>(), 500);
  EXPECT_TRUE(first.equal(witness_of(1000, 1)));
  EXPECT_FALSE(first.equal(witness_of(1000, 2)));
}

TEST(WitnessesTest, AreTwoNetworksThatShareNothing) {
  torch::manual_seed(1);
  Witnesses witnesses(AttackIndicationOptions{{2, 16, 16}, 20, 4});
  const at::Tensor z_f = witnesses->forward(at::rand({6, 2, 16, 16}));
  ASSERT_EQ(z_f.sizes(), (std::vector<std::int64_t>{6, 20}));
  witnesses->testimony(z_f).select(1, 0).sum().backward();
  for (const auto& parameter : witnesses->named_parameters()) {
    const bool of_first = parameter.key().rfind("first", 0) == 0;
    const at::Tensor& gradient = parameter.value().grad();
    EXPECT_EQ(gradient.defined() && gradient.any().item<bool>(), of_first) << parameter.key();
  }
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
