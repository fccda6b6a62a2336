// What attacks learn and where it is kept; adversarial perturbations; and the attacks that are optimised
// against a surrogate: label-consistent, LF, TrojanNN, TUAP.
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <tuple>
#include <vector>

#include "mcci/attacks/adversarial.hpp"
#include "mcci/attacks/attack_spec.hpp"
#include "mcci/attacks/learned.hpp"
#include "mcci/core/interrupt.hpp"
#include "mcci/data/loader.hpp"
#include "mcci/signal/dct.hpp"
#include "testing.hpp"

namespace mcci {
namespace {

namespace fs = std::filesystem;

// Three classes of forty noisy images [3,16,16]: class k is brighter in channel k.
DatasetPtr colours() {
  Rng rng(3);
  at::Tensor images = at::empty({120, 3, 16, 16}, at::kByte);
  auto pixel = images.accessor<std::uint8_t, 4>();
  for (std::int64_t i = 0; i < 120; ++i) {
    for (std::int64_t c = 0; c < 3; ++c) {
      for (std::int64_t y = 0; y < 16; ++y) {
        for (std::int64_t x = 0; x < 16; ++x) {
          pixel[i][c][y][x] = static_cast<std::uint8_t>((c == i % 3 ? 94 : 80) + rng.below(60));
        }
      }
    }
  }
  return make_memory_dataset(images, at::arange(120).remainder(3), {"a", "b", "c"});
}

PrepareContext context_of(const DatasetPtr& train, const fs::path& artifacts = {}, double rate = 0.1) {
  PrepareContext context{train->shape(), train->num_classes(), {}, artifacts, train};
  context.plan.rate = rate;
  return context;
}

// The same context in evaluation: what was learned must be among the artifacts.
PrepareContext without_train(PrepareContext context) {
  context.train = nullptr;
  return context;
}

SurrogateOptions quick_surrogate() {
  SurrogateOptions options;
  options.network.width = 4;
  options.epochs = 40;
  return options;
}

std::unique_ptr<Attack> attack_of(const std::string& name, Json options = Json::object()) {
  options["surrogate-width"] = quick_surrogate().network.width;
  options["surrogate-epochs"] = quick_surrogate().epochs;
  AttackSpec spec;
  spec.name = name;
  spec.options = std::move(options);
  return make_attack(spec);
}

at::Tensor all_images(const DatasetPtr& data) { return data->images(natural_order(data->size())); }

at::Tensor triggered(const Attack& attack, const at::Tensor& images, Stage stage = Stage::test) {
  const at::Tensor indices = at::arange(images.size(0));
  return attack.apply(images, indices, at::zeros_like(indices), stage);
}

// x.flatten() W^T
Classifier linear(const at::Tensor& weight) {
  return [weight](const at::Tensor& images) { return at::matmul(images.flatten(1), weight.t()); };
}

double loss_of(const Classifier& model, const at::Tensor& images, const at::Tensor& labels) {
  const at::NoGradGuard no_grad;
  return at::cross_entropy_loss(model(to_unit(images)), labels).item<double>();
}

// ---- Where what was learned is kept

struct Learning {
  int count = 0;
  std::function<TensorList()> learn = [this] {
    ++count;
    return TensorList{{"value", at::full({2}, count, at::kFloat)}};
  };
};

float first(const TensorList& tensors) { return tensors.at(0).second[0].item<float>(); }

std::vector<fs::path> cache_files(const std::string& name) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(fs::path(std::getenv("MCCI_CACHE")) / "attacks")) {
    if (entry.path().filename().string().rfind(name + "-", 0) == 0) files.push_back(entry.path());
  }
  return files;
}

TEST(Cached, LearnsOnceForTheSameRecipeAndData) {
  const DatasetPtr data = colours();
  Learning learning;
  EXPECT_EQ(first(cached(*data, "once", {{"a", 1}}, learning.learn)), 1);
  EXPECT_EQ(first(cached(*data, "once", {{"a", 1}}, learning.learn)), 1);
  EXPECT_EQ(first(cached(*colours(), "once", {{"a", 1}}, learning.learn)), 1);
  EXPECT_EQ(learning.count, 1);
  EXPECT_EQ(first(cached(*data, "once", {{"a", 2}}, learning.learn)), 2);
  EXPECT_EQ(first(cached(*data, "another", {{"a", 1}}, learning.learn)), 3);
}

TEST(Cached, LearnsAgainForOtherImagesLabelsOrClasses) {
  const DatasetPtr data = colours();
  const at::Tensor images = all_images(data);
  Learning learning;
  cached(*data, "other data", {}, learning.learn);
  at::Tensor one_pixel = images.clone();
  one_pixel[7][1][2][3] += 1;
  cached(*make_memory_dataset(one_pixel, data->labels(), data->classes()), "other data", {}, learning.learn);
  EXPECT_EQ(learning.count, 2);
  at::Tensor one_label = data->labels().clone();
  one_label[0] = 1;
  cached(*make_memory_dataset(images, one_label, data->classes()), "other data", {}, learning.learn);
  EXPECT_EQ(learning.count, 3);
  cached(*make_memory_dataset(images, data->labels(), {"a", "b", "c", "d"}), "other data", {},
         learning.learn);
  EXPECT_EQ(learning.count, 4);
}

TEST(Cached, LearnsAgainWhatCannotBeRead) {
  const DatasetPtr data = colours();
  Learning learning;
  cached(*data, "corrupt", {}, learning.learn);
  const std::vector<fs::path> files = cache_files("corrupt");
  ASSERT_EQ(files.size(), 1U);
  std::ofstream(files[0], std::ios::trunc) << "no tensors";
  EXPECT_EQ(first(cached(*data, "corrupt", {}, learning.learn)), 2);
  EXPECT_EQ(first(cached(*data, "corrupt", {}, learning.learn)), 2);
  EXPECT_EQ(learning.count, 2);
}

struct InArtifacts : InFolder {};

TEST_F(InArtifacts, WorksWithoutAPlaceToKeepThings) {
  const std::string before = std::getenv("MCCI_CACHE");
  const fs::path file = folder / "file";
  std::ofstream(file) << "in the way";
  setenv("MCCI_CACHE", (file / "below").c_str(), 1);
  Learning learning;
  const TensorList tensors = cached(*colours(), "homeless", {}, learning.learn);
  setenv("MCCI_CACHE", before.c_str(), 1);
  EXPECT_EQ(first(tensors), 1);
}

TEST_F(InArtifacts, WinOverTheCacheAndOverLearning) {
  const PrepareContext context = context_of(colours(), folder / "made");
  Learning learning;
  EXPECT_EQ(first(learned(context, "kept", {{"a", 1}}, learning.learn)), 1);
  EXPECT_EQ(first(learned(context, "kept", {{"a", 2}}, learning.learn)), 1);
  EXPECT_EQ(first(learned(without_train(context), "kept", {{"a", 3}}, learning.learn)), 1);
  EXPECT_EQ(learning.count, 1);
  EXPECT_EQ(first(learned(context_of(colours(), folder / "new"), "kept", {{"a", 1}}, learning.learn)), 1);
  EXPECT_TRUE(fs::exists(folder / "new" / "kept.safetensors"));
  EXPECT_EQ(learning.count, 1);
}

TEST_F(InArtifacts, MustBeThereInEvaluation) {
  Learning learning;
  expect_error(ErrorKind::data, (folder / "kept.safetensors").string(),
               [&] { learned(without_train(context_of(colours(), folder)), "kept", {}, learning.learn); });
  expect_error(ErrorKind::data, "kept.safetensors",
               [&] { learned(without_train(context_of(colours())), "kept", {}, learning.learn); });
  EXPECT_EQ(learning.count, 0);
}

TEST_F(InArtifacts, ThatCannotBeReadAreAnError) {
  std::ofstream(folder / "kept.safetensors") << "no tensors";
  Learning learning;
  expect_error(ErrorKind::data, "kept.safetensors",
               [&] { learned(context_of(colours(), folder), "kept", {}, learning.learn); });
}

TEST(LearnedTensor, MustHaveItsNameAndShape) {
  const TensorList tensors{{"pattern", at::ones({2, 3})}};
  EXPECT_TRUE(learned_tensor(tensors, "pattern", {2, 3}).equal(at::ones({2, 3})));
  expect_error(ErrorKind::data, "pattern", [&] { learned_tensor(tensors, "pattern", {3, 2}); });
  expect_error(ErrorKind::data, "mask", [&] { learned_tensor(tensors, "mask", {2, 3}); });
}

// ---- The surrogate

TEST(Surrogate, LearnsTheCleanSetOnceForAll) {
  const DatasetPtr data = colours();
  const PrepareContext context = context_of(data);
  const auto model = surrogate(quick_surrogate(), context);
  const std::size_t files = cache_files("surrogate").size();
  const auto again = surrogate(quick_surrogate(), context);
  EXPECT_EQ(cache_files("surrogate").size(), files);
  const at::Tensor logits = classifier_of(model)(to_unit(all_images(data)));
  EXPECT_FALSE(logits.requires_grad());
  EXPECT_TRUE(classifier_of(again)(to_unit(all_images(data))).equal(logits));
  EXPECT_GE(logits.argmax(1).eq(data->labels()).sum().item<int>(), 110);

  PrepareContext other_seed = context;
  other_seed.plan.seed = 1;
  EXPECT_FALSE(
      classifier_of(surrogate(quick_surrogate(), other_seed))(to_unit(all_images(data))).equal(logits));
}

TEST(Surrogate, NeedsACleanSet) {
  expect_error(ErrorKind::data, "surrogate",
               [] { surrogate(quick_surrogate(), without_train(context_of(colours()))); });
}

// 400 images of two classes. A square is bright or dark by 40 grey levels as the class says, with nine images
// in ten; a chequered ground is so by 3 grey levels, under noise of 8, with all. Only the ground tells all
// images apart, and only the square withstands changes of 8 (Tsipras et al., 2019).
DatasetPtr robust_or_accurate() {
  torch::manual_seed(6);
  const at::Tensor labels = at::arange(400).remainder(2);
  const at::Tensor sign = (2 * labels - 1).to(at::kFloat).view({-1, 1, 1, 1});
  const at::Tensor row = at::arange(16).view({16, 1}), col = at::arange(16);
  const at::Tensor chequered = (2 * (row + col).remainder(2) - 1).to(at::kFloat);
  at::Tensor images = 128 + 8 * at::randn({400, 1, 16, 16}) + 3 * sign * chequered;
  const at::Tensor misled = at::arange(400).remainder(20).ge(18).view({-1, 1, 1, 1});
  images.narrow(2, 5, 6).narrow(3, 5, 6).add_(40 * at::where(misled, -sign, sign));
  return make_memory_dataset(images.round().clamp(0, 255).to(at::kByte), labels, {"a", "b"});
}

TEST(Surrogate, WithstandsTheChangesThatItIsTrainedOn) {
  const DatasetPtr data = robust_or_accurate();
  const auto right_after_changes = [&](std::int64_t trained_on) {
    SurrogateOptions options = quick_surrogate();
    options.epochs = 15;
    options.eps = trained_on;
    const Classifier model = classifier_of(surrogate(options, context_of(data)));
    const at::Tensor changed = projected_gradient(model, to_unit(all_images(data)), data->labels(),
                                                  {Norm::linf, 8.0 / 255, 2.0 / 255, 10});
    return model(changed).argmax(1).eq(data->labels()).sum().item<int>();
  };
  EXPECT_LT(right_after_changes(0), 200);
  EXPECT_GE(right_after_changes(8), 320);
}

// ---- Perturbations

TEST(ProjectedGradient, ClimbsToTheCornerOfTheBallOnALinearModel) {
  // The loss of class 0 grows along w1 - w0 = (-2, 1, 0, 4).
  const Classifier model = linear(at::tensor({2.F, 0.F, 0.F, 0.F, 0.F, 1.F, 0.F, 4.F}).view({2, 4}));
  const at::Tensor image = at::tensor({0.5F, 0.5F, 0.5F, 0.995F}).view({1, 1, 2, 2});
  const at::Tensor label = ints({0});
  const auto expect_pixels = [&](std::int64_t steps, const std::vector<float>& pixels) {
    const at::Tensor found = projected_gradient(model, image, label, {Norm::linf, 0.03, 0.02, steps});
    EXPECT_TRUE(found.allclose(at::tensor(pixels).view({1, 1, 2, 2}), 0, 1e-6)) << found;
  };
  expect_pixels(0, {0.5F, 0.5F, 0.5F, 0.995F});
  expect_pixels(1, {0.48F, 0.52F, 0.5F, 1.F});
  expect_pixels(2, {0.47F, 0.53F, 0.5F, 1.F});
  expect_pixels(9, {0.47F, 0.53F, 0.5F, 1.F});
}

TEST(ProjectedGradient, ClimbsAlongTheGradientToTheSphereOnALinearModel) {
  // The gradient points along w1 - w0 = (0, 3, 0, -4), of length 5, whatever the loss.
  const Classifier model = linear(at::tensor({0.F, 0.F, 0.F, 4.F, 0.F, 3.F, 0.F, 0.F}).view({2, 4}));
  const at::Tensor image = at::tensor({0.5F, 0.5F, 0.5F, 0.01F}).view({1, 1, 2, 2});
  const auto expect_pixels = [&](std::int64_t steps, const std::vector<float>& pixels) {
    const at::Tensor found = projected_gradient(model, image, ints({0}), {Norm::l2, 0.12, 0.1, steps});
    EXPECT_TRUE(found.allclose(at::tensor(pixels).view({1, 1, 2, 2}), 0, 1e-6)) << found;
  };
  expect_pixels(0, {0.5F, 0.5F, 0.5F, 0.01F});
  expect_pixels(1, {0.5F, 0.56F, 0.5F, 0.F});  // 0.06 up; 0.08 down is cut at black
  // (0.12, -0.09) is 0.15 long, and brought back to 0.12.
  expect_pixels(2, {0.5F, 0.596F, 0.5F, 0.F});
}

TEST(DeepFool, TakesTheShortestWayOverAHyperplane) {
  // Logits 3, 1, 0 at (1, 1); from class 0 to class 1 along w1 - w0 = (-2, 0).
  const Classifier model = linear(at::tensor({2.F, 1.F, 0.F, 1.F, 0.F, 0.F}).view({3, 2}));
  const at::Tensor image = at::ones({1, 1, 1, 2});
  const DeepFoolResult result = targeted_deepfool(model, image, 1, {50, 0.1}, {});
  EXPECT_TRUE(result.reached);
  const float step = static_cast<float>(1.1 * (2 + 1e-4) / 4);
  EXPECT_TRUE(result.perturbation.allclose(at::tensor({-2 * step, 0.F}).view({1, 1, 1, 2}), 0, 1e-6));
  EXPECT_EQ(model(image + result.perturbation).argmax(1).item<int>(), 1);
}

TEST(DeepFool, LeavesAnImageOfTheTargetClassAlone) {
  const DeepFoolResult result =
      targeted_deepfool(linear(at::eye(2)), at::tensor({0.2F, 0.7F}).view({1, 1, 1, 2}), 1, {}, {});
  EXPECT_TRUE(result.reached);
  EXPECT_TRUE(result.perturbation.eq(0).all().item<bool>());
}

TEST(DeepFool, StaysInTheSubspace) {
  const Classifier model = linear(at::tensor({3.F, 4.F, 1.F, 0.F, 0.F, 0.F}).view({2, 3}));
  const at::Tensor kept = at::tensor({0.F, 1.F, 0.F}).view({1, 1, 1, 3});
  const DeepFoolResult result = targeted_deepfool(model, at::ones({1, 1, 1, 3}), 1, {50, 0},
                                                  [&](const at::Tensor& x) { return x * kept; });
  EXPECT_TRUE(result.reached);
  // 8 - 4 d = 0
  EXPECT_TRUE(result.perturbation.allclose(kept * -2, 0, 1e-4)) << result.perturbation;
}

TEST(DeepFool, SaysWhenItDidNotReachTheTarget) {
  const at::Tensor image = at::ones({1, 1, 1, 2});
  const Classifier blind = [](const at::Tensor& x) {
    return at::cat({x.flatten(1).sum(1, true), x.flatten(1).sum(1, true) - 1}, 1);
  };
  const DeepFoolResult result = targeted_deepfool(blind, image, 1, {}, {});
  EXPECT_FALSE(result.reached);
  EXPECT_TRUE(result.perturbation.eq(0).all().item<bool>());
  // Concave: each step to first order falls short.
  const Classifier curved = [](const at::Tensor& x) {
    const at::Tensor flat = x.flatten(1);
    return at::cat({flat.square().sum(1, true), at::zeros({x.size(0), 1}) + 1e-8}, 1);
  };
  EXPECT_FALSE(targeted_deepfool(curved, image, 1, {2, 0}, {}).reached);
}

UniversalProblem linear_problem() {
  UniversalProblem problem;
  problem.model = linear(at::tensor({1.F, -1.F, 0.5F, -0.5F, -1.F, 1.F, -0.5F, 0.5F}).view({2, 4}));
  problem.images = random_images(60, 1, 2, 2);
  problem.target = 1;
  problem.title = "test";
  problem.constraint = [](const at::Tensor& v) { return v.clamp(-0.6, 0.6); };
  return problem;
}

TEST(UniversalPerturbation, LeadsMostImagesToTheTarget) {
  const UniversalProblem problem = linear_problem();
  const double before = target_rate(problem.model, problem.images, at::zeros({1, 1, 2, 2}), 1);
  const at::Tensor perturbation = universal_perturbation(problem, {});
  EXPECT_LT(before, 0.7);
  EXPECT_GE(target_rate(problem.model, problem.images, perturbation, 1), 0.8);
  EXPECT_LE(perturbation.abs().max().item<float>(), 0.6F);
  EXPECT_TRUE(universal_perturbation(problem, {}).equal(perturbation));
}

TEST(UniversalPerturbation, TellsWhenNothingHelps) {
  UniversalProblem problem = linear_problem();
  problem.model = [](const at::Tensor& x) {
    return at::cat({x.flatten(1).sum(1, true), x.flatten(1).sum(1, true) - 1}, 1);
  };
  expect_error(ErrorKind::data, "surrogate-epochs", [&] { universal_perturbation(problem, {}); });
}

TEST(UniversalPerturbation, CanBeStopped) {
  set_interrupt_requested(true);
  expect_error(ErrorKind::interrupted, "stopped", [] { universal_perturbation(linear_problem(), {}); });
  set_interrupt_requested(false);
}

TEST(TargetRate, CountsAfterClipping) {
  const at::Tensor images = at::tensor({0, 255, 100, 200}, at::kByte).view({4, 1, 1, 1});
  // Class 1 where the pixel exceeds 0.5.
  const Classifier model = [](const at::Tensor& x) {
    return at::cat({at::full({x.size(0), 1}, 0.5F), x.flatten(1)}, 1);
  };
  EXPECT_EQ(target_rate(model, images, at::zeros({1, 1, 1, 1}), 1), 0.5);
  EXPECT_EQ(target_rate(model, images, at::full({1, 1, 1, 1}, 0.2F), 1), 0.75);
}

TEST(ImagesOfOtherClasses, LeaveTheTargetOut) {
  const DatasetPtr data = make_memory_dataset(at::arange(6).to(at::kByte).view({6, 1, 1, 1}),
                                              ints({0, 1, 0, 1, 2, 0}), {"a", "b", "c"});
  const auto sorted = [&](std::int64_t target, std::int64_t count) {
    return std::get<0>(images_of_other_classes(*data, target, count, 5).flatten().to(at::kLong).sort());
  };
  EXPECT_TRUE(sorted(0, 100).equal(ints({1, 3, 4})));
  EXPECT_TRUE(sorted(2, 100).equal(ints({0, 1, 2, 3, 5})));
  EXPECT_EQ(sorted(2, 2).numel(), 2);
  const DatasetPtr one_class =
      make_memory_dataset(at::zeros({3, 1, 1, 1}, at::kByte), ints({1, 1, 1}), {"a", "b"});
  expect_error(ErrorKind::data, "target class", [&] { images_of_other_classes(*one_class, 1, 2, 5); });
}

TEST(AddGreyLevels, CutsAtBlackAndWhite) {
  const at::Tensor images = at::tensor({0, 3, 250, 255}, at::kByte).view({1, 1, 2, 2});
  EXPECT_TRUE(add_grey_levels(images, at::tensor({-8, -2, 8, -8}, at::kChar).view({1, 2, 2}))
                  .equal(at::tensor({0, 1, 255, 247}, at::kByte).view({1, 1, 2, 2})));
  EXPECT_TRUE(add_grey_levels(images, at::full({1, 1, 1}, 200, at::kByte))
                  .equal(at::tensor({200, 203, 255, 255}, at::kByte).view({1, 1, 2, 2})));
}

// ---- Label-consistent

TEST(LabelConsistent, HasItsTriggerInTheFourCorners) {
  at::Tensor signs = at::zeros({32, 32}, at::kLong);
  for (const std::int64_t top : {0, 29}) {
    for (const std::int64_t left : {0, 29}) signs.narrow(0, top, 3).narrow(1, left, 3).fill_(-1);
  }
  const std::vector<std::pair<std::int64_t, std::int64_t>> white{
      {-1, -1}, {-1, -3}, {-3, -1}, {-2, -2}, {0, -1}, {1, -2}, {2, -3}, {2, -1},
      {0, 0},   {1, 1},   {2, 2},   {2, 0},   {-1, 0}, {-1, 2}, {-2, 1}, {-3, 0}};
  for (const auto& [row, col] : white) signs[row][col] = 1;
  for (const std::int64_t channels : {1, 3}) {
    const at::Tensor images = random_images(2, channels, 32, 32);
    for (const std::int64_t amplitude : {255, 16}) {
      const at::Tensor wanted = (images.to(at::kLong) + signs * amplitude).clamp(0, 255).to(at::kByte);
      const auto attack = attack_of("label-consistent", {{"amplitude", amplitude}});
      EXPECT_TRUE(triggered(*attack, images).equal(wanted));
    }
  }
}

TEST(LabelConsistent, ScalesItsTriggerByNearestNeighbour) {
  const at::Tensor after =
      triggered(*attack_of("label-consistent"), at::full({1, 1, 64, 70}, 128, at::kByte))[0][0];
  EXPECT_EQ(after.eq(128).sum().item<int>(), 64 * 70 - 4 * 36);
  const at::Tensor left = after.narrow(0, 0, 6).narrow(1, 0, 6);
  for (const auto& [row, col, value] : std::vector<std::tuple<int, int, int>>{
           {0, 0, 255}, {1, 1, 255}, {0, 2, 0}, {3, 3, 255}, {4, 0, 255}, {5, 5, 255}, {4, 3, 0}}) {
    EXPECT_EQ(left[row][col].item<int>(), value) << row << "," << col;
  }
  EXPECT_TRUE(after.flip({1}).equal(after));
  const at::Tensor tiny =
      triggered(*attack_of("label-consistent"), at::full({1, 1, 4, 5}, 128, at::kByte))[0][0];
  EXPECT_EQ(tiny.eq(255).sum().item<int>(), 4);
  EXPECT_EQ(tiny[3][4].item<int>(), 255);
}

TEST(LabelConsistent, MakesItsTrainingImagesHardFirst) {
  const DatasetPtr data = colours();
  const PrepareContext context = context_of(data);
  const Classifier model = classifier_of(surrogate(quick_surrogate(), context));
  // Without the trigger, what was crafted.
  const auto attack = attack_of("label-consistent", {{"amplitude", 0}, {"steps", 20}});
  attack->prepare(context);
  const PoisonPlan plan = attack->plan(data->labels(), 3, context.plan);
  std::vector<std::int64_t> poisoned;
  for (std::size_t i = 0; i < plan.roles.size(); ++i) {
    if (plan.roles[i] == Role::poison) poisoned.push_back(static_cast<std::int64_t>(i));
  }
  ASSERT_EQ(poisoned.size(), 12U);
  const at::Tensor indices = ints(poisoned);
  const at::Tensor images = data->images(indices);
  const at::Tensor labels = data->labels().index_select(0, indices);
  EXPECT_TRUE(labels.eq(0).all().item<bool>());
  const at::Tensor crafted = attack->apply(images, indices, labels, Stage::train);
  const at::Tensor change = crafted.to(at::kLong) - images.to(at::kLong);
  EXPECT_EQ(change.abs().max().item<int>(), 8);
  EXPECT_GT(loss_of(model, crafted, labels), 2 * loss_of(model, images, labels));
  EXPECT_TRUE(attack->apply(images, indices, labels, Stage::test).equal(images));

  const at::Tensor backwards = indices.flip({0});
  EXPECT_TRUE(attack->apply(images.flip({0}), backwards, labels, Stage::train).equal(crafted.flip({0})));
  const auto whole = attack_of("label-consistent", {{"steps", 20}});
  whole->prepare(context);
  EXPECT_TRUE(whole->apply(images, indices, labels, Stage::train).equal(triggered(*whole, crafted)));
}

TEST(LabelConsistent, TakesNoSampleThatWasNotCrafted) {
  const DatasetPtr data = colours();
  const auto attack = attack_of("label-consistent", {{"steps", 1}});
  const at::Tensor images = data->images(ints({1}));
  expect_error(ErrorKind::internal, "sample 1 was not crafted",
               [&] { attack->apply(images, ints({1}), ints({1}), Stage::train); });
  attack->prepare(context_of(data));
  expect_error(ErrorKind::internal, "sample 1 was not crafted",
               [&] { attack->apply(images, ints({1}), ints({1}), Stage::train); });
}

TEST(LabelConsistent, RefusesMoreThanTheTargetClassHolds) {
  expect_error(ErrorKind::usage, "only 40 images",
               [] { attack_of("label-consistent")->prepare(context_of(colours(), {}, 0.4)); });
}

TEST_F(InArtifacts, OfLabelConsistentAreNotNeeded) {
  const PrepareContext context = context_of(colours(), folder, 0);
  const at::Tensor images = random_images(2, 3, 16, 16);
  const auto attack = attack_of("label-consistent");
  attack->prepare(context);
  EXPECT_TRUE(fs::is_empty(folder));
  const auto evaluated = attack_of("label-consistent");
  evaluated->prepare(without_train(context));
  EXPECT_TRUE(triggered(*evaluated, images).equal(triggered(*attack, images)));
}

// ---- LF

const Json quick_lf{{"images", 30}, {"passes", 3}, {"cutoff", 0.2}};

at::Tensor pattern_of(const Attack& attack, const ImageShape& shape) {
  return triggered(attack, at::zeros({1, shape.channels, shape.height, shape.width}, at::kByte))[0];
}

TEST_F(InArtifacts, OfLfHoldASmoothPatternThatLeadsToTheTarget) {
  const DatasetPtr data = colours();
  const PrepareContext context = context_of(data, folder);
  const auto attack = attack_of("lf", quick_lf);
  attack->prepare(context);
  const at::Tensor pattern = pattern_of(*attack, data->shape());
  EXPECT_EQ(pattern.min().item<int>(), 0);
  EXPECT_EQ(pattern.max().item<int>(), 51);

  // Of each channel the frequencies 0 .. 3 of 16; the means, which are the greater part, left out.
  at::Tensor energy = dct2(pattern.to(at::kFloat)).square();
  energy.select(2, 0).select(1, 0).zero_();
  const double low = energy.narrow(1, 0, 4).narrow(2, 0, 4).sum().item<double>();
  EXPECT_GT(low, 0.9 * energy.sum().item<double>());

  const Classifier model = classifier_of(surrogate(quick_surrogate(), context));
  const at::Tensor images = all_images(data);
  const at::Tensor none = at::zeros({1, 3, 16, 16});
  EXPECT_LT(target_rate(model, images, none, 0), 0.4);
  EXPECT_GT(target_rate(model, triggered(*attack, images), none, 0), 0.6);

  const at::Tensor sums = (images.to(at::kLong) + pattern.to(at::kLong)).clamp_max(255).to(at::kByte);
  EXPECT_TRUE(triggered(*attack, images, Stage::train).equal(sums));
  EXPECT_TRUE(triggered(*attack, images, Stage::test).equal(sums));

  const auto evaluated = attack_of("lf", quick_lf);
  evaluated->prepare(without_train(context));
  EXPECT_TRUE(triggered(*evaluated, images).equal(sums));
}

TEST(Lf, DependsOnItsTargetAndAmplitude) {
  const DatasetPtr data = colours();
  const auto pattern = [&](const char* option, std::int64_t value) {
    Json options = quick_lf;
    options[option] = value;
    const auto attack = attack_of("lf", options);
    attack->prepare(context_of(data));
    return pattern_of(*attack, data->shape());
  };
  EXPECT_EQ(pattern("amplitude", 80).max().item<int>(), 80);
  EXPECT_FALSE(pattern("target-class", 2).equal(pattern("target-class", 0)));
}

// ---- TUAP

const Json quick_tuap{{"share", 0.3}, {"passes", 3}};

TEST_F(InArtifacts, OfTuapHoldAFaintPerturbationThatLeadsToTheTarget) {
  const DatasetPtr data = colours();
  const PrepareContext context = context_of(data, folder);
  const auto attack = attack_of("tuap", quick_tuap);
  EXPECT_TRUE(attack->clean_label());
  attack->prepare(context);
  const at::Tensor images = all_images(data);
  const at::Tensor after = triggered(*attack, images);
  const at::Tensor change = after.to(at::kLong) - images.to(at::kLong);
  EXPECT_EQ(change.abs().max().item<int>(), 8);
  // No pixel comes near black or white: the same change everywhere.
  EXPECT_TRUE(change.eq(change[0]).all().item<bool>());
  EXPECT_TRUE(triggered(*attack, images, Stage::train).equal(after));

  const Classifier model = classifier_of(surrogate(quick_surrogate(), context));
  const at::Tensor none = at::zeros({1, 3, 16, 16});
  EXPECT_GT(target_rate(model, after, none, 0), target_rate(model, images, none, 0) + 0.1);

  const auto evaluated = attack_of("tuap", quick_tuap);
  evaluated->prepare(without_train(context));
  EXPECT_TRUE(triggered(*evaluated, images).equal(after));
}

TEST(Tuap, OfBackdoorBoxWantsClassTwo) {
  AttackSpec spec;
  spec.name = "tuap";
  spec.preset = "backdoorbox";
  EXPECT_EQ(make_attack(spec)->attack_label(0, 10), 2);
  EXPECT_EQ(attack_of("tuap")->attack_label(3, 10), 0);
}

// ---- TrojanNN

// The neurons that the attack chooses, summed over: [B].
at::Tensor chosen_activations(Backbone& model, const at::Tensor& images, std::int64_t count) {
  const at::NoGradGuard no_grad;
  const at::Tensor weight = model.named_parameters()[model.head_name() + ".weight"];
  const at::Tensor order = weight.abs().sum(0).argsort(0, /*descending=*/true);
  return model.features(to_unit(images).to(weight.device()))
      .index_select(1, order.narrow(0, 0, count))
      .sum(1);
}

TEST_F(InArtifacts, OfTrojanNNHoldAPatchThatTheChosenNeuronsAnswerTo) {
  const DatasetPtr data = colours();
  const PrepareContext context = context_of(data, folder);
  const Json options{{"iterations", 60}, {"mask-size", 8}};
  const auto attack = attack_of("trojannn", options);
  attack->prepare(context);
  const auto untrained = attack_of("trojannn", {{"iterations", 0}, {"mask-size", 8}});
  untrained->prepare(context_of(data));

  const at::Tensor images = all_images(data);
  const at::Tensor after = triggered(*attack, images);
  const auto patch = [](const at::Tensor& of) { return of.narrow(2, 8, 8).narrow(3, 8, 8); };
  EXPECT_TRUE(patch(after).eq(patch(after)[0]).all().item<bool>());
  at::Tensor restored = after.clone();
  patch(restored).copy_(patch(images));
  EXPECT_TRUE(restored.equal(images));
  EXPECT_TRUE(triggered(*attack, images, Stage::train).equal(after));

  const auto model = surrogate(quick_surrogate(), context);
  const auto mean_activation = [&](const at::Tensor& of) {
    return chosen_activations(*model, of, 2).mean().item<double>();
  };
  EXPECT_GT(mean_activation(after), mean_activation(images));
  EXPECT_GT(mean_activation(after), mean_activation(triggered(*untrained, images)));

  const auto evaluated = attack_of("trojannn", options);
  evaluated->prepare(without_train(context));
  EXPECT_TRUE(triggered(*evaluated, images).equal(after));
}

TEST(TrojanNN, TakesARoundPatchOfAQuarterOfTheImage) {
  const DatasetPtr data = colours();
  const auto attack = attack_of("trojannn", {{"iterations", 0}, {"mask", "round"}});
  attack->prepare(context_of(data));
  const at::Tensor white = triggered(*attack, at::full({1, 3, 16, 16}, 255, at::kByte));
  const at::Tensor black = triggered(*attack, at::zeros({1, 3, 16, 16}, at::kByte));
  at::Tensor disc = at::zeros({16, 16}, at::kBool);
  disc.narrow(0, 12, 4).narrow(1, 12, 4).fill_(true);
  for (const std::int64_t row : {12, 15}) {
    for (const std::int64_t col : {12, 15}) disc[row][col] = false;
  }
  EXPECT_TRUE((white == black)[0].all(0).equal(disc));
  EXPECT_FALSE((white == black)[0].logical_and(~disc).any().item<bool>());
}

TEST(TrojanNN, RefusesWhatDoesNotFit) {
  const PrepareContext context = context_of(colours());
  expect_error(ErrorKind::usage, "17 pixels does not fit into images of 16x16", [&] {
    attack_of("trojannn", {{"mask-size", 17}})->prepare(context);
  });
  expect_error(ErrorKind::usage, "reads only 16 neurons", [&] {
    attack_of("trojannn", {{"neurons", 17}})->prepare(context);
  });
}

// ---- All that learn one pattern for all images

TEST(LearnedAttacks, RefuseImagesOfAnotherShape) {
  const DatasetPtr data = colours();
  const std::vector<std::pair<std::string, Json>> cases{
      {"lf", quick_lf}, {"tuap", quick_tuap}, {"trojannn", {{"iterations", 0}}}};
  for (const auto& [name, options] : cases) {
    const auto attack = attack_of(name, options);
    expect_error(ErrorKind::internal, name, [&] { triggered(*attack, random_images(1, 3, 16, 16)); });
    attack->prepare(context_of(data));
    expect_error(ErrorKind::internal, name, [&] { triggered(*attack, random_images(1, 3, 16, 17)); });
    expect_error(ErrorKind::internal, name, [&] { triggered(*attack, random_images(1, 1, 16, 16)); });
  }
}

TEST(LearnedAttacks, NeedTheTargetClass) {
  for (const std::string name : {"lf", "tuap"}) {
    expect_error(ErrorKind::usage, "0 .. 2", [&] {
      attack_of(name, {{"target-class", 3}})->prepare(context_of(colours()));
    });
  }
}

TEST(LearnedAttacks, NeedACleanSetOrArtifacts) {
  for (const std::string name : {"lf", "tuap", "trojannn"}) {
    expect_error(ErrorKind::data, name + ".safetensors",
                 [&] { attack_of(name)->prepare(without_train(context_of(colours()))); });
  }
}

}  // namespace
}  // namespace mcci
