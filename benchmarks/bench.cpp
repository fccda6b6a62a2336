// Measures what each line of standard input names, and answers each with one line of JSON, so that rounds of
// several programs can be interleaved; ./dev bench does that. Lines, where DEFENSE is mcci or plain and
// PRECISION is fp32 or auto:
//
//   train DEFENSE PRECISION WIDTH         operations|convolutions DEFENSE WIDTH       limit PRECISION
//   predict plain|folded WIDTH BATCH      spectrum SIZE      decode      load SIZE WORKERS
//   wait memory|jpeg WIDTH                environment

#include <chrono>
#include <cstdio>
#include <iostream>
#include <map>
#include <sstream>
#include <string>

#include "benchmarks/measurement.hpp"
#include "mcci/core/error.hpp"
#include "mcci/runtime/environment.hpp"

namespace mcci::benchmarks {

Measurement rate(std::string unit, double amount, std::function<void()> work) {
  work();
  return {std::move(unit), [amount, work = std::move(work)](double seconds) {
            const auto start = std::chrono::steady_clock::now();
            double elapsed = 0;
            double done = 0;
            do {
              work();
              done += amount;
              elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
            } while (elapsed < seconds);
            return done / elapsed;
          }};
}

namespace {

// The words of a request, read one after the other.
class Request {
 public:
  explicit Request(const std::string& line) : words_(line), line_(line) {}

  template <class Value>
  Value next() {
    Value value{};
    if (!(words_ >> value)) throw Error(ErrorKind::usage, "the request '" + line_ + "' is not understood");
    return value;
  }

 private:
  std::istringstream words_;
  std::string line_;
};

Measurement prepare(const std::string& line, const Compute& compute) {
  Request request(line);
  const auto word = [&] { return request.next<std::string>(); };
  const auto number = [&] { return request.next<std::int64_t>(); };
  Compute computing = compute;
  const auto with_precision = [&] {
    if (word() == "fp32") computing.bf16 = false;
  };
  const std::string kind = word();
  if (kind == "train") {
    const std::string defense = word();
    with_precision();
    return training(defense, number(), computing);
  }
  if (kind == "limit") {
    with_precision();
    return convolution_limit(computing);
  }
  if (kind == "decode") return jpeg_decoding();
  const bool named = kind == "operations" || kind == "convolutions" || kind == "predict" || kind == "wait";
  const std::string name = named ? word() : "";
  const std::int64_t size = number();
  if (kind == "operations") return operations(name, size, compute);
  if (kind == "convolutions") return convolution_share(name, size, compute);
  if (kind == "predict") return prediction(name, size, number(), compute);
  if (kind == "wait") return waiting(name, size, compute);
  if (kind == "spectrum") return spectrum(size);
  if (kind == "load") return jpeg_batches(size, number());
  throw Error(ErrorKind::usage, "there is no measurement '" + kind + "'");
}

void serve(double seconds) {
  const Compute compute = setup_compute({});
  std::map<std::string, Measurement> prepared;
  for (std::string line; std::getline(std::cin, line);) {
    if (line == "environment") {
      std::cout << environment(compute).dump() << std::endl;
      continue;
    }
    auto found = prepared.find(line);
    if (found == prepared.end()) found = prepared.emplace(line, prepare(line, compute)).first;
    const Json answer = {
        {"measurement", line}, {"value", found->second.measure(seconds)}, {"unit", found->second.unit}};
    std::cout << answer.dump() << std::endl;
  }
}

}  // namespace
}  // namespace mcci::benchmarks

int main(int argc, char** argv) {
  try {
    mcci::benchmarks::serve(argc > 1 ? std::stod(argv[1]) : 1.0);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "mcci_bench: error: %s\n", error.what());
    return 1;
  }
}
