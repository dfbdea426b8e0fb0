// train_pde: scientific machine learning, with everything that a training program has.
//   train_pde --task burgers --preset deepxde --optimizer specmuon --out runs/burgers
#include "basin/tools/shell/train_main.h"

int main(int argc, char** argv) {
  return basin::tools::train_main(
      {"burgers", "linear_regression", "matrix_factorisation", "antiderivative", "advection",
       "burgers_operator", "heat_operator", "fractional", "fractional_operator", "fractional_ball"},
      argc, argv);
}
