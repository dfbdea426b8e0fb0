// train_pde: scientific machine learning, with everything that a training program has.
//   train_pde --task burgers --preset deepxde --optimizer specmuon --out runs/burgers
#include "basin/tools/shell/train_main.h"
#include "basin/train/tasks/tasks.h"

int main(int argc, char** argv) { return basin::tools::train_main({"burgers"}, argc, argv); }
