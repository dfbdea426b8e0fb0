// See detail/fourier.h.
#include "basin/analysis/detail/fourier.h"

#include <cmath>
#include <numbers>
#include <utility>

namespace basin::detail {

Fourier::Fourier(int64_t n) : n_(n) {
  for (int64_t j = 0; j < n / 2; ++j) {
    const double angle = 2 * std::numbers::pi * static_cast<double>(j) / static_cast<double>(n);
    cosine_.push_back(std::cos(angle));
    sine_.push_back(std::sin(angle));
  }
}

// A pass joins pairs that lie n / 2 apart; runs of `run` elements stay together and double.
void Fourier::forward(ComplexLanes& z, ComplexLanes& scratch) const {
  for (int64_t run = 1; run < n_; run *= 2) {
    const int64_t width = run * kLanes, half = n_ / 2 * kLanes;
    for (int64_t j = 0; j < n_ / 2; j += run) {
      const double c = cosine_[static_cast<size_t>(j)], s = sine_[static_cast<size_t>(j)];
      const double *re = z.re.data() + j * kLanes, *im = z.im.data() + j * kLanes;
      double* out_re = scratch.re.data() + 2 * j * kLanes;
      double* out_im = scratch.im.data() + 2 * j * kLanes;
      for (int64_t i = 0; i < width; ++i) {
        const double dre = re[i] - re[half + i], dim = im[i] - im[half + i];
        out_re[i] = re[i] + re[half + i];
        out_im[i] = im[i] + im[half + i];
        out_re[width + i] = dre * c + dim * s;
        out_im[width + i] = dim * c - dre * s;
      }
    }
    std::swap(z.re, scratch.re);
    std::swap(z.im, scratch.im);
  }
}

// The conjugate's transform is the transform with real and imaginary parts exchanged.
void Fourier::inverse(ComplexLanes& z, ComplexLanes& scratch) const {
  std::swap(z.re, z.im);
  forward(z, scratch);
  std::swap(z.re, z.im);
  const double factor = 1 / static_cast<double>(n_);
  for (double& x : z.re) x *= factor;
  for (double& x : z.im) x *= factor;
}

}  // namespace basin::detail
