// The settings of the task "qm9", and its data.
#pragma once
#include <array>
#include <memory>
#include <mutex>

#include "basin/datasets/qm9_target.h"
#include "basin/train/task.h"

namespace basin {

struct Qm9Settings {
  std::string data, uncharacterized, split;
  const Qm9Target* target = nullptr;
  bool squares = false;  // loss mse
  std::string standardise, references;
  int64_t bucket = 1, limit = 0;
  uint64_t seed = 0;
  bool embedded() const { return data == "embedded"; }
};

std::vector<OptionInfo> qm9_options();
Qm9Settings qm9_settings(const OptionReader& options, uint64_t seed);  // usage errors

// The splits, read at the first request.
class MoleculeData {
 public:
  explicit MoleculeData(Qm9Settings settings) : settings_(std::move(settings)) {}

  const Qm9Settings& settings() const { return settings_; }
  const std::shared_ptr<const Qm9Set>& of(Split split) const {
    read();
    return parts_[static_cast<size_t>(split)];
  }
  const std::string& hash_of(Split split) const {
    read();
    return hashes_[static_cast<size_t>(split)];
  }
  const DataFacts& facts() const {
    read();
    return facts_;
  }

 private:
  void read() const;

  Qm9Settings settings_;
  mutable std::once_flag once_;
  mutable std::array<std::shared_ptr<const Qm9Set>, 3> parts_;  // in the order of Split
  mutable std::array<std::string, 3> hashes_;
  mutable DataFacts facts_;
};

}  // namespace basin
