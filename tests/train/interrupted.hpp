#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "mcci/core/interrupt.hpp"
#include "mcci/train/learner.hpp"

namespace mcci::test {

// Stops the training that it watches over after some steps, of one of its phases if that is given.
class Interrupted : public Learner {
 public:
  Interrupted(Learner& inner, int stop_after, std::optional<std::size_t> phase = std::nullopt)
      : inner_(inner), left_(stop_after), counted_(phase) {}
  torch::nn::Module& module() override { return inner_.module(); }
  std::vector<Phase> phases(const TrainOptions& options) override { return inner_.phases(options); }
  void begin_epoch(std::size_t phase, std::int64_t epoch, const DatasetPtr& data) override {
    inner_.begin_epoch(phase, epoch, data);
  }
  DatasetPtr source(std::size_t phase, const DatasetPtr& data) override { return inner_.source(phase, data); }
  at::Tensor pool(std::size_t phase) override { return inner_.pool(phase); }
  StepOutput loss(std::size_t phase, const Batch& batch) override {
    if (phase == counted_.value_or(phase) && --left_ == 0) set_interrupt_requested(true);
    return inner_.loss(phase, batch);
  }
  void finish(const DatasetPtr& data) override { inner_.finish(data); }
  TensorList extra_state() override { return inner_.extra_state(); }
  void set_extra_state(const TensorList& tensors, const std::string& where) override {
    inner_.set_extra_state(tensors, where);
  }

 private:
  Learner& inner_;
  int left_;
  std::optional<std::size_t> counted_;
};

// Weights or state of a training that was resumed, and of one that ran as a whole.
inline void expect_equal(const TensorList& resumed, const TensorList& whole, const std::string& when) {
  ASSERT_EQ(resumed.size(), whole.size()) << when;
  for (std::size_t i = 0; i < resumed.size(); ++i) {
    EXPECT_TRUE(resumed[i].second.equal(whole[i].second)) << when << ": " << resumed[i].first;
  }
}

}  // namespace mcci::test
