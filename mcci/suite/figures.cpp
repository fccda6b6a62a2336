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
  std::vector<std::int64_t> chosen;
  for (std::int64_t round = 0; static_cast<std::int64_t>(chosen.size()) < count && round < count; ++round) {
    for (std::int64_t c = 0; c < test.num_classes() && static_cast<std::int64_t>(chosen.size()) < count;
         ++c) {
      if (attack != nullptr && attack->attack_label(c, test.num_classes()) == c) continue;
      std::int64_t seen = 0;
      for (std::int64_t i = 0; i < test.size(); ++i) {
        if (label[i] == c && seen++ == round) {
          chosen.push_back(i);
          break;
        }
      }
    }
  }
  return chosen;
}

Json histogram(const at::Tensor& suspicion, const Manifest* truth) {
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
  return {{"title", "Suspicion of the training images"},
          {"x_label", "log p(label | own indicator) - log p(label | fake indicator)"},
          {"edges", edges},
          {"series", all}};
}

}  // namespace

Figures::Figures(std::filesystem::path folder)
    : folder_(std::move(folder)),
      json_({{"triggers", Json::array()},
             {"examples", Json::array()},
             {"suspects", Json::array()},
             {"histograms", Json::array()}}) {
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
  const std::string relative = "figures/" + name + ".png";
  write_file_atomically(folder_ / relative, encode_png(picture));
  return relative;
}

void Figures::add_trigger(const std::string& name, const Attack& attack, const DatasetPtr& test) {
  const std::vector<std::int64_t> chosen = choose_examples(*test, &attack, 1);
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
  json_["triggers"].push_back({{"attack", name},
                               {"clean", write(clean[0], name + "-clean")},
                               {"triggered", write(triggered[0], name + "-triggered")},
                               {"difference", write(to_picture(difference[0]), name + "-difference")},
                               {"spectrum_difference", write(to_picture(spectrum[0]), name + "-spectrum")}});
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
                        std::int64_t count) {
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
  json_["histograms"].push_back(histogram(audit.suspicion, truth));
}

}  // namespace mcci
