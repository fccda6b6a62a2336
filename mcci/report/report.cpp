#include "mcci/report/report.hpp"

#include <cstdint>

#include "mcci/core/files.hpp"

namespace mcci {

void write_report(const std::filesystem::path& result_path, const std::filesystem::path& html_path) {
  constexpr std::uint64_t max_bytes = std::uint64_t{64} << 20;
  const Json result = read_json(result_path, max_bytes);
  write_file_atomically(html_path, render_html(result, result_path.parent_path(), result_path.string()));
}

}  // namespace mcci
