// train_molecules: a regression on embedded molecules, with everything a training program has.
//   train_molecules --model egnn --optimizer muon --epochs 30
#include "basin/tools/shell/train_main.h"

int main(int argc, char** argv) { return basin::tools::train_main({"molecules"}, argc, argv); }
