#include "mcci/train/learner.hpp"

#include "mcci/core/error.hpp"

namespace mcci {

TensorList parameter_list(const torch::nn::Module& module) {
  TensorList list;
  for (const auto& parameter : module.named_parameters())
    list.emplace_back(parameter.key(), parameter.value());
  return list;
}

Phase make_phase(std::string name, TensorList parameters, const TrainOptions& options) {
  return {std::move(name),   options.epochs,   std::move(parameters), 0,
          options.optimizer, options.schedule, options.augment,       true};
}

Phase make_constant_phase(std::string name, TensorList parameters, const TrainOptions& options,
                          std::int64_t epochs, const std::string& optimizer, double lr) {
  Phase phase = make_phase(std::move(name), std::move(parameters), options);
  phase.epochs = epochs;
  if (phase.optimizer.optimizer != optimizer) {
    const OptimizerOptions defaults;
    phase.optimizer.optimizer = optimizer;
    phase.optimizer.momentum = defaults.momentum;
    phase.optimizer.weight_decay = defaults.weight_decay;
  }
  phase.optimizer.lr = lr;
  phase.optimizer.average = 0;
  phase.schedule.schedule = "constant";
  return phase;
}

void Learner::begin_epoch(std::size_t /*phase*/, std::int64_t /*epoch*/, const DatasetPtr& /*data*/) {}

void Learner::finish(const DatasetPtr& /*data*/) {}

void Learner::set_extra_state(const TensorList& tensors, const std::string& where) {
  if (!tensors.empty()) {
    throw Error(ErrorKind::data, "the checkpoint holds state that this learner does not have", where);
  }
}

}  // namespace mcci
