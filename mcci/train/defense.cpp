#include "mcci/train/defense.hpp"

#include "mcci/core/error.hpp"

namespace mcci {

at::Tensor Defense::suspicion(const at::Tensor& /*images*/, const at::Tensor& /*labels*/) {
  throw Error(ErrorKind::usage,
              "this model has no attack indicator, so it cannot tell how suspicious an image is", "",
              "train with --defense mcci");
}

}  // namespace mcci
