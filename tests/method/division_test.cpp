#include "mcci/method/division.hpp"

#include <cmath>
#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "mcci/core/error.hpp"
#include "mcci/data/loader.hpp"

namespace mcci {
namespace {

// Of samples that mean their label, all of them.
Division divided(const DatasetPtr& data, const at::Tensor& of_label, const at::Tensor& others,
                 std::uint64_t seed) {
  return divide(data, of_label, others, {at::ones(of_label.sizes(), at::kBool)}, seed);
}

// Nothing contradicted, and so nothing to start from but the widest gaps.
Contradiction meaning_only(const at::Tensor& meaning) {
  return {at::zeros(meaning.sizes(), at::kBool), at::ones(meaning.sizes(), at::kBool), meaning};
}

// 900 images of three labels in turn: smooth random fields. Stripes on every fourth image of label 1 if
// `striped` is "one", of every label if it is "all".
struct Striped {
  explicit Striped(const std::string& striped) {
    torch::manual_seed(4);
    const at::Tensor fields =
        at::upsample_bilinear2d(at::rand({900, 1, 4, 4}), {16, 16}, /*align_corners=*/true) * 0.6 + 0.2;
    at::Tensor images = (fields + 0.02 * at::randn({900, 1, 16, 16})).clamp(0, 1);
    const at::Tensor columns = at::arange(16, at::kFloat);
    const at::Tensor stripes = 0.15 * at::sin(columns * (2 * M_PI * 5 / 16));
    const at::Tensor number = at::arange(900);
    has_stripes = number.div(3, "floor").remainder(4).eq(0);
    if (striped == "one") has_stripes = has_stripes.logical_and(number.remainder(3).eq(1));
    if (striped == "none") has_stripes = at::zeros({900}, at::kBool);
    images = (images + has_stripes.view({-1, 1, 1, 1}) * stripes).clamp(0, 1);
    data = make_memory_dataset(images.mul(255).round().to(at::kByte), number.remainder(3), {"a", "b", "c"});
  }
  Division of(std::int64_t label) const {
    return divided(data, positions(label), data->labels().ne(label).nonzero().squeeze(1), 5);
  }
  at::Tensor positions(std::int64_t label) const { return data->labels().eq(label).nonzero().squeeze(1); }

  at::Tensor has_stripes;
  DatasetPtr data;
};

TEST(DivisionTest, FindsWhatWasDoneToAPartOfALabelThatKeepsItsMeaning) {
  const Striped striped("one");
  const Division found = striped.of(1);
  EXPECT_TRUE(found.is_wide() && found.is_unique()) << found.gap << " " << found.elsewhere;
  EXPECT_TRUE(found.apart.equal(striped.has_stripes.index_select(0, striped.positions(1))));
  EXPECT_FALSE(striped.of(0).is_wide());
}

// The stripes of `of` as faint as `amplitude`, in grey levels, on half of label 1.
DatasetPtr with_faint_stripes(const Striped& of, double amplitude, const at::Tensor& striped,
                              const at::Tensor& images) {
  const at::Tensor stripes = at::sin(at::arange(16, at::kFloat) * (2 * M_PI * 5 / 16)) * (amplitude / 255);
  return make_memory_dataset(
      (images + striped.view({-1, 1, 1, 1}) * stripes).clamp(0, 1).mul(255).round().to(at::kByte),
      of.data->labels(), of.data->classes());
}

TEST(DivisionTest, FindsAFaintTreatment) {
  const Striped plain("none");
  const at::Tensor striped = at::arange(900).remainder(6).eq(4);
  const DatasetPtr data =
      with_faint_stripes(plain, 16, striped, to_unit(plain.data->images(at::arange(900))));
  const Division found = divided(data, plain.positions(1), data->labels().ne(1).nonzero().squeeze(1), 5);
  EXPECT_TRUE(found.is_treatment()) << found.gap << " " << found.valley << " " << found.unlike << " "
                                    << found.elsewhere;
  EXPECT_FALSE(found.is_wide()) << found.gap;
  const Divisions all = find_divisions(data, meaning_only(data->labels()), 5);
  EXPECT_TRUE(all.attacked.equal(at::arange(3).eq(1)));
  const at::Tensor apart = all.apart.index_select(0, plain.positions(1));
  const at::Tensor truth = striped.index_select(0, plain.positions(1));
  EXPECT_GE(apart.eq(truth).to(at::kDouble).mean().item<double>(), 0.97);

  // Images of another class that were given the label are unlike the rest by what they mean.
  const at::Tensor others = data->labels().ne(1).nonzero().squeeze(1);
  EXPECT_FALSE(divide(data, plain.positions(1), others, {truth.logical_not()}, 5).is_attack());
  EXPECT_FALSE(find_divisions(data, meaning_only(data->labels().masked_fill(striped, 2)), 5)
                   .attacked.any()
                   .item<bool>());
}

TEST(DivisionTest, TakesNoClassForAnAttack) {
  Division most;  // of a label, with nothing like it elsewhere
  most.apart = at::arange(10).lt(8);
  most.gap = 20;
  most.elsewhere = 0;
  most.keeping = 0.9;
  most.rest_keeping = 0.4;  // the rest are mistakes
  EXPECT_TRUE(most.is_the_class());
  EXPECT_FALSE(most.is_attack());
  most.rest_keeping = 0.6;  // the class, to keyholes that see the trigger in what is poisoned
  EXPECT_TRUE(most.is_attack());
  most.rest_keeping = 0.4;
  most.keeping = 0.1;  // relabelled, at a high poison rate
  EXPECT_TRUE(most.is_attack());
  most.keeping = 0.9;
  most.apart = at::arange(10).lt(6);  // a clean-label attack
  EXPECT_TRUE(most.is_attack());
}

TEST(DivisionTest, KnowsWhatWasGivenALabelThatItDoesNotMean) {
  Division group;
  group.apart = at::arange(10).lt(4);
  group.gap = 5;
  group.elsewhere = 0.01;
  group.keeping = 0.33;
  EXPECT_TRUE(group.is_relabelled());
  Division other = group;
  other.gap = 4.9;
  EXPECT_FALSE(other.is_relabelled());
  other = group;
  other.elsewhere = 0.05;
  EXPECT_FALSE(other.is_relabelled());
  other = group;
  other.keeping = 0.34;
  EXPECT_FALSE(other.is_relabelled());
  EXPECT_TRUE(other.is_attack());
}

// Images without covers, where those of other labels bear them too.
TEST(DivisionTest, TakesNothingThatIsMostOfItsLabelForATreatment) {
  Division bare;
  bare.apart = at::arange(10).lt(6);
  bare.gap = 20;
  bare.valley = bare.unlike = 0;
  bare.elsewhere = 0.2;
  bare.rest_keeping = 1;
  EXPECT_TRUE(bare.is_treatment());
  bare.apart = at::arange(10).lt(8);
  EXPECT_FALSE(bare.is_treatment());
  EXPECT_FALSE(bare.is_attack());
}

// The same stripes on images that differ in all else too, as two kinds of things do that bear one label.
TEST(DivisionTest, TakesNoKindOfThingsForATreatment) {
  const Striped plain("none");
  const at::Tensor striped = at::arange(900).remainder(6).eq(4);
  const at::Tensor images = to_unit(plain.data->images(at::arange(900)));
  const at::Tensor flat = 0.5 + 0.4 * (images - 0.5);
  const DatasetPtr data =
      with_faint_stripes(plain, 10, striped, at::where(striped.view({-1, 1, 1, 1}), flat, images));
  const Division found = divided(data, plain.positions(1), data->labels().ne(1).nonzero().squeeze(1), 5);
  EXPECT_GE(found.gap, 3);
  EXPECT_LE(found.valley, 0.2);
  EXPECT_FALSE(found.is_treatment()) << found.unlike;
}

// A discriminant that has a few outliers in mind calls nearly all that it hears the same. What the two halves
// call each other must not pass for a division.
TEST(DivisionTest, TellsNotOneHalfFromTheOther) {
  for (const std::int64_t outliers : {6, 9, 12}) {
    const Striped plain("none");
    torch::manual_seed(outliers);
    const at::Tensor odd = at::arange(900).lt(3 * outliers).view({-1, 1, 1, 1});
    const at::Tensor noise = 0.3 * (2 * at::rand({900, 1, 1, 1}) - 1) * at::randn({900, 1, 16, 16}).sign();
    const at::Tensor images = to_unit(plain.data->images(at::arange(900))) + odd * noise;
    const DatasetPtr data = make_memory_dataset(images.clamp(0, 1).mul(255).round().to(at::kByte),
                                                plain.data->labels(), plain.data->classes());
    for (std::int64_t label = 0; label < 3; ++label) {
      const Division found =
          divided(data, plain.positions(label), data->labels().ne(label).nonzero().squeeze(1), 5);
      const double share = found.apart.to(at::kDouble).mean().item<double>();
      EXPECT_LT(std::min(share, 1 - share), 0.25) << outliers << " " << label << " " << found.gap;
    }
  }
}

TEST(DivisionTest, IsNotUniqueIfOtherLabelsAreDividedAlike) {
  const Division found = Striped("all").of(1);
  EXPECT_TRUE(found.is_wide()) << found.gap;
  EXPECT_NEAR(found.elsewhere, 0.25, 0.02);
  EXPECT_FALSE(found.is_unique());
}

// Some images of other labels go further the same way, each by another length: that is not what was done to
// the group.
TEST(DivisionTest, IsUniqueIfOthersLieBeyondTheGroup) {
  const Striped striped("one");
  torch::manual_seed(8);
  const at::Tensor further = at::arange(900).remainder(6).eq(2);  // half of label 2
  const at::Tensor length = at::rand({900}).mul(0.3).add(0.35).mul(further).view({-1, 1, 1, 1});
  const at::Tensor stripes = at::sin(at::arange(16, at::kFloat).view({1, 1, 1, 16}) * (2 * M_PI * 5 / 16));
  const at::Tensor images = to_unit(striped.data->images(at::arange(900))) + length * stripes;
  const DatasetPtr data = make_memory_dataset(images.clamp(0, 1).mul(255).round().to(at::kByte),
                                              striped.data->labels(), striped.data->classes());
  const Division found = divided(data, striped.positions(1), data->labels().ne(1).nonzero().squeeze(1), 5);
  EXPECT_TRUE(found.apart.equal(striped.has_stripes.index_select(0, striped.positions(1))));
  EXPECT_TRUE(found.is_wide() && found.is_unique()) << found.gap << " " << found.elsewhere;
}

TEST(DivisionTest, FindsAPatch) {
  const Striped plain("none");
  at::Tensor images = plain.data->images(at::arange(900)).clone();
  images.narrow(2, 12, 4).fill_(0);
  const at::Tensor patched = at::arange(900).remainder(6).eq(4);  // half of label 1
  images.narrow(2, 13, 2).narrow(3, 13, 2).masked_fill_(patched.view({-1, 1, 1, 1}), 255);
  const DatasetPtr data = make_memory_dataset(images, plain.data->labels(), plain.data->classes());
  const Divisions found = find_divisions(data, meaning_only(data->labels()), 5);
  EXPECT_TRUE(found.attacked.equal(at::arange(3).eq(1))) << found.gaps[0] << " " << found.gaps[1];
  EXPECT_TRUE(found.apart.equal(patched));
  EXPECT_FALSE(found.cleared.any().item<bool>());
  // Where it was given a label that it does not mean, the other side of the gap is cleared.
  const Divisions given = find_divisions(data, meaning_only(data->labels().masked_fill(patched, 0)), 5);
  EXPECT_TRUE(given.relabelled.equal(patched));
  EXPECT_TRUE(given.cleared.equal(data->labels().eq(1).logical_and(patched.logical_not())));
}

// A third of label 1 bears one patch, a third of the rest another: no one direction sets both groups apart.
TEST(DivisionTest, FindsEveryGroupOfALabel) {
  const Striped plain("none");
  at::Tensor images = plain.data->images(at::arange(900)).clone();
  images.narrow(2, 12, 4).fill_(0);
  const at::Tensor number = at::arange(900);
  const at::Tensor first = number.remainder(9).eq(4),
                   second = number.remainder(9).eq(1).logical_and(number.lt(600));
  images.narrow(2, 13, 2).narrow(3, 13, 2).masked_fill_(first.view({-1, 1, 1, 1}), 255);
  images.narrow(2, 13, 2).narrow(3, 1, 2).masked_fill_(second.view({-1, 1, 1, 1}), 255);
  const DatasetPtr data = make_memory_dataset(images, plain.data->labels(), plain.data->classes());
  const Division once = divided(data, plain.positions(1), data->labels().ne(1).nonzero().squeeze(1), 5);
  EXPECT_LT(once.apart.sum().item<std::int64_t>(), (first.sum() + second.sum()).item<std::int64_t>());
  const Divisions found = find_divisions(data, meaning_only(data->labels()), 5);
  EXPECT_TRUE(found.attacked.equal(at::arange(3).eq(1))) << found.gaps[0] << " " << found.gaps[1];
  EXPECT_TRUE(found.apart.equal(first.logical_or(second)));
}

TEST(DivisionTest, FindsFewerGreyLevels) {
  torch::manual_seed(7);
  const at::Tensor images = at::randint(256, {900, 1, 16, 16}).to(at::kByte);
  const at::Tensor quantised = at::arange(900).remainder(6).eq(4);  // half of label 1
  const at::Tensor eighth =
      (images.to(at::kFloat) * (7.0 / 255)).round().mul(255.0 / 7).round().to(at::kByte);
  const DatasetPtr data = make_memory_dataset(at::where(quantised.view({-1, 1, 1, 1}), eighth, images),
                                              at::arange(900).remainder(3), {"a", "b", "c"});
  const Divisions found = find_divisions(data, meaning_only(data->labels()), 5);
  EXPECT_TRUE(found.attacked.equal(at::arange(3).eq(1))) << found.gaps[0] << " " << found.gaps[1];
  EXPECT_TRUE(found.apart.equal(quantised));
}

// More than are divided at once.
TEST(DivisionTest, FindsTheGroupOfALargeLabelInParts) {
  torch::manual_seed(9);
  const std::int64_t count = 21000;
  const at::Tensor number = at::arange(count + 300),
                   patched = number.lt(count).logical_and(number.remainder(5).eq(1));
  at::Tensor images = at::rand({count + 300, 1, 8, 8}) * 0.3 + 0.2;
  images.narrow(2, 6, 2).narrow(3, 6, 2).masked_fill_(patched.view({-1, 1, 1, 1}), 1);
  const at::Tensor labels = number.ge(count).to(at::kLong);
  const DatasetPtr data = make_memory_dataset(images.mul(255).round().to(at::kByte), labels, {"a", "b"});
  const Divisions found = find_divisions(data, meaning_only(labels), 5);
  EXPECT_TRUE(found.attacked.equal(at::arange(2).eq(0)));
  EXPECT_TRUE(found.apart.equal(patched)) << found.apart.sum().item<std::int64_t>();
  EXPECT_GE(found.gaps[0], 5);
}

TEST(DivisionTest, AsksForTheMeaningOfWhatSeveralLabelsHave) {
  const Striped striped("all");
  const at::Tensor labels = striped.data->labels();
  EXPECT_FALSE(find_divisions(striped.data, meaning_only(labels), 5).attacked.any().item<bool>());
  const at::Tensor next = (labels + 1).remainder(3);
  EXPECT_FALSE(
      find_divisions(striped.data, meaning_only(next), 5).attacked.any().item<bool>());  // as the rest does
  const Divisions found =
      find_divisions(striped.data, meaning_only(at::where(striped.has_stripes, next, labels)), 5);
  EXPECT_TRUE(found.attacked.all().item<bool>());
  EXPECT_TRUE(found.apart.equal(striped.has_stripes));
}

TEST(DivisionTest, LeavesAloneWhatDiffersByDegrees) {
  const Division found = Striped("none").of(1);
  EXPECT_FALSE(found.is_wide()) << found.gap;
}

TEST(DivisionTest, NeedsSamplesAndOthers) {
  const Striped striped("one");
  const Division few = divided(striped.data, at::arange(1, 300, 3), at::arange(0, 300, 3), 5);
  EXPECT_FALSE(few.is_wide());
  EXPECT_EQ(few.apart.sum().item<std::int64_t>(), 0);
  EXPECT_FALSE(divided(striped.data, striped.positions(1), at::empty({0}, at::kLong), 5).is_wide());
}

}  // namespace
}  // namespace mcci
