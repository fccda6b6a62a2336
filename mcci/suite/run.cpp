#include "mcci/suite/run.hpp"

#include <cstdlib>
#include <fstream>

#include "mcci/core/hash.hpp"
#include "mcci/core/log.hpp"
#include "mcci/data/compose.hpp"
#include "mcci/nn/backbone.hpp"
#include "mcci/runtime/environment.hpp"
#include "mcci/state/weights.hpp"
#include "mcci/suite/defenses.hpp"
#include "mcci/suite/result.hpp"
#include "mcci/train/fine_tuning.hpp"

namespace mcci {
namespace {

constexpr const char* schema_name = "mcci.run/1";

Problem problem_of(const RunConfig& config, const ImageShape& shape, std::int64_t num_classes,
                   const Compute& compute) {
  Problem problem;
  problem.shape = shape;
  problem.num_classes = num_classes;
  problem.backbone.name = config.backbone;
  problem.backbone.width = config.width;
  problem.backbone.depth = config.depth;
  problem.backbone.normalise = config.normalise;
  problem.backbone.recompute = config.recompute;
  problem.backbone.in_channels = shape.channels;
  problem.backbone.image_size = std::max(shape.height, shape.width);
  problem.compute = compute;
  problem.seed = static_cast<std::uint64_t>(config.train.seed);
  return problem;
}

// Another data set, with images as a model of `shape` and `classes` takes them.
DatasetPtr open_matching(const RunConfig& config, const ImageShape& shape,
                         const std::vector<std::string>& classes, const std::string& source, Split split) {
  DatasetOptions options = config.dataset;
  if (source != config.data) {
    options.format = "auto";
    options.image_size = 0;
    options = with_alias_options(source, options);
  }
  options.channels = shape.channels;
  options.image_size = shape.height == shape.width ? shape.height : 0;
  const DatasetPtr data = open_dataset(source, split, options);
  if (data->shape() != shape) {
    throw Error(ErrorKind::usage, "its images have another size than those of the training set", source);
  }
  if (data->classes() != classes) {
    throw Error(ErrorKind::usage,
                "its " + std::to_string(data->num_classes()) + " classes are not the model's " +
                    std::to_string(classes.size()),
                source, "class names and their order must be those of the training set");
  }
  return data;
}

// The images known to be clean that the defense is given; null: it assumes none.
DatasetPtr open_clean_data(const RunConfig& config, const Dataset& training) {
  const std::string assumed = config.method->assumes();
  if (assumed.empty()) return nullptr;
  const CleanDataOptions* options = config.method->clean_data();
  if (options == nullptr) throw Error(ErrorKind::internal, "a defense assumes what it cannot be given");
  if (options->clean_data.empty()) {
    throw Error(ErrorKind::usage, "the defense '" + config.defense + "' needs " + assumed, "--clean-data",
                "name a folder or an installed set, none of it from the test set");
  }
  const DatasetPtr all =
      open_matching(config, training.shape(), training.classes(), options->clean_data, Split::train);
  const auto seed = static_cast<std::uint64_t>(config.train.seed);
  if (options->clean_per_class > 0) {
    return subset(all, some_of_each_class(*all, options->clean_per_class, seed));
  }
  return options->clean_share < 1 ? subset(all, share_of_each_class(*all, options->clean_share, seed)) : all;
}

std::string_view bytes_of(const at::Tensor& contiguous) {
  return {static_cast<const char*>(contiguous.data_ptr()), contiguous.nbytes()};
}

// What ties a checkpoint to its run: all options that change the result, the data, and what the weights to
// start from hold, whatever they are called. `clean` may be null.
std::string hash_of(const RunConfig& config, const Dataset& data, const Dataset* clean,
                    const std::string& weights_hash) {
  Json options = config.options.to_json();
  options.erase("checkpoint-minutes");
  options.erase("workers");
  options.erase("recompute");
  options["weights"] = weights_hash;
  std::string text = options.dump() + sha256(bytes_of(data.labels().contiguous()));
  if (clean != nullptr) text += sha256(bytes_of(clean->labels().contiguous()));
  return sha256(text);
}

Json layout_json(const std::optional<FoundLayout>& layout) {
  if (!layout) return nullptr;
  return {{"name", layout->layout->name}, {"prefix", layout->prefix}};
}

std::optional<FoundLayout> layout_of(const Json& config, const std::string& backbone,
                                     const std::string& where) {
  const Json json = json_at<Json>(config, "layout", where);
  if (json.is_null()) return std::nullopt;
  const LayoutFamily& family = *backbones().at(backbone).layouts;
  return FoundLayout{&family, &family.at(json_at<std::string>(json, "name", where)),
                     json_at<std::string>(json, "prefix", where)};
}

void write_run_config(const RunFiles& files, const RunConfig& config, const Dataset& data,
                      const std::string& hash, const std::string& weights_hash,
                      const std::optional<FoundLayout>& layout) {
  const ImageShape& shape = data.shape();
  write_json(files.config(), {{"schema", schema_name},
                              {"hash", hash},
                              {"weights_sha256", weights_hash},
                              {"layout", layout_json(layout)},
                              {"options", config.options.to_json()},
                              {"shape", {shape.channels, shape.height, shape.width}},
                              {"classes", data.classes()},
                              {"training_images", data.size()}});
}

// Of this process since its start: unlike getrusage, VmHWM does not count the process that started it.
Json peak_memory_mib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmHWM:", 0) == 0) return number(std::strtod(line.c_str() + 6, nullptr) / 1024);
  }
  return nullptr;
}

Json run_cell(const RunConfig& config, const Dataset& data, const Dataset* clean, const RunState& state) {
  Json cell = new_cell();
  cell["dataset"] = std::filesystem::path(config.data).filename().string();
  cell["model"] = config.backbone + (config.width > 0 ? "-w" + std::to_string(config.width) : "") +
                  (config.depth > 0 ? "-d" + std::to_string(config.depth) : "");
  cell["defense"] = config.defense;
  cell["preset"] = config.preset;
  if (clean != nullptr) cell["assumes"] = std::to_string(clean->size()) + " " + config.method->assumes();
  cell["seed"] = config.train.seed;
  cell["seconds"] = number(state.seconds);
  cell["peak_memory_mib"] = peak_memory_mib();
  cell["classes"] = data.classes();
  cell["config"] = config.options.to_json();
  cell["history"] = state.history;
  return cell;
}

}  // namespace

RunConfig::RunConfig(const std::string& defense_name)
    : defense(defense_name), method(defenses().at(defense_name)()) {
  preset = default_preset(*method);
  options.add("data", data, "training set: a folder, or the name of an installed data set");
  options.add("defense", defense, "how to train", defenses().names());
  options.add("preset", preset, "values for the options below; given ones override them",
              method->presets().names());
  options.add("backbone", backbone, "the network to be trained (SFRN); mcci backbones explains them",
              backbones().names());
  options.add("width", width,
              "channels of the backbone's first stage, of a ViT's tokens; 0: the architecture's own",
              {0, 2048});
  options.add("depth", depth, "a ViT's blocks, any other backbone's in each stage; 0: the architecture's own",
              {0, 64});
  options.add(
      "weights", weights,
      "what the backbone starts from instead of random numbers: safetensors, PyTorch's .pth or .bin, an "
      "index of several, or a folder with one of these; a head of other classes is left out");
  options.add("normalise", normalise,
              "subtract the mean and divide by the deviation that the backbone's published weights expect");
  options.add(
      "recompute", recompute,
      "less memory, a third more time: a ViT's block keeps its input only, and is computed again for the "
      "gradient");
  train.declare(options);
  method->declare(options);
  dataset.declare(options);
  compute.declare(options);
}

void RunConfig::apply_preset() {
  options.assign_json(method->presets().at(preset), Origin::preset, "preset " + preset);
}

RunState train_run(RunConfig& config, const std::filesystem::path& folder, bool resume,
                   const std::function<void(Defense&, Json&)>& on_epoch) {
  const RunFiles files{folder};
  const bool taken = std::filesystem::exists(files.config());
  if (!resume && std::filesystem::exists(folder) && !std::filesystem::is_empty(folder)) {
    throw Error(ErrorKind::usage, "the folder is not empty", folder.string(),
                taken ? "add --resume to continue that run, or name another --out" : "name another --out");
  }
  config.dataset = with_alias_options(config.data, config.dataset);
  const DatasetPtr data = open_dataset(config.data, Split::train, config.dataset);
  const DatasetPtr clean = open_clean_data(config, *data);
  WeightFile weights;
  if (!config.weights.empty()) weights = read_weights(config.weights);
  const std::string weights_hash = config.weights.empty() ? "" : content_hash(weights);
  const std::string hash = hash_of(config, *data, clean.get(), weights_hash);
  if (taken && json_at<std::string>(read_json(files.config()), "hash", files.config().string()) != hash) {
    throw Error(ErrorKind::usage, "the run in this folder has other options or other data", folder.string(),
                "resume with the options of its config.json, or name another --out");
  }
  const Compute compute = setup_compute(config.compute);
  Problem problem = problem_of(config, data->shape(), data->num_classes(), compute);
  problem.pre_trained = !config.weights.empty();
  problem.clean = clean;
  config.method->build(problem);
  std::optional<FoundLayout> layout;
  if (!config.weights.empty())
    layout = load_backbones(config.method->module(), weights.tensors, config.weights);

  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    throw Error(ErrorKind::io, "cannot create the folder (" + error.message() + ")", folder.string());
  if (!taken) write_run_config(files, config, *data, hash, weights_hash, layout);
  write_json(files.environment(), environment(compute));
  set_log_file(files.log());

  TrainingRun run;
  run.data = data;
  run.options = config.train;
  run.compute = compute;
  run.checkpoint = files.checkpoint();
  run.config_hash = hash;
  run.title = config.defense;
  run.resume = resume;
  if (on_epoch) run.on_epoch = [&](Json& epoch) { on_epoch(*config.method, epoch); };
  const RunState state = train(*config.method, run);

  if (!std::filesystem::exists(files.result())) {
    Json result = new_result(config.defense + " on " + config.data, "mcci train", compute);
    result["cells"].push_back(run_cell(config, *data, clean.get(), state));
    write_json(files.result(), result);
  }
  set_log_file({});
  return state;
}

DatasetPtr TrainedRun::training_set() const {
  return open_dataset(config->data, Split::train, config->dataset);
}

DatasetPtr TrainedRun::matching_set(const std::string& source, Split split) const {
  return open_matching(*config, shape, classes, source, split);
}

TrainedRun open_run(const std::filesystem::path& folder, const ComputeOptions& compute) {
  TrainedRun run;
  run.files = RunFiles{folder};
  const std::string where = run.files.config().string();
  const Json json = read_json(run.files.config());
  if (json_at<std::string>(json, "schema", where) != schema_name) {
    throw Error(ErrorKind::data, "this is not the folder of a run", where,
                std::string("its schema must be ") + schema_name);
  }
  const Json options = json_at<Json>(json, "options", where);
  run.config = std::make_unique<RunConfig>(json_at<std::string>(options, "defense", where));
  run.config->options.assign_json(options, Origin::config_file, where);
  run.classes = json_at<std::vector<std::string>>(json, "classes", where);
  const auto sizes = json_at<std::vector<std::int64_t>>(json, "shape", where);
  if (sizes.size() != 3 || run.classes.empty())
    throw Error(ErrorKind::data, "shape or classes are false", where);
  run.shape = {sizes[0], sizes[1], sizes[2]};
  run.layout = layout_of(json, run.config->backbone, where);
  run.compute = setup_compute(compute);
  run.config->method->build(
      problem_of(*run.config, run.shape, static_cast<std::int64_t>(run.classes.size()), run.compute));

  const std::string checkpoint_name = run.files.checkpoint().string();
  const Checkpoint checkpoint =
      load_checkpoint(run.files.checkpoint(), json_at<std::string>(json, "hash", where));
  if (!checkpoint.state.finished) {
    throw Error(ErrorKind::usage, "training has not finished", checkpoint_name,
                "continue it with mcci train --resume");
  }
  restore(*run.config->method, checkpoint, checkpoint_name);
  run.config->method->module().eval();
  run.result = read_json(run.files.result());
  return run;
}

}  // namespace mcci
