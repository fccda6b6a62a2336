#include "mcci/suite/export.hpp"

#include <algorithm>

#include <ATen/ATen.h>

#include "mcci/core/error.hpp"
#include "mcci/core/version.hpp"
#include "mcci/data/loader.hpp"
#include "mcci/deploy/network.hpp"
#include "mcci/nn/weights.hpp"
#include "mcci/state/module_state.hpp"
#include "mcci/state/pth.hpp"
#include "mcci/state/tensors.hpp"

namespace mcci {
namespace {

constexpr std::int64_t reference_images = 8;

void refuse_existing(const std::filesystem::path& path) {
  if (std::filesystem::exists(path)) {
    throw Error(ErrorKind::usage, "the file is there already", path.string(),
                "remove it or name another --out");
  }
}

std::filesystem::path beside(const std::filesystem::path& weights, const std::string& ending) {
  return weights.parent_path() / (weights.stem().string() + ending);
}

Network network_of(const PlainModel& model) {
  return {model.backbone, [&model](const at::Tensor& x) { return model.backbone.forward(x); }, model.image};
}

TensorList weights_of(const PlainModel& model) {
  return model.layout ? weights_of(model.backbone, *model.layout) : module_state(model.backbone);
}

std::optional<FoundLayout> chosen_layout(const TrainedRun& run, const ExportFormat& format,
                                         const std::string& name) {
  if (name == original_layout) return run.layout;
  if (format.is_program) {
    throw Error(ErrorKind::usage, "a program has no layout: it holds the network that its weights belong to",
                "--layout", "leave it out, or use --format safetensors or pth");
  }
  if (name == own_layout) return std::nullopt;
  const LayoutFamily& family = *backbones().at(run.config->backbone).layouts;
  return FoundLayout{&family, &family.at(name), ""};
}

}  // namespace

const Registry<ExportFormat>& export_formats() {
  using Path = std::filesystem::path;
  static const Registry<ExportFormat> table(
      "format",
      {{"safetensors",
        "weights, in the layout of those that --weights named",
        {[](const Path& path, const PlainModel& model) {
          save_safetensors(path, weights_of(model), {{"format", "pt"}});
        }}},
       {"pth",
        "the same, for PyTorch's load_state_dict(torch.load(FILE))",
        {[](const Path& path, const PlainModel& model) { save_pth(path, weights_of(model)); }}},
       {"torchscript",
        "a program that runs in Python and C++ without mcci",
        {[](const Path& path, const PlainModel& model) {
           save_torchscript(path, network_of(model), model.notes);
         },
         /*is_program=*/true}},
       {"onnx",
        "a program for other runtimes: opset 13, any batch",
        {[](const Path& path, const PlainModel& model) { save_onnx(path, network_of(model), model.notes); },
         /*is_program=*/true}}});
  return table;
}

void export_run(const TrainedRun& run, const std::filesystem::path& path, const std::string& format,
                bool reference, const std::string& layout_name) {
  const ExportFormat& exporter = export_formats().at(format);
  const std::optional<FoundLayout> layout = chosen_layout(run, exporter, layout_name);
  const std::filesystem::path description = beside(path, ".json");
  const std::filesystem::path example = beside(path, "-reference.safetensors");
  refuse_existing(path);
  refuse_existing(description);
  if (reference) refuse_existing(example);

  const std::shared_ptr<Backbone> plain = run.model().folded();
  const RunConfig& config = *run.config;
  const Json notes = {
      {"schema", "mcci.export/1"},
      {"format", format},
      {"architecture", config.backbone},
      {"width", config.width},
      {"depth", config.depth},
      {"stem", run.shape.height > 64 ? "imagenet" : "small"},
      {"layout", exporter.is_program ? Json() : Json(layout ? layout->layout->name : own_layout)},
      {"prefix", layout && !exporter.is_program ? layout->prefix : ""},
      {"input", {run.shape.channels, run.shape.height, run.shape.width}},
      {"range", {0, 1}},
      {"mean", plain->mean()},
      {"std", plain->std()},
      {"classes", run.classes},
      {"provenance",
       {{"mcci", version()},
        {"defense", config.defense},
        {"preset", config.preset},
        {"data", config.data},
        {"seed", config.train.seed}}}};
  const std::string text = notes.dump(2, ' ', false, Json::error_handler_t::replace);
  exporter.write(
      path, {*plain, {run.shape.channels, run.shape.height, run.shape.width}, {{"mcci.json", text}}, layout});
  if (reference) {
    const at::NoGradGuard no_grad;
    const DatasetPtr data = run.training_set();
    const at::Tensor input = to_unit(data->images(at::arange(std::min(reference_images, data->size()))));
    save_safetensors(example, {{"input", input}, {"logits", plain->forward(input)}});
  }
  write_json(description, notes);
}

}  // namespace mcci
