#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/module.h>

#include "mcci/attacks/poisoned_dataset.hpp"
#include "mcci/core/files.hpp"
#include "mcci/nn/weights.hpp"
#include "mcci/state/module_state.hpp"
#include "mcci/state/weights.hpp"
#include "mcci/suite/audit.hpp"
#include "mcci/suite/defenses.hpp"
#include "mcci/suite/evaluation.hpp"
#include "mcci/suite/export.hpp"
#include "mcci/suite/figures.hpp"
#include "mcci/suite/result.hpp"
#include "mcci/suite/run.hpp"
#include "mcci/train/recipes.hpp"
#include "tests/core/support.hpp"
#include "tests/nn/support.hpp"

namespace mcci {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// Says class 0 for an image with a white bottom-right corner, else the class that the first pixel holds.
// Under the own indicator nothing changes; its suspicion is the brightness of the corner.
class CornerModel : public Defense {
 public:
  void declare(OptionSet&) override {}
  const Registry<Json>& presets() const override { return recipes(); }
  void build(const Problem&) override {}
  torch::nn::Module& module() override { return module_; }
  std::vector<Phase> phases(const TrainOptions&) override { return {}; }
  StepOutput loss(std::size_t, const Batch&) override { return {}; }
  at::Tensor logits(const at::Tensor& images, Perception) override {
    const at::Tensor corner = images.select(1, 0).select(1, images.size(2) - 1).select(1, images.size(3) - 1);
    const at::Tensor first = images.select(1, 0).select(1, 0).select(1, 0).mul(255).round().to(at::kLong);
    return at::one_hot(at::where(corner.gt(0.99), at::zeros_like(first), first), 3).to(at::kFloat);
  }
  at::Tensor embedding(const at::Tensor& images, Perception) override { return images.flatten(1); }
  bool has_suspicion() const override { return true; }
  at::Tensor suspicion(const at::Tensor& images, const at::Tensor&) override {
    return images.select(1, 0).select(1, images.size(2) - 1).select(1, images.size(3) - 1).contiguous();
  }
  double suspicion_threshold() const override { return 0.9; }
  std::shared_ptr<Backbone> folded() override { return nullptr; }

 private:
  torch::nn::Module module_;
};

// Images of 8x8 whose first pixel holds a class; labels as given.
DatasetPtr coded(const std::vector<std::int64_t>& first_pixels, const std::vector<std::int64_t>& labels) {
  const auto n = static_cast<std::int64_t>(labels.size());
  at::Tensor images = at::full({n, 1, 8, 8}, 7, at::kByte);
  for (std::int64_t i = 0; i < n; ++i) images[i][0][0][0] = first_pixels[static_cast<std::size_t>(i)];
  return make_memory_dataset(images, at::tensor(labels), {"zero", "one", "two, too"});
}

TEST(Evaluation, CountsByHand) {
  CornerModel model;
  // One of six is misread: CA 5/6. The trigger turns all into class 0: of the four whose class is not 0, ASR
  // 4/4, PA 0.
  const DatasetPtr test = coded({0, 0, 1, 1, 2, 1}, {0, 0, 1, 1, 2, 2});
  AttackSpec spec;
  const auto attack = make_attack(spec);
  PrepareContext context;
  context.shape = test->shape();
  context.num_classes = 3;
  attack->prepare(context);
  const Evaluation found = evaluate(model, test, attack.get(), Compute{});
  EXPECT_EQ(found.ca.hits, 5);
  EXPECT_EQ(found.ca.total, 6);
  EXPECT_EQ(found.asr.hits, 4);
  EXPECT_EQ(found.asr.total, 4);
  EXPECT_EQ(found.pa.hits, 0);
  EXPECT_DOUBLE_EQ(found.per_class[2].percent(), 50.0);

  EvaluationOptions all;
  all.count = TriggeredCount::all_classes;
  all.limit = 3;
  const Evaluation limited = evaluate(model, test, attack.get(), Compute{}, all);
  EXPECT_EQ(limited.asr.total, 3);
  EXPECT_EQ(limited.pa.hits, 1);  // images 0, 2 and 4

  Json cell = new_cell();
  add_to_cell(cell, found);
  EXPECT_DOUBLE_EQ(cell["asr"].get<double>(), 100.0);
  EXPECT_EQ(cell["counts"]["ca"]["total"], 6);
  add_to_cell(cell, evaluate(model, test, nullptr, Compute{}));
  EXPECT_TRUE(cell["asr"].is_null());
}

TEST(Audit, RanksDetectsAndWritesCsv) {
  CornerModel model;
  at::Tensor images = at::full({4, 1, 8, 8}, 2, at::kByte);
  images[2][0][7][7] = 255;
  images[1][0][7][7] = 200;
  const DatasetPtr set =
      make_memory_dataset(images, at::tensor({2, 2, 0, 1}, at::kLong), {"zero", "one", "two, too"},
                          {"a.png", "b.png", "say \"c\".png", "d.png"});
  const Audit found = audit(model, set, Compute{});
  EXPECT_EQ(found.order[0].item<std::int64_t>(), 2);
  EXPECT_EQ(found.order[1].item<std::int64_t>(), 1);

  const test::TemporaryFolder folder;
  write_audit_csv(folder.path() / "audit.csv", found, *set);
  EXPECT_THAT(
      read_file(folder.path() / "audit.csv", 4096),
      ::testing::StartsWith("path,label,suspicion,suggested_label\n\"say \"\"c\"\".png\",zero,1,zero\n"
                            "b.png,\"two, too\",0.784314,\"two, too\"\n"));

  Manifest truth;
  truth.roles = {Role::clean, Role::clean, Role::poison, Role::poison};
  Json cell = new_cell();
  add_to_cell(cell, found, truth);
  // Scores .008 .784 | 1 .008: pairs won 2 + half a tie of 4 + 0: (1 + 1 + 0.5 + 0) / 4.
  EXPECT_NEAR(cell["auroc"].get<double>(), 0.625, 1e-9);
  EXPECT_EQ(cell["detection"]["flagged"], 1);
  EXPECT_DOUBLE_EQ(cell["detection"]["precision"].get<double>(), 1.0);
  EXPECT_DOUBLE_EQ(cell["detection"]["recall"].get<double>(), 0.5);
  truth.roles.pop_back();
  EXPECT_THROW(add_to_cell(cell, found, truth), Error);
}

TEST(Figures, WritesWhatTheResultNames) {
  CornerModel model;
  const DatasetPtr test = coded({0, 1, 2}, {0, 1, 2});
  const auto attack = make_attack(AttackSpec{});
  PrepareContext context;
  context.shape = test->shape();
  context.num_classes = 3;
  attack->prepare(context);
  const test::TemporaryFolder folder;
  Figures figures(folder.path());
  figures.add_trigger("badnets", *attack, test);
  figures.add_examples({{"model", &model, Perception::clean}}, attack.get(), test, 2, Compute{});
  figures.add_audit(audit(model, test, Compute{}), test, nullptr, 10);
  const Json& json = figures.json();
  ASSERT_EQ(json["triggers"].size(), 1U);
  ASSERT_EQ(json["examples"].size(), 2U);
  EXPECT_EQ(json["examples"][0]["true_class"], "one");
  EXPECT_EQ(json["examples"][0]["predictions"][0]["class"], "zero");
  ASSERT_EQ(json["suspects"].size(), 3U);
  EXPECT_TRUE(json["suspects"][0]["poisoned"].is_null());
  std::int64_t total = 0;
  for (const Json& count : json["histograms"][0]["series"][0]["counts"]) total += count.get<std::int64_t>();
  EXPECT_EQ(total, 3);
  for (const char* key : {"clean", "triggered", "difference", "spectrum_difference"}) {
    EXPECT_TRUE(fs::exists(folder.path() / json["triggers"][0][key].get<std::string>())) << key;
  }
}

TEST(RunConfig, FlagsBeatPresetsAndPresetsBeatDefaults) {
  RunConfig config("mcci");
  config.options.assign_text("epochs", "3", Origin::command_line, "command line");
  config.options.assign_text("preset", "paper", Origin::command_line, "command line");
  config.apply_preset();
  EXPECT_EQ(config.train.epochs, 3);
  EXPECT_EQ(config.train.optimizer.optimizer, "adadelta");
  EXPECT_THROW(RunConfig("no such defense"), Error);
}

// Every preset of every defense names options that exist and values in their range.
TEST(RunConfig, AllPresetsAreValid) {
  for (const std::string& defense : defenses().names()) {
    for (const std::string& preset : RunConfig(defense).method->presets().names()) {
      RunConfig config(defense);
      config.options.assign_text("preset", preset, Origin::command_line, "command line");
      EXPECT_NO_THROW(config.apply_preset()) << defense << " " << preset;
    }
  }
}

class RunTest : public ::testing::Test {
 protected:
  RunTest() {
    // A poisoned set written to disk is a data set like any other.
    at::manual_seed(1);
    const at::Tensor images = at::randint(0, 256, {60, 3, 8, 8}, at::kLong).to(at::kByte);
    AttackSpec spec;
    write_poisoned_dataset(
        folder_.path() / "set",
        poison(make_memory_dataset(images, at::arange(60).remainder(3), {"a", "b", "c"}), "random", spec));
  }

  std::unique_ptr<RunConfig> config(const std::string& defense) {
    auto made = std::make_unique<RunConfig>(defense);
    const auto set = [&](const std::string& name, const std::string& value) {
      made->options.assign_text(name, value, Origin::command_line, "command line");
    };
    set("data", (folder_.path() / "set").string());
    set("backbone", "resnet8");
    set("width", "2");
    set("epochs", "1");
    set("threads", "1");
    if (defense == "mcci") set("ain-width", "2");
    made->apply_preset();
    return made;
  }

  test::TemporaryFolder folder_;
};

TEST_F(RunTest, TrainedRunOpensAsItWas) {
  const auto trained = config("mcci");
  const fs::path out = folder_.path() / "run";
  train_run(*trained, out, /*resume=*/false);
  const TrainedRun opened = open_run(out);
  EXPECT_EQ(opened.classes, (std::vector<std::string>{"a", "b", "c"}));
  const at::Tensor x = at::rand({4, 3, 8, 8});
  for (const Perception perception : {Perception::clean, Perception::own, Perception::attacked}) {
    EXPECT_TRUE(at::equal(opened.model().logits(x, perception), trained->method->logits(x, perception)));
  }
  EXPECT_EQ(opened.training_set()->size(), 60);

  export_run(opened, out / "model.safetensors", "safetensors", /*reference=*/true);
  const TensorFile reference = load_safetensors(out / "model-reference.safetensors");
  EXPECT_EQ(reference.tensors.front().second.sizes(), (std::vector<std::int64_t>{8, 3, 8, 8}));
  test::expect_error(ErrorKind::usage, {"is there already"},
                     [&] { export_run(opened, out / "model.safetensors", "safetensors", false); });

  // Every format has the same logits in it; a format that is none is refused before anything is written.
  const TensorList exported = load_safetensors(out / "model.safetensors").tensors;
  for (const std::string& format : export_formats().names())
    export_run(opened, out / ("as-" + format + ".file"), format, /*reference=*/false);
  const WeightFile again = read_weights(out / "as-pth.file");
  ASSERT_EQ(again.tensors.size(), exported.size());
  for (std::size_t i = 0; i < exported.size(); ++i)
    EXPECT_TRUE(at::equal(again.tensors[i].second, exported[i].second)) << exported[i].first;
  EXPECT_THAT(test::content_of(out / "as-onnx.file"), HasSubstr("mcci.export/1"));
  EXPECT_THAT(test::content_of(out / "as-torchscript.file"), HasSubstr("mcci.export/1"));
  test::expect_error(ErrorKind::usage, {"torchscript"},
                     [&] { export_run(opened, out / "never", "torch-script", false); });
  EXPECT_FALSE(fs::exists(out / "never.json"));

  // The same options continue it, which is nothing to do; others are refused.
  EXPECT_TRUE(train_run(*config("mcci"), out, /*resume=*/true).finished);
  test::expect_error(ErrorKind::usage, {"not empty", "--resume"},
                     [&] { train_run(*config("mcci"), out, false); });
  test::expect_error(ErrorKind::usage, {"other options"}, [&] { train_run(*config("none"), out, true); });
}

// A run starts from what another one exported; the file's content belongs to its configuration.
TEST_F(RunTest, StartsFromWeights) {
  const fs::path first = folder_.path() / "first";
  train_run(*config("none"), first, /*resume=*/false);
  const fs::path file = folder_.path() / "weights.safetensors";
  export_run(open_run(first), file, "safetensors", /*reference=*/false);

  const auto starting = [&](const std::string& weights) {
    auto made = config("none");
    made->options.assign_text("weights", weights, Origin::command_line, "command line");
    made->options.assign_text("fine-tune", "linear-probe", Origin::command_line, "command line");
    return made;
  };
  const auto probe = starting(file.string());
  const fs::path out = folder_.path() / "probe";
  train_run(*probe, out, /*resume=*/false);
  const TensorList before = load_safetensors(file).tensors;
  const TensorList after = module_state(probe->method->module());
  for (std::size_t i = 0; i < before.size(); ++i) {
    const bool is_head = before[i].first.rfind("fc.", 0) == 0;
    EXPECT_EQ(at::equal(before[i].second, after[i].second), !is_head) << before[i].first;
  }
  EXPECT_EQ(read_json(RunFiles{out}.config())["weights_sha256"].get<std::string>().size(), 64U);

  // Under another name it is the same run; with other content it is not.
  fs::rename(file, folder_.path() / "renamed");
  EXPECT_TRUE(train_run(*starting((folder_.path() / "renamed").string()), out, /*resume=*/true).finished);
  TensorList other = before;
  other[0].second = other[0].second + 1;
  save_safetensors(file, other);
  test::expect_error(ErrorKind::usage, {"other options"},
                     [&] { train_run(*starting(file.string()), out, true); });

  // What does not fit leaves no folder.
  save_safetensors(file, {{"conv1.weight", at::zeros({1})}});
  test::expect_error(ErrorKind::data, {"do not fit", file.string()},
                     [&] { train_run(*starting(file.string()), folder_.path() / "never", false); });
  test::expect_error(ErrorKind::io, {"absent"},
                     [&] { train_run(*starting("absent"), folder_.path() / "never", false); });
  EXPECT_FALSE(fs::exists(folder_.path() / "never"));
}

// Of every layout of every family: a linear probe changes nothing but the head (and a norm that belongs to
// it), so that all other tensors are those of the file, by name and value.
TEST_F(RunTest, WeightsComeBackInTheLayoutTheyCameIn) {
  std::set<const Layout*> seen;
  std::size_t all = 0;
  std::set<const LayoutFamily*> families;
  for (const auto& entry : backbones().entries()) {
    const LayoutFamily& family = *entry.value.layouts;
    if (families.insert(&family).second) all += family.layouts.size();
    BackboneConfig network = tiny_of(entry.name);
    network.outputs = 5;  // the set has 3 classes
    for (const Layout& layout : family.layouts) {
      if (seen.count(&layout) > 0) continue;
      TensorList given;
      try {
        given = weights_of(*make_backbone(network), {&family, &layout, "module."});
      } catch (const Error&) {
        continue;  // a part of this network has no place in it; of another one's all have
      }
      // timm's and DINOv2's names differ in the registers alone.
      if (recognise_layout(given)->layout != &layout) continue;
      seen.insert(&layout);
      const std::string name = family.name + "-" + layout.name;
      const fs::path file = folder_.path() / (name + ".weights");
      save_safetensors(file, given);
      const auto probe = config("none");
      const auto set = [&](const std::string& option, const std::string& value) {
        probe->options.assign_text(option, value, Origin::command_line, "command line");
      };
      set("backbone", entry.name);
      set("width", std::to_string(network.width));
      set("depth", std::to_string(network.depth));
      set("image-size", "32");
      set("weights", file.string());
      set("fine-tune", "linear-probe");
      const fs::path out = folder_.path() / name;
      train_run(*probe, out, /*resume=*/false);
      const TrainedRun opened = open_run(out);
      export_run(opened, out / "model.safetensors", "safetensors", /*reference=*/false);
      export_run(opened, out / "as-pth.pth", "pth", /*reference=*/false);

      const std::shared_ptr<Backbone> plain = opened.model().folded();
      const TensorList back = load_safetensors(out / "model.safetensors").tensors;
      std::map<std::string, at::Tensor> left(given.begin(), given.end());
      for (const auto& [their_name, tensor] : back) {
        const auto found = left.find(their_name);
        if (found != left.end() && at::equal(found->second, tensor)) {
          left.erase(found);
        } else {
          const std::string own = to_own_names({{their_name, tensor}}, *opened.layout).front().first;
          EXPECT_EQ(plain->depth_of(own), plain->depth_of(plain->head_name() + ".weight"))
              << name << " " << own;
          if (found != left.end()) left.erase(found);
        }
      }
      // A projection that could not hold the new head's bias.
      EXPECT_LE(left.size(), layout.head_has_no_bias ? 1U : 0U) << name;
      const TensorList as_pth = read_weights(out / "as-pth.pth").tensors;
      ASSERT_EQ(as_pth.size(), back.size());
      for (std::size_t i = 0; i < back.size(); ++i) {
        EXPECT_EQ(as_pth[i].first, back[i].first);
        EXPECT_TRUE(at::equal(as_pth[i].second, back[i].second)) << back[i].first;
      }
      const Json notes = read_json(out / "model.json");
      EXPECT_EQ(notes["layout"], layout.name);
      EXPECT_EQ(notes["prefix"], "module.");

      network.outputs = 3;
      const auto again = make_backbone(network);
      EXPECT_TRUE(load_weights(*again, back, name).head) << name;
      again->eval();
      const at::Tensor x = at::rand({2, 3, 32, 32});
      EXPECT_TRUE(at::allclose(again->forward(x), plain->forward(x), 1e-4, 1e-5)) << name;
      network.outputs = 5;
    }
  }
  EXPECT_EQ(seen.size(), all);
}

TEST_F(RunTest, ALayoutCanBeChosen) {
  const fs::path out = folder_.path() / "run";
  train_run(*config("none"), out, /*resume=*/false);
  const TrainedRun opened = open_run(out);
  EXPECT_FALSE(opened.layout);
  const auto names = [&](const std::string& layout) {
    const fs::path path = out / ("as-" + layout + ".safetensors");
    export_run(opened, path, "safetensors", /*reference=*/false, layout);
    std::set<std::string> result;
    for (const auto& named : load_safetensors(path).tensors) result.insert(named.first);
    return result;
  };
  EXPECT_EQ(names("mcci").count("conv1.weight"), 1U);
  EXPECT_EQ(names("original"), names("torchvision"));
  EXPECT_EQ(names("transformers").count("resnet.embedder.embedder.convolution.weight"), 1U);
  test::expect_error(ErrorKind::usage, {"no layout 'openclip'", "transformers"}, [&] { names("openclip"); });
  test::expect_error(ErrorKind::usage, {"a program has no layout", "--layout"},
                     [&] { export_run(opened, out / "never.onnx", "onnx", false, "transformers"); });
  EXPECT_FALSE(fs::exists(out / "never.json"));
}

TEST_F(RunTest, CleanImagesComeOnlyFromWhereTheyAreNamed) {
  const fs::path clean = folder_.path() / "clean";
  const at::Tensor images = at::randint(0, 256, {30, 3, 8, 8}, at::kLong).to(at::kByte);
  write_poisoned_dataset(
      clean, poison(make_memory_dataset(images, at::arange(30).remainder(3), {"a", "b", "c"}), "random",
                    AttackSpec{}));
  const auto with_clean = [&](const std::string& per_class) {
    auto made = config("pdb");
    made->options.assign_text("clean-data", clean.string(), Origin::command_line, "--clean-data");
    made->options.assign_text("clean-per-class", per_class, Origin::command_line, "--clean-per-class");
    return made;
  };
  const fs::path out = folder_.path() / "run";
  test::expect_error(ErrorKind::usage, {"'pdb' needs clean images with labels", "--clean-data"},
                     [&] { train_run(*config("pdb"), out, false); });
  train_run(*with_clean("4"), out, false);
  const TrainedRun opened = open_run(out);
  EXPECT_EQ(opened.result["cells"][0]["assumes"], "12 clean images with labels");
  test::expect_error(ErrorKind::usage, {"other options"}, [&] { train_run(*with_clean("5"), out, true); });
  test::expect_error(ErrorKind::usage, {"stamps every image"},
                     [&] { export_run(opened, out / "model.safetensors", "safetensors", false); });

  train_run(*config("none"), folder_.path() / "plain", false);
  EXPECT_EQ(open_run(folder_.path() / "plain").result["cells"][0]["assumes"], "");
}

TEST_F(RunTest, AnAuditShowsWhatTheDefenseHeldOfItsSamples) {
  const fs::path out = folder_.path() / "run";
  train_run(*config("abl"), out, false);
  const TrainedRun opened = open_run(out);
  ASSERT_TRUE(can_audit(opened.model()));
  const Audit found = audit(opened.model(), opened.training_set(), opened.compute);
  Batch all;
  all.indices = natural_order(opened.training_set()->size());
  EXPECT_TRUE(found.suspicion.equal(opened.model().training_suspicion(all)));
  EXPECT_EQ(found.suspicion.ge(found.threshold).sum().item<std::int64_t>(), 1)
      << "one in a hundred, at least one";
  EXPECT_THAT(found.meaning, HasSubstr("limit"));
  test::expect_error(ErrorKind::usage, {"trained on 60 images, the set has 3"}, [&] {
    audit(opened.model(), coded({0, 1, 2}, {0, 1, 2}), opened.compute);
  });
}

TEST_F(RunTest, SetWithOtherClassesIsRefused) {
  const fs::path out = folder_.path() / "run";
  train_run(*config("none"), out, false);
  const TrainedRun opened = open_run(out);
  const at::Tensor images = at::zeros({4, 3, 8, 8}, at::kByte);
  write_poisoned_dataset(
      folder_.path() / "other",
      poison(make_memory_dataset(images, at::zeros({4}, at::kLong), {"x", "y"}), "zeros", AttackSpec{}));
  test::expect_error(ErrorKind::usage, {"classes"},
                     [&] { opened.matching_set((folder_.path() / "other").string(), Split::train); });
}

TEST(Result, UndefinedFiguresAreNull) {
  EXPECT_TRUE(percent(Rate{0, 0}).is_null());
  EXPECT_DOUBLE_EQ(percent(Rate{1, 3}).get<double>(), 33.3333);
  EXPECT_TRUE(number(NAN).is_null());
  const Json result = new_result("title", "command", Compute{});
  EXPECT_EQ(result["schema"], "mcci.result/1");
  EXPECT_TRUE(result["cells"].empty());
}

}  // namespace
}  // namespace mcci
