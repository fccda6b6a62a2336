#include "mcci/method/marks.hpp"

#include <algorithm>

namespace mcci {
namespace {

constexpr double least = 10;          // samples
constexpr double outlier_factor = 6;  // times the median of the labels
constexpr double least_meanings = 3;

double lower_median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

double most_mistakes(const std::vector<double>& contradicted) {
  return outlier_factor * lower_median(contradicted) + least;
}

std::vector<Verdict> verdicts(const std::vector<Grounds>& labels, double share) {
  std::vector<double> counts;
  for (const Grounds& label : labels) counts.push_back(label.contradicted);
  const double usual = most_mistakes(counts);
  const auto classes = static_cast<double>(labels.size());
  const double meanings = std::min(least_meanings, (classes - 1) / 2);
  std::vector<Verdict> result;
  for (const Grounds& label : labels) {
    const double spread = std::max(meanings, std::min((classes - 1) / 2, label.marked / 3));
    const bool of_many = label.meanings >= spread;
    const bool common = label.marked >= share * label.contradicted && of_many;
    const bool caused = label.trigger_works() && (of_many || label.come_together(3));
    if (label.marked >= least && label.come_together(1) && (caused || common)) {
      result.push_back(Verdict::marked);
    } else if (label.contradicted >= usual && label.all_meanings >= meanings) {
      result.push_back(Verdict::contradicted);
    } else {
      result.push_back(Verdict::clean);
    }
  }
  return result;
}

}  // namespace mcci
