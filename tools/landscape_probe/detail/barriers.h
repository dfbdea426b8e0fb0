// Same basin or not: the action `barriers`. Between every two of several networks of one kind, the
// loss and the metric on the straight line, of the training and of the test split:
//   barrier = max over the points t of  L(t) - [(1 - t) L(A) + t L(B)]           (analysis/paths.h)
// of the metric likewise, in the direction in which it gets worse. --align repeats each line after
// B's hidden units were permuted to lie closest to A's (analysis/alignment.h). Beside them the
// debiased linear CKA of the last layer before the outputs, which no permutation changes.
//   Running statistics of batch norm are estimated anew at every point, as for `path`; the ends are
// the networks under statistics estimated anew too.
//   OUT/{config.toml, run.json, barriers.json, pair-I-J[-aligned].json (a killed measurement goes
//        on from these), tables/, figures/, report.html}
#pragma once
#include <string>
#include <vector>

#include "basin/tools/landscape_probe/part.h"

namespace basin::tools {

struct BarrierNetworkRecord {
  std::string name, optimizer, checkpoint, weights_sha256;
  double train_loss = 0, test_loss = 0, train_metric = 0, test_metric = 0;
  bool same_data = true;
};
// Of one quantity on one line.
struct BarrierHeight {
  double height = 0, at = 0;
};
struct BarrierPairRecord {
  int64_t from = 0, to = 0;  // positions among the networks
  bool aligned = false;
  double distance = 0;  // between the weights
  double cosine = 0;    // <A, B> / (||A|| ||B||)
  int64_t moved = 0, units = 0;
  bool settled = true;  // of the alignment
  std::vector<double> t = {}, train_loss = {}, test_loss = {}, train_metric = {}, test_metric = {};
  BarrierHeight train_loss_barrier = {}, test_loss_barrier = {};
  BarrierHeight train_metric_barrier = {}, test_metric_barrier = {};
  double cka = 0;
};
struct BarriersRecord {
  std::string train_data, test_data, statistics, cka_layer;
  std::vector<BarrierNetworkRecord> networks;
  std::vector<BarrierPairRecord> pairs;  // as they are, then the same aligned where asked
};
void fields(FieldWalk& walk, BarrierNetworkRecord& r);
void fields(FieldWalk& walk, BarrierHeight& r);
void fields(FieldWalk& walk, BarrierPairRecord& r);
void fields(FieldWalk& walk, BarriersRecord& r);
void check_record(const BarriersRecord& record, const std::string& file);

// Measures what is not there yet and writes the report; returns what is printed. `out`: empty for
// runs/barriers-FIRST-LAST. usage error for fewer than two networks, for networks of different
// kinds, and where a network that declares no hidden units is to be aligned.
std::string barriers_between(const std::vector<std::string>& networks, const Config& config,
                             const fs::path& out, const std::string& command);

// Of such a record, in barriers_report.cpp: the report, the answer in words, and the numbers of
// --json: "test_loss_barrier_adamw_muon", "_low", "_high", with "_aligned" behind the optimizers.
PartReport barriers_report(const fs::path& dir, const Metric& metric, const std::string& command);
Record barrier_numbers(const BarriersRecord& record);

}  // namespace basin::tools
