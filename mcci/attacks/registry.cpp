#include "mcci/attacks/adaptive_blend.hpp"
#include "mcci/attacks/adaptive_patch.hpp"
#include "mcci/attacks/attack.hpp"
#include "mcci/attacks/badnets.hpp"
#include "mcci/attacks/band_limited.hpp"
#include "mcci/attacks/blended.hpp"
#include "mcci/attacks/bpp.hpp"
#include "mcci/attacks/clean_image.hpp"
#include "mcci/attacks/ctrl.hpp"
#include "mcci/attacks/frame.hpp"
#include "mcci/attacks/ftrojan.hpp"
#include "mcci/attacks/input_aware.hpp"
#include "mcci/attacks/issba.hpp"
#include "mcci/attacks/label_consistent.hpp"
#include "mcci/attacks/lf.hpp"
#include "mcci/attacks/lira.hpp"
#include "mcci/attacks/refool.hpp"
#include "mcci/attacks/several.hpp"
#include "mcci/attacks/sig.hpp"
#include "mcci/attacks/trojannn.hpp"
#include "mcci/attacks/tuap.hpp"
#include "mcci/attacks/wanet.hpp"

namespace mcci {

const Registry<std::function<std::unique_ptr<Attack>()>>& attacks() {
  static const Registry<std::function<std::unique_ptr<Attack>()>> registry(
      "attack",
      {
          {"adaptive-blend",
           "parts of a blended pattern in training, all of it at test time (Qi et al., 2023)",
           make_adaptive_blend},
          {"adaptive-patch", "one of four faint patches in training, two at test time (Qi et al., 2023)",
           make_adaptive_patch},
          {"badnets", "a small patch in the corner (Gu et al., 2017)", make_badnets},
          {"band-limited", "noise of a band of frequencies added to the whole image", make_band_limited},
          {"blended", "a picture or noise blended into the whole image (Chen et al., 2017)", make_blended},
          {"bpp", "fewer grey levels (Wang et al., 2022)", make_bpp},
          {"clean-image", "labels only: a natural feature, sharpness (after Chen et al., 2023)",
           make_clean_image},
          {"ctrl", "two frequencies of the chroma of the whole image; clean-label (Li et al., 2023)",
           make_ctrl},
          {"frame", "parts of a bright frame in training, all of it at test time", make_frame},
          {"ftrojan", "two frequencies of the chroma of every window (Wang et al., 2022)", make_ftrojan},
          {"input-aware", "a sparse pattern made from the image itself (Nguyen and Tran, 2020)",
           make_input_aware},
          {"issba", "a hidden message, its residual different for each image (Li et al., 2021)", make_issba},
          {"label-consistent",
           "hard images of the target class and four corners; clean-label (Turner et al., 2019)",
           make_label_consistent},
          {"lf", "a learned smooth pattern over the whole image (Zeng et al., 2021)", make_lf},
          {"lira", "a faint residual made from the image itself (Doan et al., 2021)", make_lira},
          {"refool", "the reflection of a picture (Liu et al., 2020)", make_refool},
          {"several", "several attacks at once", make_several},
          {"sig", "a sinus along the columns; clean-label (Barni et al., 2019)", make_sig},
          {"trojannn", "a patch that chosen neurons answer to (Liu et al., 2018)", make_trojannn},
          {"tuap", "a learned perturbation of the whole image; clean-label (Zhao et al., 2020)", make_tuap},
          {"wanet", "a smooth warp (Nguyen and Tran, 2021)", make_wanet},
      });
  return registry;
}

}  // namespace mcci
