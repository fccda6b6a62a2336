#include "mcci/suite/figures.hpp"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "mcci/core/error.hpp"
#include "mcci/core/files.hpp"
#include "mcci/data/loader.hpp"
#include "mcci/imageio/image.hpp"
#include "mcci/method/spectrum.hpp"
#include "mcci/suite/result.hpp"

namespace mcci {
namespace {

constexpr std::int64_t bin_count = 40;
constexpr std::int64_t batch_images = 500;

// Scaled so that the largest value is white; all black where nothing differs.
at::Tensor to_picture(const at::Tensor& magnitude) {
  const double largest = magnitude.max().item<double>();
  if (largest <= 0) return at::zeros_like(magnitude, at::kByte);
  return magnitude.mul(255.0 / largest).round().to(at::kByte);
}

// Positions of test images that an attack would turn into another class, one per class in turn.
std::vector<std::int64_t> choose_examples(const Dataset& test, const Attack* attack, std::int64_t count) {
  const at::Tensor& labels = test.labels();
  const auto label = labels.accessor<std::int64_t, 1>();
  const at::Tensor wanted =
      attack == nullptr ? at::full_like(labels, -1)
                        : attack->attack_labels_of(labels, at::arange(test.size()), test.num_classes());
  const auto wanted_label = wanted.accessor<std::int64_t, 1>();
  std::vector<std::int64_t> chosen;
  for (std::int64_t round = 0; static_cast<std::int64_t>(chosen.size()) < count && round < count; ++round) {
    for (std::int64_t c = 0; c < test.num_classes() && static_cast<std::int64_t>(chosen.size()) < count;
         ++c) {
      std::int64_t seen = 0;
      for (std::int64_t i = 0; i < test.size(); ++i) {
        if (label[i] == c && wanted_label[i] != c && seen++ == round) {
          chosen.push_back(i);
          break;
        }
      }
    }
  }
  return chosen;
}

Json histogram(const at::Tensor& suspicion, const std::string& meaning, const Manifest* truth,
               const std::string& subject) {
  const double low = suspicion.min().item<double>();
  const double high = std::max(suspicion.max().item<double>(), low + 1e-6);
  Json edges = Json::array();
  for (std::int64_t b = 0; b <= bin_count; ++b) {
    edges.push_back(number(low + (high - low) * static_cast<double>(b) / static_cast<double>(bin_count)));
  }
  const auto series = [&](const std::string& name, const at::Tensor& values) {
    const at::Tensor counted = at::histc(values, bin_count, low, high).to(at::kLong);
    return Json{{"name", name},
                {"counts", std::vector<std::int64_t>(counted.data_ptr<std::int64_t>(),
                                                     counted.data_ptr<std::int64_t>() + bin_count)}};
  };
  Json all = Json::array();
  if (truth == nullptr) {
    all.push_back(series("training images", suspicion));
  } else {
    const at::Tensor poisoned = truth->poisoned();
    all.push_back(series("clean", suspicion.masked_select(poisoned.logical_not())));
    all.push_back(series("poisoned", suspicion.masked_select(poisoned)));
  }
  return {{"title", "Suspicion of the training images" + (subject.empty() ? "" : ": " + subject)},
          {"x_label", meaning},
          {"edges", edges},
          {"series", all}};
}

// Test images as the model sees them, with and without the trigger.
struct Samples {
  at::Tensor images;  // [N,C,H,W] uint8
  at::Tensor groups;  // [N] int64, indices into `names`
  std::vector<std::string> names;
};

Samples clean_and_triggered(const Attack& attack, const Dataset& test, std::int64_t count) {
  const at::Tensor clean = at::tensor(choose_examples(test, nullptr, count), at::kLong);
  const at::Tensor chosen = at::tensor(choose_examples(test, &attack, count), at::kLong);
  const at::Tensor clean_labels = test.labels().index_select(0, clean);
  Samples samples;
  samples.images = test.images(clean);
  samples.groups = at::zeros_like(clean);
  samples.names = {"clean", "triggered"};
  if (chosen.numel() == 0) return samples;
  const TriggeredBatch triggered = trigger_batch(attack, test.images(chosen), chosen,
                                                 test.labels().index_select(0, chosen), test.num_classes());
  const at::Tensor target = triggered.attack_labels[0];
  if (triggered.attack_labels.eq(target).all().item<bool>()) {
    samples.names = {"clean", "triggered", "clean, of the target class"};
    samples.groups = clean_labels.eq(target).to(at::kLong) * 2;
  }
  samples.images = at::cat({samples.images, triggered.images});
  samples.groups = at::cat({samples.groups, at::ones_like(chosen)});
  return samples;
}

at::Tensor embed(Defense& model, const at::Tensor& images, Perception perception, const Compute& compute) {
  std::vector<at::Tensor> parts;
  for (const at::Tensor& batch : images.split(batch_images)) {
    parts.push_back(model.embedding(place(to_unit(batch), compute), perception).cpu().to(at::kDouble));
  }
  return at::cat(parts);
}

// The two principal components of a cloud of points.
struct Plane {
  at::Tensor centre;  // [D] float64
  at::Tensor axes;    // [D, 2] float64; the largest entry of each is positive
  Json explained;     // their shares of the variance

  explicit Plane(const at::Tensor& points) : centre(points.mean(0)) {
    const auto [u, s, v] = at::linalg_svd(points - centre, /*full_matrices=*/false);
    axes = v.narrow(0, 0, 2).t().contiguous();
    const at::Tensor largest = axes.gather(0, axes.abs().argmax(0, /*keepdim=*/true));
    axes = axes * largest.sign();
    const at::Tensor variance = s.square();
    const double total = std::max(variance.sum().item<double>(), 1e-300);
    explained = {number(variance[0].item<double>() / total), number(variance[1].item<double>() / total)};
  }
};

Json panel(const std::string& name, const at::Tensor& projected, const at::Tensor& groups) {
  const auto at = projected.accessor<double, 2>();
  const auto group = groups.accessor<std::int64_t, 1>();
  Json points = Json::array();
  for (std::int64_t i = 0; i < projected.size(0); ++i) {
    points.push_back({{"x", number(at[i][0])}, {"y", number(at[i][1])}, {"group", group[i]}});
  }
  return {{"name", name}, {"points", points}};
}

}  // namespace

Figures::Figures(std::filesystem::path folder, std::string prefix)
    : folder_(std::move(folder)),
      prefix_(std::move(prefix)),
      json_({{"triggers", Json::array()},
             {"examples", Json::array()},
             {"suspects", Json::array()},
             {"histograms", Json::array()},
             {"embeddings", Json::array()}}) {
  std::error_code error;
  std::filesystem::create_directories(folder_ / "figures", error);
  if (error)
    throw Error(ErrorKind::io, "cannot create the folder (" + error.message() + ")",
                (folder_ / "figures").string());
}

std::string Figures::write(const at::Tensor& image, const std::string& name) {
  const at::Tensor interleaved = image.permute({1, 2, 0}).contiguous();
  Image picture{interleaved.size(0), interleaved.size(1), interleaved.size(2), {}};
  const auto* data = interleaved.data_ptr<std::uint8_t>();
  picture.pixels.assign(data, data + interleaved.numel());
  const std::string relative = "figures/" + prefix_ + name + ".png";
  write_file_atomically(folder_ / relative, encode_png(picture));
  return relative;
}

void Figures::add_trigger(const std::string& name, const Attack& attack, const DatasetPtr& test,
                          std::int64_t count) {
  const std::vector<std::int64_t> chosen = choose_examples(*test, &attack, count);
  if (chosen.empty()) return;
  const at::Tensor indices = at::tensor(chosen);
  const at::Tensor clean = test->images(indices);
  const at::Tensor triggered =
      trigger_batch(attack, clean, indices, test->labels().index_select(0, indices), test->num_classes())
          .images;
  const at::Tensor difference = triggered.to(at::kFloat).sub(clean.to(at::kFloat)).abs();
  const at::Tensor spectrum = attack_indicator(to_unit(triggered), Indicator::log)
                                  .sub(attack_indicator(to_unit(clean), Indicator::log))
                                  .abs();
  for (std::int64_t i = 0; i < indices.numel(); ++i) {
    const std::string file = i == 0 ? "trigger" : "trigger-" + std::to_string(i + 1);
    json_["triggers"].push_back(
        {{"attack", name},
         {"clean", write(clean[i], file + "-clean")},
         {"triggered", write(triggered[i], file + "-triggered")},
         {"difference", write(to_picture(difference[i]), file + "-difference")},
         {"spectrum_difference", write(to_picture(spectrum[i]), file + "-spectrum")}});
  }
}

void Figures::add_examples(const std::vector<Voice>& voices, const Attack* attack, const DatasetPtr& test,
                           std::int64_t count, const Compute& compute) {
  const std::vector<std::int64_t> chosen = choose_examples(*test, attack, count);
  if (chosen.empty()) return;
  const at::Tensor indices = at::tensor(chosen);
  const at::Tensor labels = test->labels().index_select(0, indices);
  at::Tensor images = test->images(indices);
  at::Tensor wanted;
  if (attack != nullptr) {
    TriggeredBatch triggered = trigger_batch(*attack, images, indices, labels, test->num_classes());
    images = triggered.images;
    wanted = triggered.attack_labels;
  }
  const auto class_name = [&](std::int64_t c) { return test->classes()[static_cast<std::size_t>(c)]; };
  std::vector<Json> predictions(chosen.size(), Json::array());
  for (const Voice& voice : voices) {
    const at::Tensor probabilities =
        voice.model->logits(place(to_unit(images), compute), voice.perception).softmax(1).cpu();
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      const auto [probability, predicted] = probabilities[static_cast<std::int64_t>(i)].max(0);
      predictions[i].push_back({{"by", voice.by},
                                {"class", class_name(predicted.item<std::int64_t>())},
                                {"probability", number(probability.item<double>())}});
    }
  }
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    const auto at = static_cast<std::int64_t>(i);
    json_["examples"].push_back(
        {{"image", write(images[at], "example-" + std::to_string(i))},
         {"true_class", class_name(labels[at].item<std::int64_t>())},
         {"attack_class", attack == nullptr ? "" : class_name(wanted[at].item<std::int64_t>())},
         {"predictions", predictions[i]}});
  }
}

void Figures::add_audit(const Audit& audit, const DatasetPtr& training_set, const Manifest* truth,
                        std::int64_t count, const std::string& subject) {
  const at::Tensor top = audit.order.narrow(0, 0, std::min(count, audit.order.size(0))).contiguous();
  const at::Tensor images = training_set->images(top);
  const auto class_name = [&](const at::Tensor& c) {
    return training_set->classes()[static_cast<std::size_t>(c.item<std::int64_t>())];
  };
  const at::Tensor poisoned = truth == nullptr ? at::Tensor() : truth->poisoned();
  for (std::int64_t rank = 0; rank < top.size(0); ++rank) {
    const auto i = top[rank].item<std::int64_t>();
    json_["suspects"].push_back(
        {{"image", write(images[rank], "suspect-" + std::to_string(rank))},
         {"path", training_set->name(i)},
         {"label", class_name(training_set->labels()[i])},
         {"suspicion", number(audit.suspicion[i].item<double>())},
         {"suggested_label", class_name(audit.suggested[i])},
         {"poisoned", truth == nullptr ? Json(nullptr) : Json(poisoned[i].item<bool>())}});
  }
  json_["histograms"].push_back(histogram(audit.suspicion, audit.meaning, truth, subject));
}

void Figures::add_embedding(const std::string& subject, Defense& model, const Attack& attack,
                            const DatasetPtr& test, std::int64_t count, const Compute& compute) {
  const Samples samples = clean_and_triggered(attack, *test, count);
  const std::int64_t indicator = model.indicator_size();
  const at::Tensor points =
      embed(model, samples.images, indicator > 0 ? Perception::own : Perception::clean, compute);
  const std::int64_t semantic = points.size(1) - indicator;
  if (points.size(0) < 2 || points.size(1) < 2 || !points.isfinite().all().item<bool>()) return;
  const Plane plane(points);
  const at::Tensor own = points - plane.centre;
  Json panels = Json::array();
  const auto add = [&](const std::string& name, const at::Tensor& projected) {
    panels.push_back(panel(name, projected.contiguous(), samples.groups));
  };
  if (indicator == 0) {
    add("features", own.matmul(plane.axes));
  } else {
    const at::Tensor of_z = own.narrow(1, 0, semantic).matmul(plane.axes.narrow(0, 0, semantic));
    const at::Tensor of_z_f =
        own.narrow(1, semantic, indicator).matmul(plane.axes.narrow(0, semantic, indicator));
    add("z (SFRN)", of_z);
    add("z_f, own indicator", of_z_f);
    add("[z ; z_f], own indicator", of_z + of_z_f);
    add("[z ; z_f*], mind control",
        (embed(model, samples.images, Perception::clean, compute) - plane.centre).matmul(plane.axes));
  }
  json_["embeddings"].push_back({{"title", "Embedding: " + subject},
                                 {"method", "pca"},
                                 {"explained", plane.explained},
                                 {"groups", samples.names},
                                 {"panels", panels}});
}

void append_figures(Json& to, const Json& from) {
  for (const auto& [kind, added] : from.items()) {
    Json& present = to[kind];
    if (present.is_null()) present = Json::array();
    if (kind == "suspects" && !present.empty()) continue;
    const bool are_examples = kind == "examples";
    for (const Json& figure : added) {
      const auto same = std::find_if(present.begin(), present.end(), [&](const Json& other) {
        return are_examples ? other["image"] == figure["image"] : other == figure;
      });
      if (same == present.end()) {
        present.push_back(figure);
      } else if (are_examples) {
        Json& voices = (*same)["predictions"];
        for (const Json& voice : figure["predictions"]) {
          if (std::find(voices.begin(), voices.end(), voice) == voices.end()) voices.push_back(voice);
        }
      }
    }
  }
}

}  // namespace mcci
