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
  // are the points. Writes k numbers to out.
  void select(const T* row, int64_t self, Slack<T> slack, const T* x, int64_t dims, int32_t* out);

  // The same with distances made here, row [padded]: sum_d (columns[d * stride + j] - x_d)^2.
  // columns: coordinate by coordinate, +inf from `points` to `padded`.
  void select_by_difference(const T* columns, int64_t stride, int64_t self, Slack<T> slack,
                            const T* x, int64_t dims, T* row, int32_t* out);

 private:
  bool select_in_registers(const T* row, int64_t self, Slack<T> slack, int32_t* out);
  void select_generally(const T* row, int64_t self, Slack<T> slack, const T* x, int64_t dims,
                        int32_t* out);
  T upper_bound(const T* row);
  void order_candidates(int64_t count);
  bool all_decided(int64_t count, Slack<T> slack);
  void decide(int64_t count, Slack<T> slack, const T* point, const T* x, int64_t dims,
              int32_t* out);

  int64_t points_, k_, padded_, groups_, wanted_;
  bool include_self_;
  bool in_registers_;  // knn_registers.h applies
  std::vector<T> minima_, value_, sorted_;
  std::vector<int32_t> candidate_, order_;
  std::vector<std::pair<double, int32_t>> exact_;
};

}  // namespace basin
