#pragma once

#include <filesystem>
#include <string>
#include <unistd.h>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mcci/core/error.hpp"
#include "mcci/core/files.hpp"
#include "mcci/core/random.hpp"
#include "mcci/imageio/image.hpp"

namespace mcci {

// Runs `action`, which must throw an Error of `kind` whose text holds `part`.
template <class Action>
void expect_error(ErrorKind kind, const std::string& part, Action action) {
  try {
    action();
    ADD_FAILURE() << "no error; expected one about '" << part << "'";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_THAT(error.what(), testing::HasSubstr(part));
  }
}

// [count,channels,height,width] uint8, over the whole range.
inline at::Tensor random_images(std::int64_t count, std::int64_t channels, std::int64_t height,
                                std::int64_t width) {
  Rng rng(11);
  at::Tensor images = at::empty({count, channels, height, width}, at::kByte);
  auto* pixel = images.data_ptr<std::uint8_t>();
  for (std::int64_t i = 0; i < images.numel(); ++i) pixel[i] = static_cast<std::uint8_t>(rng.below(256));
  return images;
}

inline at::Tensor ints(const std::vector<std::int64_t>& values) { return at::tensor(values, at::kLong); }

inline void write_grey_png(const std::filesystem::path& path, std::int64_t height, std::int64_t width,
                           const std::vector<std::uint8_t>& pixels) {
  write_file_atomically(path, encode_png({height, width, 1, pixels}));
}

// A folder of its own for each test, removed afterwards.
struct InFolder : testing::Test {
  std::filesystem::path folder = std::filesystem::path(testing::TempDir()) /
                                 ("mcci_attacks_" + std::to_string(getpid()) + "_" +
                                  testing::UnitTest::GetInstance()->current_test_info()->name());
  void SetUp() override { std::filesystem::create_directories(folder); }
  void TearDown() override { std::filesystem::remove_all(folder); }
};

}  // namespace mcci
