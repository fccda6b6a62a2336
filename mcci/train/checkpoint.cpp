#include "mcci/train/checkpoint.hpp"

#include <map>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "mcci/core/error.hpp"
#include "mcci/state/module_state.hpp"

namespace mcci {
namespace {

constexpr const char* schema_name = "mcci.checkpoint/1";

TensorList part(const Checkpoint& checkpoint, const std::string& prefix) {
  return with_prefix_removed(checkpoint.tensors, prefix);
}

void append(TensorList& all, const TensorList& tensors, const std::string& prefix) {
  for (auto& named : with_prefix_added(tensors, prefix)) all.push_back(std::move(named));
}

// Copies tensors by name into others that exist already.
void copy_into(const TensorList& target, const TensorList& source, const std::string& where) {
  at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> by_name(source.begin(), source.end());
  for (const auto& [name, tensor] : target) {
    const auto found = by_name.find(name);
    if (found == by_name.end() || found->second.sizes() != tensor.sizes() ||
        found->second.scalar_type() != tensor.scalar_type()) {
      throw Error(
          ErrorKind::data, "the state '" + name + "' is missing or has another shape", where,
          "the checkpoint was written by another version or configuration; train again in a new folder");
    }
    at::Tensor destination = tensor;
    destination.copy_(found->second);
  }
}

}  // namespace

void save_checkpoint(const std::filesystem::path& path, Learner& learner, const Updates& updates,
                     const RunState& state, const std::string& config_hash) {
  TensorList tensors;
  append(tensors, module_state(learner.module()), "model");
  append(tensors, learner.extra_state(), "defense");
  if (updates.optimizer != nullptr) append(tensors, updates.optimizer->state(), "optimizer");
  if (updates.average != nullptr) append(tensors, updates.average->state(), "average");
  if (updates.pairs != nullptr) append(tensors, updates.pairs->state(), "low_rank");
  const Json json = {{"schema", schema_name},
                     {"config", config_hash},
                     {"phase", state.phase},
                     {"epoch", state.epoch},
                     {"batch", state.batch},
                     {"finished", state.finished},
                     {"epoch_loss", state.epoch_loss},
                     {"epoch_correct", state.epoch_correct},
                     {"epoch_samples", state.epoch_samples},
                     {"epoch_seconds", state.epoch_seconds},
                     {"seconds", state.seconds},
                     {"history", state.history}};
  save_safetensors(path, tensors, {{"mcci", json.dump()}});
}

Checkpoint load_checkpoint(const std::filesystem::path& path, const std::string& config_hash) {
  TensorFile file = load_safetensors(path);
  const std::string where = path.string();
  const auto metadata = file.metadata.find("mcci");
  const Json json = metadata == file.metadata.end()
                        ? Json()
                        : Json::parse(metadata->second, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || json_at<std::string>(json, "schema", where) != schema_name) {
    throw Error(ErrorKind::data, "this is not a checkpoint of mcci", where,
                std::string("its schema must be ") + schema_name);
  }
  if (json_at<std::string>(json, "config", where) != config_hash) {
    throw Error(ErrorKind::usage, "the checkpoint belongs to a run with another configuration", where,
                "resume with the options in config.json, or train in a new folder");
  }
  Checkpoint checkpoint;
  RunState& state = checkpoint.state;
  state.phase = json_at<std::int64_t>(json, "phase", where);
  state.epoch = json_at<std::int64_t>(json, "epoch", where);
  state.batch = json_at<std::int64_t>(json, "batch", where);
  state.finished = json_at<bool>(json, "finished", where);
  state.epoch_loss = json_at<double>(json, "epoch_loss", where);
  state.epoch_correct = json_at<std::int64_t>(json, "epoch_correct", where);
  state.epoch_samples = json_at<std::int64_t>(json, "epoch_samples", where);
  state.epoch_seconds = json_at<double>(json, "epoch_seconds", where);
  state.seconds = json_at<double>(json, "seconds", where);
  state.history = json_at<Json>(json, "history", where);
  if (state.phase < 0 || state.epoch < 0 || state.batch < 0 || !state.history.is_array()) {
    throw Error(ErrorKind::data, "the checkpoint's position is out of range", where);
  }
  checkpoint.tensors = std::move(file.tensors);
  return checkpoint;
}

void restore(Learner& learner, const Checkpoint& checkpoint, const std::string& where) {
  load_module_state(learner.module(), part(checkpoint, "model"), where);
  learner.set_extra_state(part(checkpoint, "defense"), where);
}

void restore(const Updates& updates, const Checkpoint& checkpoint, const std::string& where) {
  if (updates.optimizer != nullptr)
    copy_into(updates.optimizer->state(), part(checkpoint, "optimizer"), where);
  if (updates.average != nullptr) copy_into(updates.average->state(), part(checkpoint, "average"), where);
  if (updates.pairs != nullptr) copy_into(updates.pairs->state(), part(checkpoint, "low_rank"), where);
}

}  // namespace mcci
