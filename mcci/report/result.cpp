#include "mcci/report/result.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <utility>

#include "mcci/report/format.hpp"

namespace mcci::report {
namespace {

constexpr const char* schema = "mcci.result/1";
// Far beyond any figure that makes sense, and far enough from overflow to be drawn.
constexpr double unbounded = 1e30;
constexpr double max_count = 1e12;
// A page with more points than these could not be read, and hardly opened.
constexpr std::size_t max_groups = 64, max_panels = 16, max_points = 1'000'000;

// One object of the document together with its place in it, so that every error says where it stands.
class Object {
 public:
  Object(const Json& json, std::string where) : json_(json), where_(std::move(where)) {
    if (!json_.is_object()) throw Error(ErrorKind::data, "an object is expected", where_);
  }

  const std::string& where() const { return where_; }
  const Json& json() const { return json_; }

  // The member `key`; null when it is absent.
  const Json& at(const std::string& key) const {
    static const Json null;
    const auto member = json_.find(key);
    return member == json_.end() ? null : *member;
  }

  Object object(const std::string& key) const { return {at(key), place(key)}; }

  std::string text(const std::string& key) const {
    if (!at(key).is_string()) fail(key, "a string");
    return at(key).get<std::string>();
  }

  std::string optional_text(const std::string& key) const { return at(key).is_null() ? "" : text(key); }

  double number(const std::string& key, double low, double high) const {
    const std::optional<double> value = optional_number(key, low, high);
    if (!value) fail(key, "a number");
    return *value;
  }

  // Also empty when the number is not finite: written to a file it would be null.
  std::optional<double> optional_number(const std::string& key, double low, double high) const {
    return bounded(at(key), key, low, high);
  }

  std::int64_t integer(const std::string& key, std::int64_t low) const {
    const Json& value = at(key);
    const bool fits = value.is_number_integer() &&
                      !(value.is_number_unsigned() &&
                        value.get<std::uint64_t>() > std::uint64_t{std::numeric_limits<std::int64_t>::max()});
    if (!fits || value.get<std::int64_t>() < low) fail(key, "an integer of at least " + std::to_string(low));
    return value.get<std::int64_t>();
  }

  std::optional<bool> optional_flag(const std::string& key) const {
    if (at(key).is_null()) return std::nullopt;
    if (!at(key).is_boolean()) fail(key, "true, false or null");
    return at(key).get<bool>();
  }

  // Calls visit(element, its place) for each element of the array `key`, which may be absent.
  template <class Visit>
  void for_each(const std::string& key, const Visit& visit) const {
    const Json& array = at(key);
    if (array.is_null()) return;
    if (!array.is_array()) fail(key, "an array");
    for (std::size_t i = 0; i < array.size(); ++i)
      visit(array[i], place(key) + "[" + std::to_string(i) + "]");
  }

  std::vector<std::string> texts(const std::string& key) const {
    std::vector<std::string> result;
    for_each(key, [&](const Json& element, const std::string&) {
      if (!element.is_string()) fail(key, "an array of strings");
      result.push_back(element.get<std::string>());
    });
    return result;
  }

  std::vector<std::optional<double>> numbers(const std::string& key, double low, double high) const {
    std::vector<std::optional<double>> result;
    for_each(key, [&](const Json& element, const std::string&) {
      result.push_back(bounded(element, key, low, high));
    });
    return result;
  }

  [[noreturn]] void fail(const std::string& key, const std::string& expected) const {
    throw Error(ErrorKind::data, "the key '" + plain(key) + "' must be " + expected, where_);
  }

 private:
  std::string place(const std::string& key) const { return where_ + ": " + key; }

  std::optional<double> bounded(const Json& value, const std::string& key, double low, double high) const {
    if (value.is_null()) return std::nullopt;
    if (!value.is_number()) fail(key, "a number or null");
    const double number = value.get<double>();
    if (!std::isfinite(number)) return std::nullopt;
    if (number < low || number > high) {
      fail(key, high == unbounded ? "a number of at least " + std::to_string(low)
                                  : "between " + std::to_string(low) + " and " + std::to_string(high));
    }
    return number;
  }

  const Json& json_;
  std::string where_;
};

std::optional<double> percent(const Object& object, const std::string& key) {
  return object.optional_number(key, 0, 100);
}

std::optional<double> share(const Object& object, const std::string& key) {
  return object.optional_number(key, 0, 1);
}

std::optional<Count> parse_count(const Object& counts, const std::string& key) {
  if (counts.at(key).is_null()) return std::nullopt;
  const Object object = counts.object(key);
  const Count count{object.integer("hits", 0), object.integer("total", 0)};
  if (count.hits > count.total) object.fail("hits", "at most 'total'");
  return count;
}

Epoch parse_epoch(const Object& object) {
  Epoch epoch;
  epoch.phase = object.optional_text("phase");
  epoch.loss = object.optional_number("loss", -unbounded, unbounded);
  epoch.train_accuracy = percent(object, "train_accuracy");
  epoch.ca = percent(object, "ca");
  epoch.asr = percent(object, "asr");
  epoch.pa = percent(object, "pa");
  return epoch;
}

Detected parse_detection(const Object& object) {
  Detected detection;
  detection.flagged = object.number("flagged", 0, max_count);
  detection.precision = share(object, "precision");
  detection.recall = share(object, "recall");
  detection.false_positive_rate = share(object, "false_positive_rate");
  detection.threshold = object.optional_number("threshold", -unbounded, unbounded);
  return detection;
}

// Options are scalars or lists of scalars. Deeper values are refused, since what walks them would recurse as
// deep.
Json parse_config(const Object& config) {
  for (const auto& item : config.json().items()) {
    const Json& value = item.value();
    const bool is_list =
        value.is_array() &&
        std::none_of(value.begin(), value.end(), [](const Json& element) { return element.is_structured(); });
    if (value.is_structured() && !is_list) config.fail(item.key(), "a scalar or a list of scalars");
  }
  return config.json();
}

void parse_figures(const Object& object, Cell& cell) {
  cell.ca = percent(object, "ca");
  cell.asr = percent(object, "asr");
  cell.pa = percent(object, "pa");
  cell.oracle_asr = percent(object, "oracle_asr");
  cell.oracle_pa = percent(object, "oracle_pa");
  cell.pa_over_oracle = object.optional_number("pa_over_oracle", 0, unbounded);
  cell.der = share(object, "der");
  cell.auroc = share(object, "auroc");
  cell.seconds = object.optional_number("seconds", 0, unbounded);
  cell.peak_memory_mib = object.optional_number("peak_memory_mib", 0, unbounded);
  if (!object.at("counts").is_null()) {
    const Object counts = object.object("counts");
    cell.ca_count = parse_count(counts, "ca");
    cell.asr_count = parse_count(counts, "asr");
    cell.pa_count = parse_count(counts, "pa");
    cell.oracle_asr_count = parse_count(counts, "oracle_asr");
    cell.oracle_pa_count = parse_count(counts, "oracle_pa");
  }
  cell.classes = object.texts("classes");
  cell.per_class_ca = object.numbers("per_class_ca", 0, 100);
  if (!cell.per_class_ca.empty() && cell.per_class_ca.size() != cell.classes.size()) {
    object.fail("per_class_ca", "as long as 'classes'");
  }
  if (!object.at("detection").is_null()) cell.detection = parse_detection(object.object("detection"));
  object.for_each("history", [&](const Json& element, const std::string& place) {
    cell.history.push_back(parse_epoch({element, place}));
  });
}

Cell parse_cell(const Object& object) {
  Cell cell;
  cell.id = object.optional_text("id");
  cell.error = object.optional_text("error");
  cell.dataset = object.text("dataset");
  cell.attack = object.text("attack");
  cell.attack_preset = object.optional_text("attack_preset");
  cell.model = object.text("model");
  cell.defense = object.text("defense");
  cell.preset = object.optional_text("preset");
  cell.assumes = object.optional_text("assumes");
  cell.rate = share(object, "rate");
  cell.rate_of_target_class = share(object, "rate_of_target_class");
  cell.seed = object.integer("seed", 0);
  cell.implanted = object.optional_flag("implanted");
  if (!object.at("config").is_null()) cell.config = parse_config(object.object("config"));
  if (cell.error.empty()) parse_figures(object, cell);
  return cell;
}

Trigger parse_trigger(const Object& object) {
  return {object.text("attack"), object.text("clean"), object.text("triggered"), object.text("difference"),
          object.text("spectrum_difference")};
}

Example parse_example(const Object& object) {
  Example example{object.text("image"), object.text("true_class"), object.optional_text("attack_class"), {}};
  object.for_each("predictions", [&](const Json& element, const std::string& place) {
    const Object prediction(element, place);
    example.predictions.push_back(
        {prediction.text("by"), prediction.text("class"), prediction.number("probability", 0, 1)});
  });
  return example;
}

Suspect parse_suspect(const Object& object) {
  return {object.text("image"),
          object.optional_text("path"),
          object.text("label"),
          object.optional_text("suggested_label"),
          object.number("suspicion", -unbounded, unbounded),
          object.optional_flag("poisoned")};
}

Histogram parse_histogram(const Object& object) {
  Histogram histogram{object.text("title"), object.optional_text("x_label"), {}, {}};
  for (const std::optional<double>& edge : object.numbers("edges", -unbounded, unbounded)) {
    if (!edge || (!histogram.edges.empty() && *edge < histogram.edges.back())) {
      object.fail("edges", "an array of numbers in increasing order");
    }
    histogram.edges.push_back(*edge);
  }
  if (histogram.edges.size() < 2) object.fail("edges", "an array of at least two numbers");
  object.for_each("series", [&](const Json& element, const std::string& place) {
    const Object series(element, place);
    HistogramSeries parsed{series.text("name"), {}};
    for (const std::optional<double>& count : series.numbers("counts", 0, max_count)) {
      if (!count || *count != std::floor(*count)) series.fail("counts", "an array of integers");
      parsed.counts.push_back(static_cast<std::int64_t>(*count));
    }
    if (parsed.counts.size() + 1 != histogram.edges.size()) series.fail("counts", "one shorter than 'edges'");
    histogram.series.push_back(std::move(parsed));
  });
  return histogram;
}

EmbeddingPanel parse_panel(const Object& object, std::size_t groups) {
  EmbeddingPanel panel{object.text("name"), {}};
  object.for_each("points", [&](const Json& element, const std::string& place) {
    const Object point(element, place);
    const auto group = static_cast<std::uint64_t>(point.integer("group", 0));
    if (group >= groups) point.fail("group", "an index into 'groups'");
    panel.points.push_back({point.number("x", -unbounded, unbounded),
                            point.number("y", -unbounded, unbounded), static_cast<std::size_t>(group)});
  });
  return panel;
}

Embedding parse_embedding(const Object& object) {
  Embedding embedding{object.text("title"), object.text("method"), {}, object.texts("groups"), {}};
  for (const std::optional<double>& explained : object.numbers("explained", 0, 1)) {
    embedding.explained.push_back(explained.value_or(0));
  }
  if (!embedding.explained.empty() && embedding.explained.size() != 2) {
    object.fail("explained", "empty or two shares");
  }
  if (embedding.groups.size() > max_groups) {
    object.fail("groups", "at most " + std::to_string(max_groups) + " names");
  }
  object.for_each("panels", [&](const Json& element, const std::string& place) {
    embedding.panels.push_back(parse_panel({element, place}, embedding.groups.size()));
  });
  if (embedding.panels.size() > max_panels) {
    object.fail("panels", "at most " + std::to_string(max_panels) + " panels");
  }
  return embedding;
}

void parse_embeddings(const Object& figures, Result& result) {
  std::size_t points = 0;
  figures.for_each("embeddings", [&](const Json& element, const std::string& place) {
    result.embeddings.push_back(parse_embedding({element, place}));
    for (const EmbeddingPanel& panel : result.embeddings.back().panels) points += panel.points.size();
    if (points > max_points)
      figures.fail("embeddings", "of at most " + std::to_string(max_points) + " points in all");
  });
}

void parse_environment(const Object& environment, Result& result) {
  for (const auto& item : environment.json().items()) {
    if (item.value().is_structured()) environment.fail(item.key(), "a string, a number or a flag");
    if (!item.value().is_null()) result.environment.emplace_back(item.key(), json_text(item.value()));
  }
}

}  // namespace

Result parse_result(const Json& json, const std::string& where) {
  const Object object(json, where);
  if (const std::string found = object.text("schema"); found != schema) {
    throw Error(ErrorKind::data, "the schema is '" + plain(found) + "', not '" + schema + "'", where,
                "make the file anew with this version of mcci");
  }
  Result result;
  result.title = object.text("title");
  result.created = object.optional_text("created");
  result.command = object.optional_text("command");
  if (!object.at("environment").is_null()) parse_environment(object.object("environment"), result);
  if (!object.at("conventions").is_null()) {
    const Object conventions = object.object("conventions");
    result.ca_convention = conventions.optional_text("ca");
    result.asr_convention = conventions.optional_text("asr");
    result.pa_convention = conventions.optional_text("pa");
  }
  if (!object.at("cells").is_array()) object.fail("cells", "an array");
  object.for_each("cells", [&](const Json& element, const std::string& place) {
    result.cells.push_back(parse_cell({element, place}));
  });
  if (object.at("figures").is_null()) return result;
  const Object figures = object.object("figures");
  figures.for_each("triggers", [&](const Json& element, const std::string& place) {
    result.triggers.push_back(parse_trigger({element, place}));
  });
  figures.for_each("examples", [&](const Json& element, const std::string& place) {
    result.examples.push_back(parse_example({element, place}));
  });
  figures.for_each("suspects", [&](const Json& element, const std::string& place) {
    result.suspects.push_back(parse_suspect({element, place}));
  });
  figures.for_each("histograms", [&](const Json& element, const std::string& place) {
    result.histograms.push_back(parse_histogram({element, place}));
  });
  parse_embeddings(figures, result);
  return result;
}

std::vector<Cell> parse_cells(const std::vector<Json>& results) {
  std::vector<Cell> cells;
  for (std::size_t i = 0; i < results.size(); ++i) {
    Result result = parse_result(results[i], "result " + std::to_string(i + 1));
    std::move(result.cells.begin(), result.cells.end(), std::back_inserter(cells));
  }
  return cells;
}

}  // namespace mcci::report
