// The neighbours of one point, shared by CPU loop and CUDA kernel.
#pragma once
#include <cstdint>

#include "basin/kernels/scalar.h"

namespace basin::radius {

// take(j) for the neighbours j of point i among [begin, end), by rising number.
template <class T, class Take>
BASIN_HD void each_neighbour(const T* x, int64_t i, int64_t begin, int64_t end, double square,
                             bool loops, const Take& take) {
  for (int64_t j = begin; j < end; ++j) {
    double distance = 0;
    for (int c = 0; c < 3; ++c) {
      const double step = static_cast<double>(x[3 * j + c]) - static_cast<double>(x[3 * i + c]);
      distance += step * step;
    }
    if (j == i ? loops : distance < square) take(j);
  }
}

}  // namespace basin::radius
