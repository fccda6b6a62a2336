#include "mcci/baselines/filter.hpp"

#include <ATen/ATen.h>

#include "mcci/baselines/isolation.hpp"
#include "mcci/core/error.hpp"
#include "mcci/core/log.hpp"
#include "mcci/train/recipes.hpp"
#include "mcci/train/samples.hpp"

namespace mcci {

std::vector<Phase> FilterDefense::phases(const TrainOptions& options) {
  return {detector(options), make_phase("training", parameter_list(backbone()), options)};
}

void FilterDefense::begin_epoch(std::size_t phase, std::int64_t epoch, const DatasetPtr& data) {
  if (phase == detector_phase || epoch > 0) return;
  suspicion_of_samples_ = judge(data).to(at::kFloat).contiguous();
  const std::int64_t kept = unflagged(suspicion_of_samples_).numel();
  log_info("left out: " + std::to_string(data->size() - kept) + " of " + std::to_string(data->size()) +
           " images");
  if (kept < 2) {
    throw Error(ErrorKind::usage, "the detector leaves nothing to train on", "",
                "give it more epochs, or let it leave out less");
  }
}

at::Tensor FilterDefense::pool(std::size_t phase) {
  return phase == detector_phase ? at::Tensor() : unflagged(suspicion_of_samples_);
}

Registry<Json> FilterDefense::presets_with(const Json& own, const std::string& paper_words, const Json& paper,
                                           const std::string& fast_words, const Json& fast) {
  Json published = recipes().at("paper");
  published["optimizer"] = "sgd";
  published.update(own);
  published.update(paper);
  Json quick = recipes().at("fast");
  quick.update(own);
  quick.update(fast);
  return Registry<Json>("preset", {{"paper", paper_words, published}, {"fast", fast_words, quick}});
}

StepOutput FilterDefense::loss(std::size_t phase, const Batch& batch) {
  return phase == detector_phase ? detector_loss(batch) : plain_loss(backbone(), batch);
}

void ProbeFilter::declare(OptionSet& set) {
  set.add("probe-epochs", probe_epochs_, "epochs of the network on whose view of the set the detector rests",
          {1, 100000});
}

void ProbeFilter::build(const Problem& problem) {
  FilterDefense::build(problem);
  probe_ = add("probe", make_network());
}

Phase ProbeFilter::detector(const TrainOptions& options) {
  Phase phase = make_phase("probe", parameter_list(*probe_), options);
  phase.epochs = probe_epochs_;
  return phase;
}

at::Tensor ProbeFilter::judge_classes(
    const DatasetPtr& data,
    const std::function<at::Tensor(std::int64_t label, const at::Tensor& features)>& judge_class) {
  probe_->eval();
  const at::Tensor seen = of_every_sample(
      data, problem().compute, [&](const at::Tensor& images) { return features(*probe_, images); });
  at::Tensor suspicion = at::full({data->size()}, -1.0F);
  for (std::int64_t c = 0; c < data->num_classes(); ++c) {
    const at::Tensor members = data->labels().eq(c).nonzero().squeeze(1);
    if (members.numel() < 2) continue;
    suspicion.index_copy_(0, members, judge_class(c, seen.index_select(0, members)).to(at::kFloat));
  }
  return suspicion;
}

Registry<Json> ProbeFilter::probe_presets(const std::string& what, const Json& own, const Json& fast) {
  Json quick = own;
  quick.update(fast);
  return presets_with(own, "its " + what + "; as long a training before as after", {{"probe-epochs", 100}},
                      "the short recipe, after a probe of a few epochs", quick);
}

}  // namespace mcci
