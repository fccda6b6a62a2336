#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "mcci/data/dataset.hpp"

namespace mcci {

// A trigger that treats each pixel alike in every image: x -> scale x + shift, cut to [0,1]. A patch covers
// (scale 0), a blend fades (scale 1 - alpha), a pattern adds (scale 1). What moves pixels (WaNet) or depends
// on the image (Input-aware) is not of this kind.
struct Trigger {
  at::Tensor scale;  // [C,H,W] float32 in [0,1]; of several, one for each image: [B,C,H,W]
  at::Tensor shift;  // as scale
  // What single marked images have beyond shift, at the pixels where the trigger is not the same in all of
  // them; 0 at the others: [R,C,H,W]; of several: [K,R,C,H,W].
  at::Tensor departures;
  bool defined() const { return scale.defined(); }
};

// The trigger that turns `controls` into `marked`, pixel by pixel from the first two moments of both. The
// images need not be pairs, but must mean the same on average: `weight` is how much each control counts.
// marked [M], controls [K] int64 positions in `data`; weight [K] float32, sum above 0 -> on the CPU.
//
//   scale = std(marked) / std(controls), at most 1;  shift = mean(marked) - scale mean(controls)
//
// Where the marked images vary more than twice as much as the controls, in variance, and by a third of the
// range beyond, it is the trigger that varies: `departures` are those of the first 32 marked images from
// mean(marked), of fewer again and again.
Trigger estimate_trigger(const DatasetPtr& data, const at::Tensor& marked, const at::Tensor& controls,
                         const at::Tensor& weight);

// A trigger for each of B images, drawn from K with the same chance: with the shift that it had on one of the
// marked images, and no departures of its own. draw [B] float32 in [0,1).
Trigger drawn(const Trigger& triggers, const at::Tensor& draw);

// images [B,C,H,W] float32 in [0,1] with the trigger on them, without departures, put on `strength` times
// ([B,1,1,1] or a scalar tensor, at least 0, not necessarily whole; 1: as estimated), and cut to [0,1]. Same
// shape.
//
//   x -> scale^n x + (1 + scale + ... + scale^(n-1)) shift
//
// A patch is the same at any strength, a blend approaches the picture that it blends in and no image is
// ever inverted, a pattern grows n times.
at::Tensor put_on(const Trigger& trigger, const at::Tensor& images, const at::Tensor& strength);

}  // namespace mcci
