#include "mcci/attacks/attack.hpp"
#include "mcci/attacks/badnets.hpp"
#include "mcci/attacks/blended.hpp"

namespace mcci {

const Registry<std::function<std::unique_ptr<Attack>()>>& attacks() {
  static const Registry<std::function<std::unique_ptr<Attack>()>> registry(
      "attack", {
                    {"badnets", "a small patch in the corner", make_badnets},
                    {"blended", "a picture or noise blended into the whole image", make_blended},
                });
  return registry;
}

}  // namespace mcci
