#include "mcci/suite/audit.hpp"

#include <ostream>
#include <vector>

#include <ATen/ATen.h>

#include "mcci/core/error.hpp"
#include "mcci/core/files.hpp"
#include "mcci/core/progress.hpp"
#include "mcci/data/loader.hpp"
#include "mcci/metrics/metrics.hpp"
#include "mcci/suite/result.hpp"

namespace mcci {
namespace {

constexpr std::int64_t batch_images = 500;

}  // namespace

bool can_audit(const Defense& model) { return model.has_suspicion() || model.known_samples() > 0; }

Audit audit(Defense& model, const DatasetPtr& training_set, const Compute& compute) {
  const std::int64_t known = model.known_samples();
  if (known > 0 && known != training_set->size()) {
    throw Error(ErrorKind::usage,
                "the model was trained on " + std::to_string(known) + " images, the set has " +
                    std::to_string(training_set->size()),
                "", "audit the set that it was trained on");
  }
  std::vector<at::Tensor> suspicion;
  std::vector<at::Tensor> suggested;
  Progress progress("audit", training_set->size(), "images");
  for_each_batch(training_set, batch_images, [&](const Batch& batch) {
    const Batch placed = {place(batch.images, compute), batch.labels.to(compute.device),
                          batch.indices.to(compute.device)};
    suspicion.push_back(model.training_suspicion(placed).cpu());
    suggested.push_back(model.logits(placed.images, Perception::clean).argmax(1).cpu());
    progress.advance(batch.labels.size(0));
  });
  Audit result;
  result.suspicion = at::cat(suspicion).to(at::kFloat);
  result.suggested = at::cat(suggested);
  result.order = std::get<1>(result.suspicion.sort(/*stable=*/true, 0, /*descending=*/true));
  result.meaning = known > 0 ? "suspicion, 0 at the limit of what is flagged"
                             : "log p(label | own indicator) - log p(label | fake indicator)";
  result.threshold = model.suspicion_threshold();
  return result;
}

void write_audit_csv(const std::filesystem::path& path, const Audit& audit, const Dataset& training_set) {
  const auto order = audit.order.accessor<std::int64_t, 1>();
  const auto suspicion = audit.suspicion.accessor<float, 1>();
  const auto suggested = audit.suggested.accessor<std::int64_t, 1>();
  const at::Tensor recorded = training_set.labels();
  const auto label = recorded.accessor<std::int64_t, 1>();
  const auto class_name = [&](std::int64_t c) {
    return csv_field(training_set.classes()[static_cast<std::size_t>(c)]);
  };
  write_file_atomically(path, [&](std::ostream& out) {
    out << "path,label,suspicion,suggested_label\n";
    for (std::int64_t rank = 0; rank < audit.order.size(0); ++rank) {
      const std::int64_t i = order[rank];
      out << csv_field(training_set.name(i)) << ',' << class_name(label[i]) << ',' << suspicion[i] << ','
          << class_name(suggested[i]) << '\n';
    }
  });
}

void add_to_cell(Json& cell, const Audit& audit, const Manifest& truth) {
  const at::Tensor poisoned = truth.poisoned();
  if (poisoned.size(0) != audit.suspicion.size(0)) {
    throw Error(ErrorKind::usage,
                "the manifest describes " + std::to_string(poisoned.size(0)) +
                    " samples, the training set has " + std::to_string(audit.suspicion.size(0)),
                "--manifest", "name the manifest that was written with this training set");
  }
  const Detection found = detection(audit.suspicion.ge(audit.threshold), poisoned);
  cell["auroc"] = number(auroc(audit.suspicion, poisoned));
  cell["detection"] = {{"flagged", found.true_positives + found.false_positives},
                       {"precision", number(found.precision())},
                       {"recall", number(found.recall())},
                       {"false_positive_rate", number(found.false_positive_rate())},
                       {"threshold", number(audit.threshold)}};
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + "\"";
}

}  // namespace mcci
