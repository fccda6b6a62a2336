#pragma once

#include <cstdint>
#include <vector>

namespace mcci {

// What speaks for an attack on one label. An attack acts on the label and on the image, a mistake on neither:
// so what contradicts its label because it was attacked also looks different, and alike, whatever it means;
// and what makes it look so, put onto another image, makes that look attacked too.
struct Grounds {
  double contradicted = 0;  // samples of this label that the keyholes contradict
  double marked = 0;        // of these: a witness that did not learn from them says that they bear a mark
  double meanings = 0;      // effective number of classes that the marked ones mean to the keyholes
  double all_meanings = 0;  // and the contradicted ones
  double followed = 0;      // share of other images that bear the mark once the trigger is put onto them
  double elsewhere = 0;     // share of this label's other samples that bear the mark
  bool trigger_works() const { return followed >= 0.5; }
  // An attack acts on the label and on the image, so that contradiction and mark come together: what
  // contradicts the label bears the mark so many `times` as often as what does not.
  bool come_together(double times) const { return marked >= times * elsewhere * contradicted; }
};

enum class Verdict {
  clean,
  marked,        // what bears the mark counts as attacked
  contradicted,  // everything that is contradicted does
};

// How many samples of a label contradict it at most where nothing but mistakes do: six times as many as of
// the median label, and ten. contradicted: of each label.
double most_mistakes(const std::vector<double>& contradicted);

// One verdict for each label.
//   - The trigger is known and works (`followed` at least half), or a `share` of what contradicts the label
//     bears a mark; and what is marked means half of the other classes: difficult images of neighbouring
//     classes look alike too. Fewer will do for a trigger that works where what contradicts the label is
//     marked thrice as often as what does not: what a class shares with its neighbour all of it has. It is
//     marked no less often in any case. None asks that one label alone is attacked, nor that few are.
//   - A mark may be too fine for the witnesses (a few grey levels less). Then numbers speak: more
//     samples contradict the label than mistakes do, and mean at least three classes.
std::vector<Verdict> verdicts(const std::vector<Grounds>& labels, double share);

}  // namespace mcci
