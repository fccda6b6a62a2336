#pragma once

#include <istream>
#include <set>
#include <string>

namespace mcci {

// The first processor of a text in the form of Linux's /proc/cpuinfo. What the text does not say is empty.
struct Processor {
  std::string vendor;  // "GenuineIntel", "AuthenticAMD"
  std::string name;
  std::set<std::string> features;  // in the kernel's words, of those the kernel lets programs use
};

Processor read_processor(std::istream& cpuinfo);
Processor this_processor();

// Does the processor convolve faster in bf16 than in fp32? It does with a matrix unit, and with AVX-512's
// instructions for bf16 on AMD's processors and Intel's Cooper Lake. Intel's later ones, which have AVX-512's
// fp16 too, have half of fp32's speed by these instructions: that is what is left where a virtual machine
// hides the matrix unit.
bool faster_in_bf16(const Processor& processor);

}  // namespace mcci
