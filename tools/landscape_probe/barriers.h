// Same basin or not: the action `barriers`. Between every two of several networks of one kind, the
// loss and the metric on the straight line, of the training and of the test split:
//   barrier = max over the points t of  L(t) - [(1 - t) L(A) + t L(B)]           (analysis/paths.h)
// of the metric likewise, in the direction in which it gets worse. --align repeats each line after
// B's hidden units were permuted to lie closest to A's (analysis/alignment.h). Beside them the
// debiased linear CKA of the last layer before the outputs, which no permutation changes.
//   Running statistics of batch norm are estimated anew at every point, as for `path`; the ends are
// the networks under statistics estimated anew too.
//   OUT/{config.toml, run.json, barriers.json, pairs/pair-I-J[-aligned].json (a killed measurement
//        goes on from these), tables/, figures/, report.html}
//   Trainings with the same seed begin at the same weights and see the data in the same order, so
// pairs of two optimizers are told apart by whether their seeds are the same.
#pragma once
#include <string>
#include <vector>

#include "basin/tools/landscape_probe/part.h"

namespace basin::tools {

struct BarrierNetworkRecord {
  std::string name, optimizer, checkpoint, weights_sha256;
  double train_loss = 0, test_loss = 0, train_metric = 0, test_metric = 0;
  bool same_data = true;
  std::string seed = {};  // of the training; empty: not known
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

// Of such a record, in barriers_report.cpp: tables, matrices, and the answer in words as the text
// of the first section. `metric`: of the task, its first. conditions: data, dtype and command.
PartReport barriers_report(const BarriersRecord& record, const Metric& metric,
                           const FigureConditions& conditions);
// The numbers of --json: "test_loss_barrier_adamw_muon", "_low", "_high", with "_same_seed" or
// "_other_seeds" and with "_aligned" behind the optimizers.
Record barrier_numbers(const BarriersRecord& record);

// The answer of a measurement that another program made, read from the folder of its barriers.json
// (which names the metric and the precision). names: the networks as the reader knows them, in
// their order, with the optimizers and seeds to go by. data error where their number differs.
struct BarrierNames {
  std::string network, optimizer, seed;
};
PartReport barriers_report_of(const fs::path& dir, const std::vector<BarrierNames>& names,
                              const std::string& command);

}  // namespace basin::tools
