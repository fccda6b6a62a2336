#include "mcci/method/robust.hpp"

#include <cmath>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "mcci/method/contradiction.hpp"
#include "mcci/method/keyholes.hpp"
#include "mcci/method/marks.hpp"
#include "mcci/method/trigger.hpp"
#include "mcci/method/witnesses.hpp"
#include "mcci/train/trainer.hpp"

namespace mcci {
namespace {

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

  // To one keyhole sample i of a label (the i-th of its 200) means another class.
  void contradict(std::int64_t label, std::int64_t i, std::int64_t keyhole, std::int64_t meaning,
                  double confidence) const {
    at::Tensor opinion = of_keyholes[keyhole][5 * i + label];
    opinion.fill_((1 - confidence) / 4);
    opinion[meaning] = confidence;
  }
  Contradiction found() const { return contradictions(of_keyholes, labels, 0.7); }
};

TEST(Opinions, AreAskedInDetailWhereThatAgreesWithTheLabelsMuchMoreOften) {
  const at::Tensor labels = at::zeros({100}, at::kLong);
  // Two keyholes, each of which sees what the label says in so many of 100 samples.
  const auto opinions = [](std::int64_t agreeing) {
    return at::one_hot(at::arange(100).ge(agreeing).to(at::kLong), 2).to(at::kFloat).repeat({2, 1, 1});
  };
  EXPECT_FALSE(detail_is_needed(opinions(40), opinions(60), labels));
  EXPECT_TRUE(detail_is_needed(opinions(40), opinions(61), labels));
}

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

TEST(Contradictions, CountMeaningsByTheirEntropy) {
  EXPECT_NEAR(effective_number(at::tensor({5, 5, 0, 5}, at::kLong)), 3, 1e-9);
  EXPECT_NEAR(effective_number(at::tensor({7, 0}, at::kLong)), 1, 1e-9);
  EXPECT_NEAR(effective_number(at::tensor({3, 1}, at::kLong)), std::pow(4.0, 1.0) / std::pow(3.0, 0.75),
              1e-9);
}

// Ten labels that 100 samples each contradict, meaning two classes, of which a few look marked.
std::vector<Grounds> innocent() { return std::vector<Grounds>(10, Grounds{100, 10, 1.5, 2, 0.05}); }

TEST(VerdictsTest, NameNothingWhereLabelsSufferMistakes) {
  for (const Verdict verdict : verdicts(innocent(), 0.33)) EXPECT_EQ(verdict, Verdict::clean);
  // Difficult images of few classes look alike, however many they are.
  std::vector<Grounds> labels = innocent();
  labels[5] = {600, 400, 4.4, 4.4, 0.4};
  for (const Verdict verdict : verdicts(labels, 0.33)) EXPECT_EQ(verdict, Verdict::clean);
}

TEST(VerdictsTest, NameALabelWhoseTriggerWorksElsewhere) {
  std::vector<Grounds> labels = innocent();
  labels[2] = {100, 10, 1, 1, 0.5};  // one meaning, as of all-to-all
  labels[3] = {100, 9, 1, 1, 0.9};   // too few
  const std::vector<Verdict> found = verdicts(labels, 0.33);
  EXPECT_EQ(found[2], Verdict::marked);
  EXPECT_EQ(found[3], Verdict::clean);
}

TEST(VerdictsTest, AskOfOneMeaningThatMarkAndContradictionComeTogether) {
  std::vector<Grounds> labels = innocent();
  labels[2] = {100, 30, 1, 2, 0.7, 0.09};
  labels[5] = {100, 30, 1.4, 2, 0.7, 0.11};  // all of the class looks so
  labels[7] = {100, 30, 4.5, 5, 0.7, 0.11};  // many kinds of things do, with this label alone
  const std::vector<Verdict> found = verdicts(labels, 0.33);
  EXPECT_EQ(found[2], Verdict::marked);
  EXPECT_EQ(found[5], Verdict::clean);
  EXPECT_EQ(found[7], Verdict::marked);
}

TEST(VerdictsTest, NameALabelThatMarkedImagesOfHalfTheClassesContradict) {
  std::vector<Grounds> labels = innocent();
  labels[0] = {300, 99, 4.5, 5, 0};
  labels[1] = {300, 98, 4.5, 5, 0};    // less than the share
  labels[2] = {300, 99, 4.4, 4.4, 0};  // too few meanings
  labels[3] = {300, 12, 4, 4, 0};
  const std::vector<Verdict> found = verdicts(labels, 0.33);
  EXPECT_EQ(found[0], Verdict::marked);
  for (std::size_t label = 1; label < 4; ++label) EXPECT_EQ(found[label], Verdict::clean) << label;
  // Twelve samples cannot mean more: a third of them will do.
  EXPECT_EQ(verdicts(labels, 0.04)[3], Verdict::marked);
}

TEST(VerdictsTest, LetNumbersSpeakWhereNothingIsMarked) {
  std::vector<Grounds> labels = innocent();
  labels[4] = {610, 0, 0, 3, 0};  // six times the median, and ten
  labels[6] = {609, 0, 0, 3, 0};
  labels[7] = {900, 0, 0, 2.9, 0};
  const std::vector<Verdict> found = verdicts(labels, 0.33);
  EXPECT_EQ(found[4], Verdict::contradicted);
  EXPECT_EQ(found[6], Verdict::clean);
  EXPECT_EQ(found[7], Verdict::clean);
}

// 400 grey images of two classes, noise around 80 and around 160; the second half of them with a trigger on
// it.
DatasetPtr with_trigger(const Trigger& trigger) {
  torch::manual_seed(3);
  const at::Tensor labels = at::arange(400).remainder(2);
  at::Tensor images = (80 + 80 * labels).view({-1, 1, 1, 1}) / 255.0 + 0.1 * at::randn({400, 1, 8, 8});
  images.clamp_(0, 1);
  images.narrow(0, 200, 200).copy_(put_on(trigger, images.narrow(0, 200, 200), at::ones({1})));
  return make_memory_dataset(images.mul(255).round().to(at::kByte), labels, {"a", "b"});
}

TEST(TriggerTest, IsFoundFromTheFirstTwoMoments) {
  Trigger truth{at::ones({1, 8, 8}), at::zeros({1, 8, 8}), {}};
  truth.scale[0][7][7] = 0;  // a patch
  truth.shift[0][7][7] = 1;
  truth.scale[0].narrow(0, 0, 2).fill_(0.8);  // a blend
  truth.shift[0].narrow(0, 0, 2).fill_(0.1);
  const Trigger found =
      estimate_trigger(with_trigger(truth), at::arange(200, 400), at::arange(0, 200), at::ones({200}));
  EXPECT_LT((found.scale - truth.scale).abs().max().item<double>(), 0.2);
  // What it does to a grey image.
  const at::Tensor grey = at::full({1, 1, 8, 8}, 0.5);
  const at::Tensor difference = put_on(found, grey, at::ones({1})) - put_on(truth, grey, at::ones({1}));
  EXPECT_LT(difference.abs().max().item<double>(), 0.04);
}

TEST(TriggerTest, ComparesImagesThatMeanTheSame) {
  const DatasetPtr data = with_trigger({at::ones({1, 8, 8}), at::zeros({1, 8, 8}), {}});
  // All marked images are of class b: controls of class a weigh nothing.
  const at::Tensor controls = at::arange(0, 200);
  const Trigger found = estimate_trigger(data, at::arange(201, 400, 2), controls,
                                         data->labels().narrow(0, 0, 200).to(at::kFloat));
  const at::Tensor bright = at::full({1, 1, 8, 8}, 160.0 / 255);
  EXPECT_LT((put_on(found, bright, at::ones({1})) - bright).abs().max().item<double>(), 0.05);
}

TEST(TriggerTest, DepartsWhereItIsNotTheSameInAllMarkedImages) {
  // White corner, in every second of the marked images alone; noise elsewhere.
  torch::manual_seed(3);
  at::Tensor images = (0.1 + 0.03 * at::randn({400, 1, 8, 8})).clamp_(0, 1);
  for (std::int64_t i = 200; i < 400; i += 2) images[i][0][7][7] = 1;
  const DatasetPtr data =
      make_memory_dataset(images.mul(255).round().to(at::kByte), at::zeros({400}, at::kLong), {"a"});
  const Trigger found = estimate_trigger(data, at::arange(200, 400), at::arange(0, 200), at::ones({200}));
  ASSERT_TRUE(found.departures.sizes().equals({32, 1, 8, 8}));
  for (std::int64_t i = 0; i < 32; ++i) {
    at::Tensor departure = found.departures[i].clone();
    const double corner = (found.shift + departure)[0][7][7].item<double>();
    EXPECT_NEAR(corner, i % 2 == 0 ? 0.9 : 0, 0.15);  // 0.1 -> 1, or as it is
    departure[0][7][7] = 0;
    EXPECT_TRUE(departure.eq(0).all().item<bool>());
  }
  const Trigger few = estimate_trigger(data, at::arange(200, 220), at::arange(0, 200), at::ones({200}));
  EXPECT_TRUE(few.departures.narrow(0, 20, 12).equal(few.departures.narrow(0, 0, 12)));
}

TEST(TriggerTest, IsDrawnWithOneOfItsDepartures) {
  // Two triggers of one pixel, with two departures each.
  const Trigger triggers{at::tensor({0.5F, 1.0F}).view({2, 1, 1, 1}),
                         at::tensor({0.1F, 0.2F}).view({2, 1, 1, 1}),
                         at::tensor({0.0F, 0.01F, 0.02F, 0.03F}).view({2, 2, 1, 1, 1})};
  const Trigger found = drawn(triggers, at::tensor({0.0F, 0.3F, 0.6F, 0.99F}));
  EXPECT_TRUE(found.scale.flatten().equal(at::tensor({0.5F, 0.5F, 1.0F, 1.0F})));
  EXPECT_TRUE(at::allclose(found.shift.flatten(), at::tensor({0.10F, 0.11F, 0.22F, 0.23F})));
}

TEST(TriggerTest, IsPutOnAtAnyStrengthWithinTheRange) {
  const Trigger trigger{at::full({1, 1, 1}, 0.5F), at::full({1, 1, 1}, 0.4F), {}};
  const at::Tensor images = at::tensor({0.2F, 0.8F, 0.2F}).view({3, 1, 1, 1});
  const at::Tensor strength = at::tensor({1.0F, 0.5F, 4.0F}).view({3, 1, 1, 1});
  EXPECT_TRUE(at::allclose(put_on(trigger, images, strength).flatten(), at::tensor({0.5F, 0.8F, 1.0F})));
  EXPECT_TRUE(at::allclose(images.flatten(), at::tensor({0.2F, 0.8F, 0.2F})));
}

TEST(WitnessesTest, SeeOnlyWhatTheyAreShown) {
  torch::manual_seed(1);
  Witnesses witnesses(AttackIndicationOptions{{2, 16, 16}, 20, 4}, 3);
  witnesses->eval();
  const at::NoGradGuard no_grad;
  const at::Tensor indicator = at::rand({5, 2, 16, 16});
  const at::Tensor both = witnesses->forward(indicator);
  const auto said = witnesses->testimony(indicator, at::tensor({0, 1, 1, 0, 1}, at::kLong));
  ASSERT_EQ(said.log_odds.sizes(), (std::vector<std::int64_t>{5, 3}));
  for (std::int64_t i = 0; i < 5; ++i) {
    const std::int64_t witness = i == 0 || i == 3 ? 0 : 1;
    EXPECT_TRUE(at::allclose(said.z_f[i], both[i].narrow(0, 10 * witness, 10), 1e-4, 1e-5)) << i;
  }
  // Of new images both speak, and their mean counts.
  const at::Tensor first = witnesses->testimony(indicator, at::zeros({5}, at::kLong)).log_odds;
  const at::Tensor second = witnesses->testimony(indicator, at::ones({5}, at::kLong)).log_odds;
  EXPECT_TRUE(at::allclose(witnesses->log_odds(both), (first + second) / 2, 1e-4, 1e-5));
}

TEST(WitnessesTest, LearnFromABatchThatHasOneImageForThem) {
  Witnesses witnesses(AttackIndicationOptions{{2, 16, 16}, 20, 4}, 3);
  const auto said = witnesses->testimony(at::rand({3, 2, 16, 16}), at::tensor({0, 1, 0}, at::kLong));
  EXPECT_EQ(said.log_odds.sizes(), (std::vector<std::int64_t>{3, 3}));
}

TEST(ControlWeights, MakeOthersMeanWhatTheAccusedMean) {
  // Label 0 is accused on four samples that mean 1 and two that mean 2, label 2 on a hundred that mean 2.
  const torch::Tensor meaning =
      torch::cat({torch::tensor({1, 1, 1, 1, 2, 2}), torch::full({100}, 2)}).to(torch::kLong);
  const torch::Tensor labels = torch::cat({torch::zeros({6}), torch::full({100}, 2)}).to(torch::kLong);
  const torch::Tensor others = torch::tensor({0, 0, 0, 1, 1, 2, 2, 2, 2}).to(torch::kLong);
  const torch::Tensor weights = control_weights(meaning, labels, others, 3);
  // By hand: .9 of the accused of that meaning and, in its own row, .1 of all of the label, over how many
  // others have the meaning.
  EXPECT_TRUE(weights.allclose(torch::tensor({{0.2F, 0.F, 0.F}, {1.8F, 0.F, 0.F}, {0.45F, 0.F, 5.F}})))
      << weights;
  EXPECT_EQ(control_weights(meaning, labels, others.narrow(0, 0, 3), 3)[1][0].item<float>(),
            3.6F);  // none to divide by
}

TEST(WitnessesTest, LearnFromHalvesDrawnBySeed) {
  const at::Tensor first = witness_of(1000, 1);
  EXPECT_EQ(first.sum().item<std::int64_t>(), 500);
  EXPECT_TRUE(first.equal(witness_of(1000, 1)));
  EXPECT_FALSE(first.equal(witness_of(1000, 2)));
}

TEST(WitnessesTest, AreTwoNetworksThatShareNothing) {
  torch::manual_seed(1);
  Witnesses witnesses(AttackIndicationOptions{{2, 16, 16}, 20, 4}, 3);
  witnesses->testimony(at::rand({6, 2, 16, 16}), at::zeros({6}, at::kLong)).log_odds.sum().backward();
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

// Four classes: a small figure somewhere among noise of all levels, which a coarse view does not show. Some
// images carry a white patch in the corner and the label 0.
Poisoned figures_in_noise(std::int64_t n, std::int64_t every) {
  torch::manual_seed(9);
  at::Tensor images = at::randint(0, 256, {n, 1, 32, 32}, at::kLong).to(at::kByte);
  const at::Tensor truth = at::randint(0, 4, {n}, at::kLong), at = at::randint(0, 22, {n, 2}, at::kLong);
  at::Tensor labels = truth.clone();
  const at::Tensor poisoned = at::arange(n).remainder(every).eq(0);
  const at::Tensor figures = at::randint(0, 2, {4, 8, 8}, at::kLong) * 255;
  for (std::int64_t i = 0; i < n; ++i) {
    images[i][0]
        .narrow(0, at[i][0].item<std::int64_t>(), 8)
        .narrow(1, at[i][1].item<std::int64_t>(), 8)
        .copy_(figures[truth[i].item<std::int64_t>()]);
    if (!poisoned[i].item<bool>()) continue;
    images[i].narrow(1, 29, 3).narrow(2, 29, 3).fill_(255);
    labels[i] = 0;
  }
  return {make_memory_dataset(images, labels, {"a", "b", "c", "d"}), poisoned, truth};
}

class RobustTest : public ::testing::Test {
 protected:
  void train_on(const Poisoned& set, bool pre_trained = false, const Json& more = Json::object()) {
    TrainOptions options;
    OptionSet all;
    options.declare(all);
    defense_ = make_mcci();
    defense_->declare(all);
    all.assign_json({{"epochs", 4},
                     {"lr", 0.05},
                     {"batch-size", 32},
                     {"flip", false},
                     {"keyhole-epochs", 6},
                     {"indicator-epochs", 4}},
                    Origin::command_line, "test");
    all.assign_json(more, Origin::command_line, "test");
    all.assign_json(defense_->presets().at("robust"), Origin::preset, "robust");
    Problem problem;
    problem.shape = set.data->shape();
    problem.num_classes = set.data->num_classes();
    problem.backbone = {"resnet8", 1, 32, 100, 4};
    problem.pre_trained = pre_trained;
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

TEST_F(RobustTest, AsksGlimpsesWhereKeyholesSeeTooLittle) {
  const Poisoned set = figures_in_noise(2400, 6);
  train_on(set, false, {{"keyhole-epochs", 1}, {"glimpse-epochs", 10}, {"indicator-epochs", 24}});
  const at::Tensor moved = set.poisoned.logical_and(set.true_labels.ne(0));
  const at::Tensor clean = predictions(Perception::clean);
  EXPECT_GT(share(clean.eq(set.true_labels)), 0.9);
  EXPECT_GT(share(clean.eq(set.true_labels).masked_select(moved)), 0.9);
  const at::Tensor flagged =
      defense_->suspicion(images_, set.data->labels()).ge(defense_->suspicion_threshold());
  EXPECT_GT(share(flagged.masked_select(moved)), 0.8);
  EXPECT_LT(share(flagged.masked_select(set.poisoned.logical_not())), 0.02);
}

// With nothing to contradict a label the attack goes unseen, and its trigger is learned.
TEST_F(RobustTest, IsBlindWithoutKeyholesAndDivision) {
  const Poisoned set = stripes(1500, 8);
  train_on(set, false, {{"leave-out", {"keyholes", "division"}}});
  const at::Tensor moved = set.poisoned.logical_and(set.true_labels.ne(0));
  EXPECT_GT(share(predictions(Perception::clean).eq(0).masked_select(moved)), 0.9);
}

TEST_F(RobustTest, KeepsNothingOfPartsThatAreLeftOut) {
  const Poisoned set = stripes(600, 6);
  const auto state = [&](const Json& options) {
    train_on(set, false, options);
    std::map<std::string, at::Tensor> found;
    for (const auto& [name, tensor] : defense_->extra_state()) found.emplace(name, tensor);
    return found;
  };
  const auto without = state({{"epochs", 2}, {"leave-out", {"indicator", "negative-evidence"}}});
  EXPECT_FALSE(without.at("evidence").any().item<bool>());
  EXPECT_FALSE(without.at("rejected").any().item<bool>());
  // Without the SFRN's word, what the keyholes thought before the first epoch stands.
  const auto unasked = state({{"epochs", 2}, {"leave-out", {"posterior"}}});
  EXPECT_TRUE(unasked.at("meant").equal(state({{"epochs", 1}}).at("meant")));
}

// Keyholes that have seen too little to be sure of anything: what lies among images of another label is then
// contradicted by a pre-trained SFRN alone. Random features tell stripes apart.
TEST_F(RobustTest, AsksAPreTrainedBackboneWhatImagesMean) {
  Poisoned set = stripes(600, 0);
  at::Tensor labels = set.true_labels.clone();
  const at::Tensor mistaken = at::arange(600).remainder(20).eq(0);
  labels.add_(mistaken.to(at::kLong)).remainder_(6);
  set.data = make_memory_dataset(set.data->images(at::arange(600)), labels, set.data->classes());
  const auto contradicted = [&](bool pre_trained) {
    train_on(set, pre_trained, {{"keyhole-epochs", 1}, {"keyhole-images", 64}, {"epochs", 1}});
    for (const auto& [name, tensor] : defense_->extra_state())
      if (name == "contradicted") return tensor;
    throw std::logic_error("no state is called contradicted");
  };
  EXPECT_LT(share(contradicted(false).masked_select(mistaken)), 0.5);
  const at::Tensor found = contradicted(true);
  EXPECT_GT(share(found.masked_select(mistaken)), 0.9);
  EXPECT_LT(share(found.masked_select(mistaken.logical_not())), 0.1);
}

}  // namespace
}  // namespace mcci
