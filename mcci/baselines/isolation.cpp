#include "mcci/baselines/isolation.hpp"

#include <algorithm>

#include <ATen/ATen.h>

#include "mcci/train/samples.hpp"

namespace mcci {

void IsolationOptions::declare(OptionSet& set) {
  set.add("isolation-epochs", isolation_epochs, "epochs in which poison is learned and the rest held back",
          {1, 100000});
  set.add("isolation-lr", isolation_lr, "their learning rate, by sgd, constant", {1e-8, 100.0});
  set.add("isolation-loss", isolation_loss,
          "how clean samples are held back: flooding |L - level| + level, lga sign(L - level) L, none L",
          {"flooding", "lga", "none"});
  set.add("isolation-level", isolation_level,
          "level, in nats, below which the loss of a batch is not to fall", {0.0, 100.0});
  set.add("isolation-share", isolation_share, "share of the set, of lowest loss, that is isolated",
          {1e-6, 0.999});
}

Phase IsolationOptions::phase(TensorList parameters, const TrainOptions& options) const {
  Phase phase =
      make_constant_phase("isolation", std::move(parameters), options, isolation_epochs, "sgd", isolation_lr);
  phase.augment = AugmentOptions::none();
  return phase;
}

StepOutput IsolationOptions::held_up(StepOutput plain) const {
  at::Tensor& loss = plain.loss;
  if (isolation_loss == "flooding") loss = (loss - isolation_level).abs() + isolation_level;
  if (isolation_loss == "lga") loss = (loss.detach() - isolation_level).sign() * loss;
  return plain;
}

at::Tensor sample_losses(Backbone& network, const DatasetPtr& data, const Compute& compute) {
  network.eval();
  const at::Tensor log_p = of_every_sample(data, compute, [&](const at::Tensor& images) {
    const Autocast autocast(compute);
    return network.forward(images).to(at::kFloat).log_softmax(1);
  });
  return log_p.gather(1, data->labels().unsqueeze(1)).squeeze(1).neg();
}

at::Tensor flag_highest(const at::Tensor& scores, double share) {
  const auto count = static_cast<std::int64_t>(share * static_cast<double>(scores.numel()));
  const at::Tensor highest = std::get<0>(scores.topk(std::clamp<std::int64_t>(count, 1, scores.numel())));
  return scores - highest.min();
}

at::Tensor flagged(const at::Tensor& suspicion) { return suspicion.ge(0).nonzero().squeeze(1); }

at::Tensor unflagged(const at::Tensor& suspicion) { return suspicion.lt(0).nonzero().squeeze(1); }

}  // namespace mcci
