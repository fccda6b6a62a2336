#include "mcci/runtime/processor.hpp"

#include <fstream>
#include <iterator>
#include <sstream>

namespace mcci {

Processor read_processor(std::istream& cpuinfo) {
  Processor processor;
  // A blank line ends the first processor.
  for (std::string line; std::getline(cpuinfo, line) && !line.empty();) {
    const auto colon = line.find(": ");
    if (colon == std::string::npos) continue;
    const std::string key = line.substr(0, line.find('\t'));
    const std::string value = line.substr(colon + 2);
    if (key == "vendor_id") processor.vendor = value;
    if (key == "model name") processor.name = value;
    if (key == "flags") {
      std::istringstream words(value);
      processor.features = {std::istream_iterator<std::string>(words), {}};
    }
  }
  return processor;
}

Processor this_processor() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  return read_processor(cpuinfo);
}

bool faster_in_bf16(const Processor& processor) {
  const auto has = [&](const char* feature) { return processor.features.count(feature) > 0; };
  if (has("amx_bf16")) return true;
  return has("avx512_bf16") && !(processor.vendor == "GenuineIntel" && has("avx512_fp16"));
}

}  // namespace mcci
