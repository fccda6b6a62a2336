#include "mcci/suite/export.hpp"

#include <algorithm>

#include <ATen/ATen.h>

#include "mcci/core/error.hpp"
#include "mcci/core/version.hpp"
#include "mcci/data/loader.hpp"
#include "mcci/deploy/network.hpp"
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

Network network_of(Backbone& backbone, const std::vector<std::int64_t>& image) {
  return {backbone, [&backbone](const at::Tensor& x) { return backbone.forward(x); }, image};
}

}  // namespace

const Registry<Exporter>& export_formats() {
  using Notes = std::map<std::string, std::string>;
  using Image = std::vector<std::int64_t>;
  using Path = std::filesystem::path;
  static const Registry<Exporter> table(
      "format", {{"safetensors", "weights under torchvision's names",
                  [](const Path& path, Backbone& backbone, const Image& /*image*/, const Notes& /*notes*/) {
                    save_safetensors(path, module_state(backbone), {{"format", "pt"}});
                  }},
                 {"pth", "the same, for PyTorch's load_state_dict(torch.load(FILE))",
                  [](const Path& path, Backbone& backbone, const Image& /*image*/, const Notes& /*notes*/) {
                    save_pth(path, module_state(backbone));
                  }},
                 {"torchscript", "a program that runs in Python and C++ without mcci",
                  [](const Path& path, Backbone& backbone, const Image& image, const Notes& notes) {
                    save_torchscript(path, network_of(backbone, image), notes);
                  }},
                 {"onnx", "a program for other runtimes: opset 13, any batch",
                  [](const Path& path, Backbone& backbone, const Image& image, const Notes& notes) {
                    save_onnx(path, network_of(backbone, image), notes);
                  }}});
  return table;
}

void export_run(const TrainedRun& run, const std::filesystem::path& path, const std::string& format,
                bool reference) {
  const Exporter& write = export_formats().at(format);
  const std::filesystem::path description = beside(path, ".json");
  const std::filesystem::path example = beside(path, "-reference.safetensors");
  refuse_existing(path);
  refuse_existing(description);
  if (reference) refuse_existing(example);

  const std::shared_ptr<Backbone> plain = run.model().folded();
  const RunConfig& config = *run.config;
  const Json notes = {{"schema", "mcci.export/1"},
                      {"format", format},
                      {"architecture", config.backbone},
                      {"width", config.width},
                      {"depth", config.depth},
                      {"stem", run.shape.height > 64 ? "imagenet" : "small"},
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
  write(path, *plain, {run.shape.channels, run.shape.height, run.shape.width}, {{"mcci.json", text}});
  if (reference) {
    const at::NoGradGuard no_grad;
    const DatasetPtr data = run.training_set();
    const at::Tensor input = to_unit(data->images(at::arange(std::min(reference_images, data->size()))));
    save_safetensors(example, {{"input", input}, {"logits", plain->forward(input)}});
  }
  write_json(description, notes);
}

}  // namespace mcci
