#include "mcci/attacks/poisoned_dataset.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <ostream>
#include <system_error>
#include <utility>

#include <ATen/ATen.h>

#include "mcci/core/error.hpp"
#include "mcci/core/files.hpp"
#include "mcci/core/hash.hpp"
#include "mcci/core/interrupt.hpp"
#include "mcci/core/progress.hpp"
#include "mcci/imageio/image.hpp"
#include "mcci/runtime/workers.hpp"

namespace mcci {

namespace {

namespace fs = std::filesystem;

constexpr std::int64_t batch_size = 256;
constexpr std::int64_t images_per_folder = 1000;

// The clean set with some images and labels replaced.
class OverlaidDataset : public Dataset {
 public:
  // replaced [P] int64: positions in `clean`; images [P,C,H,W] uint8: what is there instead; labels [N]
  // int64.
  OverlaidDataset(DatasetPtr clean, const at::Tensor& replaced, at::Tensor images, at::Tensor labels)
      : clean_(std::move(clean)),
        images_(std::move(images)),
        labels_(std::move(labels)),
        row_(
            at::full({clean_->size()}, -1, at::kLong).index_copy(0, replaced, at::arange(replaced.numel()))) {
  }

  const ImageShape& shape() const override { return clean_->shape(); }
  const std::vector<std::string>& classes() const override { return clean_->classes(); }
  const at::Tensor& labels() const override { return labels_; }
  std::string name(std::int64_t index) const override { return clean_->name(index); }

  at::Tensor images(const at::Tensor& indices) const override {
    const at::Tensor rows = row_.index_select(0, indices);
    const at::Tensor replaced = at::nonzero(rows >= 0).flatten();
    return clean_->images(indices).index_copy(0, replaced,
                                              images_.index_select(0, rows.index_select(0, replaced)));
  }

 private:
  DatasetPtr clean_;
  at::Tensor images_;
  at::Tensor labels_;
  at::Tensor row_;  // [N] int64: where in images_, or -1
};

at::Tensor positions_of(const std::vector<Role>& roles, Role wanted) {
  std::vector<std::int64_t> positions;
  for (std::size_t i = 0; i < roles.size(); ++i) {
    if (roles[i] == wanted) positions.push_back(static_cast<std::int64_t>(i));
  }
  return at::tensor(positions, at::kLong);
}

// images/017/017042.png: the position alone decides, so that nothing tells poisoned from clean.
std::string image_path(std::int64_t index) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "images/%03lld/%06lld.png",
                static_cast<long long>(index / images_per_folder), static_cast<long long>(index));
  return text.data();
}

std::string encode(const at::Tensor& image) {  // [C,H,W] uint8
  const at::Tensor pixels = image.permute({1, 2, 0}).contiguous();
  const auto* data = pixels.data_ptr<std::uint8_t>();
  return encode_png({pixels.size(0), pixels.size(1), pixels.size(2), {data, data + pixels.numel()}});
}

void make_folder(const fs::path& folder) {
  std::error_code failure;
  fs::create_directories(folder, failure);
  if (failure) {
    throw Error(ErrorKind::io, "cannot create the folder (" + failure.message() + ")", folder.string());
  }
}

// Not atomic and not flushed to disk one by one, which would take a minute: the staged folder around it is
// atomic.
void write_image(const fs::path& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file)
    throw Error(ErrorKind::io, "cannot write", path.string(), "check the free space and the permissions");
}

std::vector<std::string> write_images(const fs::path& folder, const PoisonedDataset& poisoned) {
  const std::vector<std::string>& paths = poisoned.manifest.paths;
  for (std::int64_t i = 0; i < poisoned.data->size(); i += images_per_folder) {
    make_folder((folder / paths[static_cast<std::size_t>(i)]).parent_path());
  }
  std::vector<std::string> hashes(paths.size());
  parallel_each(poisoned.data->size(), {"writing images"}, [&](std::int64_t i) {
    const auto at = static_cast<std::size_t>(i);
    const std::string png = encode(poisoned.data->images(at::full({1}, i, at::kLong)).squeeze(0));
    hashes[at] = sha256(png);
    write_image(folder / paths[at], png);
  });
  return hashes;
}

void write_labels(const fs::path& path, const Manifest& manifest) {
  write_file_atomically(path, [&](std::ostream& file) {
    file << "path,label\n";
    const auto label = manifest.recorded_labels.accessor<std::int64_t, 1>();
    for (std::int64_t i = 0; i < manifest.size(); ++i) {
      file << manifest.paths[static_cast<std::size_t>(i)] << ',' << label[i] << '\n';
    }
  });
}

void write_header(const fs::path& path, const Manifest& manifest) {
  write_json(path, {{"schema", "mcci.dataset/1"},
                    {"classes", manifest.classes},
                    {"shape", {manifest.shape.channels, manifest.shape.height, manifest.shape.width}},
                    {"count", manifest.size()}});
}

// The two folders of a poisoned set below `folder`. Returns the manifest as written.
Manifest write_halves(const fs::path& folder, const PoisonedDataset& poisoned) {
  const fs::path dataset = folder / "dataset";
  const fs::path truth = folder / "truth";
  make_folder(dataset);
  make_folder(truth);

  Manifest manifest = poisoned.manifest;
  manifest.sha256 = write_images(dataset, poisoned);
  write_labels(dataset / "labels.csv", manifest);
  write_header(dataset / "dataset.json", manifest);

  const fs::path artifacts = truth / "artifacts";
  if (!manifest.artifacts.empty() && manifest.artifacts != artifacts) {
    std::error_code failure;
    fs::copy(manifest.artifacts, artifacts, fs::copy_options::recursive, failure);
    if (failure) {
      throw Error(ErrorKind::io, "cannot be copied (" + failure.message() + ")", manifest.artifacts.string());
    }
    manifest.artifacts = artifacts;
  }
  write_manifest(truth / "manifest.json", manifest);
  return manifest;
}

}  // namespace

PoisonedDataset poison(const DatasetPtr& clean, const std::string& source, const AttackSpec& spec,
                       const fs::path& artifacts) {
  if (!artifacts.empty()) make_folder(artifacts);
  const std::unique_ptr<Attack> attack = make_attack(spec);
  attack->prepare({clean->shape(), clean->num_classes(), spec.plan, artifacts, clean});
  PoisonedDataset poisoned = poison(clean, source, resolve(spec), *attack);
  std::error_code unreadable;
  if (!artifacts.empty() && !fs::is_empty(artifacts, unreadable)) poisoned.manifest.artifacts = artifacts;
  return poisoned;
}

PoisonedDataset poison(const DatasetPtr& clean, const std::string& source, const AttackSpec& spec,
                       const Attack& attack) {
  const PoisonPlan plan = attack.plan(clean->labels(), clean->num_classes(), spec.plan);
  const at::Tensor poisons = positions_of(plan.roles, Role::poison);
  const at::Tensor replaced = at::cat({poisons, positions_of(plan.roles, Role::cover)});
  const ImageShape& shape = clean->shape();
  at::Tensor triggered = at::empty({replaced.numel(), shape.channels, shape.height, shape.width}, at::kByte);

  Progress progress("poisoning with " + spec.name, replaced.numel(), "images");
  double changed = 0;  // grey levels, all pixels of the poisoned images together
  const auto trigger = [&](std::int64_t begin, std::int64_t end, Role role) {
    for (std::int64_t at = begin; at < end; at += batch_size) {
      if (interrupt_requested()) throw Error(ErrorKind::interrupted, "stopped while poisoning");
      const std::int64_t count = std::min(batch_size, end - at);
      const at::Tensor indices = replaced.narrow(0, at, count);
      const at::Tensor images = clean->images(indices);
      const at::Tensor labels = clean->labels().index_select(0, indices);
      const at::Tensor made = role == Role::cover ? attack.apply_cover(images, indices, labels)
                                                  : attack.apply(images, indices, labels, Stage::train);
      triggered.narrow(0, at, count).copy_(made);
      if (role == Role::poison) {
        changed += made.to(at::kFloat).sub(images).abs().sum(at::kDouble).item<double>();
      }
      progress.advance(count);
    }
  };
  trigger(0, poisons.numel(), Role::poison);
  trigger(poisons.numel(), replaced.numel(), Role::cover);

  Manifest manifest;
  manifest.attack = spec;
  manifest.source = source;
  manifest.shape = shape;
  manifest.classes = clean->classes();
  manifest.roles = plan.roles;
  manifest.true_labels = clean->labels().clone();
  manifest.recorded_labels = plan.labels;
  for (std::int64_t i = 0; i < clean->size(); ++i) manifest.paths.push_back(image_path(i));
  const std::int64_t pixels = poisons.numel() * shape.channels * shape.height * shape.width;
  return {std::make_shared<OverlaidDataset>(clean, replaced, triggered, plan.labels), manifest,
          changed / static_cast<double>(std::max<std::int64_t>(1, pixels))};
}

void write_poisoned_dataset(const fs::path& out, const PoisonedDataset& poisoned) {
  StagedFolder folder(out);
  write_halves(folder.path(), poisoned);
  folder.commit();
}

fs::path unpoisoned_part(const fs::path& set) {
  fs::path part = set / "unpoisoned";
  if (fs::exists(part)) return part;
  Manifest manifest = read_manifest(set / "truth" / "manifest.json");
  const at::Tensor kept = at::nonzero(manifest.poisoned().logical_not()).flatten();
  std::vector<std::string> paths;
  for (std::int64_t i = 0; i < kept.numel(); ++i) {
    paths.push_back(manifest.paths[static_cast<std::size_t>(kept[i].item<std::int64_t>())]);
  }
  manifest.paths = std::move(paths);
  manifest.recorded_labels = manifest.recorded_labels.index_select(0, kept);
  manifest.roles.resize(manifest.paths.size());  // as many samples
  StagedFolder folder(part);
  write_labels(folder.path() / "labels.csv", manifest);
  write_header(folder.path() / "dataset.json", manifest);
  fs::create_directory_symlink(fs::absolute(set / "dataset" / "images"), folder.path() / "images");
  folder.commit();
  return part;
}

PoisonedDataset poison_to(const fs::path& out, const DatasetPtr& clean, const std::string& source,
                          const AttackSpec& spec) {
  StagedFolder folder(out);
  const fs::path artifacts = folder.path() / "truth" / "artifacts";
  PoisonedDataset poisoned = poison(clean, source, spec, artifacts);
  std::error_code ignored;
  if (poisoned.manifest.artifacts.empty()) fs::remove(artifacts, ignored);
  poisoned.manifest = write_halves(folder.path(), poisoned);
  folder.commit();
  if (!poisoned.manifest.artifacts.empty()) poisoned.manifest.artifacts = out / "truth" / "artifacts";
  return poisoned;
}

}  // namespace mcci
