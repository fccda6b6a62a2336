#pragma once

#include <caffe2/serialize/inline_container.h>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace mcci::test {

using Members = std::vector<std::pair<std::string, std::string>>;

// A zip archive as torch.save writes it, "archive/" before each name.
inline std::string archive_of(const Members& members) {
  std::string bytes;
  caffe2::serialize::PyTorchStreamWriter writer([&](const void* data, std::size_t count) {
    bytes.append(static_cast<const char*>(data), count);
    return count;
  });
  for (const auto& [name, content] : members) writer.writeRecord(name, content.data(), content.size());
  writer.writeEndOfFile();
  return bytes;
}

// One to three random changes: bytes replaced, bits flipped, pieces left out, repeated or exchanged for a
// token.
template <std::size_t N>
std::string mutated(std::string bytes, std::mt19937_64& random, const std::string (&tokens)[N]) {
  const std::string whole = bytes;
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  for (std::size_t changes = 1 + below(3); changes > 0; --changes) {
    const std::size_t at = below(bytes.size());
    switch (below(6)) {
      case 0:
        bytes[at] = static_cast<char>(random());
        break;
      case 1:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
        break;
      case 2:
        bytes.erase(at, 1 + below(8));
        break;
      case 3:
        bytes.insert(at, tokens[below(N)]);
        break;
      case 4:
        bytes.replace(at, 1, tokens[below(N)]);
        break;
      default:
        bytes.insert(at, bytes.substr(below(bytes.size()), below(60)));
        break;
    }
    if (bytes.empty()) bytes = whole;
  }
  return bytes;
}

}  // namespace mcci::test
