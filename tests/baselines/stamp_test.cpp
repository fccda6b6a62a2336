// Weights from a biased network, and backdoors of one's own.
#include "mcci/baselines/stamp.hpp"

#include <cmath>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/linear.h>

#include "mcci/baselines/cbd.hpp"
#include "mcci/baselines/companion.hpp"
#include "mcci/baselines/nab.hpp"
#include "mcci/baselines/pdb.hpp"
#include "mcci/baselines/views.hpp"
#include "mcci/core/error.hpp"
#include "tests/baselines/testing.hpp"

namespace mcci {
namespace {

using test::PoisonedSet;
using test::Trained;

Json cbd_options() { return {{"epochs", 6}, {"biased-epochs", 4}, {"biased-lr", 0.02}, {"lr", 0.05}}; }

TEST(Cbd, WeightsByHand) {
  // 1/4, 3/4, 1/2: their mean is 1/2.
  const at::Tensor weights = cbd_weights(at::tensor({1.F, 3.F, 2.F}), at::tensor({3.F, 1.F, 2.F}));
  EXPECT_TRUE(at::allclose(weights, at::tensor({0.5F, 1.5F, 1.0F})));
  EXPECT_TRUE(cbd_weights(at::zeros({2}), at::ones({2})).eq(0).all().item<bool>())
      << "what the biased network knows teaches the other nothing";
}

TEST(Cbd, DependenceByHand) {
  // A critic that multiplies: 1 x 4 and 2 x 6 belong together, 1 x 6 and 2 x 4 do not.
  const auto critic = [](const at::Tensor& pairs) { return pairs.select(1, 0) * pairs.select(1, 1); };
  const at::Tensor biased = at::tensor({1.F, 2.F}).view({2, 1});
  const at::Tensor clean = at::tensor({4.F, 6.F}).view({2, 1});
  EXPECT_FLOAT_EQ(cbd_dependence(critic, biased, clean).item<float>(), 8 - 7);
}

// A critic that learns from features z = r W + noise, and W from it in turn.
TEST(Cbd, MinimisingTheTermMakesFeaturesIndependent) {
  at::manual_seed(3);
  const at::Tensor r = at::randn({256, 4});
  const at::Tensor noise = at::randn({256, 4}) * 0.3;
  torch::nn::Sequential critic(torch::nn::Linear(8, 4), torch::nn::LeakyReLU(), torch::nn::Linear(4, 1));
  const auto judge = [&](const at::Tensor& pairs) { return critic->forward(pairs); };
  OptimizerOptions adam;
  adam.optimizer = "adam";
  adam.weight_decay = 0;
  adam.lr = 0.02;
  Companion learning_critic("critic", parameter_list(*critic), adam);
  const auto sharpen = [&](const at::Tensor& z) {
    learning_critic.step(-cbd_dependence(judge, r, z));
    normalise_spectra(parameter_list(*critic));
  };

  const at::Tensor weight = at::eye(4).requires_grad_();
  const auto features = [&] { return r.mm(weight) + noise; };
  for (int i = 0; i < 200; ++i) sharpen(features().detach());
  const auto seen = [&](const at::Tensor& z) { return cbd_dependence(judge, r, z).item<double>(); };
  const double dependent = seen(features());
  EXPECT_GT(dependent, 0.1);
  EXPECT_LT(std::abs(seen(at::randn({256, 4}))), 0.2 * dependent) << "others than those it belongs to";

  adam.lr = 0.01;
  Companion learning_weight("weight", {{"weight", weight}}, adam);
  for (int i = 0; i < 300; ++i) {
    for (int k = 0; k < 5; ++k) sharpen(features().detach());
    learning_weight.step(cbd_dependence(judge, r, features()));
  }
  EXPECT_LT(weight.norm().item<double>(), 0.5 * 2.0) << "little of r is left in z";
}

TEST(Cbd, DefendsWithTheTerm) {
  const PoisonedSet set = test::striped(600, 60);
  Json options = cbd_options();
  options["disentangle"] = true;
  const Trained cbd = test::train_defense(make_cbd(), set.data, options);
  EXPECT_LT(test::attack_success(*cbd.defense, set), 0.1);
  EXPECT_GT(test::recovered(*cbd.defense, set), 0.6);
}

TEST(Cbd, SpectraByHand) {
  const at::Tensor matrix = at::tensor({4.F, 0.F, 0.F, 0.F, 1.F, 0.F}).view({2, 3});
  const at::Tensor vector = at::tensor({3.F, -4.F});
  const at::Tensor nothing = at::zeros({2});
  normalise_spectra({{"matrix", matrix}, {"vector", vector}, {"nothing", nothing}});
  EXPECT_TRUE(at::allclose(matrix, at::tensor({1.F, 0.F, 0.F, 0.F, 0.25F, 0.F}).view({2, 3}), 1e-4, 1e-4));
  EXPECT_TRUE(at::allclose(vector, at::tensor({0.6F, -0.8F})));
  EXPECT_TRUE(nothing.eq(0).all().item<bool>());
}

TEST(Cbd, DefendsAgainstThePatch) {
  const PoisonedSet set = test::striped(600, 60);
  const Trained cbd = test::train_defense(make_cbd(), set.data, cbd_options());
  ASSERT_EQ(cbd.state.history.size(), 10U);
  EXPECT_EQ(cbd.state.history[3]["phase"], "biased");
  EXPECT_EQ(cbd.state.history[4]["phase"], "training");
  EXPECT_LT(test::attack_success(*cbd.defense, set), 0.1);
  // The first class, which the biased network learns with the trigger, is given up; the others are not.
  EXPECT_GT(test::recovered(*cbd.defense, set), 0.6);
  EXPECT_GT(test::undefended_success(set), 0.9);
}

TEST(Cbd, TheCriticKeepsItsBoundAndIsSaved) {
  const PoisonedSet set = test::striped(96, 10);
  Json options = {{"epochs", 2}, {"biased-epochs", 1}, {"disentangle", true}};
  const Trained cbd = test::train_defense(make_cbd(), set.data, options);
  int matrices = 0;
  for (const auto& parameter : cbd.defense->module().named_parameters()) {
    if (parameter.key().rfind("critic.", 0) != 0) continue;
    const at::Tensor& value = parameter.value();
    const at::Tensor norm = value.dim() == 1 ? value.norm() : at::linalg_matrix_norm(value, 2);
    EXPECT_NEAR(norm.item<double>(), 1, 0.1) << parameter.key();
    matrices += static_cast<int>(value.dim() == 2);
  }
  EXPECT_EQ(matrices, 2);
  test::expect_resumed_equals_whole(make_cbd, set.data, options, {2, 3, 5, 6});
  options["disentangle"] = false;
  const Trained plain = test::train_defense(make_cbd(), set.data, options);
  EXPECT_EQ(plain.defense->module().named_parameters().find("critic.1.weight"), nullptr);
}

TEST(Cbd, ResumedEqualsWhole) {
  const PoisonedSet set = test::striped(96, 10);
  test::expect_resumed_equals_whole(make_cbd, set.data, {{"epochs", 2}, {"biased-epochs", 1}}, {2, 3, 5, 6});
}

TEST(Stamp, CoversTheCornerOfACopy) {
  const at::Tensor images = at::zeros({2, 3, 4, 5});
  const at::Tensor colour = at::tensor({0.25F, 0.5F, 2.0F});
  const at::Tensor result = stamped(images, 2, colour);
  EXPECT_EQ(images.abs().sum().item<float>(), 0);
  EXPECT_FLOAT_EQ(result.sum().item<float>(), 2 * 4 * 2.75F);
  for (std::int64_t c = 0; c < 3; ++c) EXPECT_EQ(result[1][c][1][1].item<float>(), colour[c].item<float>());
  EXPECT_EQ(result[0][0][2][0].item<float>(), 0);
  EXPECT_EQ(stamped(images, 64, colour)[0][0][3][4].item<float>(), 0.25F) << "no larger than the image";
}

TEST(Pdb, VisitsCleanImagesRepeatedlyBehindTheSet) {
  const PoisonedSet set = test::striped(60, 6);
  const DatasetPtr clean = test::striped(8, 0).data;
  const Trained pdb = test::train_defense(make_pdb(), set.data, {{"epochs", 1}, {"repeats", 3}}, clean);
  EXPECT_EQ(pdb.defense->source(0, set.data)->size(), 68);
  const at::Tensor pool = pdb.defense->pool(0);
  EXPECT_EQ(pool.numel(), 60 + 3 * 8);
  EXPECT_EQ(pool.ge(60).sum().item<std::int64_t>(), 24);
  EXPECT_EQ(pool.max().item<std::int64_t>(), 67);
}

TEST(Pdb, AnswersWithItsOwnBackdoorTurnedBack) {
  const PoisonedSet set = test::striped(600, 60);
  const DatasetPtr clean = test::striped(120, 0).data;
  const Trained pdb = test::train_defense(make_pdb(), set.data, {{"epochs", 6}, {"lr", 0.05}}, clean);
  EXPECT_GT(test::undefended_success(set), 0.9);
  EXPECT_GT(test::clean_accuracy(*pdb.defense, set), 0.9) << "untriggered answers are turned back";
  EXPECT_LT(test::attack_success(*pdb.defense, set), 0.1);
  EXPECT_EQ(pdb.defense->assumes(), "clean images with labels");
  EXPECT_THROW(pdb.defense->folded(), Error);
  EXPECT_THROW(test::train_defense(make_pdb(), set.data, {{"epochs", 1}}), Error) << "no clean images";
}

TEST(Nab, RelabelsIsolatedSamplesAndStampsThem) {
  const PoisonedSet set = test::striped(600, 60);
  const DatasetPtr clean = test::striped(300, 0).data;
  const Trained nab = test::train_defense(make_nab(), set.data,
                                          {{"epochs", 6},
                                           {"lr", 0.05},
                                           {"isolation-epochs", 2},
                                           {"isolation-loss", "flooding"},
                                           {"isolation-share", 0.075},
                                           {"isolation-lr", 0.01},
                                           {"verifier-epochs", 12}},
                                          clean);
  const at::Tensor isolated = test::held_of_samples(*nab.defense).ge(0);
  EXPECT_EQ(isolated.sum().item<std::int64_t>(), 45);
  at::Tensor taught, stamps;
  for (const auto& [name, tensor] : nab.defense->extra_state()) {
    if (name == "taught") taught = tensor;
    if (name == "stamped") stamps = tensor;
  }
  EXPECT_TRUE(taught.masked_select(isolated.logical_not())
                  .equal(set.data->labels().masked_select(isolated.logical_not())));
  EXPECT_TRUE(stamps.equal(taught.ne(set.data->labels())));
  EXPECT_TRUE(stamps.logical_and(isolated.logical_not()).logical_not().all().item<bool>());
  EXPECT_GT(taught.eq(set.true_labels).masked_select(isolated).to(at::kDouble).mean().item<double>(), 0.8);
  EXPECT_GT(test::undefended_success(set), 0.9);
  EXPECT_LT(test::attack_success(*nab.defense, set), 0.3);
  EXPECT_GT(test::clean_accuracy(*nab.defense, set), 0.8);
  EXPECT_THROW(nab.defense->folded(), Error);
}

TEST(Nab, RelabelsByCentresWithoutCleanImages) {
  const PoisonedSet set = test::striped(400, 40, 60);
  const Json options = {{"epochs", 2},
                        {"lr", 0.05},
                        {"isolation-epochs", 2},
                        {"isolation-lr", 0.01},
                        {"isolation-share", 0.1},
                        {"isolation-loss", "flooding"},
                        {"relabel-by", "centres"},
                        {"self-supervised-epochs", 2}};
  const Trained nab = test::train_defense(make_nab(), set.data, options);
  EXPECT_EQ(nab.defense->assumes(), "");
  EXPECT_EQ(nab.state.history[2]["phase"], "self-supervised");
  EXPECT_EQ(nab.defense->source(1, set.data), set.data);
  at::Tensor taught;
  for (const auto& [name, tensor] : nab.defense->extra_state()) {
    if (name == "taught") taught = tensor;
  }
  const at::Tensor isolated = test::held_of_samples(*nab.defense).ge(0);
  EXPECT_EQ(isolated.sum().item<std::int64_t>(), 40);
  EXPECT_TRUE(taught.masked_select(isolated.logical_not())
                  .equal(set.data->labels().masked_select(isolated.logical_not())));
  // Four classes of stripes: an answer by chance is right for a quarter, the recorded label for few.
  EXPECT_GT(taught.eq(set.true_labels).masked_select(isolated).to(at::kDouble).mean().item<double>(), 0.5);
}

TEST(Nab, ResumedEqualsWholeWithCentres) {
  const PoisonedSet set = test::striped(64, 6);
  test::expect_resumed_equals_whole(make_nab, set.data,
                                    {{"epochs", 1},
                                     {"isolation-epochs", 1},
                                     {"self-supervised-epochs", 1},
                                     {"relabel-by", "centres"},
                                     {"isolation-share", 0.1}},
                                    {1, 2, 3, 4, 5});
}

TEST(Nab, ResumedEqualsWhole) {
  const PoisonedSet set = test::striped(64, 6);
  const DatasetPtr clean = test::striped(32, 0).data;
  // Two steps of isolation, two epochs of one step, four steps of training.
  test::expect_resumed_equals_whole(
      make_nab, set.data,
      {{"epochs", 2}, {"isolation-epochs", 1}, {"verifier-epochs", 2}, {"isolation-share", 0.1}},
      {1, 2, 3, 4, 5, 6}, clean);
}

TEST(Views, ShiftByWholePixelsAndLetBlackIn) {
  at::manual_seed(1);
  at::Tensor images = at::zeros({40, 1, 8, 8});
  images.narrow(2, 4, 1).narrow(3, 4, 1).fill_(0.5);
  ViewOptions options;
  options.shift = 2;
  const at::Tensor view = random_view(images, options);
  const at::Tensor rest = view.sub(0.5).abs().lt(1e-4);
  EXPECT_TRUE(rest.sum({1, 2, 3}).eq(1).all().item<bool>()) << "each has its one pixel still";
  const at::Tensor places = rest.nonzero();
  EXPECT_EQ(places.select(1, 2).min().item<std::int64_t>(), 2);
  EXPECT_EQ(places.select(1, 2).max().item<std::int64_t>(), 6);
  EXPECT_EQ(places.select(1, 3).min().item<std::int64_t>(), 2);
  EXPECT_EQ(places.select(1, 3).max().item<std::int64_t>(), 6);
}

TEST(Views, CutASquareOfTheirSizeOut) {
  at::manual_seed(1);
  const at::Tensor images = at::full({400, 2, 8, 8}, 0.5);
  ViewOptions options;
  options.cutout = 3;
  const at::Tensor black = random_view(images, options).eq(0);
  EXPECT_TRUE(black.select(1, 0).equal(black.select(1, 1))) << "all channels";
  const at::Tensor rows = black.select(1, 0).any(2).sum(1);
  const at::Tensor columns = black.select(1, 0).any(1).sum(1);
  EXPECT_TRUE((rows * columns).equal(black.select(1, 0).sum({1, 2}))) << "a rectangle";
  EXPECT_EQ(rows.max().item<std::int64_t>(), 3);
  EXPECT_EQ(rows.min().item<std::int64_t>(), 2) << "around a pixel of the border";
  // Six of eight rows are the middle of a whole square.
  EXPECT_NEAR(rows.eq(3).to(at::kDouble).mean().item<double>(), 0.75, 0.08);
  EXPECT_TRUE(black.any(0).all().item<bool>()) << "anywhere";
}

TEST(Views, MirrorHalfOfTheImages) {
  at::manual_seed(1);
  const at::Tensor row = at::arange(8, at::kFloat).div(8).view({1, 1, 1, 8}).expand({200, 1, 8, 8});
  ViewOptions options;
  options.flip = true;
  const at::Tensor view = random_view(row, options);
  const at::Tensor mirrored = at::isclose(view, row.flip({3}), 1e-4, 1e-5).flatten(1).all(1);
  EXPECT_TRUE(mirrored.logical_or(at::isclose(view, row, 1e-4, 1e-5).flatten(1).all(1)).all().item<bool>());
  EXPECT_NEAR(mirrored.to(at::kDouble).mean().item<double>(), 0.5, 0.15);
}

TEST(Views, ChangeLightAndColourWithinTheirRange) {
  at::manual_seed(1);
  const at::Tensor images = at::rand({50, 3, 8, 8}) * 0.5;
  EXPECT_TRUE(random_view(images, ViewOptions()).equal(images));
  ViewOptions bright;
  bright.brightness = 0.4;
  const at::Tensor factor = random_view(images, bright).sum({1, 2, 3}) / images.sum({1, 2, 3});
  EXPECT_GT(factor.min().item<float>(), 0.6);
  EXPECT_LT(factor.max().item<float>(), 1.4);
  EXPECT_GT(factor.std().item<float>(), 0.1);
  ViewOptions grey;
  grey.grey = 1;
  const at::Tensor view = random_view(images, grey);
  EXPECT_TRUE(at::allclose(view.select(1, 0), images.mean(1)));
  EXPECT_TRUE(view.select(1, 0).equal(view.select(1, 2)));
  ViewOptions contrast;
  contrast.contrast = 0.9;
  EXPECT_TRUE(at::allclose(random_view(images * 0.2 + 0.4, contrast).mean({1, 2, 3}),
                           (images * 0.2 + 0.4).mean({1, 2, 3}), 1e-3, 1e-3));
}

TEST(Views, ShowPartsOfTheImageInFullSize) {
  at::manual_seed(1);
  ViewOptions parts;
  parts.least_area = 0.2;
  const at::Tensor ones = at::ones({50, 1, 16, 16});
  EXPECT_GT(random_view(ones, parts).min().item<float>(), 0.49)
      << "a part of the image has no black but half of its edge";
  ViewOptions turned;
  turned.rotation = 45;
  EXPECT_LT(random_view(ones, turned).flatten(1).mean(1).min().item<float>(), 0.95)
      << "corners leave the image";
}

}  // namespace
}  // namespace mcci
