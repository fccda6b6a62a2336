#include "mcci/suite/defenses.hpp"

#include <algorithm>

#include "mcci/baselines/abl.hpp"
#include "mcci/baselines/activation_clustering.hpp"
#include "mcci/baselines/asd.hpp"
#include "mcci/baselines/cbd.hpp"
#include "mcci/baselines/dbd.hpp"
#include "mcci/baselines/dst.hpp"
#include "mcci/baselines/frequency.hpp"
#include "mcci/baselines/loss_isolation.hpp"
#include "mcci/baselines/nab.hpp"
#include "mcci/baselines/pdb.hpp"
#include "mcci/baselines/plain.hpp"
#include "mcci/baselines/spectral_signatures.hpp"
#include "mcci/baselines/strip.hpp"
#include "mcci/baselines/vb.hpp"
#include "mcci/method/mcci.hpp"

namespace mcci {

const Registry<std::function<std::unique_ptr<Defense>()>>& defenses() {
  static const Registry<std::function<std::unique_ptr<Defense>()>> table(
      "defense",
      {{"mcci", "Mind Control through Causal Inference (this project's method)", make_mcci},
       {"none", "plain training, undefended", make_plain},
       {"abl", "Anti-Backdoor Learning: isolate, train, unlearn", make_abl},
       {"activation-clustering", "a filter: the smaller of two clusters of a class's features",
        make_activation_clustering},
       {"asd", "Adaptively Splitting Dataset (needs clean images with labels)", make_asd},
       {"cbd", "Causality-inspired Backdoor Defense: weights from a biased network", make_cbd},
       {"dbd", "Decoupling-based Backdoor Defense: features without labels first", make_dbd},
       {"dst", "D-ST: trust what is least sensitive to transformations", make_dst},
       {"frequency", "a filter: spectra like those of made-up triggers (needs clean images)", make_frequency},
       {"loss-isolation", "a filter: what is learned first", make_loss_isolation},
       {"nab", "Non-Adversarial Backdoor: relabel and stamp (by default needs clean images with labels)",
        make_nab},
       {"pdb", "Proactive Defensive Backdoor (needs clean images with labels)", make_pdb},
       {"spectral-signatures", "a filter: outliers of a class along its features' first direction",
        make_spectral_signatures},
       {"strip", "a filter: what stays sure under overlays (needs clean images)", make_strip},
       {"vb", "The Victim and the Beneficiary: one network is given up to the poison", make_vb}});
  return table;
}

std::string default_preset(const Defense& defense) {
  const std::vector<std::string> names = defense.presets().names();
  const bool has_fast = std::find(names.begin(), names.end(), "fast") != names.end();
  return has_fast ? "fast" : names.front();
}

}  // namespace mcci
