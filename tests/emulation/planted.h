// Small kernels with and without a planted fault, and the sums of rows that they compute: what the
// harness must catch.
#pragma once
#include "basin/core/tensor.h"

namespace basin::planted {

enum class Fault {
  none,
  missing_barrier,
  out_of_bounds,
  divergent_barrier,
  absent_lane,
  wrong_lane
};

// x [rows, n] f32 on the device -> [rows], a block of 128 threads for each row.
Tensor row_sums(const Tensor& x, Fault fault);

}  // namespace basin::planted
