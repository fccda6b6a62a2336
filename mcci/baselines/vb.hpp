#pragma once

#include <memory>

#include <ATen/core/Tensor.h>

#include "mcci/train/defense.hpp"

namespace mcci {

// V&B, the Victim and the Beneficiary (Zhu et al., ICCV 2023; docs/defenses/vb.md): one network is given up
// to the poison and by its certainty tells which samples are suspicious; the other learns from the rest,
// mixed by what it attends to, and then also from the suspicious images, without what the first makes of
// them. Assumes no clean data, and a backbone with a map of features.
std::unique_ptr<Defense> make_vb();

// Where a network looks: the squares of a map of features [B,D,h,w], summed over the features, enlarged to
// the image and drawn out to [0,1] in each: [B,1,height,width].
at::Tensor attention_of(const at::Tensor& feature_map, std::int64_t height, std::int64_t width);

struct AttentionMixture {
  at::Tensor images;   // [B,C,H,W]
  at::Tensor targets;  // [B, classes], each row with the sum that the mixed rows have
};
// AttentionMix: where an image's attention ([B,1,H,W]) reaches `threshold`, it is mixed with the image that
// `others` ([B] int64) names for it, in proportion to what share of either's attention lies there; the
// targets ([B, classes]) in proportion to the attention that is left.
AttentionMixture attention_mix(const at::Tensor& images, const at::Tensor& attention,
                               const at::Tensor& targets, const at::Tensor& others, double threshold);

// What is left of targets [B, classes] after subtracting the victim's answer at temperature 3; not below 0.
at::Tensor suppressed(const at::Tensor& targets, const at::Tensor& victim_logits);

}  // namespace mcci
