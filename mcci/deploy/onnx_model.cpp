#include "mcci/deploy/onnx_model.hpp"

#include <cstring>

#include <ATen/ops/tensor.h>
#include <c10/core/ScalarType.h>

#include "mcci/core/error.hpp"
#include "mcci/core/version.hpp"

namespace mcci {
namespace {

// Numbers of fields and constants are those of onnx.proto, version IR_VERSION 7.
constexpr std::int64_t ir_version = 7;
constexpr std::int64_t opset = 13;

class Message {
 public:
  void integer(std::uint32_t field, std::int64_t value) {
    varint(field << 3);
    varint(static_cast<std::uint64_t>(value));
  }

  void real(std::uint32_t field, float value) {
    varint(field << 3 | 5);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }

  void text(std::uint32_t field, const std::string& value) { raw(field, value.data(), value.size()); }

  void raw(std::uint32_t field, const void* data, std::size_t size) {
    varint(field << 3 | 2);
    varint(size);
    bytes_.append(static_cast<const char*>(data), size);
  }

  void message(std::uint32_t field, const Message& value) { text(field, value.bytes_); }

  const std::string& bytes() const { return bytes_; }

 private:
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }

  std::string bytes_;
};

Message attribute_message(const std::string& name, const OnnxModel::Attribute& value) {
  enum Type { type_float = 1, type_int = 2, type_string = 3, type_ints = 7 };
  Message message;
  message.text(1, name);
  if (const auto* number = std::get_if<double>(&value)) {
    message.real(2, static_cast<float>(*number));
    message.integer(20, type_float);
  } else if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    message.integer(3, *integer);
    message.integer(20, type_int);
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    message.text(4, *text);
    message.integer(20, type_string);
  } else {
    for (const std::int64_t item : std::get<std::vector<std::int64_t>>(value)) message.integer(8, item);
    message.integer(20, type_ints);
  }
  return message;
}

std::int64_t data_type(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return 1;
    case at::kByte:
      return 2;
    case at::kInt:
      return 6;
    case at::kLong:
      return 7;
    case at::kBool:
      return 9;
    default:
      throw Error(ErrorKind::usage, std::string("the network has a constant of dtype ") +
                                        c10::toString(type) + ", which is not written as ONNX here");
  }
}

Message port_message(const OnnxModel::Port& port) {
  Message shape;
  for (const std::int64_t extent : port.shape) {
    Message dimension;
    if (extent == OnnxModel::any) {
      dimension.text(2, "batch");
    } else {
      dimension.integer(1, extent);
    }
    shape.message(1, dimension);
  }
  Message tensor;
  tensor.integer(1, data_type(at::kFloat));
  tensor.message(2, shape);
  Message type;
  type.message(1, tensor);
  Message message;
  message.text(1, port.name);
  message.message(2, type);
  return message;
}

}  // namespace

std::vector<std::string> OnnxModel::add(const std::string& op, const std::vector<std::string>& inputs,
                                        const Attributes& attributes, std::size_t outputs) {
  Message message;
  std::vector<std::string> names;
  for (const std::string& input : inputs) message.text(1, input);
  for (std::size_t i = 0; i < outputs; ++i) {
    names.push_back(fresh_name());
    message.text(2, names.back());
  }
  message.text(3, op + "_" + names.front());
  message.text(4, op);
  for (const auto& [name, value] : attributes) message.message(5, attribute_message(name, value));
  nodes_.push_back(message.bytes());
  return names;
}

std::string OnnxModel::constant(const at::Tensor& tensor) {
  const at::Tensor whole = tensor.detach().cpu().contiguous();
  Message message;
  for (const std::int64_t extent : whole.sizes()) message.integer(1, extent);
  message.integer(2, data_type(whole.scalar_type()));
  const std::string name = fresh_name();
  message.text(8, name);
  message.raw(9, whole.data_ptr(), whole.nbytes());
  initializers_.push_back(message.bytes());
  return name;
}

std::string OnnxModel::constant(const std::vector<std::int64_t>& values) {
  return constant(at::tensor(values, at::kLong));
}

std::string OnnxModel::message(const Port& input, const std::string& output, const Port& named_output,
                               const std::map<std::string, std::string>& metadata) const {
  Message last;  // gives the output its name
  last.text(1, output);
  last.text(2, named_output.name);
  last.text(3, "output");
  last.text(4, "Identity");
  Message graph;
  for (const std::string& node : nodes_) graph.text(1, node);
  graph.message(1, last);
  graph.text(2, "network");
  for (const std::string& initializer : initializers_) graph.text(5, initializer);
  graph.message(11, port_message(input));
  graph.message(12, port_message(named_output));

  Message operators;
  operators.text(1, "");
  operators.integer(2, opset);
  Message model;
  model.integer(1, ir_version);
  model.text(2, "mcci");
  model.text(3, version());
  model.message(7, graph);
  model.message(8, operators);
  for (const auto& [key, value] : metadata) {
    Message entry;
    entry.text(1, key);
    entry.text(2, value);
    model.message(14, entry);
  }
  return model.bytes();
}

}  // namespace mcci
