#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mcci {

// Pictures with a meaning, drawn: one figure, filled with a texture, among clutter. The class is what figure
// and which texture: "striped star". Where it is, how large, turned by how much, in which colours and before
// what is drawn alike for every class, so that none of it tells the class; and the clutter has the same
// textures.
//
// No function of <cmath> but floor, abs and sqrt is used, so that the pixels are the same on every platform.

// "plain disc" ... "spotted crescent": figures times textures, 24.
const std::vector<std::string>& scene_classes();

// Draws the scene `seed` of class `label` ([0, 24)) with `side` x `side` pixels (1 or more) to `pixels`:
// [3,side,side], RGB, 0 .. 255. The same seed gives the same scene at every size.
void draw_scene(std::uint64_t seed, std::int64_t label, std::int64_t side, std::uint8_t* pixels);

}  // namespace mcci
