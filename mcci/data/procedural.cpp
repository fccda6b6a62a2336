#include "mcci/data/procedural.hpp"

#include <utility>

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>

#include "mcci/core/error.hpp"
#include "mcci/core/random.hpp"
#include "mcci/data/fit.hpp"
#include "mcci/data/scene.hpp"
#include "mcci/data/source.hpp"

namespace mcci {
namespace {

class ProceduralDataset : public Dataset {
 public:
  ProceduralDataset(std::uint64_t seed, Split split, std::int64_t count, const ImageShape& shape)
      : seed_(seed),
        split_(split == Split::train ? "train" : "test"),
        labels_(at::arange(count, at::kLong).remainder_(static_cast<std::int64_t>(scene_classes().size()))),
        shape_(shape) {}

  const ImageShape& shape() const override { return shape_; }
  const std::vector<std::string>& classes() const override { return scene_classes(); }
  const at::Tensor& labels() const override { return labels_; }
  std::string name(std::int64_t index) const override { return split_ + "#" + std::to_string(index); }

  at::Tensor images(const at::Tensor& indices) const override {
    const at::Tensor checked = checked_indices(indices, size());
    const std::int64_t* const index = checked.data_ptr<std::int64_t>();
    const std::int64_t* const label = labels_.data_ptr<std::int64_t>();
    at::Tensor out = at::empty({checked.size(0), 3, shape_.height, shape_.width}, at::kByte);
    std::uint8_t* pixels = out.data_ptr<std::uint8_t>();
    for (std::int64_t b = 0; b < checked.size(0); ++b, pixels += 3 * shape_.height * shape_.width) {
      const std::uint64_t scene =
          derive_seed(seed_, "procedural " + split_, {static_cast<std::uint64_t>(index[b])});
      draw_scene(scene, label[index[b]], shape_.height, pixels);
    }
    return fit_images(out, shape_, "resize");
  }

 private:
  std::uint64_t seed_;
  std::string split_;
  at::Tensor labels_;
  ImageShape shape_;
};

}  // namespace

DatasetPtr make_procedural(Split split, const DatasetOptions& options, const ProceduralOptions& procedural) {
  const std::int64_t count = split == Split::train ? procedural.train_count : procedural.test_count;
  if (count < 1) {
    throw Error(ErrorKind::usage, "a data set of " + std::to_string(count) + " images", "procedural");
  }
  const ImageShape shape = fitted_shape({3, 32, 32}, options);
  if (shape.height < min_scene_side) {
    throw Error(ErrorKind::usage, "images of " + to_text(shape) + " are too small to show the figures",
                "procedural", "set image-size to " + std::to_string(min_scene_side) + " or more");
  }
  return std::make_shared<ProceduralDataset>(procedural.seed, split, count, shape);
}

}  // namespace mcci
