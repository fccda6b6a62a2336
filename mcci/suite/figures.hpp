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
  explicit Figures(std::filesystem::path folder);

  // Clean, triggered, amplified difference and spectrum difference of one test image.
  void add_trigger(const std::string& name, const Attack& attack, const DatasetPtr& test);

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
  void add_audit(const Audit& audit, const DatasetPtr& training_set, const Manifest* truth,
                 std::int64_t count);

  const Json& json() const noexcept { return json_; }

 private:
  std::string write(const at::Tensor& image,
                    const std::string& name);  // [C,H,W] uint8 -> "figures/<name>.png"

  std::filesystem::path folder_;
  Json json_;
};

}  // namespace mcci
