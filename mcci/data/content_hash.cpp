#include "mcci/data/content_hash.hpp"

#include <algorithm>
#include <string_view>

#include <ATen/ATen.h>

#include "mcci/core/hash.hpp"
#include "mcci/core/json.hpp"

namespace mcci {
namespace {

constexpr std::int64_t hashed_at_once = 4096;

std::string_view bytes_of(const at::Tensor& contiguous) {
  return {static_cast<const char*>(contiguous.data_ptr()), contiguous.nbytes()};
}

}  // namespace

std::string content_hash(const Dataset& data) {
  const ImageShape& shape = data.shape();
  std::string parts = Json({data.num_classes(), shape.channels, shape.height, shape.width}).dump();
  parts += sha256(bytes_of(data.labels().contiguous()));
  for (std::int64_t at = 0; at < data.size(); at += hashed_at_once) {
    const at::Tensor indices = at::arange(at, std::min(data.size(), at + hashed_at_once));
    parts += sha256(bytes_of(data.images(indices).contiguous()));
  }
  return sha256(parts);
}

}  // namespace mcci
