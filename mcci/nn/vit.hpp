#pragma once

#include <cstdint>
#include <memory>

#include "mcci/nn/backbone.hpp"

namespace mcci {

// What tells vision transformers apart.
struct VisionTransformer {
  std::int64_t patch = 16;  // pixels a side
  std::int64_t depth = 12;
  std::int64_t heads = 12;   // whatever the width, which must be a multiple
  double epsilon = 1e-6;     // of layer norm
  bool norm_before = false;  // CLIP: a layer norm before the first block, and no bias of the patch embedding
  bool quick_gelu = false;   // x sigmoid(1.702 x), as in OpenAI's CLIP
  double layer_scale = 0;    // its initial value; 0: none
  std::int64_t registers = 0;  // tokens that stand for nothing (Darcet et al., ICLR 2024)
};

// A vision transformer (Dosovitskiy et al., ICLR 2021) with timm's names and initialisation; its features are
// the class token after the last layer norm. `pos_embed` [1, 1 + grid, D] belongs to the grid of
// config.image_size; images of other sizes get it interpolated (bicubic, antialiased, as timm does), and are
// padded with zeros to whole patches. Errors: usage if the width is no multiple of the heads.
std::shared_ptr<Backbone> make_vit(const BackboneConfig& config, const VisionTransformer& design);

// timm, torchvision, transformers (ViT, CLIP, DINOv2, BLIP), OpenCLIP, DINOv2's own.
const LayoutFamily& vit_layouts();

}  // namespace mcci
