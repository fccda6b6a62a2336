#include "mcci/method/intervention.hpp"

#include <cmath>

#include "mcci/core/progress.hpp"
#include "mcci/core/random.hpp"
#include "mcci/data/loader.hpp"
#include "mcci/signal/high_pass.hpp"

namespace mcci {
namespace {

constexpr std::int64_t batch_images = 500;
constexpr int host_draws = 8;  // of a host, until one has another recorded class

// A random host image for each guest, of another recorded class wherever host_draws draws find one.
torch::Tensor choose_hosts(const torch::Tensor& guests, const torch::Tensor& labels, Rng& rng) {
  torch::Tensor hosts = torch::empty_like(guests);
  const auto guest = guests.accessor<std::int64_t, 1>();
  const auto label = labels.accessor<std::int64_t, 1>();
  auto host = hosts.accessor<std::int64_t, 1>();
  for (std::int64_t i = 0; i < guests.size(0); ++i) {
    for (int draw = 0; draw < host_draws; ++draw) {
      host[i] = rng.below(labels.size(0));
      if (label[host[i]] != label[guest[i]]) break;
    }
  }
  return hosts;
}

}  // namespace

void InterventionOptions::declare(OptionSet& set) {
  set.add("intervention-trials", trials, "images of other classes onto which each sample's content is put",
          {1, 1000});
  set.add("intervention-agreement", agreement,
          "share of the trials in which the label must follow to call a sample attacked", {0.1, 1.0});
}

torch::Tensor label_follows(MindControlModel model, const DatasetPtr& data, const Compute& compute,
                            const InterventionOptions& options, std::uint64_t seed) {
  const torch::NoGradGuard no_grad;
  model->eval();
  const torch::Tensor labels = data->labels().contiguous();
  const std::int64_t allowed = static_cast<std::int64_t>(
      std::floor(static_cast<double>(options.trials) * (1 - options.agreement) + 1e-9));
  torch::Tensor followed = torch::zeros({data->size()});
  torch::Tensor tried = torch::zeros({data->size()});
  torch::Tensor open = torch::arange(data->size());
  Progress progress("interventional test", options.trials, "trials");
  for (std::int64_t trial = 0; trial < options.trials && open.numel() > 0; ++trial) {
    Rng rng(derive_seed(seed, "intervention", {static_cast<std::uint64_t>(trial)}));
    for (const torch::Tensor& guests : open.split(batch_images)) {
      const torch::Tensor hosts = choose_hosts(guests, labels, rng);
      const torch::Tensor content = high_pass(to_unit(data->images(guests)).to(compute.device));
      const torch::Tensor images = (to_unit(data->images(hosts)).to(compute.device) + content).clamp_(0, 1);
      const torch::Tensor answer =
          model->indicator_logits(model->indicator_embedding(model->spectrum(images))).argmax(1).cpu();
      followed.index_add_(0, guests, answer.eq(labels.index_select(0, guests)).to(torch::kFloat));
    }
    tried.index_add_(0, open, torch::ones({open.numel()}));
    open = (tried - followed).le(static_cast<double>(allowed)).nonzero().squeeze(1);
    progress.advance();
  }
  return followed / tried.clamp_min(1);
}

}  // namespace mcci
