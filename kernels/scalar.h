// Scalar formulas of the elementwise ops: f(x, p) is the value, d(x, y, p) the derivative as a
// multiplier (y = f(x); p is the op's one attribute). The CPU loops and the CUDA kernels take them
// with float and double; d is also taken with tensors in the place of numbers, where the derivative
// is itself recorded (autograd/ops/term.h), and so is written in operators and in the functions
// with a trailing underscore. The f32 exponential is a polynomial so that loops over it vectorise:
// Cody-Waite reduction, degree-6 minimax polynomial as in Cephes' expf, relative error below 2 ulp;
// f64 uses the C library.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numbers>

#ifdef __CUDACC__
#define BASIN_HD __host__ __device__ __forceinline__
#else
#define BASIN_HD inline
#endif

namespace basin::scalar {

BASIN_HD double exp_(double x) { return ::exp(x); }
BASIN_HD float exp_(float x) {
#ifdef __CUDA_ARCH__
  return ::expf(x);
#else
  const float clamped = x < -104.f ? -104.f : (x > 89.f ? 89.f : x);
  constexpr float kRound = 12582912.f;  // 1.5 * 2^23: adding it rounds to an integer
  const float shifted = clamped * 1.44269504088896341f + kRound, n = shifted - kRound;
  const float r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  const float value = (p * r * r + r) + 1.f;
  // 2^n in two factors, so that subnormal results and the largest finite ones come out right.
  // n is read from the last bits of `shifted`: a NaN has some there too, but no value to cast.
  int32_t whole;
  std::memcpy(&whole, &shifted, 4);
  whole -= 0x4b400000;  // the bits of kRound
  const int32_t half = whole / 2;
  const int32_t bits1 = (half + 127) << 23, bits2 = (whole - half + 127) << 23;
  float two1, two2;
  std::memcpy(&two1, &bits1, 4);
  std::memcpy(&two2, &bits2, 4);
  const float result = value * two1 * two2;
  return x != x ? x : result;
#endif
}

BASIN_HD double tanh_(double x) { return ::tanh(x); }
BASIN_HD float tanh_(float x) {
  const float a = x < 0 ? -x : x;
  const float z = x * x;  // |x| < 0.625: odd polynomial, Cephes' tanhf
  float p = -5.70498872745e-3f;
  p = p * z + 2.06390887954e-2f;
  p = p * z - 5.37397155531e-2f;
  p = p * z + 1.33314422036e-1f;
  p = p * z - 3.33332819422e-1f;
  const float small = p * z * x + x;
  const float large = 1.f - 2.f / (exp_(2.f * a) + 1.f);
  return a < 0.625f ? small : (x < 0 ? -large : large);
}

template <class T>
BASIN_HD T sigmoid_(T x) {
  return T(1) / (T(1) + exp_(-x));
}

template <class T>
BASIN_HD T square_(T x) {
  return x * x;
}
template <class T>
BASIN_HD T sin_(T x) {
  return static_cast<T>(::sin(x));
}
template <class T>
BASIN_HD T cos_(T x) {
  return static_cast<T>(::cos(x));
}
template <class T>
BASIN_HD T pow_(T x, T p) {
  return static_cast<T>(::pow(x, p));
}
template <class T>
BASIN_HD T step_(T x, T below) {
  return x > T(0) ? T(1) : below;
}
template <class T>
BASIN_HD T sign_(T x) {
  return x > T(0) ? T(1) : (x < T(0) ? T(-1) : T(0));
}

template <class T>
BASIN_HD T erf_(T x) {
  return static_cast<T>(::erf(x));
}
template <>
BASIN_HD float erf_(float x) {
  return ::erff(x);
}

struct Neg {
  template <class T>
  BASIN_HD static T f(T x, T) {
    return -x;
  }
  template <class T>
  BASIN_HD static T d(T, T, T) {
    return T(-1);
  }
};
struct Exp {
  template <class T>
  BASIN_HD static T f(T x, T) {
    return exp_(x);
  }
  template <class T>
  BASIN_HD static T d(T, T y, T) {
    return y;
  }
};
struct Expm1 {
  template <class T>
  BASIN_HD static T f(T x, T) {
    return static_cast<T>(::expm1(x));
  }
  template <class T>
  BASIN_HD static T d(T, T y, T) {
    return T(1) + y;
  }
};
struct Log {
  template <class T>
  BASIN_HD static T f(T x, T) {
    return static_cast<T>(::log(x));
  }
  template <class T>
  BASIN_HD static T d(T x, T, T) {
    return T(1) / x;
  }
};
struct Log1p {
  template <class T>
  BASIN_HD static T f(T x, T) {
    return static_cast<T>(::log1p(x));
  }
  template <class T>
  BASIN_HD static T d(T x, T, T) {
    return T(1) / (T(1) + x);
  }
};
struct Sqrt {
  template <class T>
  BASIN_HD static T f(T x, T) {
    return static_cast<T>(::sqrt(x));
  }
  template <class T>
  BASIN_HD static T d(T, T y, T) {
    return T(0.5) / y;
  }
};
struct Rsqrt {
  template <class T>
  BASIN_HD static T f(T x, T) {
    return T(1) / static_cast<T>(::sqrt(x));
  }
  template <class T>
  BASIN_HD static T d(T, T y, T) {
    return T(-0.5) * (square_(y) * y);
  }
};
struct Reciprocal {
  template <class T>
  BASIN_HD static T f(T x, T) {
    return T(1) / x;
  }
  template <class T>
  BASIN_HD static T d(T, T y, T) {
    return -square_(y);
  }
};
struct Square {
  template <class T>
  BASIN_HD static T f(T x, T) {
    return square_(x);
  }
  template <class T>
  BASIN_HD static T d(T x, T, T) {
    return T(2) * x;
  }
};
struct Pow {
  template <class T>
  BASIN_HD static T f(T x, T p) {
    return pow_(x, p);
  }
  template <class T>
  BASIN_HD static T d(T x, T, T p) {
    return p == T(0) ? T(0) : p * pow_(x, p - T(1));
  }
};
struct Sin {
  template <class T>
  BASIN_HD static T f(T x, T) {
    return sin_(x);
  }
  template <class T>
  BASIN_HD static T d(T x, T, T) {
    return cos_(x);
  }
};
struct Cos {
  template <class T>
  BASIN_HD static T f(T x, T) {
    return cos_(x);
  }
  template <class T>
  BASIN_HD static T d(T x, T, T) {
    return -sin_(x);
  }
};
struct Tanh {
  template <class T>
  BASIN_HD static T f(T x, T) {
    return tanh_(x);
  }
  template <class T>
  BASIN_HD static T d(T, T y, T) {
    return T(1) - square_(y);
  }
};
struct Erf {
  template <class T>
  BASIN_HD static T f(T x, T) {
    return erf_(x);
  }
  template <class T>
  BASIN_HD static T d(T x, T, T) {
    return T(2 * std::numbers::inv_sqrtpi) * exp_(-square_(x));
  }
};
struct Sigmoid {
  template <class T>
  BASIN_HD static T f(T x, T) {
    return sigmoid_(x);
  }
  template <class T>
  BASIN_HD static T d(T, T y, T) {
    return y * (T(1) - y);
  }
};
struct Softplus {
  template <class T>
  BASIN_HD static T f(T x, T) {
    const T a = x < T(0) ? x : -x;  // -|x|
    return (x > T(0) ? x : T(0)) + static_cast<T>(::log1p(exp_(a)));
  }
  template <class T>
  BASIN_HD static T d(T x, T, T) {
    return sigmoid_(x);
  }
};
struct Silu {
  template <class T>
  BASIN_HD static T f(T x, T) {
    return x * sigmoid_(x);
  }
  template <class T>
  BASIN_HD static T d(T x, T, T) {
    const T s = sigmoid_(x);
    return s + x * s * (T(1) - s);
  }
};
struct Gelu {
  template <class T>
  BASIN_HD static T f(T x, T) {
    return T(0.5) * x * (T(1) + erf_(x * T(1 / std::numbers::sqrt2)));
  }
  template <class T>
  BASIN_HD static T d(T x, T, T) {
    return T(0.5) * (T(1) + erf_(x * T(1 / std::numbers::sqrt2))) +
           x * T(std::numbers::inv_sqrtpi / std::numbers::sqrt2) * exp_(T(-0.5) * x * x);
  }
};
struct Relu {  // written so that NaN passes through
  template <class T>
  BASIN_HD static T f(T x, T) {
    return x < T(0) ? T(0) : x;
  }
  template <class T>
  BASIN_HD static T d(T, T y, T) {
    return step_(y, T(0));
  }
};
struct LeakyRelu {
  template <class T>
  BASIN_HD static T f(T x, T p) {
    return x > T(0) ? x : p * x;
  }
  template <class T>
  BASIN_HD static T d(T x, T, T p) {
    return step_(x, p);
  }
};
struct Sign {
  template <class T>
  BASIN_HD static T f(T x, T) {
    return sign_(x);
  }
  template <class T>
  BASIN_HD static T d(T, T, T) {
    return T(0);
  }
};
struct Abs {
  template <class T>
  BASIN_HD static T f(T x, T) {
    return x < T(0) ? -x : x;
  }
  template <class T>
  BASIN_HD static T d(T x, T, T) {
    return sign_(x);
  }
};
struct Scale {
  template <class T>
  BASIN_HD static T f(T x, T p) {
    return p * x;
  }
  template <class T>
  BASIN_HD static T d(T, T, T p) {
    return p;
  }
};
struct Shift {
  template <class T>
  BASIN_HD static T f(T x, T p) {
    return x + p;
  }
  template <class T>
  BASIN_HD static T d(T, T, T) {
    return T(1);
  }
};
struct Step {
  template <class T>
  BASIN_HD static T f(T x, T p) {
    return step_(x, p);
  }
  template <class T>
  BASIN_HD static T d(T, T, T) {
    return T(0);
  }
};

struct Add {
  template <class T>
  BASIN_HD static T f(T a, T b) {
    return a + b;
  }
};
struct Sub {
  template <class T>
  BASIN_HD static T f(T a, T b) {
    return a - b;
  }
};
struct Mul {
  template <class T>
  BASIN_HD static T f(T a, T b) {
    return a * b;
  }
};
struct Div {
  template <class T>
  BASIN_HD static T f(T a, T b) {
    return a / b;
  }
};
struct Maximum {
  template <class T>
  BASIN_HD static T f(T a, T b) {
    return a >= b || a != a ? a : b;
  }
};
struct Minimum {
  template <class T>
  BASIN_HD static T f(T a, T b) {
    return a <= b || a != a ? a : b;
  }
};
struct GreaterEqual {  // 1 or 0: the constant masks of maximum and minimum
  template <class T>
  BASIN_HD static T f(T a, T b) {
    return a >= b ? T(1) : T(0);
  }
};

}  // namespace basin::scalar
