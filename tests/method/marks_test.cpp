#include "mcci/method/marks.hpp"

#include <vector>

#include <gtest/gtest.h>

namespace mcci {
namespace {

// Ten labels that 100 samples each contradict, meaning two classes, of which a few look marked.
std::vector<Grounds> innocent() { return std::vector<Grounds>(10, Grounds{100, 10, 1.5, 2, 0.05}); }

TEST(VerdictsTest, NameNothingWhereLabelsSufferMistakes) {
  for (const Verdict verdict : verdicts(innocent(), 0.33)) EXPECT_EQ(verdict, Verdict::clean);
  // Difficult images of few classes look alike, however many they are.
  std::vector<Grounds> labels = innocent();
  labels[5] = {600, 400, 4.4, 4.4, 0.4};
  for (const Verdict verdict : verdicts(labels, 0.33)) EXPECT_EQ(verdict, Verdict::clean);
}

TEST(VerdictsTest, NameALabelWhoseTriggerWorksElsewhere) {
  std::vector<Grounds> labels = innocent();
  labels[2] = {100, 10, 1, 1, 0.5};  // one meaning, as of all-to-all
  labels[3] = {100, 9, 1, 1, 0.9};   // too few
  const std::vector<Verdict> found = verdicts(labels, 0.33);
  EXPECT_EQ(found[2], Verdict::marked);
  EXPECT_EQ(found[3], Verdict::clean);
}

TEST(VerdictsTest, AskOfOneMeaningThatMarkAndContradictionComeTogether) {
  std::vector<Grounds> labels = innocent();
  labels[2] = {100, 30, 1, 2, 0.7, 0.09};
  labels[5] = {100, 30, 1.4, 2, 0.7, 0.11};  // all of the class looks so
  labels[7] = {100, 30, 4.5, 5, 0.7, 0.11};  // many kinds of things do, with this label alone
  const std::vector<Verdict> found = verdicts(labels, 0.33);
  EXPECT_EQ(found[2], Verdict::marked);
  EXPECT_EQ(found[5], Verdict::clean);
  EXPECT_EQ(found[7], Verdict::marked);
}

TEST(VerdictsTest, NameALabelThatMarkedImagesOfHalfTheClassesContradict) {
  std::vector<Grounds> labels = innocent();
  labels[0] = {300, 99, 4.5, 5, 0};
  labels[1] = {300, 98, 4.5, 5, 0};    // less than the share
  labels[2] = {300, 99, 4.4, 4.4, 0};  // too few meanings
  labels[3] = {300, 12, 4, 4, 0};
  const std::vector<Verdict> found = verdicts(labels, 0.33);
  EXPECT_EQ(found[0], Verdict::marked);
  for (std::size_t label = 1; label < 4; ++label) EXPECT_EQ(found[label], Verdict::clean) << label;
  // Twelve samples cannot mean more: a third of them will do.
  EXPECT_EQ(verdicts(labels, 0.04)[3], Verdict::marked);
}

TEST(VerdictsTest, NameNoLabelWhoseContradictedSamplesBearTheMarkLessOftenThanTheRest) {
  std::vector<Grounds> labels = innocent();
  labels[0] = {300, 20, 4.6, 5, 0.4, 0.16};  // difficult images that look like what was found elsewhere
  labels[1] = {300, 20, 4.6, 5, 0.4, 0.06};
  labels[2] = {300, 20, 7, 7, 0.6, 0.16};
  const std::vector<Verdict> found = verdicts(labels, 0.055);
  EXPECT_EQ(found[0], Verdict::clean);
  EXPECT_EQ(found[1], Verdict::marked);
  EXPECT_EQ(found[2], Verdict::clean);
}

TEST(MostMistakes, IsSixTimesTheLowerMedianAndTen) {
  EXPECT_DOUBLE_EQ(most_mistakes({5, 1, 900, 3}), 6 * 3 + 10);
  EXPECT_DOUBLE_EQ(most_mistakes({}), 10);
}

TEST(VerdictsTest, LetNumbersSpeakWhereNothingIsMarked) {
  std::vector<Grounds> labels = innocent();
  labels[4] = {610, 0, 0, 3, 0};  // six times the median, and ten
  labels[6] = {609, 0, 0, 3, 0};
  labels[7] = {900, 0, 0, 2.9, 0};
  const std::vector<Verdict> found = verdicts(labels, 0.33);
  EXPECT_EQ(found[4], Verdict::contradicted);
  EXPECT_EQ(found[6], Verdict::clean);
  EXPECT_EQ(found[7], Verdict::clean);
}

}  // namespace
}  // namespace mcci
