#include "mcci/suite/evaluation.hpp"

#include <algorithm>

#include <ATen/ATen.h>

#include "mcci/core/error.hpp"
#include "mcci/data/loader.hpp"
#include "mcci/suite/result.hpp"

namespace mcci {
namespace {

constexpr std::int64_t batch_images = 500;

}  // namespace

Perception perception_of(const std::string& name) {
  if (name == "clean") return Perception::clean;
  if (name == "own") return Perception::own;
  if (name == "attacked") return Perception::attacked;
  throw Error(ErrorKind::usage, "the key 'perception' cannot be '" + name + "'", "perception",
              "use clean, own or attacked");
}

Evaluation evaluate(Defense& model, const DatasetPtr& test, const Attack* attack, const Compute& compute,
                    const EvaluationOptions& options) {
  const std::int64_t n = options.limit > 0 ? std::min(options.limit, test->size()) : test->size();
  const auto predict = [&](const at::Tensor& images) {
    return model.logits(place(to_unit(images), compute), options.perception).argmax(1).cpu();
  };
  std::vector<at::Tensor> predictions;
  std::vector<at::Tensor> triggered_predictions;
  std::vector<at::Tensor> attack_labels;
  // Evenly spaced, since many sets are in order of class.
  const at::Tensor chosen = at::arange(n).mul(test->size()).div(std::max<std::int64_t>(n, 1), "floor");
  for (const at::Tensor& indices : chosen.split(batch_images)) {
    const at::Tensor images = test->images(indices);
    predictions.push_back(predict(images));
    if (attack == nullptr) continue;
    const TriggeredBatch triggered =
        trigger_batch(*attack, images, indices, test->labels().index_select(0, indices), test->num_classes());
    triggered_predictions.push_back(predict(triggered.images));
    attack_labels.push_back(triggered.attack_labels);
  }
  const at::Tensor labels = test->labels().index_select(0, chosen);
  Evaluation result;
  result.ca = clean_accuracy(at::cat(predictions), labels);
  result.per_class = per_class_accuracy(at::cat(predictions), labels, test->num_classes());
  if (attack != nullptr) {
    const at::Tensor all = at::cat(triggered_predictions);
    const at::Tensor wanted = at::cat(attack_labels);
    result.asr = attack_success_rate(all, labels, wanted, options.count);
    result.pa = poisoned_accuracy(all, labels, wanted, options.count);
  }
  return result;
}

void add_to_cell(Json& cell, const Manifest& truth) {
  cell["attack"] = truth.attack.name;
  cell["attack_preset"] = truth.attack.preset;
  cell["rate"] = number(truth.rate_of_whole_set());
  cell["rate_of_target_class"] = number(truth.rate_of_target_class());
}

void add_to_cell(Json& cell, const Evaluation& evaluation) {
  cell["ca"] = percent(evaluation.ca);
  cell["asr"] = percent(evaluation.asr);
  cell["pa"] = percent(evaluation.pa);
  cell["counts"] = {
      {"ca", counts(evaluation.ca)}, {"asr", counts(evaluation.asr)}, {"pa", counts(evaluation.pa)}};
  cell["per_class_ca"] = Json::array();
  for (const Rate& rate : evaluation.per_class) cell["per_class_ca"].push_back(percent(rate));
}

}  // namespace mcci
