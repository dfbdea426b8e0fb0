// The small matrix products of mlp_jet: weights times vectors of points, in register tiles; for use
// inside BASIN_HOT.
#pragma once
#include "basin/kernels/cpu/hot.h"
#include "basin/kernels/cpu/mlp_jet_math.h"
#include "basin/kernels/detail/dual.h"

namespace basin::jets {

template <class V>
using ElementOf = std::remove_cvref_t<decltype(std::declval<BaseOf<V>>()[0])>;
template <class V>
using NumberOf = std::conditional_t<kDual<V>, Dual<ElementOf<V>>, ElementOf<V>>;

// Arguments with their tangents.
template <class V>
struct Input {
  const ElementOf<V>*v = nullptr, *t = nullptr;
  [[gnu::always_inline]] NumberOf<V> at(int64_t i) const {
    if constexpr (kDual<V>) {
      return {v[i], t[i]};
    } else {
      return v[i];
    }
  }
};

template <class V>
[[gnu::always_inline]] inline V add(const V& x, const NumberOf<V>& s) {
  if constexpr (kDual<V>) {
    return V(x.v + s.v, x.t + s.t);
  } else {
    return x + s;
  }
}
template <class V>
[[gnu::always_inline]] inline void add_product(V& sum, const V& x, const NumberOf<V>& s) {
  if constexpr (kDual<V>) {
    sum.t += x.t * s.v;
    sum.t += x.v * s.t;
    sum.v += x.v * s.v;
  } else {
    sum += x * s;
  }
}
template <class V>
[[gnu::always_inline]] inline void set_lane(V& x, int lane, const NumberOf<V>& s) {
  if constexpr (kDual<V>) {
    x.v[lane] = s.v;
    x.t[lane] = s.t;
  } else {
    x[lane] = s;
  }
}
template <class V>
[[gnu::always_inline]] inline ElementOf<V> lane_outcome(const V& x, int lane) {
  return outcome(x)[lane];
}

// z[o] = sum over i of w[o * out_step + i * in_step] a[i], for kRows rows o and kColumns columns.
template <int kRows, int kColumns, class V>
[[gnu::always_inline]] inline void product_tile(const Input<V>& w, int64_t out_step,
                                                int64_t in_step, int64_t first, int64_t ins,
                                                int columns, const V* a, V* z) {
  V sum[kRows][kColumns] = {};
  for (int64_t i = 0; i < ins; ++i) {
    const V* x = a + i * columns;
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const NumberOf<V> s = w.at((first + r) * out_step + i * in_step);
#pragma GCC unroll 8
      for (int c = 0; c < kColumns; ++c) add_product(sum[r][c], x[c], s);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int c = 0; c < kColumns; ++c) z[(first + r) * columns + c] = sum[r][c];
  }
}

template <int kColumns, class V>
[[gnu::always_inline]] inline void product_strip(const Input<V>& w, int64_t out_step,
                                                 int64_t in_step, int64_t outs, int64_t ins,
                                                 int columns, const V* a, V* z) {
  int64_t o = 0;
  for (; o + 4 <= outs; o += 4) {
    product_tile<4, kColumns>(w, out_step, in_step, o, ins, columns, a, z);
  }
  for (; o < outs; ++o) {
    product_tile<1, kColumns>(w, out_step, in_step, o, ins, columns, a, z);
  }
}

// a [ins, columns] -> z [outs, columns]; columns is even
template <class V>
[[gnu::always_inline]] inline void product(const Input<V>& w, int64_t out_step, int64_t in_step,
                                           int64_t outs, int64_t ins, int columns, const V* a,
                                           V* z) {
  constexpr int kWide = kDual<V> ? 2 : 4;  // sixteen sums in registers
  int c = 0;
  for (; c + kWide <= columns; c += kWide) {
    product_strip<kWide>(w, out_step, in_step, outs, ins, columns, a + c, z + c);
  }
  for (; c < columns; c += 2) {
    product_strip<2>(w, out_step, in_step, outs, ins, columns, a + c, z + c);
  }
}

// Of sixteen lanes the halves are added first.
[[gnu::always_inline]] inline Vector<double> folded(const Vector<double>& x) { return x; }
[[gnu::always_inline]] inline auto folded(const Vector<float>& x) {
  return __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7) +
         __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15);
}
template <class P>
[[gnu::always_inline]] inline auto lane_sum(const P& x) {
  const auto y = folded(x);
  return ((y[0] + y[1]) + (y[2] + y[3])) + ((y[4] + y[5]) + (y[6] + y[7]));
}
// Lane k: the sum over the lanes of v[k], k < 8, in lane_sum's order.
template <class P>
[[gnu::always_inline]] inline auto lane_sums(const P* v) {
  using E = decltype(folded(v[0]));
  E pairs[4], fours[2];
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
    const E a = folded(v[2 * k]), b = folded(v[2 * k + 1]);
    pairs[k] = __builtin_shufflevector(a, b, 0, 8, 2, 10, 4, 12, 6, 14) +
               __builtin_shufflevector(a, b, 1, 9, 3, 11, 5, 13, 7, 15);
  }
#pragma GCC unroll 2
  for (int k = 0; k < 2; ++k) {
    const E a = pairs[2 * k], b = pairs[2 * k + 1];
    fours[k] = __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13) +
               __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
  }
  return __builtin_shufflevector(fours[0], fours[1], 0, 1, 2, 3, 8, 9, 10, 11) +
         __builtin_shufflevector(fours[0], fours[1], 4, 5, 6, 7, 12, 13, 14, 15);
}

// sum += g a, or the tangent of it
template <class V>
[[gnu::always_inline]] inline void add_outcome(BaseOf<V>& sum, const V& g, const V& a) {
  if constexpr (kDual<V>) {
    sum += g.v * a.t;
    sum += g.t * a.v;
  } else {
    sum += g * a;
  }
}

template <int kRows, int kCols, class V>
[[gnu::always_inline]] inline void outer_tile(int64_t cols, int columns, const V* g, const V* a,
                                              ElementOf<V>* sums) {
  BaseOf<V> sum[kRows * kCols] = {};
  for (int c = 0; c < columns; ++c) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int k = 0; k < kCols; ++k) {
        add_outcome<V>(sum[r * kCols + k], g[r * columns + c], a[k * columns + c]);
      }
    }
  }
  if constexpr (kRows == 4 && kCols == 4) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const auto eight = lane_sums(sum + 8 * half);
#pragma GCC unroll 8
      for (int k = 0; k < 8; ++k) sums[(2 * half + k / 4) * cols + k % 4] += eight[k];
    }
  } else {
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int k = 0; k < kCols; ++k) sums[r * cols + k] += lane_sum(sum[r * kCols + k]);
    }
  }
}

// sums[r, k] += sum over the columns and lanes of g[r] a[k]; with Dual the tangent.
template <class V>
[[gnu::always_inline]] inline void add_outer(int64_t rows, int64_t cols, int columns, const V* g,
                                             const V* a, ElementOf<V>* sums) {
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    int64_t k = 0;
    for (; k + 4 <= cols; k += 4) {
      outer_tile<4, 4>(cols, columns, g + r * columns, a + k * columns, sums + r * cols + k);
    }
    for (; k < cols; ++k) {
      outer_tile<4, 1>(cols, columns, g + r * columns, a + k * columns, sums + r * cols + k);
    }
  }
  for (; r < rows; ++r) {
    for (int64_t k = 0; k < cols; ++k) {
      outer_tile<1, 1>(cols, columns, g + r * columns, a + k * columns, sums + r * cols + k);
    }
  }
}

}  // namespace basin::jets
