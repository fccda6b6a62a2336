#include "mcci/runtime/environment.hpp"

#include <fstream>
#include <string>

#include <ATen/Version.h>
#include <torch/version.h>

#include "mcci/core/version.hpp"

namespace mcci {
namespace {

std::string processor() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("model name", 0) == 0) {
      const auto colon = line.find(": ");
      if (colon != std::string::npos) return line.substr(colon + 2);
    }
  }
  return "unknown";
}

}  // namespace

Json environment(const Compute& compute) {
  Json result;
  result["mcci"] = version();
  result["libtorch"] = TORCH_VERSION;
  result["compiler"] = __VERSION__;
  result["processor"] = processor();
  result["onednn"] = at::get_mkldnn_version();
  result["device"] = compute.device.str();
  result["threads"] = compute.threads;
  result["precision"] = compute.bf16 ? "bf16 (autocast)" : "fp32";
  result["memory format"] = "channels_last";
  return result;
}

}  // namespace mcci
