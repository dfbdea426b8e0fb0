// The discrete Fourier transform Z_k = sum_j z_j exp(-2 pi i j k / n) of complex vectors whose
// length n is a power of two, by Stockham's radix-2 algorithm (no bit reversal; Van Loan 1992,
// section 1.7). kLanes vectors go together, element j of lane l at [j * kLanes + l], so that the
// innermost loops run over neighbours. Internal to analysis/.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace basin::detail {

constexpr int64_t kLanes = 4;

struct ComplexLanes {  // [n, kLanes]
  std::vector<double> re, im;
  explicit ComplexLanes(int64_t n)
      : re(static_cast<size_t>(n * kLanes)), im(static_cast<size_t>(n * kLanes)) {}
};

class Fourier {
 public:
  explicit Fourier(int64_t n);  // a power of two from 2 on
  int64_t size() const { return n_; }
  void forward(ComplexLanes& z, ComplexLanes& scratch) const;
  void inverse(ComplexLanes& z, ComplexLanes& scratch) const;  // with the factor 1 / n

 private:
  int64_t n_;
  std::vector<double> cosine_, sine_;  // of 2 pi j / n, j < n / 2
};

}  // namespace basin::detail
