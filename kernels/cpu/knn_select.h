// The second half of knn: from the approximate distances of one point to all others to its k
// nearest by exact distance. `Slack` bounds the rounding of the approximate distances, so exact
// ones are computed only where two approximate ones are too close to decide.
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "basin/core/tensor.h"

namespace basin {

// sum_d (b_d - a_d)^2 in double, in an order that no instruction set changes; NaN becomes infinite.
template <class T>
double squared_distance(const T* a, const T* b, int64_t dims);

// row[j] = sum_d (x[d * stride + j] - point[d])^2 for j < count; count is a multiple of 64.
template <class T>
void distances_by_difference(const T* x, int64_t stride, const T* point, int64_t dims,
                             int64_t count, T* row);

// Two approximate distances a < b with b - a > absolute + relative * b are in their exact order. An
// absolute part that is not finite says that nothing is known.
template <class T>
struct Slack {
  T absolute;
  T relative;
};

template <class T>
class NearestSelector {
 public:
  NearestSelector(int64_t points, int64_t k, bool include_self);

  static int64_t padded(int64_t points, int64_t k);  // length of a row of distances

  // row [padded]: approximate distances from point `self`, +inf from `points` on. x [points, dims]
  // are the points. Writes k numbers to out; overwrites row.
  void select(T* row, int64_t self, Slack<T> slack, const T* x, int64_t dims, int32_t* out);

 private:
  T upper_bound(const T* row);
  void order_candidates(int64_t count);
  bool all_decided(int64_t count, Slack<T> slack);
  void decide(int64_t count, Slack<T> slack, const T* point, const T* x, int64_t dims,
              int32_t* out);

  int64_t points_, k_, padded_, groups_, wanted_;
  bool include_self_;
  std::vector<T> minima_, value_, sorted_;
  std::vector<int32_t> candidate_, order_;
  std::vector<std::pair<double, int32_t>> exact_;
};

}  // namespace basin
