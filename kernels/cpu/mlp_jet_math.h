// exp, tanh and sigmoid for vectors of the compiler's, without a branch: Cody-Waite reduction
// x = n log 2 + r, |r| <= log(2) / 2, and the Taylor polynomial of e^r - 1 (degree 13 in f64, 7 in
// f32: below half an ulp). 2^n goes into the exponent's bits. A NaN passes.
#pragma once

// Vectors wider than the baseline's registers are passed in other ways with and without AVX; these
// never leave a source.
#pragma GCC diagnostic ignored "-Wpsabi"

#include <bit>
#include <cmath>
#include <cstdint>

namespace basin::jets {

inline constexpr int kVectorBytes = 64;
template <class T>
struct VectorOf {
  typedef T Type __attribute__((vector_size(kVectorBytes)));
};
template <class T>
using Vector = typename VectorOf<T>::Type;
template <class T>
inline constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(T));

template <class T>
struct ExpParts;
template <>
struct ExpParts<double> {
  using Bits = int64_t;
  static constexpr double kRound = 6755399441055744.;  // 1.5 * 2^52: adding it rounds to an integer
  static constexpr double kLog2High = 6.93147180369123816490e-01;  // its last bits are zero
  static constexpr double kLog2Low = 1.90821492927058770002e-10;
  static constexpr int kMantissa = 52, kDegree = 13;
  static constexpr double kLimit = 708, kFlat = 20;  // tanh is 1 beyond kFlat
};
template <>
struct ExpParts<float> {
  using Bits = int32_t;
  static constexpr float kRound = 12582912.f;
  static constexpr float kLog2High = 0.693359375f, kLog2Low = -2.12194440e-4f;
  static constexpr int kMantissa = 23, kDegree = 7;
  static constexpr float kLimit = 87, kFlat = 10;
};

// 1 / k!
template <class T>
inline constexpr T kInverseFactorial[] = {T(1),
                                          T(1),
                                          T(1. / 2),
                                          T(1. / 6),
                                          T(1. / 24),
                                          T(1. / 120),
                                          T(1. / 720),
                                          T(1. / 5040),
                                          T(1. / 40320),
                                          T(1. / 362880),
                                          T(1. / 3628800),
                                          T(1. / 39916800),
                                          T(1. / 479001600),
                                          T(1. / 6227020800)};

template <class T>
struct VectorMath {
  using P = Vector<T>;
  using Parts = ExpParts<T>;
  using Bits = Vector<typename Parts::Bits>;

  // e^x = 2^n (1 + rest), |x| <= kLimit
  struct Exp {
    P two_n, rest;
  };
  [[gnu::always_inline]] static Exp exp_parts(const P& x) {
    const P shifted = x * T(1.44269504088896340736) + Parts::kRound, n = shifted - Parts::kRound;
    const P r = (x - n * Parts::kLog2High) - n * Parts::kLog2Low;
    P p = P{} + kInverseFactorial<T>[Parts::kDegree];
#pragma GCC unroll 16
    for (int k = Parts::kDegree - 1; k >= 2; --k) p = p * r + kInverseFactorial<T>[k];
    // The low bits of the sum are n.
    const P one = P{} + T(1);
    return {(P)((Bits)one + ((Bits)shifted << Parts::kMantissa)), r + (r * r) * p};
  }
  // t / (t + 2) with t = e^(2 |x|) - 1 = 2^n rest + (2^n - 1), of which no part cancels.
  [[gnu::always_inline]] static P tanh(const P& x) {
    const Bits sign = (Bits)x & (Bits)(-P{});
    P a = (P)((Bits)x ^ sign);
    a = a > Parts::kFlat ? P{} + Parts::kFlat : a;
    const Exp e = exp_parts(a + a);
    const P t = e.two_n * e.rest + (e.two_n - T(1));
    return (P)((Bits)(t / (t + T(2))) | sign);
  }
  [[gnu::always_inline]] static P sigmoid(const P& x) {
    P y = -x;
    y = y > Parts::kLimit ? P{} + Parts::kLimit : y;
    y = y < -Parts::kLimit ? P{} - Parts::kLimit : y;
    const Exp e = exp_parts(y);
    return T(1) / (T(1) + (e.two_n * e.rest + e.two_n));
  }
  [[gnu::always_inline]] static P sin(const P& x) {
    P y;
    for (int n = 0; n < kLanes<T>; ++n) y[n] = std::sin(x[n]);
    return y;
  }
  [[gnu::always_inline]] static P cos(const P& x) {
    P y;
    for (int n = 0; n < kLanes<T>; ++n) y[n] = std::cos(x[n]);
    return y;
  }
};

}  // namespace basin::jets
