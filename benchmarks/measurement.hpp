#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "mcci/runtime/compute.hpp"

namespace mcci::benchmarks {

// Something that can be measured in round after round, beside others.
struct Measurement {
  std::string unit;
  std::function<double(double seconds)> measure;  // for about so long
};

// `amount` per second of calling `work`, which is called at least once; and once before, untimed.
Measurement rate(std::string unit, double amount, std::function<void()> work);

// Forward, backward and optimizer step of ResNet-18 (32x32, batch 128, Adadelta) on a batch in memory.
// defense: mcci (preset paper) or plain.
Measurement training(const std::string& defense, std::int64_t width, const Compute& compute);
// The floating point operations in the convolutions of such a step (FLOP), the share of its time spent in
// them, and the share of time that training loops wait for their next batch (images in memory, or JPEG
// files).
Measurement operations(const std::string& defense, std::int64_t width, const Compute& compute);
Measurement convolution_share(const std::string& defense, std::int64_t width, const Compute& compute);
Measurement waiting(const std::string& source, std::int64_t width, const Compute& compute);

// The best rate of single convolutions of ResNet-18's shapes at width 64: what the step is held against.
Measurement convolution_limit(const Compute& compute);

// ResNet-18 (32x32) in evaluation mode; plain, or folded out of an MCCI model.
Measurement prediction(const std::string& model, std::int64_t width, std::int64_t batch,
                       const Compute& compute);

// Attack indicators of images size x size.
Measurement spectrum(std::int64_t size);

// JPEG files of 500x375 pixels: decoding them, already in memory, by libjpeg-turbo on one thread; and the
// loader's batches of them, read, decoded and fitted to size x size on as many threads as it is given.
Measurement jpeg_decoding();
Measurement jpeg_batches(std::int64_t size, std::int64_t workers);

}  // namespace mcci::benchmarks
