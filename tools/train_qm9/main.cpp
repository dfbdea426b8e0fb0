// train_qm9: properties of small molecules.
//   train_qm9 --data QM9 --target homo --preset official,orbitals --out runs/homo
//   train_qm9 --data QM9 --target all --out runs/qm9       twelve trainings, one run directory each
//   train_qm9 predict --resume runs/homo molecules.xyz     a CSV line per molecule
#include "basin/tools/shell/cli.h"
#include "basin/tools/shell/train_main.h"
#include "basin/tools/train_qm9/all_targets.h"

int main(int argc, char** argv) {
  return basin::tools::run_program("train_qm9", [&] {
    if (basin::tools::flag_value("--target", argc, argv) == "all") {
      return basin::tools::train_all_targets(argc, argv);
    }
    return basin::tools::train_main({"qm9"}, argc, argv);
  });
}
