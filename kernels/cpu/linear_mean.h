// The mean over points in the closed form of kernels/linear_max.h, on the CPU. The slope act' of a
// piecewise linear activation is one bit for each point and channel, so the derivatives need no
// dense product of size B N Cout: products of bits (bit_product.h) take its place.
#pragma once
#include <cstdint>
#include <vector>

#include "basin/kernels/linear_max.h"

namespace basin {

// The slopes of all points: 1 where a bit of `active` is set, else `slope`.
struct Slopes {
  int64_t batch, points, in, out;
  const uint32_t* active;  // [B, active_blocks(N), Cout]: bit n % 32 of block n / 32
  double slope;            // 1 for Act::none, whose bits do not count
};
Slopes slopes_of(const LinearMaxPoint& at, const BnAct& how);

// Of channels [first, first + count) of cloud b: the maximum, where it is, the mean and the bits,
// from the products z = x w^T themselves: y = act((z - mean) scale + beta).
template <class T>
struct MeanForward {
  const T *x, *w, *mean, *scale, *beta;  // [B, N, Cin], [Cout, Cin], else [Cout]
  int64_t points, in, out;
  BnAct how;
  T* y;              // [B, 2 Cout]
  int32_t* argmax;   // [B, Cout]
  uint32_t* active;  // [B, active_blocks(N), Cout]
};
inline constexpr int64_t kMeanChannels = 128;  // at most
template <class T>
void pool_products(const MeanForward<T>& f, int64_t b, int64_t first, int64_t count);

// The cotangent of the mean over N, [B, Cout] f64, from ct [B, 2 Cout].
template <class T>
Tensor mean_cotangents(const Slopes& s, const Tensor& ct);

// The sum of the slopes, [B, Cout] f64.
Tensor slope_sums(const Slopes& s);

// U[b, c, :] = sum_n act'(n, c) (x[b, n, :] - centre), [B, Cout, Cin].
template <class T>
Tensor slope_products(const Slopes& s, const T* x, const T* centre);

// to[c, :] += sum_b weight[b, c] U[b, c, :]; weight [B, Cout], to [Cout, Cin]. Without storing U,
// and of one that is stored, in one pass for all sums.
struct WeightedSum {
  const double* weight;
  double* to;
};
template <class T>
void add_slope_products(const Slopes& s, const T* x, const T* centre, const WeightedSum& sum);
template <class T>
void add_weighted(const Tensor& u, const std::vector<WeightedSum>& sums);

// dx[n, :] += sum_c act'(n, c) coefficient[b, c] w[c, :], summed over the terms, for the points
// [begin, end) of cloud b; dx points at the first of them. begin is a multiple of 32.
template <class T>
struct SlopeTerm {
  const T* coefficient;  // [B, Cout]
  const T* w;            // [Cout, Cin]
};
template <class T>
class SlopeRows {
 public:
  SlopeRows(const Slopes& s, const std::vector<SlopeTerm<T>>& terms);
  void add(int64_t b, int64_t begin, int64_t end, T* dx) const;

 private:
  Slopes s_;
  std::vector<SlopeTerm<T>> terms_;
  Tensor constant_;  // [B, Cin]: the part that all points of a cloud share
};

}  // namespace basin
