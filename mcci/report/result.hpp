#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mcci/core/json.hpp"

// The content of result.json (docs/formats/result.md) as plain structs. A figure that is undefined is empty.
namespace mcci::report {

struct Count {
  std::int64_t hits = 0;
  std::int64_t total = 0;
};

// Percent in [0,100]; the loss is empty where it was not finite.
struct Epoch {
  std::string phase;
  std::optional<double> loss, train_accuracy, ca, asr, pa;
};

// Of poisoned training samples at one threshold; shares in [0,1].
struct Detected {
  std::optional<double> flagged;  // how many
  std::optional<double> precision, recall, false_positive_rate, threshold;
};

// One trained model. Where `error` is not empty there is none: it says why, and no figure is defined.
struct Cell {
  std::string id, error;
  std::string dataset, attack, attack_preset, model, defense, preset;
  std::string assumes;  // what the defense was given besides the training set; empty: nothing
  std::optional<double> rate, rate_of_target_class;  // [0,1]
  std::int64_t seed = 0;
  std::optional<double> ca, asr, pa;            // percent in [0,100]
  std::optional<double> oracle_asr, oracle_pa;  // percent in [0,100]
  std::optional<double> pa_over_oracle, der, auroc, seconds, peak_memory_mib;
  std::optional<bool> implanted;
  std::optional<Count> ca_count, asr_count, pa_count, oracle_asr_count, oracle_pa_count;
  std::vector<std::string> classes;
  std::vector<std::optional<double>> per_class_ca;  // percent, in order of `classes`
  std::optional<Detected> detection;
  Json config = Json::object();
  std::vector<Epoch> history;
};

// Images are paths relative to the folder of result.json, not yet checked (see image.hpp).
struct Trigger {
  std::string attack, clean, triggered, difference, spectrum_difference;
};

struct Prediction {
  std::string by, predicted_class;
  double probability = 0;  // [0,1]
};

struct Example {
  std::string image, true_class, attack_class;  // attack_class is empty on an image without a trigger
  std::vector<Prediction> predictions;
};

struct Suspect {
  std::string image, path, label, suggested_label;
  double suspicion = 0;
  std::optional<bool> poisoned;  // empty when no truth was given
};

struct HistogramSeries {
  std::string name;
  std::vector<std::int64_t> counts;
};

struct Histogram {
  std::string title, x_label;
  std::vector<double> edges;  // never decreasing, one more than each series has counts
  std::vector<HistogramSeries> series;
};

struct EmbeddedPoint {
  double x = 0, y = 0;
  std::size_t group = 0;  // an index into Embedding::groups
};

struct EmbeddingPanel {
  std::string name;
  std::vector<EmbeddedPoint> points;
};

// Feature vectors of the same samples before and after an intervention, projected to the plane.
struct Embedding {
  std::string title, method;
  std::vector<double> explained;  // shares of the variance, one for each axis, or empty
  std::vector<std::string> groups;
  std::vector<EmbeddingPanel> panels;
};

struct Result {
  std::string title, created, command;
  std::vector<std::pair<std::string, std::string>> environment;  // name, value
  std::string ca_convention, asr_convention, pa_convention;
  std::vector<Cell> cells;
  std::vector<Trigger> triggers;
  std::vector<Example> examples;
  std::vector<Suspect> suspects;
  std::vector<Histogram> histograms;
  std::vector<Embedding> embeddings;
};

// `where` names the file in errors.
// Errors: data for another schema, a missing key, a wrong type or a number out of its range.
Result parse_result(const Json& json, const std::string& where);

// The cells of all results, called "result 1" and so on in errors.
std::vector<Cell> parse_cells(const std::vector<Json>& results);

}  // namespace mcci::report
