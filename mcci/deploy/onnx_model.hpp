#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <ATen/core/Tensor.h>

namespace mcci {

// An ONNX model in the making: nodes in the order in which they are computed, which name their inputs and
// outputs. Its file is a protobuf message (onnx.proto), of which this writes the few parts that are needed.
class OnnxModel {
 public:
  using Attribute = std::variant<std::int64_t, double, std::vector<std::int64_t>, std::string>;
  using Attributes = std::vector<std::pair<std::string, Attribute>>;

  static constexpr std::int64_t any = -1;  // a dimension that is not fixed: the batch

  // -> the names of the outputs. An input "" is one that is left out.
  std::vector<std::string> add(const std::string& op, const std::vector<std::string>& inputs,
                               const Attributes& attributes, std::size_t outputs);
  // A tensor that is part of the model: float32, int64, int32, uint8 or bool. -> its name.
  std::string constant(const at::Tensor& tensor);
  std::string constant(const std::vector<std::int64_t>& values);

  struct Port {
    std::string name;
    std::vector<std::int64_t> shape;  // float32
  };
  // The whole message. `output` bears the name that add() gave it; it will be called output_name.
  std::string message(const Port& input, const std::string& output, const Port& named_output,
                      const std::map<std::string, std::string>& metadata) const;

 private:
  std::string fresh_name() { return "v" + std::to_string(names_++); }

  std::vector<std::string> nodes_;         // messages
  std::vector<std::string> initializers_;  // messages
  std::int64_t names_ = 0;
};

}  // namespace mcci
