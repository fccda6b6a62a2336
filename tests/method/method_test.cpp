#include <cmath>
#include <map>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/functional/loss.h>
#include <torch/types.h>

#include "mcci/core/error.hpp"
#include "mcci/data/loader.hpp"
#include "mcci/method/attack_indication_network.hpp"
#include "mcci/method/folding.hpp"
#include "mcci/method/inference_control.hpp"
#include "mcci/method/mcci.hpp"
#include "mcci/method/mind_control_model.hpp"
#include "mcci/method/spectrum.hpp"
#include "mcci/signal/dct.hpp"
#include "mcci/state/module_state.hpp"
#include "mcci/train/trainer.hpp"

namespace mcci {
namespace {

class Fixture {
 public:
  explicit Fixture(const std::string& name) {
    for (auto& [key, tensor] :
         load_safetensors(std::string(MCCI_FIXTURES) + "/" + name + ".safetensors").tensors) {
      tensors_[key] = tensor.is_floating_point() ? tensor.to(at::kFloat) : tensor;
    }
  }
  at::Tensor operator[](const std::string& name) const { return tensors_.at(name); }
  TensorList weights() const {
    TensorList list;
    for (const auto& [name, tensor] : tensors_) list.emplace_back(name, tensor);
    return with_prefix_removed(list, "weights");
  }

 private:
  std::map<std::string, at::Tensor> tensors_;
};

void expect_close(const at::Tensor& actual, const at::Tensor& expected, double rtol,
                  const std::string& what) {
  ASSERT_EQ(actual.sizes(), expected.sizes()) << what;
  const double scale = expected.abs().max().item<double>();
  const double worst = (actual - expected).abs().max().item<double>();
  EXPECT_LE(worst, rtol * scale) << what;
}

TEST(Spectrum, IsTheDctOfTheEightBitImage) {
  const at::Tensor bytes = at::arange(256).to(at::kByte).view({1, 1, 16, 16});
  const at::Tensor x = to_unit(bytes);
  expect_close(attack_indicator(x, Indicator::raw), dct2(bytes.to(at::kFloat)), 1e-6, "raw");
  // A pixel between two bytes is floored, as in the paper.
  EXPECT_TRUE(
      at::equal(attack_indicator(x + 0.4 / 255, Indicator::raw), attack_indicator(x, Indicator::raw)));
}

TEST(Spectrum, LogScaleKeepsSignAndOrder) {
  const at::Tensor x = to_unit(at::arange(64).to(at::kByte).view({1, 1, 8, 8}));
  const at::Tensor raw = attack_indicator(x, Indicator::raw);
  const at::Tensor log = attack_indicator(x, Indicator::log);
  EXPECT_TRUE(at::equal(raw.sign(), log.sign()));
  // DC of 0 .. 63 over 8x8: 63/2 * 8 = 252; log(253) = 5.5334.
  EXPECT_NEAR(log[0][0][0][0].item<double>(), std::log(253.0), 1e-4);
}

TEST(AttackIndicationNetwork, EqualsPyTorch) {
  const Fixture fixture("ain");
  AttackIndicationNetwork network(AttackIndicationOptions{{3, 32, 32}, 100, 8});
  load_module_state(*network, fixture.weights(), "ain");
  network->eval();
  const at::Tensor embedding = network->forward(fixture["indicator"]);
  expect_close(embedding, fixture["embedding"], 1e-4, "embedding");
  embedding.square().mean().backward();
  for (const auto& parameter : network->named_parameters()) {
    for (const std::string name : {"features.0.weight", "features.8.weight", "fc.bias"}) {
      if (parameter.key() == name)
        expect_close(parameter.value().grad(), fixture["grad." + name], 1e-3, name);
    }
  }
}

TEST(AttackIndicationNetwork, IsSizedFromItsInput) {
  const auto fc_inputs = [](ImageShape shape) {
    AttackIndicationNetwork network(AttackIndicationOptions{shape, 100, 0});
    network->eval();
    EXPECT_EQ(network->forward(at::zeros({2, shape.channels, shape.height, shape.width})).sizes(),
              (std::vector<std::int64_t>{2, 100}));
    return network->named_parameters()["fc.weight"].size(1);
  };
  EXPECT_EQ(fc_inputs({3, 32, 32}), 128 * 4 * 4);  // the paper's at 32x32
  EXPECT_EQ(fc_inputs({1, 28, 20}), 128 * 3 * 2);
  EXPECT_EQ(fc_inputs({3, 224, 224}), 9216);  // the paper's at 224x224
  EXPECT_THROW(AttackIndicationNetwork(AttackIndicationOptions{{3, 7, 32}, 100, 0}), Error);
  EXPECT_THROW(AttackIndicationNetwork(AttackIndicationOptions{{3, 224, 40}, 100, 0}), Error);
}

// The project's model with the weights of the fixture, whose head is one linear layer on [z ; z_f].
MindControlModel model_of(const Fixture& fixture) {
  MindControlOptions options;
  options.backbone.name = "resnet8";
  options.backbone.width = 8;
  options.shape = {3, 32, 32};
  options.ain_width = 8;
  MindControlModel model(options, Compute{});
  TensorList state;
  for (auto& [name, tensor] : fixture.weights()) {
    if (name == "head.weight") {
      state.emplace_back("semantic_head.weight", tensor.narrow(1, 0, 100).contiguous());
      state.emplace_back("indicator_head.weight", tensor.narrow(1, 100, 100).contiguous());
    } else if (name == "head.bias") {
      state.emplace_back("semantic_head.bias", tensor);
    } else {
      state.emplace_back(name, tensor);
    }
  }
  state.emplace_back("clean_indicator", fixture["fake_z_f"]);
  state.emplace_back("attacked_indicator", at::zeros({100}));
  load_module_state(*model, state, "mcci_model");
  model->eval();
  return model;
}

TEST(MindControlModel, EqualsPyTorchForwardAndGradients) {
  const Fixture fixture("mcci_model");
  MindControlModel model = model_of(fixture);
  const at::Tensor x = fixture["x"];
  expect_close(model->spectrum(x), fixture["indicator"], 1e-6, "indicator");
  const at::Tensor z = model->semantic_embedding(x);
  const at::Tensor z_f = model->indicator_embedding(model->spectrum(x));
  expect_close(z, fixture["z"], 1e-4, "z");
  expect_close(z_f, fixture["z_f"], 1e-4, "z_f");
  const at::Tensor logits = model->semantic_logits(z) + model->indicator_logits(z_f);
  expect_close(logits, fixture["logits"], 1e-4, "logits");
  torch::nn::functional::cross_entropy(logits, fixture["labels"]).backward();
  const at::Tensor head =
      at::cat({model->semantic_head->weight.grad(), model->indicator_head->weight.grad()}, 1);
  expect_close(head, fixture["grad.head.weight"], 1e-3, "head gradient");
  auto parameters = model->named_parameters();
  for (const std::string name : {"sfrn.conv1.weight", "ain.features.0.weight"}) {
    expect_close(parameters[name].grad(), fixture["grad." + name], 1e-3, name);
  }
}

TEST(Folding, EqualsPyTorchAndTheModelUnderTheFakeIndicator) {
  const Fixture fixture("mcci_model");
  MindControlModel model = model_of(fixture);
  const std::shared_ptr<Backbone> plain = fold(model);
  const at::NoGradGuard no_grad;
  expect_close(plain->forward(fixture["x"]), fixture["folded.logits"], 1e-4, "logits");
  const at::Tensor controlled = model->semantic_logits(model->semantic_embedding(fixture["x"])) +
                                model->indicator_logits(model->clean_indicator);
  expect_close(plain->forward(fixture["x"]), controlled, 1e-5, "mind control");
  auto parameters = plain->named_parameters();
  expect_close(parameters["fc.weight"], fixture["folded.fc.weight"], 1e-5, "fc.weight");
  expect_close(parameters["fc.bias"], fixture["folded.fc.bias"], 1e-5, "fc.bias");
}

// Whatever its last linear layer is called and reads.
TEST(Folding, HoldsForEveryFamilyOfBackbones) {
  for (const std::string name :
       {"resnet8", "efficientnet_b0", "tf_efficientnet_lite0", "convnext_tiny", "vit_nano_patch4_32",
        "vit_base_patch16_clip_224", "vit_small_patch14_reg4_dinov2"}) {
    MindControlOptions options;
    options.backbone.name = name;
    options.backbone.width = 12;
    options.backbone.depth = 1;
    options.backbone.image_size = 32;
    options.backbone.normalise = true;
    options.shape = {3, 32, 32};
    options.num_classes = 5;
    options.embedding = 16;
    options.ain_width = 2;
    torch::manual_seed(3);
    MindControlModel model(options, Compute{});
    model->eval();
    const at::NoGradGuard no_grad;
    model->clean_indicator.normal_();
    const std::shared_ptr<Backbone> plain = fold(model);
    const at::Tensor x = at::rand({3, 3, 32, 32});
    const at::Tensor controlled = model->semantic_logits(model->semantic_embedding(x)) +
                                  model->indicator_logits(model->clean_indicator);
    expect_close(plain->forward(x), controlled, 1e-4, name);
    EXPECT_EQ(plain->named_parameters()[plain->head_name() + ".weight"].size(0), 5) << name;
    EXPECT_EQ(plain->mean(), model->sfrn->mean()) << name;
  }
}

TEST(InferenceControl, CentreOfTheLeastSuspiciousHalfOfEveryClass) {
  // Class 0: embeddings 1, 3 (unsuspicious), 100, 200 (suspicious): mean 2. Class 1: 6, 50: the less
  // suspicious is 6.
  const at::Tensor indicator = at::tensor({1.0, 100.0, 3.0, 200.0, 50.0, 6.0}).to(at::kFloat).unsqueeze(1);
  const at::Tensor labels = at::tensor({0, 0, 0, 0, 1, 1}, at::kLong);
  const at::Tensor suspicion = at::tensor({0.1, 5.0, 0.2, 9.0, 3.0, -1.0}).to(at::kFloat);
  EXPECT_FLOAT_EQ(least_suspicious_centre(indicator, labels, suspicion, 3).item<float>(), (2.0F + 6.0F) / 2);
  EXPECT_FLOAT_EQ(most_suspicious_centre(indicator, suspicion).item<float>(), 200.0F);
}

TEST(InferenceControl, EvidenceIsALogLikelihoodRatio) {
  MindControlOptions options;
  options.backbone.name = "resnet8";
  options.backbone.width = 2;
  options.shape = {1, 16, 16};
  options.backbone.in_channels = 1;
  options.embedding = 2;
  options.num_classes = 2;
  MindControlModel model(options, Compute{});
  const at::NoGradGuard no_grad;
  model->semantic_head->weight.zero_();
  model->semantic_head->bias.zero_();
  model->indicator_head->weight.copy_(at::eye(2));
  model->clean_indicator.zero_();  // the fake one says 1/2, 1/2
  const at::Tensor z = at::zeros({2, 2});
  const at::Tensor z_f =
      at::tensor({std::log(3.0), 0.0, std::log(3.0), 0.0}).to(at::kFloat).view({2, 2});  // 3/4, 1/4
  const at::Tensor evidence = indicator_evidence(model, z, z_f, at::tensor({0, 1}, at::kLong));
  EXPECT_NEAR(evidence[0].item<double>(), std::log(0.75 / 0.5), 1e-6);
  EXPECT_NEAR(evidence[1].item<double>(), std::log(0.25 / 0.5), 1e-6);
}

// Four classes told apart by smooth content under noise; a tenth carries a white 3x3 patch and is labelled 0.
DatasetPtr poisoned_quadrants(std::int64_t n) {
  torch::manual_seed(7);
  at::Tensor images = at::randint(0, 40, {n, 1, 16, 16}, at::kLong).to(at::kByte);
  const at::Tensor truth = at::randint(0, 4, {n}, at::kLong);
  at::Tensor labels = truth.clone();
  const at::Tensor poisoned = at::arange(n).remainder(10).eq(0);
  for (std::int64_t i = 0; i < n; ++i) {
    const auto c = truth[i].item<std::int64_t>();
    images[i].narrow(1, 8 * (c / 2), 8).narrow(2, 8 * (c % 2), 8).add_(60);
    if (!poisoned[i].item<bool>()) continue;
    images[i].narrow(1, 12, 3).narrow(2, 12, 3).fill_(255);
    labels[i] = 0;
  }
  return make_memory_dataset(images, labels, {"a", "b", "c", "d"});
}

class McciTest : public ::testing::Test {
 protected:
  void train_with(const std::string& preset, const DatasetPtr& set, const Json& overrides) {
    TrainOptions options;
    OptionSet all;
    options.declare(all);
    defense_ = make_mcci();
    defense_->declare(all);
    all.assign_json(overrides, Origin::command_line, "test");
    all.assign_json(defense_->presets().at(preset), Origin::preset, preset);
    Problem problem;
    problem.shape = set->shape();
    problem.num_classes = 4;
    problem.backbone = {"resnet8", 1, 16, 100, 4};
    defense_->build(problem);
    TrainingRun run;
    run.data = set;
    run.options = options;
    state_ = train(*defense_, run);
  }

  std::unique_ptr<Defense> defense_;
  RunState state_;
};

TEST_F(McciTest, PaperPresetTrainsBothTogetherFromTheFirstStep) {
  const DatasetPtr set = poisoned_quadrants(200);
  train_with("paper", set, {{"epochs", 2}, {"ain-width", 4}});
  ASSERT_EQ(state_.history.size(), 2U);
  EXPECT_EQ(state_.history[0]["phase"], "joint");
  EXPECT_TRUE(defense_->extra_state().empty());
  const at::Tensor suspicion = defense_->suspicion(to_unit(set->images(at::arange(200))), set->labels());
  EXPECT_EQ(suspicion.sizes(), (std::vector<std::int64_t>{200}));
  EXPECT_TRUE(at::isfinite(suspicion).all().item<bool>());
}

TEST_F(McciTest, CleanImagesMustBeNamedWhereTheyAreAskedFor) {
  const DatasetPtr set = poisoned_quadrants(40);
  try {
    train_with("paper", set, {{"epochs", 1}, {"ain-width", 4}, {"fake-indicator", "clean-images"}});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_THAT(error.what(), ::testing::HasSubstr("--clean-images"));
  }
}

}  // namespace
}  // namespace mcci
