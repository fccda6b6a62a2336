#include "mcci/method/folding.hpp"

#include "mcci/state/module_state.hpp"

namespace mcci {

std::shared_ptr<Backbone> fold(MindControlModel model) {
  const torch::NoGradGuard no_grad;
  BackboneConfig config = model->options().backbone;
  config.outputs = model->options().num_classes;
  const std::shared_ptr<Backbone> plain = make_backbone(config);

  const auto wide = [](const torch::Tensor& t) { return t.cpu().to(torch::kDouble); };
  const std::string weight_name = model->sfrn->head_name() + ".weight";
  const std::string bias_name = model->sfrn->head_name() + ".bias";
  const torch::Tensor w1 = wide(model->semantic_head->weight);
  const torch::Tensor constant =
      wide(model->semantic_head->bias) + wide(model->indicator_head->weight).mv(wide(model->clean_indicator));
  TensorList state;
  for (auto& [name, tensor] : module_state(*model->sfrn)) {
    if (name == weight_name) {
      state.emplace_back(name, w1.mm(wide(tensor)).to(torch::kFloat));
    } else if (name == bias_name) {
      state.emplace_back(name, (w1.mv(wide(tensor)) + constant).to(torch::kFloat));
    } else {
      state.emplace_back(name, tensor.cpu());
    }
  }
  load_module_state(*plain, state, "folding");
  plain->eval();
  return plain;
}

}  // namespace mcci
