#include "mcci/suite/defenses.hpp"

#include "mcci/baselines/plain.hpp"
#include "mcci/method/mcci.hpp"
#include "mcci/method/robust.hpp"

namespace mcci {

const Registry<std::function<std::unique_ptr<Defense>()>>& defenses() {
  static const Registry<std::function<std::unique_ptr<Defense>()>> table(
      "defense", {{"mcci", "Mind Control through Causal Inference (this project's method)", make_mcci},
                  {"mcci-robust", "keyholes, contradiction, conditioned training", make_robust_mcci},
                  {"none", "plain training, undefended", make_plain}});
  return table;
}

}  // namespace mcci
