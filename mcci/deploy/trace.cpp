#include "mcci/deploy/trace.hpp"

#include <memory>
#include <utility>

#include <ATen/ATen.h>
#include <torch/csrc/jit/frontend/tracer.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/nn/module.h>

#include "mcci/core/error.hpp"

namespace mcci {
namespace {

namespace jit = torch::jit;

constexpr const char* hint = "export it as safetensors, and load that into the same network elsewhere";

[[noreturn]] void fail(const std::string& what, const std::string& where) {
  throw Error(ErrorKind::usage, what, where, hint);
}

// The module and its children as TorchScript's, without any methods.
jit::Module mirror(const torch::nn::Module& module, const std::string& name,
                   const std::shared_ptr<jit::CompilationUnit>& unit) {
  jit::Module copy(c10::QualifiedName(name), unit, /*shouldMangle=*/true);
  copy.register_attribute("training", c10::BoolType::get(), false);
  for (const auto& parameter : module.named_parameters(/*recurse=*/false))
    copy.register_parameter(parameter.key(), parameter.value(), /*is_buffer=*/false);
  for (const auto& buffer : module.named_buffers(/*recurse=*/false))
    copy.register_buffer(buffer.key(), buffer.value());
  for (const auto& child : module.named_children())
    copy.register_module(child.key(), mirror(*child.value(), name + "_" + child.key(), unit));
  return copy;
}

at::Tensor images_for(const Network& network, std::int64_t batch) {
  std::vector<std::int64_t> shape = network.image;
  shape.insert(shape.begin(), batch);
  // Any numbers will do, as long as they differ.
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) count *= extent;
  return at::arange(count, at::kFloat).mul_(0.37).sin_().mul_(0.5).add_(0.5).view(shape);
}

std::shared_ptr<jit::Graph> graph_for(const Network& network, jit::Module& self, std::int64_t batch,
                                      const std::string& where) {
  try {
    const auto traced = jit::tracer::trace(
        {images_for(network, batch)},
        [&](const jit::Stack& inputs) -> jit::Stack { return {network.forward(inputs[0].toTensor())}; },
        [](const at::Tensor&) { return std::string(); }, /*strict=*/true, /*force_outplace=*/false, &self,
        {"images"});
    return traced.first->graph;
  } catch (const c10::Error& error) {
    fail(std::string("the network cannot be traced (") + error.what_without_backtrace() + ")", where);
  }
}

// A number that a trace for `batches.first` images has where one for `batches.second` has another, as a
// multiple of their number.
class BatchSize {
 public:
  BatchSize(jit::Graph& graph, std::pair<std::int64_t, std::int64_t> batches, std::string where)
      : graph_(graph), batches_(std::move(batches)), where_(std::move(where)) {}

  jit::Value* times(std::int64_t first, std::int64_t second) {
    const bool proportional = first % batches_.first == 0 && second % batches_.second == 0 &&
                              first / batches_.first == second / batches_.second;
    if (!proportional) fail("what the network computes depends on the number of images", where_);
    if (size_ == nullptr) size_ = graph_.insert(c10::aten::size, {graph_.inputs().at(1), 0});
    const std::int64_t factor = first / batches_.first;
    return factor == 1 ? size_ : graph_.insert(c10::aten::mul, {size_, factor});
  }

 private:
  jit::Graph& graph_;
  std::pair<std::int64_t, std::int64_t> batches_;
  std::string where_;
  jit::Value* size_ = nullptr;
};

// LibTorch's tracer records what C++ code computes from sizes as constants. Two traces of different batches
// differ just where these depend on the batch; there, the size is asked of the images instead.
void free_batch(jit::Graph& graph, const jit::Graph& other, std::pair<std::int64_t, std::int64_t> batches,
                const std::string& where) {
  const auto different = [&] { fail("what the network computes depends on the number of images", where); };
  const jit::WithInsertPoint at_start(*graph.nodes().begin());
  BatchSize batch(graph, batches, where);
  auto theirs = other.nodes().begin();
  std::vector<std::pair<jit::Node*, const jit::Node*>> pairs;
  for (jit::Node* node : graph.nodes()) {
    if (theirs == other.nodes().end() || theirs->kind() != node->kind()) different();
    pairs.emplace_back(node, *theirs);
    ++theirs;
  }
  if (theirs != other.nodes().end()) different();
  for (const auto& [node, twin] : pairs) {
    if (node->kind() != c10::prim::Constant) continue;
    const auto mine = jit::toIValue(node->output());
    const auto its = jit::toIValue(twin->output());
    if (!mine || !its || mine->tagKind() != its->tagKind()) different();
    jit::Value* replacement = nullptr;
    if (mine->isInt() && mine->toInt() != its->toInt()) {
      replacement = batch.times(mine->toInt(), its->toInt());
    } else if (mine->isIntList() && mine->toIntVector() != its->toIntVector()) {
      const auto first = mine->toIntVector(), second = its->toIntVector();
      if (first.size() != second.size()) different();
      std::vector<jit::Value*> items;
      for (std::size_t i = 0; i < first.size(); ++i)
        items.push_back(first[i] == second[i] ? graph.insertConstant(first[i])
                                              : batch.times(first[i], second[i]));
      replacement = graph.insertNode(graph.createList(c10::IntType::get(), items))->output();
    } else if (mine->isDouble() && mine->toDouble() != its->toDouble()) {
      different();
    }
    if (replacement != nullptr) node->output()->replaceAllUsesWith(replacement);
  }
}

void compare(jit::Module& program, const Network& network, const std::string& where) {
  for (const std::int64_t batch : {1, 5}) {
    const at::Tensor images = images_for(network, batch);
    const at::Tensor expected = network.forward(images);
    at::Tensor logits;
    try {
      logits = program.forward({images}).toTensor();
    } catch (const std::exception&) {
      fail("the traced network does not run on another number of images", where);
    }
    const double scale = expected.abs().max().item<double>();
    const bool equal = logits.sizes() == expected.sizes() &&
                       (logits - expected).abs().max().item<double>() <= 1e-4 * scale + 1e-6;
    if (!equal) fail("the traced network gives other results than the network itself", where);
  }
}

}  // namespace

jit::Module trace(const Network& network, const std::string& where) {
  const at::NoGradGuard no_grad;
  const std::pair<std::int64_t, std::int64_t> batches = {2, 3};
  const auto unit = std::make_shared<jit::CompilationUnit>();
  jit::Module program = mirror(network.module, "__torch__.Network", unit);
  const auto graph = graph_for(network, program, batches.first, where);
  const auto other = graph_for(network, program, batches.second, where);
  free_batch(*graph, *other, batches, where);
  program.type()->addMethod(
      unit->create_function(c10::QualifiedName(*program.type()->name(), "forward"), graph));
  compare(program, network, where);
  return program;
}

}  // namespace mcci
