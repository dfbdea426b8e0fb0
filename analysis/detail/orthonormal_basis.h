// An orthonormal set of long vectors, as Krylov methods build it: projection out of its span by
// classical Gram-Schmidt done twice (Giraud, Langou, Rozloznik, van den Eshof 2005), rotation by a
// small matrix in place, linear combinations. All sums run over fixed tiles in order, so the bits
// do not depend on the number of threads.
#pragma once
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "basin/core/tensor.h"

namespace basin {

// Shares of the largest product, or of a product's own length.
inline constexpr double kClosed = 1e-13;     // what is left is rounding: the space is closed
inline constexpr double kRounding = 1e-15;   // no residual is known better
inline constexpr double kDependent = 1e-13;  // what is left is rounding: the product is in the span

// a . b in eight partial sums, a fixed order.   a, b [n]
double dot_of(const double* a, const double* b, int64_t n);

class OrthonormalBasis {
 public:
  explicit OrthonormalBasis(int64_t n) : n_(n) {}
  int64_t dimension() const { return n_; }                                                // n
  int64_t size() const { return static_cast<int64_t>(vectors_.size()); }                  // m
  const Tensor& operator[](int64_t i) const { return vectors_[static_cast<size_t>(i)]; }  // [n]

  struct Projection {
    std::vector<double> coefficients;  // [m], V^T w
    double before = 0;                 // |w|; not finite when w is not
    double after = 0;                  // |w - V V^T w|
  };
  // w <- w - V V^T w, in place.   w [n] f64
  Projection project_out(Tensor& w) const;
  // Takes w / length, which the caller has projected out, as the next vector.   w [n] f64
  void append(Tensor w, double length);
  void swap(int64_t i, int64_t j) {
    std::swap(vectors_[static_cast<size_t>(i)], vectors_[static_cast<size_t>(j)]);
  }
  void pop() { vectors_.pop_back(); }
  // V <- V S.   s [m, p] row-major, orthonormal columns, p <= m
  void rotate(std::span<const double> s, int64_t p);
  // V s.   s [m] -> [n]
  Tensor combine(std::span<const double> s) const;

 private:
  int64_t n_;
  std::vector<Tensor> vectors_;  // each [n] f64
};

// Standard normal numbers, a pure function of (seed, stream).   [n] f64
Tensor normal_vector(int64_t n, uint64_t seed, uint64_t stream);
double norm(const Tensor& v);                          // v [n] f64
double dot_product(const Tensor& a, const Tensor& b);  // [n] f64
// Row `row` as a vector of its own.   rows [p, n] f64 -> [n]
Tensor copy_row(const Tensor& rows, int64_t row);
// y <- y + factor x.   [n] f64
void add_scaled(Tensor& y, double factor, const Tensor& x);

}  // namespace basin
