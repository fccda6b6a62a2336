#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace mcci {

// Lower-case hexadecimal SHA-256, as `sha256sum` prints it.
std::string sha256(std::string_view bytes);
std::string sha256_file(const std::filesystem::path& path);

}  // namespace mcci
