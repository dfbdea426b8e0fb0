// train_graph: targets of whole graphs, with everything a training program has. The folder tells
// what it holds: ZINC-12k, Peptides-func or edge lists of one's own; without one small graphs are
// made.
//   train_graph --data zinc --preset zinc
//   train_graph --data peptides_func --preset tuned --optimizer muon
#include "basin/tools/shell/train_main.h"

int main(int argc, char** argv) { return basin::tools::train_main({"graph"}, argc, argv); }
