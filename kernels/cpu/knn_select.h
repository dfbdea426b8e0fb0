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

// Rows that are selected from at a time.
inline constexpr int64_t kKnnTogether = 4;

// Points self .. self + count of a cloud x [points, dims], at most kKnnTogether, the slack of each,
// and their approximate distances: rows [padded], `stride` apart, +inf from `points` on.
template <class T>
struct KnnPoints {
  const T* x;
  int64_t dims, self, count;
  Slack<T> slack[kKnnTogether];
  T* rows;
  int64_t stride;
};

template <class T>
class NearestSelector {
 public:
  NearestSelector(int64_t points, int64_t k, bool include_self);

  static int64_t padded(int64_t points, int64_t k);  // length of a row of distances

  // Writes [count, k] numbers to out.
  void select(const KnnPoints<T>& of, int32_t* out);

  // The same with the rows made here: sum_d (columns[d * padded + j] - x_d)^2. columns: coordinate
  // by coordinate, +inf from `points` to `padded`.
  void select_by_difference(const T* columns, const KnnPoints<T>& of, int32_t* out);

  // In three dimensions, where f32 is handled in registers: rows |c_j|^2 - 2 c_j . c_self. columns:
  // the coordinates of c, then the squares, which are +inf from `points` to `padded`. Bit r of the
  // result: whether the numbers of point self + r follow from that alone and are in out.
  uint32_t select_by_product(const T* columns, const KnnPoints<T>& of, int32_t* out);

 private:
  uint32_t select_in_registers(const KnnPoints<T>& of, int32_t* out);  // as select_by_product
  void select_generally(const KnnPoints<T>& of, int64_t r, int32_t* out);
  T upper_bound(const T* row);
  void order_candidates(int64_t count);
  bool all_decided(int64_t count, Slack<T> slack);
  void decide(int64_t count, Slack<T> slack, const T* point, const T* x, int64_t dims,
              int32_t* out);
  T* minima(int64_t r) { return minima_.data() + r * groups_; }

  int64_t points_, k_, padded_, groups_, wanted_;
  bool include_self_;
  bool in_registers_;  // knn_registers.h applies
  std::vector<T> minima_, value_, sorted_;
  std::vector<int32_t> candidate_, order_;
  std::vector<std::pair<double, int32_t>> exact_;
};

}  // namespace basin
