#include <memory>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "benchmarks/measurement.hpp"
#include "benchmarks/training_step.hpp"
#include "mcci/core/error.hpp"
#include "mcci/nn/backbone.hpp"

namespace mcci::benchmarks {

Measurement prediction(const std::string& model, std::int64_t width, std::int64_t batch,
                       const Compute& compute) {
  if (model != "plain" && model != "folded") {
    throw Error(ErrorKind::usage, "a model is 'plain' or 'folded', not '" + model + "'");
  }
  TrainingStep trained(model == "folded" ? "mcci" : "plain", width, compute);
  const std::shared_ptr<Backbone> network = trained.defense().folded();
  place(*network, compute);
  const at::Tensor images = at::rand({batch, 3, 32, 32});
  return rate("images/s", static_cast<double>(batch), [network, images, compute] {
    const at::NoGradGuard no_grad;
    const Autocast autocast(compute);
    network->forward(place(images, compute)).to(at::kFloat);
  });
}

}  // namespace mcci::benchmarks
