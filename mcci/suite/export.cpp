#include "mcci/suite/export.hpp"

#include <algorithm>

#include <ATen/ATen.h>

#include "mcci/core/error.hpp"
#include "mcci/core/version.hpp"
#include "mcci/data/loader.hpp"
#include "mcci/state/module_state.hpp"
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

}  // namespace

void export_run(const TrainedRun& run, const std::filesystem::path& weights, bool reference) {
  const std::filesystem::path description = beside(weights, ".json");
  const std::filesystem::path example = beside(weights, "-reference.safetensors");
  refuse_existing(weights);
  refuse_existing(description);
  if (reference) refuse_existing(example);

  const std::shared_ptr<Backbone> plain = run.model().folded();
  const RunConfig& config = *run.config;
  if (reference) {
    const at::NoGradGuard no_grad;
    const DatasetPtr data = run.training_set();
    const at::Tensor input = to_unit(data->images(at::arange(std::min(reference_images, data->size()))));
    save_safetensors(example, {{"input", input}, {"logits", plain->forward(input)}});
  }
  write_json(description, {{"schema", "mcci.export/1"},
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
                             {"seed", config.train.seed}}}});
  save_safetensors(weights, module_state(*plain), {{"format", "pt"}});
}

}  // namespace mcci
