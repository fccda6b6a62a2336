#include "mcci/core/hash.hpp"

#include <array>
#include <cerrno>
#include <fstream>
#include <memory>
#include <system_error>

#include <openssl/evp.h>

#include "mcci/core/error.hpp"

namespace mcci {
namespace {

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    check(context_ ? EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) : 0);
  }

  void update(std::string_view bytes) { check(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size())); }

  std::string hexadecimal() {
    std::array<unsigned char, 32> digest;
    check(EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr));
    std::string text;
    for (const unsigned char byte : digest) {
      text += "0123456789abcdef"[byte >> 4];
      text += "0123456789abcdef"[byte & 15];
    }
    return text;
  }

 private:
  static void check(int success) {
    if (success != 1) throw Error(ErrorKind::internal, "OpenSSL cannot compute SHA-256");
  }

  std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context_;
};

}  // namespace

std::string sha256(std::string_view bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.hexadecimal();
}

std::string sha256_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    throw Error(ErrorKind::io, "cannot open (" + std::generic_category().message(errno) + ")", path.string());
  }
  Sha256 hash;
  std::array<char, 1 << 16> chunk;
  while (file) {
    file.read(chunk.data(), chunk.size());
    hash.update({chunk.data(), static_cast<std::size_t>(file.gcount())});
  }
  if (file.bad()) throw Error(ErrorKind::io, "cannot read", path.string());
  return hash.hexadecimal();
}

}  // namespace mcci
