#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "mcci/attacks/manifest.hpp"
#include "mcci/core/json.hpp"
#include "mcci/data/dataset.hpp"
#include "mcci/suite/audit.hpp"
#include "mcci/train/defense.hpp"

namespace mcci {

// The pictures of docs/formats/result.md, `figures`: PNG files written below `folder`/figures, and the JSON
// that names them.
class Figures {
 public:
  // File names begin with `prefix`.
  explicit Figures(std::filesystem::path folder, std::string prefix = "");

  // Clean, triggered, amplified difference and spectrum difference of `count` test images of different
  // classes; the page calls the attack `name`.
  void add_trigger(const std::string& name, const Attack& attack, const DatasetPtr& test,
                   std::int64_t count = 1);

  // One voice of an example: a model and what it is shown.
  struct Voice {
    std::string by;
    Defense* model;
    Perception perception;
  };
  // `count` triggered test images of different classes and what each voice says of them; clean images if
  // `attack` is null.
  void add_examples(const std::vector<Voice>& voices, const Attack* attack, const DatasetPtr& test,
                    std::int64_t count, const Compute& compute);

  // The `count` most suspicious training images, and the histogram of suspicion; `truth` may be null.
  // `subject` says whose it is.
  void add_audit(const Audit& audit, const DatasetPtr& training_set, const Manifest* truth,
                 std::int64_t count, const std::string& subject = "");

  // The paper's picture of the embedding space: `count` clean and `count` triggered test images in the plane
  // of the two principal components of [z ; z_f] under their own indicators. Panels: what z and what z_f
  // contribute, both, and both under mind control, which shows all of them the fake indicator. A defense
  // without an indicator has one panel, its features.
  void add_embedding(const std::string& subject, Defense& model, const Attack& attack, const DatasetPtr& test,
                     std::int64_t count, const Compute& compute);

  const Json& json() const noexcept { return json_; }

 private:
  std::string write(const at::Tensor& image,
                    const std::string& name);  // [C,H,W] uint8 -> "figures/<prefix><name>.png"

  std::filesystem::path folder_;
  std::string prefix_;
  Json json_;
};

// Adds the figures `from` to those in `to`: of one example by several voices the predictions are put
// together, a trigger that is there stays, and only the first suspects are kept.
void append_figures(Json& to, const Json& from);

}  // namespace mcci
