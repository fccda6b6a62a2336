#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <unordered_map>

#include <ATen/ATen.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>

#include "mcci/core/error.hpp"
#include "mcci/core/files.hpp"
#include "mcci/deploy/network.hpp"
#include "mcci/deploy/onnx_model.hpp"
#include "mcci/deploy/trace.hpp"

namespace mcci {
namespace {

namespace jit = torch::jit;

using Attributes = OnnxModel::Attributes;
using Integers = std::vector<std::int64_t>;

constexpr std::int64_t to_the_end = std::numeric_limits<std::int64_t>::max();
constexpr std::uint64_t max_bytes = std::uint64_t{2} << 30;  // protobuf's

// Computes every value of a graph once, in order: to know shapes, and what does not depend on the images at
// all.
class Evaluation {
 public:
  Evaluation(const jit::Graph& graph, const jit::IValue& self, const at::Tensor& images) {
    values_[graph.inputs().at(0)] = self;
    values_[graph.inputs().at(1)] = images;
    depends_[graph.inputs().at(1)] = true;
    for (const jit::Node* node : graph.nodes()) run(node);
  }

  const jit::IValue& of(const jit::Value* value) const { return values_.at(value); }
  bool depends_on_images(const jit::Value* value) const { return depends_.count(value) > 0; }

 private:
  void run(const jit::Node* node) {
    jit::Stack stack;
    bool depends = false;
    for (const jit::Value* input : node->inputs()) {
      stack.push_back(values_.at(input));
      depends = depends || depends_on_images(input);
    }
    if (node->kind() == c10::prim::Constant) {
      stack = {jit::toIValue(node->output()).value_or(jit::IValue())};
    } else if (node->kind() == c10::prim::ListConstruct) {
      const auto element = node->output()->type()->expectRef<c10::ListType>().getElementType();
      c10::impl::GenericList list(element);
      for (const jit::IValue& item : stack) list.push_back(item);
      stack = {list};
    } else if (node->kind() == c10::prim::TupleConstruct) {
      stack = {c10::ivalue::Tuple::create(stack)};
    } else if (node->kind() == c10::prim::ListUnpack) {
      const auto list = stack.at(0).toListRef();
      stack = jit::Stack(list.begin(), list.end());
    } else if (node->kind() == c10::prim::TupleUnpack) {
      stack = jit::Stack(stack.at(0).toTupleRef().elements());
    } else {
      node->getOperation()(stack);
    }
    for (std::size_t i = 0; i < node->outputs().size(); ++i) {
      values_[node->outputs()[i]] = stack.at(i);
      if (depends) depends_[node->outputs()[i]] = true;
    }
  }

  std::unordered_map<const jit::Value*, jit::IValue> values_;
  std::unordered_map<const jit::Value*, bool> depends_;
};

// Writes the nodes of a frozen trace, one after the other, as those of ONNX.
class Translation {
 public:
  Translation(const jit::Graph& graph, const jit::IValue& self, const at::Tensor& images, std::string where)
      : graph_(graph), evaluation_(graph, self, images), where_(std::move(where)) {
    names_[graph.inputs().at(1)] = {"images"};
  }

  std::string message(const Integers& image, const std::map<std::string, std::string>& notes) {
    for (const jit::Node* node : graph_.nodes()) {
      if (is_computed(node)) translate(node);
    }
    const jit::Value* output = graph_.outputs().at(0);
    Integers input_shape = image;
    input_shape.insert(input_shape.begin(), OnnxModel::any);
    Integers output_shape = shape_of(output);
    output_shape.at(0) = OnnxModel::any;
    return model_.message({"images", input_shape}, name_of(output), {"logits", output_shape}, notes);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorKind::usage, what, where_, "export TorchScript instead");
  }

  [[noreturn]] void unsupported(const jit::Node* node, const std::string& detail = "") const {
    fail(std::string("the network uses ") + node->kind().toQualString() +
         (detail.empty() ? "" : " with " + detail) + ", which is not translated to ONNX");
  }

  // Whether a node is part of the model: it depends on the images, and is no list.
  bool is_computed(const jit::Node* node) const {
    return node->kind() != c10::prim::ListConstruct &&
           std::any_of(node->outputs().begin(), node->outputs().end(),
                       [&](const jit::Value* output) { return evaluation_.depends_on_images(output); });
  }

  // --- the arguments of a node ---

  const jit::Value* argument(const jit::Node* node, const char* name) const { return node->namedInput(name); }

  // An argument that is the same whatever the images are.
  jit::IValue fixed(const jit::Node* node, const char* name) const {
    const jit::Value* value = argument(node, name);
    if (evaluation_.depends_on_images(value)) unsupported(node, std::string(name) + " that varies");
    return evaluation_.of(value);
  }
  std::int64_t integer(const jit::Node* node, const char* name) const { return fixed(node, name).toInt(); }
  bool truth(const jit::Node* node, const char* name) const { return fixed(node, name).toBool(); }
  double real(const jit::Node* node, const char* name) const {
    return fixed(node, name).toScalar().toDouble();
  }
  bool is_none(const jit::Node* node, const char* name) const { return fixed(node, name).isNone(); }
  Integers integers(const jit::Node* node, const char* name) const { return fixed(node, name).toIntVector(); }
  at::Tensor weights(const jit::Node* node, const char* name) const { return fixed(node, name).toTensor(); }

  Integers shape_of(const jit::Value* value) const { return evaluation_.of(value).toTensor().sizes().vec(); }
  std::int64_t rank_of(const jit::Value* value) const { return evaluation_.of(value).toTensor().dim(); }
  // A dimension of the input named `name`, counted from the front.
  std::int64_t dimension(const jit::Node* node, const char* name, const char* of = "self") const {
    return from_front(integer(node, name), rank_of(argument(node, of)));
  }
  static std::int64_t from_front(std::int64_t dimension, std::int64_t rank) {
    return dimension < 0 ? dimension + rank : dimension;
  }

  // --- the names of its values ---

  const std::vector<std::string>& names_of(const jit::Value* value) const {
    const auto found = names_.find(value);
    if (found == names_.end())
      fail(std::string("a result of ") + value->node()->kind().toQualString() + " is not translated to ONNX");
    return found->second;
  }

  std::string name_of(const jit::Value* value) {
    if (evaluation_.depends_on_images(value)) return names_of(value).at(0);
    auto& names = names_[value];
    if (names.empty()) names = {model_.constant(tensor_of(evaluation_.of(value)))};
    return names.at(0);
  }

  // Numbers take part in computations as float32 scalars.
  static at::Tensor tensor_of(const jit::IValue& value) {
    return value.isScalar() ? at::full({}, value.toScalar().toDouble(), at::kFloat) : value.toTensor();
  }

  std::string name(const jit::Node* node, const char* argument_name) {
    return name_of(argument(node, argument_name));
  }

  std::string scalar(double value) { return model_.constant(at::full({}, value, at::kFloat)); }

  // A list of numbers, some of which depend on the number of images, as an int64 vector.
  std::string vector_of(const jit::Value* list) {
    if (!evaluation_.depends_on_images(list)) return model_.constant(evaluation_.of(list).toIntVector());
    if (list->node()->kind() != c10::prim::ListConstruct) fail("a list of sizes is not translated to ONNX");
    std::vector<std::string> items;
    for (const jit::Value* item : list->node()->inputs()) items.push_back(element_of(item));
    return add("Concat", items, {{"axis", std::int64_t{0}}});
  }

  // A number as an int64 vector of one element.
  std::string element_of(const jit::Value* number) {
    if (evaluation_.depends_on_images(number)) return names_of(number).at(0);
    return model_.constant(Integers{evaluation_.of(number).toInt()});
  }

  std::string add(const char* op, const std::vector<std::string>& inputs, const Attributes& attributes = {}) {
    return model_.add(op, inputs, attributes, 1).front();
  }

  void give(const jit::Node* node, std::string name) { names_[node->output()] = {std::move(name)}; }

  // --- operators ---

  using Rule = void (Translation::*)(const jit::Node*);

  void translate(const jit::Node* node) {
    std::string kind = node->kind().toQualString();
    if (kind.rfind("aten::", 0) == 0 && kind.back() == '_' && kind.find("__") == std::string::npos)
      kind.pop_back();  // relu_ computes what relu does
    const auto& rules = table();
    const auto rule = rules.find(kind);
    if (rule == rules.end()) unsupported(node);
    (this->*rule->second)(node);
  }

  static const std::unordered_map<std::string, Rule>& table() {
    static const std::unordered_map<std::string, Rule> rules = {
        {"aten::conv2d", &Translation::convolution},
        {"aten::_convolution", &Translation::convolution},
        {"aten::convolution", &Translation::convolution},
        {"aten::batch_norm", &Translation::batch_norm},
        {"aten::layer_norm", &Translation::layer_norm},
        {"aten::linear", &Translation::linear},
        {"aten::addmm", &Translation::addmm},
        {"aten::matmul", &Translation::matmul},
        {"aten::bmm", &Translation::matmul},
        {"aten::mm", &Translation::matmul},
        {"aten::add", &Translation::sum},
        {"aten::sub", &Translation::sum},
        {"aten::mul", &Translation::product},
        {"aten::div", &Translation::quotient},
        {"aten::pow", &Translation::power},
        {"aten::relu", &Translation::unary},
        {"aten::sigmoid", &Translation::unary},
        {"aten::tanh", &Translation::unary},
        {"aten::exp", &Translation::unary},
        {"aten::erf", &Translation::unary},
        {"aten::sqrt", &Translation::unary},
        {"aten::neg", &Translation::unary},
        {"aten::abs", &Translation::unary},
        {"aten::relu6", &Translation::clip},
        {"aten::hardtanh", &Translation::clip},
        {"aten::clamp", &Translation::clip},
        {"aten::clamp_min", &Translation::clip},
        {"aten::silu", &Translation::silu},
        {"aten::gelu", &Translation::gelu},
        {"aten::hardsigmoid", &Translation::hardsigmoid},
        {"aten::hardswish", &Translation::hardsigmoid},
        {"aten::softmax", &Translation::softmax},
        {"aten::mean", &Translation::mean},
        {"aten::max_pool2d", &Translation::max_pool},
        {"aten::avg_pool2d", &Translation::average_pool},
        {"aten::adaptive_avg_pool2d", &Translation::adaptive_pool},
        {"aten::flatten", &Translation::flatten},
        {"aten::reshape", &Translation::reshape},
        {"aten::view", &Translation::reshape},
        {"aten::unflatten", &Translation::reshape_as_known},
        {"aten::permute", &Translation::permute},
        {"aten::transpose", &Translation::transpose},
        {"aten::t", &Translation::transpose},
        {"aten::unsqueeze", &Translation::unsqueeze},
        {"aten::squeeze", &Translation::squeeze},
        {"aten::expand", &Translation::expand},
        {"aten::expand_as", &Translation::expand_as},
        {"aten::cat", &Translation::cat},
        {"aten::select", &Translation::select},
        {"aten::slice", &Translation::slice},
        {"aten::narrow", &Translation::narrow},
        {"aten::chunk", &Translation::split},
        {"aten::split", &Translation::split},
        {"aten::split_with_sizes", &Translation::split},
        {"aten::unbind", &Translation::split},
        {"aten::__getitem__", &Translation::item},
        {"prim::ListUnpack", &Translation::unpack},
        {"aten::constant_pad_nd", &Translation::pad},
        {"aten::size", &Translation::size},
        {"aten::dropout", &Translation::identity},
        {"aten::feature_dropout", &Translation::identity},
        {"aten::contiguous", &Translation::identity},
        {"aten::clone", &Translation::identity},
        {"aten::detach", &Translation::identity},
        {"aten::alias", &Translation::identity},
        {"aten::to", &Translation::identity},
        {"prim::NumToTensor", &Translation::identity},
        {"aten::Int", &Translation::identity},
        {"aten::ScalarImplicit", &Translation::identity},
    };
    return rules;
  }

  // Only what comes out as it went in: float32 stays float32, and nothing is dropped out after training.
  void identity(const jit::Node* node) {
    const jit::Value* output = node->output();
    const bool is_tensor = evaluation_.of(output).isTensor() && evaluation_.of(node->input(0)).isTensor();
    if (is_tensor && evaluation_.of(output).toTensor().scalar_type() !=
                         evaluation_.of(node->input(0)).toTensor().scalar_type()) {
      unsupported(node, "another dtype");
    }
    names_[output] = names_of(node->input(0));
  }

  // One value for each side; of pads both.
  static Integers both(Integers values) {
    if (values.size() == 1) values.push_back(values.front());
    return values;
  }
  static Integers pads(const Integers& values) {
    const Integers pair = both(values);
    return {pair[0], pair[1], pair[0], pair[1]};
  }

  void convolution(const jit::Node* node) {
    if (node->kind() != c10::aten::conv2d && truth(node, "transposed")) unsupported(node, "transposition");
    const at::Tensor kernel = weights(node, "weight");
    if (kernel.dim() != 4) unsupported(node, "other than two dimensions");
    std::vector<std::string> inputs = {name(node, "input"), name(node, "weight")};
    if (!is_none(node, "bias")) inputs.push_back(name(node, "bias"));
    give(node, add("Conv", inputs,
                   {{"kernel_shape", kernel.sizes().slice(2).vec()},
                    {"strides", both(integers(node, "stride"))},
                    {"pads", pads(integers(node, "padding"))},
                    {"dilations", both(integers(node, "dilation"))},
                    {"group", integer(node, "groups")}}));
  }

  void batch_norm(const jit::Node* node) {
    const bool whole = !is_none(node, "weight") && !is_none(node, "bias") && !is_none(node, "running_mean");
    if (truth(node, "training") || !whole) unsupported(node, "the statistics of the batch");
    give(node, add("BatchNormalization",
                   {name(node, "input"), name(node, "weight"), name(node, "bias"), name(node, "running_mean"),
                    name(node, "running_var")},
                   {{"epsilon", real(node, "eps")}}));
  }

  // ONNX has an operator for it only from opset 17 on.
  void layer_norm(const jit::Node* node) {
    Integers axes;
    const auto count = static_cast<std::int64_t>(integers(node, "normalized_shape").size());
    for (std::int64_t i = -count; i < 0; ++i) axes.push_back(i);
    const Attributes over = {{"axes", axes}, {"keepdims", std::int64_t{1}}};
    const std::string x = name(node, "input");
    const std::string centred = add("Sub", {x, add("ReduceMean", {x}, over)});
    const std::string variance = add("ReduceMean", {add("Mul", {centred, centred})}, over);
    std::string result =
        add("Div", {centred, add("Sqrt", {add("Add", {variance, scalar(real(node, "eps"))})})});
    if (!is_none(node, "weight")) result = add("Mul", {result, name(node, "weight")});
    if (!is_none(node, "bias")) result = add("Add", {result, name(node, "bias")});
    give(node, result);
  }

  void linear(const jit::Node* node) {
    const at::Tensor weight = weights(node, "weight");
    const bool has_bias = !is_none(node, "bias");
    if (rank_of(argument(node, "input")) == 2) {
      std::vector<std::string> inputs = {name(node, "input"), name(node, "weight")};
      if (has_bias) inputs.push_back(name(node, "bias"));
      return give(node, add("Gemm", inputs, {{"transB", std::int64_t{1}}}));
    }
    std::string result = add("MatMul", {name(node, "input"), model_.constant(weight.t())});
    if (has_bias) result = add("Add", {result, name(node, "bias")});
    give(node, result);
  }

  // What freezing makes of a linear layer; its matrix is turned back, as other programs expect it.
  void addmm(const jit::Node* node) {
    if (real(node, "alpha") != 1 || real(node, "beta") != 1) unsupported(node, "factors");
    give(node,
         add("Gemm", {name(node, "mat1"), model_.constant(weights(node, "mat2").t()), name(node, "self")},
             {{"transB", std::int64_t{1}}}));
  }

  void matmul(const jit::Node* node) {
    give(node, add("MatMul", {name_of(node->input(0)), name_of(node->input(1))}));
  }

  bool is_number(const jit::Node* node) const { return evaluation_.of(node->output()).isInt(); }

  // Of the operands, both tensors or both sizes.
  std::string operand(const jit::Node* node, std::size_t i) {
    return is_number(node) ? element_of(node->input(i)) : name_of(node->input(i));
  }

  void sum(const jit::Node* node) {
    std::string second = operand(node, 1);
    if (!is_number(node) && real(node, "alpha") != 1)
      second = add("Mul", {second, scalar(real(node, "alpha"))});
    give(node, add(node->kind() == c10::aten::sub || node->kind() == c10::aten::sub_ ? "Sub" : "Add",
                   {operand(node, 0), second}));
  }

  void product(const jit::Node* node) { give(node, add("Mul", {operand(node, 0), operand(node, 1)})); }

  void quotient(const jit::Node* node) {
    if (is_number(node) || node->inputs().size() > 2) unsupported(node, "rounding");
    give(node, add("Div", {operand(node, 0), operand(node, 1)}));
  }

  void power(const jit::Node* node) {
    give(node, add("Pow", {name_of(node->input(0)), name_of(node->input(1))}));
  }

  void unary(const jit::Node* node) {
    std::string op = node->kind().toUnqualString();
    if (op.back() == '_') op.pop_back();
    op[0] = static_cast<char>(op[0] - 'a' + 'A');
    give(node, add(op.c_str(), {name_of(node->input(0))}));
  }

  void clip(const jit::Node* node) {
    const std::string kind = node->kind().toUnqualString();
    const bool is_relu6 = kind.rfind("relu6", 0) == 0;
    const bool is_hardtanh = kind.rfind("hardtanh", 0) == 0;
    const auto limit = [&](const char* name) {
      return is_none(node, name) ? std::string() : scalar(real(node, name));
    };
    std::string low, high;
    if (is_relu6) {
      low = scalar(0);
      high = scalar(6);
    } else {
      low = limit(is_hardtanh ? "min_val" : "min");
      if (kind.rfind("clamp_min", 0) != 0) high = limit(is_hardtanh ? "max_val" : "max");
    }
    give(node, add("Clip", {name_of(node->input(0)), low, high}));
  }

  void silu(const jit::Node* node) {
    const std::string x = name_of(node->input(0));
    give(node, add("Mul", {x, add("Sigmoid", {x})}));
  }

  void gelu(const jit::Node* node) {
    const std::string x = name_of(node->input(0));
    std::string inner;
    if (fixed(node, "approximate").toStringRef() == "tanh") {
      const std::string cube = add("Mul", {add("Mul", {x, x}), x});
      inner = add(
          "Tanh",
          {add("Mul", {add("Add", {x, add("Mul", {cube, scalar(0.044715)})}), scalar(std::sqrt(2 / M_PI))})});
    } else {
      inner = add("Erf", {add("Mul", {x, scalar(std::sqrt(0.5))})});
    }
    give(node, add("Mul", {add("Mul", {x, scalar(0.5)}), add("Add", {inner, scalar(1)})}));
  }

  // x/6 + 1/2 between 0 and 1; hardswish: times x.
  void hardsigmoid(const jit::Node* node) {
    const std::string x = name_of(node->input(0));
    const std::string gate = add("HardSigmoid", {x}, {{"alpha", 1.0 / 6}, {"beta", 0.5}});
    const bool is_swish = std::string(node->kind().toUnqualString()).rfind("hardswish", 0) == 0;
    give(node, is_swish ? add("Mul", {x, gate}) : gate);
  }

  void softmax(const jit::Node* node) {
    give(node, add("Softmax", {name(node, "self")}, {{"axis", dimension(node, "dim")}}));
  }

  void mean(const jit::Node* node) {
    if (!node->hasNamedInput("dim")) unsupported(node, "no dimensions");
    give(node,
         add("ReduceMean", {name(node, "self")},
             {{"axes", integers(node, "dim")}, {"keepdims", std::int64_t{truth(node, "keepdim") ? 1 : 0}}}));
  }

  Attributes pooling(const jit::Node* node) const {
    const Integers kernel = both(integers(node, "kernel_size"));
    const Integers stride = integers(node, "stride");
    return {{"kernel_shape", kernel},
            {"strides", stride.empty() ? kernel : both(stride)},
            {"pads", pads(integers(node, "padding"))},
            {"ceil_mode", std::int64_t{truth(node, "ceil_mode") ? 1 : 0}}};
  }

  void max_pool(const jit::Node* node) {
    Attributes attributes = pooling(node);
    attributes.emplace_back("dilations", both(integers(node, "dilation")));
    give(node, add("MaxPool", {name(node, "self")}, attributes));
  }

  void average_pool(const jit::Node* node) {
    if (!is_none(node, "divisor_override")) unsupported(node, "another divisor");
    Attributes attributes = pooling(node);
    attributes.emplace_back("count_include_pad", std::int64_t{truth(node, "count_include_pad") ? 1 : 0});
    give(node, add("AveragePool", {name(node, "self")}, attributes));
  }

  void adaptive_pool(const jit::Node* node) {
    const Integers in = shape_of(argument(node, "self"));
    const Integers out = both(integers(node, "output_size"));
    if (out == Integers{1, 1}) return give(node, add("GlobalAveragePool", {name(node, "self")}));
    const std::int64_t height = in[in.size() - 2], width = in[in.size() - 1];
    if (height % out[0] != 0 || width % out[1] != 0) unsupported(node, "pieces of different sizes");
    const Integers piece = {height / out[0], width / out[1]};
    give(node, add("AveragePool", {name(node, "self")}, {{"kernel_shape", piece}, {"strides", piece}}));
  }

  // --- shapes ---

  void flatten(const jit::Node* node) {
    const std::int64_t start = dimension(node, "start_dim"), end = dimension(node, "end_dim");
    const Integers shape = shape_of(argument(node, "self"));
    Integers flat(static_cast<std::size_t>(start), 0);  // as they are
    flat.push_back(-1);
    flat.insert(flat.end(), shape.begin() + end + 1, shape.end());
    give(node, add("Reshape", {name(node, "self"), model_.constant(flat)}));
  }

  void reshape(const jit::Node* node) {
    const jit::Value* shape = node->input(1);
    give(node, add("Reshape", {name_of(node->input(0)), vector_of(shape)}));
  }

  // To the shape that it had in the evaluation, but for the batch in front.
  void reshape_as_known(const jit::Node* node) {
    Integers shape = shape_of(node->output());
    shape.at(0) = -1;
    give(node, add("Reshape", {name_of(node->input(0)), model_.constant(shape)}));
  }

  void permute(const jit::Node* node) {
    Integers order = integers(node, "dims");
    for (std::int64_t& dim : order) dim = from_front(dim, static_cast<std::int64_t>(order.size()));
    give(node, add("Transpose", {name(node, "self")}, {{"perm", order}}));
  }

  void transpose(const jit::Node* node) {
    const std::int64_t rank = rank_of(node->input(0));
    Integers order;
    for (std::int64_t i = 0; i < rank; ++i) order.push_back(i);
    if (node->kind() == c10::aten::t) {
      std::reverse(order.begin(), order.end());
    } else {
      std::swap(order.at(static_cast<std::size_t>(dimension(node, "dim0"))),
                order.at(static_cast<std::size_t>(dimension(node, "dim1"))));
    }
    give(node, add("Transpose", {name_of(node->input(0))}, {{"perm", order}}));
  }

  void unsqueeze(const jit::Node* node) {
    const std::int64_t axis = from_front(integer(node, "dim"), rank_of(node->output()));
    give(node, add("Unsqueeze", {name(node, "self"), model_.constant(Integers{axis})}));
  }

  void squeeze(const jit::Node* node) {
    if (!node->hasNamedInput("dim")) unsupported(node, "no dimension");
    const std::int64_t axis = dimension(node, "dim");
    if (shape_of(node->input(0)).at(static_cast<std::size_t>(axis)) != 1) return identity(node);
    give(node, add("Squeeze", {name(node, "self"), model_.constant(Integers{axis})}));
  }

  // LibTorch's -1 keeps a dimension; ONNX's 1 does.
  void expand(const jit::Node* node) {
    const jit::Value* sizes = argument(node, "size");
    if (!evaluation_.depends_on_images(sizes)) {
      Integers shape = integers(node, "size");
      std::replace(shape.begin(), shape.end(), std::int64_t{-1}, std::int64_t{1});
      return give(node, add("Expand", {name(node, "self"), model_.constant(shape)}));
    }
    const std::string shape = add("Max", {vector_of(sizes), model_.constant(Integers{1})});
    give(node, add("Expand", {name(node, "self"), shape}));
  }

  void expand_as(const jit::Node* node) {
    give(node, add("Expand", {name(node, "self"), add("Shape", {name(node, "other")})}));
  }

  void cat(const jit::Node* node) {
    const jit::Value* list = argument(node, "tensors");
    std::vector<std::string> parts;
    if (list->node()->kind() == c10::prim::ListConstruct) {
      for (const jit::Value* part : list->node()->inputs()) parts.push_back(name_of(part));
    } else {
      parts = names_of(list);
    }
    give(node, add("Concat", parts, {{"axis", from_front(integer(node, "dim"), rank_of(node->output()))}}));
  }

  void select(const jit::Node* node) {
    const std::string index = model_.constant(at::full({}, integer(node, "index"), at::kLong));
    give(node, add("Gather", {name(node, "self"), index}, {{"axis", dimension(node, "dim")}}));
  }

  std::string sliced(const std::string& x, std::int64_t axis, std::int64_t begin, std::int64_t end,
                     std::int64_t step) {
    return add("Slice", {x, model_.constant(Integers{begin}), model_.constant(Integers{end}),
                         model_.constant(Integers{axis}), model_.constant(Integers{step})});
  }

  void slice(const jit::Node* node) {
    const std::int64_t begin = is_none(node, "start") ? 0 : integer(node, "start");
    const std::int64_t end = is_none(node, "end") ? to_the_end : integer(node, "end");
    give(node, sliced(name(node, "self"), dimension(node, "dim"), begin, end, integer(node, "step")));
  }

  void narrow(const jit::Node* node) {
    const std::int64_t axis = dimension(node, "dim");
    const std::int64_t begin =
        from_front(integer(node, "start"), shape_of(node->input(0)).at(static_cast<std::size_t>(axis)));
    give(node, sliced(name(node, "self"), axis, begin, begin + integer(node, "length"), 1));
  }

  // chunk, split, unbind: a list of pieces, whose sizes the evaluation knows.
  void split(const jit::Node* node) {
    const std::int64_t axis = dimension(node, "dim");
    const bool unbinds = node->kind() == c10::aten::unbind;
    const auto pieces = evaluation_.of(node->output()).toTensorVector();
    if (axis == 0) unsupported(node, "the dimension of the batch");
    Integers sizes;
    for (const at::Tensor& piece : pieces) sizes.push_back(unbinds ? 1 : piece.size(axis));
    std::vector<std::string> parts =
        model_.add("Split", {name(node, "self"), model_.constant(sizes)}, {{"axis", axis}}, pieces.size());
    if (unbinds) {
      for (std::string& part : parts) part = add("Squeeze", {part, model_.constant(Integers{axis})});
    }
    names_[node->output()] = parts;
  }

  void item(const jit::Node* node) {
    const auto& parts = names_of(node->input(0));
    const std::int64_t index = evaluation_.of(node->input(1)).toInt();
    give(node,
         parts.at(static_cast<std::size_t>(from_front(index, static_cast<std::int64_t>(parts.size())))));
  }

  void unpack(const jit::Node* node) {
    const std::vector<std::string> parts = names_of(node->input(0));
    for (std::size_t i = 0; i < node->outputs().size(); ++i) names_[node->outputs()[i]] = {parts.at(i)};
  }

  // LibTorch begins with the last dimension.
  void pad(const jit::Node* node) {
    const auto rank = static_cast<std::size_t>(rank_of(node->input(0)));
    const Integers given = integers(node, "pad");
    Integers begins(rank, 0), ends(rank, 0);
    for (std::size_t i = 0; i + 1 < given.size(); i += 2) {
      begins.at(rank - 1 - i / 2) = given[i];
      ends.at(rank - 1 - i / 2) = given[i + 1];
    }
    begins.insert(begins.end(), ends.begin(), ends.end());
    give(node, add("Pad", {name(node, "self"), model_.constant(begins), scalar(real(node, "value"))}));
  }

  void size(const jit::Node* node) {
    if (!node->hasNamedInput("dim")) unsupported(node, "no dimension");
    const std::string shape = add("Shape", {name(node, "self")});
    give(node, add("Gather", {shape, model_.constant(Integers{dimension(node, "dim")})},
                   {{"axis", std::int64_t{0}}}));
  }

  const jit::Graph& graph_;
  Evaluation evaluation_;
  std::string where_;
  OnnxModel model_;
  std::unordered_map<const jit::Value*, std::vector<std::string>> names_;  // of a list: its members'
};

}  // namespace

void save_onnx(const std::filesystem::path& path, const Network& network,
               const std::map<std::string, std::string>& notes) {
  const at::NoGradGuard no_grad;
  const jit::Module frozen = jit::freeze(trace(network, path.string()));
  const auto graph = frozen.get_method("forward").graph();
  Integers shape = network.image;
  shape.insert(shape.begin(), 2);
  Translation translation(*graph, frozen._ivalue(), at::rand(shape), path.string());
  const std::string message = translation.message(network.image, notes);
  if (message.size() >= max_bytes) {
    throw Error(ErrorKind::usage, "the model is above 2 GB, the most an ONNX file can hold", path.string(),
                "export TorchScript instead");
  }
  write_file_atomically(path, message);
}

}  // namespace mcci
