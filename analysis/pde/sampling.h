// Points of a box low_j <= x_j <= high_j in d coordinates, as tensors [n, d] in f64: where the
// residual of an equation is asked for, or a solution is compared. A point is a pure function of
// (seed, its index, coordinate); the open ends of the generator keep drawn points inside the box.
#pragma once
#include <cstdint>
#include <vector>

#include "basin/core/tensor.h"

namespace basin {

// low and high have one finite number per coordinate, low < high, n >= 1; usage error otherwise.
Tensor uniform_points(int64_t n, const std::vector<double>& low, const std::vector<double>& high,
                      uint64_t seed);
// Latin hypercube (McKay, Beckman, Conover 1979): along each coordinate every one of n equal slices
// holds exactly one point, at a uniform place within it.
Tensor latin_hypercube(int64_t n, const std::vector<double>& low, const std::vector<double>& high,
                       uint64_t seed);
// counts[j] equidistant values per coordinate, both ends included, the last coordinate fastest; a
// single value is the middle.
Tensor grid_points(const std::vector<int64_t>& counts, const std::vector<double>& low,
                   const std::vector<double>& high);
// The same along one coordinate: [n].
Tensor linspace(double low, double high, int64_t n);

}  // namespace basin
