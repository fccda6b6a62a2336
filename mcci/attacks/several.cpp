#include "mcci/attacks/several.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <iomanip>
#include <sstream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include "mcci/core/error.hpp"
#include "mcci/core/random.hpp"
#include "mcci/state/tensors.hpp"

namespace mcci {

namespace {

namespace fs = std::filesystem;

constexpr const char* attack_name = "several";
constexpr std::size_t max_parts = 100;

struct Part {
  std::string name;
  double share = 1;
  std::unique_ptr<Attack> attack;
};

[[noreturn]] void refuse(const std::string& what, const std::string& text) {
  throw Error(ErrorKind::usage, what, "the part '" + text + "' of several",
              "write \"badnets target-class=1 preset=paper share=2\"");
}

double share_of(const std::string& value, const std::string& text) {
  double share = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), share);
  if (error != std::errc() || end != value.data() + value.size() || !(share > 0 && share <= 1e6)) {
    refuse("a share is a number above 0, not '" + value + "'", text);
  }
  return share;
}

Part read_part(const std::string& text) {
  std::istringstream words(text);
  Part part;
  words >> part.name;
  if (part.name.empty()) refuse("the attack has no name", text);
  if (part.name == attack_name) refuse("a part cannot have parts itself", text);

  std::string preset = "backdoorbench";
  std::vector<std::pair<std::string, std::string>> options;
  for (std::string word; words >> std::quoted(word);) {
    const std::size_t sign = word.find('=');
    if (sign == 0 || sign == std::string::npos) refuse("'" + word + "' is not name=value", text);
    const std::string name = word.substr(0, sign);
    const std::string value = word.substr(sign + 1);
    if (name == "preset") {
      preset = value;
    } else if (name == "share") {
      part.share = share_of(value, text);
    } else {
      options.emplace_back(name, value);
    }
  }

  part.attack = attacks().at(part.name)();
  OptionSet set;
  part.attack->declare(set);
  set.assign_json(part.attack->presets().at(preset), Origin::preset, "preset " + preset + " of " + part.name);
  for (const auto& [name, value] : options) {
    set.assign_text(name, value, Origin::config_file, "the part '" + text + "' of several");
  }
  return part;
}

// Some samples of a set, as a set of their own.
class Hand : public Dataset {
 public:
  Hand(DatasetPtr whole, at::Tensor positions)
      : whole_(std::move(whole)),
        positions_(std::move(positions)),
        labels_(whole_->labels().index_select(0, positions_)) {}

  const ImageShape& shape() const override { return whole_->shape(); }
  const std::vector<std::string>& classes() const override { return whole_->classes(); }
  const at::Tensor& labels() const override { return labels_; }
  std::string name(std::int64_t index) const override {
    return whole_->name(positions_[index].item<std::int64_t>());
  }
  at::Tensor images(const at::Tensor& indices) const override {
    return whole_->images(positions_.index_select(0, indices));
  }

 private:
  DatasetPtr whole_;
  at::Tensor positions_;
  at::Tensor labels_;
};

PlanOptions plan_of_part(PlanOptions plan, std::size_t part) {
  plan.seed = derive_seed(plan.seed, "several part", {part});
  return plan;
}

class Several : public Attack {
 public:
  void declare(OptionSet& set) override {
    set.add("parts", texts_, "the attacks, each as \"name option=value ...\"; preset= and share= too");
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> presets(
        "preset of several",
        {{"backdoorbench", "badnets for class 0 and blended for class 1", Json::object()}});
    return presets;
  }

  void prepare(const PrepareContext& context) override {
    parts_ = read_parts();
    part_of_ = dealt(context);
    place_ = part_of_.defined() ? places(part_of_) : at::Tensor();
    for (std::size_t k = 0; k < parts_.size(); ++k) {
      PrepareContext own = context;
      own.plan = plan_of_part(context.plan, k);
      if (context.train != nullptr) own.train = std::make_shared<Hand>(context.train, hand(part_of_, k));
      if (!context.artifacts.empty()) {
        own.artifacts = context.artifacts / ("part-" + std::to_string(k + 1) + "-" + parts_[k].name);
        make_folder(own.artifacts);
      }
      parts_[k].attack->prepare(own);
      std::error_code not_empty;
      if (!own.artifacts.empty()) fs::remove(own.artifacts, not_empty);
    }
  }

  // Of the first part; see attack_labels_of.
  std::int64_t attack_label(std::int64_t label, std::int64_t num_classes) const override {
    if (parts_.empty()) return read_parts().front().attack->attack_label(label, num_classes);
    return parts_.front().attack->attack_label(label, num_classes);
  }

  at::Tensor attack_labels_of(const at::Tensor& labels, const at::Tensor& indices,
                              std::int64_t num_classes) const override {
    at::Tensor wanted = at::empty_like(labels);
    for_each_part(part_at_test(indices), [&](std::size_t k, const at::Tensor& rows) {
      wanted.index_copy_(0, rows,
                         parts_[k].attack->attack_labels_of(labels.index_select(0, rows),
                                                            indices.index_select(0, rows), num_classes));
    });
    return wanted;
  }

  PoisonPlan plan(const at::Tensor& labels, std::int64_t num_classes,
                  const PlanOptions& options) const override {
    require_parts();
    PoisonPlan plan{std::vector<Role>(static_cast<std::size_t>(labels.numel()), Role::clean), labels.clone()};
    const at::Tensor part_of = deal(labels, options.seed);
    for (std::size_t k = 0; k < parts_.size(); ++k) {
      const at::Tensor positions = hand(part_of, k);
      const PoisonPlan own =
          parts_[k].attack->plan(labels.index_select(0, positions), num_classes, plan_of_part(options, k));
      plan.labels.index_copy_(0, positions, own.labels);
      const auto position = positions.accessor<std::int64_t, 1>();
      for (std::int64_t i = 0; i < positions.numel(); ++i) {
        plan.roles[static_cast<std::size_t>(position[i])] = own.roles[static_cast<std::size_t>(i)];
      }
    }
    return plan;
  }

  at::Tensor apply(const at::Tensor& images, const at::Tensor& indices, const at::Tensor& labels,
                   Stage stage) const override {
    const bool train = stage == Stage::train;
    const at::Tensor part_of = train ? part_in_training(indices) : part_at_test(indices);
    const at::Tensor own_indices = train ? place_.index_select(0, indices) : indices;
    at::Tensor triggered = at::empty_like(images);
    for_each_part(part_of, [&](std::size_t k, const at::Tensor& rows) {
      triggered.index_copy_(
          0, rows,
          parts_[k].attack->apply(images.index_select(0, rows), own_indices.index_select(0, rows),
                                  labels.index_select(0, rows), stage));
    });
    return triggered;
  }

  at::Tensor apply_cover(const at::Tensor& images, const at::Tensor& indices,
                         const at::Tensor& labels) const override {
    const at::Tensor part_of = part_in_training(indices);
    at::Tensor triggered = at::empty_like(images);
    for_each_part(part_of, [&](std::size_t k, const at::Tensor& rows) {
      const at::Tensor own_indices = place_.index_select(0, indices.index_select(0, rows));
      triggered.index_copy_(0, rows,
                            parts_[k].attack->apply_cover(images.index_select(0, rows), own_indices,
                                                          labels.index_select(0, rows)));
    });
    return triggered;
  }

 private:
  std::vector<Part> read_parts() const {
    if (texts_.empty() || texts_.size() > max_parts) {
      throw Error(ErrorKind::usage, "several has " + std::to_string(texts_.size()) + " parts", "parts",
                  "give 1 to " + std::to_string(max_parts));
    }
    std::vector<Part> parts;
    for (const std::string& text : texts_) parts.push_back(read_part(text));
    return parts;
  }

  // [N] int64: the part of each sample. Each goes to the part that is furthest behind its share.
  at::Tensor deal(const at::Tensor& labels, std::uint64_t seed) const {
    const auto label = labels.accessor<std::int64_t, 1>();
    Rng rng(derive_seed(seed, "several deal"));
    std::vector<std::int64_t> order = rng.permutation(labels.numel());
    std::stable_sort(order.begin(), order.end(),
                     [&](std::int64_t a, std::int64_t b) { return label[a] < label[b]; });
    at::Tensor part_of = at::empty({labels.numel()}, at::kLong);
    std::vector<double> dealt(parts_.size(), 0);
    for (const std::int64_t position : order) {
      std::size_t next = 0;
      for (std::size_t k = 1; k < parts_.size(); ++k) {
        if ((dealt[k] + 1) / parts_[k].share < (dealt[next] + 1) / parts_[next].share) next = k;
      }
      ++dealt[next];
      part_of[position] = static_cast<std::int64_t>(next);
    }
    return part_of;
  }

  // Undefined if neither the training set nor the artifacts are there: then test images alone can be made.
  at::Tensor dealt(const PrepareContext& context) const {
    const fs::path kept = context.artifacts / "parts.safetensors";
    if (context.train != nullptr) {
      at::Tensor part_of = deal(context.train->labels(), context.plan.seed);
      if (!context.artifacts.empty()) save_safetensors(kept, {{"part_of", part_of}});
      return part_of;
    }
    if (context.artifacts.empty() || !fs::exists(kept)) return {};
    const TensorFile file = load_safetensors(kept);
    if (file.tensors.size() == 1) {
      const at::Tensor& part_of = file.tensors[0].second;
      if (part_of.scalar_type() == at::kLong && part_of.dim() == 1 && part_of.numel() > 0 &&
          part_of.min().item<std::int64_t>() >= 0 &&
          part_of.max().item<std::int64_t>() < static_cast<std::int64_t>(parts_.size())) {
        return part_of;
      }
    }
    throw Error(ErrorKind::data, "it must hold the part of every sample", kept.string(),
                "poison the set again");
  }

  static void make_folder(const fs::path& folder) {
    std::error_code failure;
    fs::create_directories(folder, failure);
    if (failure) {
      throw Error(ErrorKind::io, "cannot create the folder (" + failure.message() + ")", folder.string());
    }
  }

  static at::Tensor hand(const at::Tensor& part_of, std::size_t part) {
    return at::nonzero(part_of == static_cast<std::int64_t>(part)).flatten();
  }

  // [N] int64: where each sample is in its part's hand.
  at::Tensor places(const at::Tensor& part_of) const {
    at::Tensor place = at::empty_like(part_of);
    for (std::size_t k = 0; k < parts_.size(); ++k) {
      const at::Tensor positions = hand(part_of, k);
      place.index_copy_(0, positions, at::arange(positions.numel()));
    }
    return place;
  }

  void require_parts() const {
    if (parts_.empty()) throw Error(ErrorKind::internal, "prepare() was not called", attack_name);
  }

  at::Tensor part_at_test(const at::Tensor& indices) const {
    require_parts();
    return indices.remainder(static_cast<std::int64_t>(parts_.size()));
  }

  at::Tensor part_in_training(const at::Tensor& indices) const {
    if (!part_of_.defined()) {
      throw Error(ErrorKind::internal, "prepare() had neither the training set nor the artifacts",
                  attack_name);
    }
    return part_of_.index_select(0, indices);
  }

  // visit(part, rows) for each part that has any of the samples.
  template <class Visit>
  void for_each_part(const at::Tensor& part_of, Visit visit) const {
    for (std::size_t k = 0; k < parts_.size(); ++k) {
      const at::Tensor rows = hand(part_of, k);
      if (rows.numel() > 0) visit(k, rows);
    }
  }

  std::vector<std::string> texts_{"badnets target-class=0", "blended target-class=1"};
  std::vector<Part> parts_;
  at::Tensor part_of_;  // [N] int64, of the training set
  at::Tensor place_;    // [N] int64
};

}  // namespace

std::unique_ptr<Attack> make_several() { return std::make_unique<Several>(); }

}  // namespace mcci
