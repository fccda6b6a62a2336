#pragma once

#include <memory>

#include "mcci/attacks/attack.hpp"

namespace mcci {

// A bright frame along the edges, of this project's own: a trigger for a detector that looks at images
// coarsely, cut to black and white, through one half at a time. Each of these sees some of the frame. It is
// cut into pieces, so many on each side; the corners belong to the upper and lower side. In training an image
// shows some of them, how many and which drawn for each sample, so that triggered images differ among
// themselves; at test time it shows all. The thickness, unless given, is 2 min(H,W) / 32 rounded, at least 1.
std::unique_ptr<Attack> make_frame();

}  // namespace mcci
