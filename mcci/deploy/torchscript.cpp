#include "mcci/core/files.hpp"
#include "mcci/deploy/network.hpp"
#include "mcci/deploy/trace.hpp"

namespace mcci {

void save_torchscript(const std::filesystem::path& path, const Network& network,
                      const std::map<std::string, std::string>& notes) {
  const torch::jit::Module program = trace(network, path.string());
  const torch::jit::ExtraFilesMap extra(notes.begin(), notes.end());
  write_file_atomically(path, [&](std::ostream& out) { program.save(out, extra); });
}

}  // namespace mcci
