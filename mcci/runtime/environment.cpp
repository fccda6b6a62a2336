#include "mcci/runtime/environment.hpp"

#include <ATen/Version.h>
#include <torch/version.h>

#include "mcci/core/version.hpp"
#include "mcci/runtime/processor.hpp"

namespace mcci {
Json environment(const Compute& compute) {
  Json result;
  result["mcci"] = version();
  result["libtorch"] = TORCH_VERSION;
  result["compiler"] = __VERSION__;
  const Processor processor = this_processor();
  result["processor"] = processor.name.empty() ? "unknown" : processor.name;
  result["onednn"] = at::get_mkldnn_version();
  result["device"] = compute.device.str();
  result["threads"] = compute.threads;
  result["precision"] = compute.bf16 ? "bf16 (autocast)" : "fp32";
  result["memory format"] = "channels_last";
  return result;
}

}  // namespace mcci
