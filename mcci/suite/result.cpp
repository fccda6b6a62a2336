#include "mcci/suite/result.hpp"

#include <cmath>
#include <ctime>

#include "mcci/runtime/environment.hpp"

namespace mcci {

Json new_result(const std::string& title, const std::string& command, const Compute& compute) {
  char time[32];
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  std::strftime(time, sizeof time, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return {
      {"schema", "mcci.result/1"},
      {"title", title},
      {"created", time},
      {"command", command},
      {"environment", environment(compute)},
      {"conventions",
       {{"ca", "clean accuracy: share of all clean test images that get their label"},
        {"asr",
         "attack success rate: share of triggered test images, those of the attack's own class excluded, "
         "that get the "
         "attacker's label"},
        {"pa", "poisoned accuracy (BackdoorBench: RA): share of the same images that get their true label"}}},
      {"cells", Json::array()}};
}

Json new_cell() {
  return {{"id", ""},
          {"error", ""},
          {"dataset", ""},
          {"attack", "unknown"},
          {"attack_preset", ""},
          {"rate", nullptr},
          {"rate_of_target_class", nullptr},
          {"model", ""},
          {"defense", ""},
          {"preset", ""},
          {"assumes", ""},
          {"seed", 0},
          {"ca", nullptr},
          {"asr", nullptr},
          {"pa", nullptr},
          {"oracle_asr", nullptr},
          {"oracle_pa", nullptr},
          {"pa_over_oracle", nullptr},
          {"der", nullptr},
          {"auroc", nullptr},
          {"implanted", nullptr},
          {"seconds", nullptr},
          {"peak_memory_mib", nullptr},
          {"counts", Json::object()},
          {"per_class_ca", Json::array()},
          {"classes", Json::array()},
          {"detection", nullptr},
          {"config", Json::object()},
          {"history", Json::array()}};
}

Json number(double value) {
  return std::isfinite(value) ? Json(std::round(value * 1e4) / 1e4) : Json(nullptr);
}

Json percent(const Rate& rate) { return number(rate.percent()); }

Json counts(const Rate& rate) { return {{"hits", rate.hits}, {"total", rate.total}}; }

}  // namespace mcci
