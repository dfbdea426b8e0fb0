// Batches of molecules of different sizes, for networks that take their atoms one after another:
//   positions [A, 3] f64 (Å), z [A] i64, molecule [A] i64 (owner, rising), atoms [B] i64,
//   and, where the values are known, target [B, 1] f64 (dimensionless) and value [B, 1] f64 (report
//   units, total); what they are: datasets/qm9_target.h.
// For training the molecules of an epoch are shuffled and sorted by size within groups of `bucket`
// batches, which are then shuffled: molecules of one size meet (networks that work size by size are
// faster then), and with bucket = 1 a batch is a uniform draw. Otherwise all are sorted by size,
// or, where nothing but the inputs is known, in order.
#pragma once
#include <memory>
#include <mutex>

#include "basin/datasets/qm9_target.h"
#include "basin/train/task.h"

namespace basin {

std::vector<Slot> labelled_molecule_slots();

class MoleculeBatches : public Source {
 public:
  // `target` null: inputs only. `hash`: of the set's content.
  MoleculeBatches(std::shared_ptr<const Qm9Set> set, std::string hash, const Qm9Target* target,
                  TargetScale scale, int64_t bucket, const SourceRequest& request);

  const std::vector<Slot>& slots() const override { return slots_; }
  int64_t examples() const override { return static_cast<int64_t>(rows_.size()); }
  int64_t batches() const override { return batches_; }
  Batch batch(int64_t epoch, int64_t index) const override;
  std::string description() const override;
  std::string content_hash() const override { return hash_; }

 private:
  using Plan = std::vector<std::vector<int64_t>>;  // rows of the set, batch by batch
  Plan make_plan(int64_t epoch) const;
  std::shared_ptr<const Plan> plan(int64_t epoch) const;  // the last one is kept
  void sort_by_size(std::span<int64_t> rows) const;

  std::shared_ptr<const Qm9Set> set_;
  std::string hash_;
  TargetScale scale_;
  int64_t bucket_;
  SourceRequest request_;
  std::vector<Slot> slots_;
  std::vector<double> values_;  // of all molecules of the set
  std::vector<int64_t> rows_;   // those that are served
  int64_t batches_ = 0;
  mutable std::mutex mutex_;
  mutable int64_t planned_epoch_ = -1;
  mutable std::shared_ptr<const Plan> planned_;
};

}  // namespace basin
