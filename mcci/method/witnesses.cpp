#include "mcci/method/witnesses.hpp"

#include <functional>
#include <limits>

#include <ATen/ATen.h>

#include "mcci/data/loader.hpp"
#include "mcci/nn/side_by_side.hpp"

namespace mcci {
namespace {

// Of the weight of the samples that speak against an attack on a label, the part of those which mean that
// label. They may bear the trigger: those of the attacker's own class do, and those of clean-label attacks.
constexpr double of_the_label = 0.1;
// Observed: at 14 the witnesses' training diverges.
constexpr double most_weight = 5;
constexpr double mostly = 0.8;

}  // namespace

WitnessesImpl::WitnessesImpl(const AttackIndicationOptions& options, std::int64_t num_classes) {
  AttackIndicationOptions half = options;
  half.embedding = options.embedding / 2;
  first_ = register_module("first", AttackIndicationNetwork(half));
  second_ = register_module("second", AttackIndicationNetwork(half));
  first_head_ = register_module("first_head", torch::nn::Linear(half.embedding, num_classes));
  second_head_ = register_module("second_head", torch::nn::Linear(half.embedding, num_classes));
}

torch::Tensor WitnessesImpl::forward(const torch::Tensor& indicator) {
  return torch::cat(side_by_side(indicator.device(), {[&] { return first_->forward(indicator); },
                                                      [&] { return second_->forward(indicator); }}),
                    1);
}

WitnessesImpl::Testimony WitnessesImpl::testimony(const torch::Tensor& indicator,
                                                  const torch::Tensor& witness) {
  std::vector<torch::Tensor> positions, log_odds;
  std::vector<std::function<torch::Tensor()>> hearings;
  std::vector<torch::nn::Linear> heads;
  for (std::int64_t i = 0; i < 2; ++i) {
    const torch::Tensor seen = witness.eq(i).nonzero().squeeze(1);
    if (seen.numel() == 0) continue;
    // Batch normalisation cannot train on one image: it is shown twice.
    const torch::Tensor shown = is_training() && seen.numel() == 1 ? seen.repeat(2) : seen;
    positions.push_back(seen);
    hearings.emplace_back(
        [&indicator, shown, count = seen.numel(), network = i == 0 ? first_ : second_]() mutable {
          return network->forward(indicator.index_select(0, shown)).narrow(0, 0, count);
        });
    heads.push_back(i == 0 ? first_head_ : second_head_);
  }
  const std::vector<torch::Tensor> z_f = side_by_side(indicator.device(), hearings);
  for (std::size_t i = 0; i < heads.size(); ++i) log_odds.push_back(heads[i]->forward(z_f[i]));
  const torch::Tensor order = torch::cat(positions).argsort();
  return {torch::cat(z_f).index_select(0, order), torch::cat(log_odds).index_select(0, order)};
}

torch::Tensor WitnessesImpl::log_odds(const torch::Tensor& z_f) {
  const auto halves = z_f.chunk(2, 1);
  return (first_head_->forward(halves[0]) + second_head_->forward(halves[1])) / 2;
}

torch::Tensor control_weights(const torch::Tensor& meaning, const torch::Tensor& labels,
                              const torch::Tensor& meaning_of_others, std::int64_t num_classes) {
  torch::Tensor counts = torch::zeros({num_classes, num_classes});
  counts.index_put_({meaning, labels}, torch::ones({meaning.numel()}), /*accumulate=*/true);
  const torch::Tensor of_each = meaning_of_others.bincount({}, num_classes).clamp_min(1).to(torch::kFloat);
  return (((1 - of_the_label) * counts + of_the_label * torch::diag(counts.sum(0))) / of_each.unsqueeze(1))
      .clamp_max(most_weight);
}

torch::Tensor usual_evidence(const torch::Tensor& said, const torch::Tensor& labels) {
  torch::Tensor usual = torch::full({said.size(1)}, std::numeric_limits<float>::infinity());
  for (std::int64_t label = 0; label < said.size(1); ++label) {
    const torch::Tensor untouched = said.select(1, label).masked_select(labels.ne(label));
    if (untouched.numel() > 0) usual[label] = untouched.quantile(mostly);
  }
  return usual;
}

torch::Tensor witness_of(std::int64_t count, std::uint64_t seed) {
  return epoch_order(count, seed, 0).remainder(2);
}

}  // namespace mcci
