// train_modelnet: trains and evaluates a point-cloud classifier on ModelNet40 (any layout that
// datasets/point_cloud.h reads) or on the embedded shapes; compares runs; predicts classes of
// files.
//   train_modelnet --optimizer muon --epochs 10
//   train_modelnet --corruptions --resume runs/A/ckpt/best
//   train_modelnet compare runs/A runs/B
//   train_modelnet predict --resume runs/A chair.off folder/
//   train_modelnet --replay runs/A/failure-step-123
// stdout: results only. stderr: the log. Exit codes: --help.
#include "basin/tools/shell/train_main.h"
#include "basin/tools/train_modelnet/corruption_measure.h"

using namespace basin::tools;

namespace {

TrainExtras extras() {
  return {{corruption_measurement(), contact_sheet_measurement()},
          {{"corrupted", corrupted_accuracy_text}}};
}

}  // namespace

int main(int argc, char** argv) { return train_main({"modelnet"}, argc, argv, extras); }
