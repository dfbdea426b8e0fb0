// Optimizer updates on the CPU: one fused pass per tensor, compiled per instruction set and cut
// into fixed tiles.
#include "basin/kernels/update.h"

#include <cmath>

#include "basin/core/parallel.h"
#include "basin/kernels/cpu/hot.h"

namespace basin {
namespace {

constexpr int64_t kTile = int64_t{1} << 15;

template <class T>
struct AdamScalars {
  T beta1, one_minus_beta1, beta2, one_minus_beta2;
  T step_size, inverse_root, eps, l2, shrink;
};

template <class T, bool kGradient, bool kMax>
BASIN_HOT void adam_pass(T* __restrict w, const T* __restrict g, T* __restrict m, T* __restrict v,
                         T* __restrict vmax, int64_t n, const AdamScalars<T>& scalars) {
  const AdamScalars<T> k = scalars;
  for (int64_t i = 0; i < n; ++i) {
    const T grad = (kGradient ? g[i] : T(0)) + k.l2 * w[i];
    m[i] = k.beta1 * m[i] + k.one_minus_beta1 * grad;
    v[i] = k.beta2 * v[i] + k.one_minus_beta2 * grad * grad;
    T second = v[i];
    if constexpr (kMax) {
      second = vmax[i] > second ? vmax[i] : second;
      vmax[i] = second;
    }
    w[i] = w[i] * k.shrink - k.step_size * m[i] / (std::sqrt(second) * k.inverse_root + k.eps);
  }
}

template <class T>
void adam_tensor(AdamItem& item, const AdamNumbers& c) {
  const AdamScalars<T> scalars{
      static_cast<T>(c.beta1),     static_cast<T>(1 - c.beta1),    static_cast<T>(c.beta2),
      static_cast<T>(1 - c.beta2), static_cast<T>(item.step_size), static_cast<T>(c.inverse_root),
      static_cast<T>(c.eps),       static_cast<T>(item.l2),        static_cast<T>(item.shrink)};
  T* pw = item.w.mutable_data<T>();
  T* pm = item.m.mutable_data<T>();
  T* pv = item.v.mutable_data<T>();
  const T* pg = item.g.defined() ? item.g.data<T>() : nullptr;
  T* px = item.vmax.defined() ? item.vmax.mutable_data<T>() : nullptr;
  parallel_for(item.w.numel(), kTile, [&](int64_t begin, int64_t end) {
    const int64_t n = end - begin;
    if (pg && px) {
      hot([&] {
        adam_pass<T, true, true>(pw + begin, pg + begin, pm + begin, pv + begin, px + begin, n,
                                 scalars);
      });
    } else if (pg) {
      hot([&] {
        adam_pass<T, true, false>(pw + begin, pg + begin, pm + begin, pv + begin, nullptr, n,
                                  scalars);
      });
    } else if (px) {
      hot([&] {
        adam_pass<T, false, true>(pw + begin, nullptr, pm + begin, pv + begin, px + begin, n,
                                  scalars);
      });
    } else {
      hot([&] {
        adam_pass<T, false, false>(pw + begin, nullptr, pm + begin, pv + begin, nullptr, n,
                                   scalars);
      });
    }
  });
}

template <class T>
struct SgdScalars {
  T lr, l2, momentum, intake;
  bool nesterov;
};

template <class T, bool kGradient>
BASIN_HOT void sgd_pass(T* __restrict w, const T* __restrict g, T* __restrict b, int64_t n,
                        const SgdScalars<T>& scalars) {
  const SgdScalars<T> k = scalars;
  const T fresh = k.nesterov ? T(1) : T(0), heavy = k.nesterov ? k.momentum : T(1);
  for (int64_t i = 0; i < n; ++i) {
    const T grad = (kGradient ? g[i] : T(0)) + k.l2 * w[i];
    b[i] = k.momentum * b[i] + k.intake * grad;
    w[i] -= k.lr * (fresh * grad + heavy * b[i]);
  }
}

template <class T, bool kGradient>
BASIN_HOT void plain_pass(T* __restrict w, const T* __restrict g, int64_t n,
                          const SgdScalars<T>& scalars) {
  const SgdScalars<T> k = scalars;
  for (int64_t i = 0; i < n; ++i) w[i] -= k.lr * ((kGradient ? g[i] : T(0)) + k.l2 * w[i]);
}

template <class T>
void sgd_tensor(SgdItem& item, const SgdNumbers& c) {
  const SgdScalars<T> scalars{static_cast<T>(item.lr), static_cast<T>(item.l2),
                              static_cast<T>(c.momentum), static_cast<T>(c.intake), c.nesterov};
  T* pw = item.w.mutable_data<T>();
  T* pb = item.b.defined() ? item.b.mutable_data<T>() : nullptr;
  const T* pg = item.g.defined() ? item.g.data<T>() : nullptr;
  parallel_for(item.w.numel(), kTile, [&](int64_t begin, int64_t end) {
    const int64_t n = end - begin;
    if (pb && pg) {
      hot([&] { sgd_pass<T, true>(pw + begin, pg + begin, pb + begin, n, scalars); });
    } else if (pb) {
      hot([&] { sgd_pass<T, false>(pw + begin, nullptr, pb + begin, n, scalars); });
    } else if (pg) {
      hot([&] { plain_pass<T, true>(pw + begin, pg + begin, n, scalars); });
    } else {
      hot([&] { plain_pass<T, false>(pw + begin, nullptr, n, scalars); });
    }
  });
}

template <class T, bool kGradient>
BASIN_HOT void momentum_pass(T* __restrict b, const T* __restrict g, T* __restrict m, int64_t n,
                             const MomentumNumbers& numbers) {
  const T keep = static_cast<T>(numbers.keep), intake = static_cast<T>(numbers.intake);
  const T direct = static_cast<T>(numbers.direct), heavy = static_cast<T>(numbers.heavy);
  for (int64_t i = 0; i < n; ++i) {
    const T grad = kGradient ? g[i] : T(0);
    b[i] = keep * b[i] + intake * grad;
    m[i] = direct * grad + heavy * b[i];
  }
}

template <class T>
void momentum_tensor(MomentumItem& item, const MomentumNumbers& numbers) {
  T* pb = item.b.mutable_data<T>();
  T* pm = item.m.mutable_data<T>();
  const T* pg = item.g.defined() ? item.g.data<T>() : nullptr;
  parallel_for(item.b.numel(), kTile, [&](int64_t begin, int64_t end) {
    if (pg) {
      hot([&] {
        momentum_pass<T, true>(pb + begin, pg + begin, pm + begin, end - begin, numbers);
      });
    } else {
      hot([&] { momentum_pass<T, false>(pb + begin, nullptr, pm + begin, end - begin, numbers); });
    }
  });
}

template <class T>
BASIN_HOT void step_pass(T* __restrict w, const T* __restrict o, int64_t n, double shrink,
                         double rate) {
  const T s = static_cast<T>(shrink), r = static_cast<T>(rate);
  for (int64_t i = 0; i < n; ++i) w[i] = s * w[i] - r * o[i];
}

}  // namespace

Tensor AdamUpdate::live_numbers(std::span<const AdamItem> items, const AdamNumbers& numbers) {
  Tensor live = Tensor::empty({static_cast<int64_t>(items.size()), 4}, DType::f64);
  double* to = live.mutable_data<double>();
  for (const AdamItem& item : items) {
    for (const double v : {item.step_size, item.l2, item.shrink, numbers.inverse_root}) *to++ = v;
  }
  return live;
}

Tensor StepUpdate::live_numbers(std::span<const StepItem> items) {
  Tensor live = Tensor::empty({static_cast<int64_t>(items.size()), 4}, DType::f64);
  double* to = live.mutable_data<double>();
  for (const StepItem& item : items) {
    for (const double v : {item.shrink, item.rate, 0.0, 0.0}) *to++ = v;
  }
  return live;
}

void AdamUpdate::cpu(std::span<AdamItem> items, const AdamNumbers& numbers, const Tensor& live) {
  check(!live.defined(), name, ": live numbers are for a device");
  for (AdamItem& item : items) {
    dispatch_float(item.w.dtype(), name, [&](auto t) { adam_tensor<decltype(t)>(item, numbers); });
  }
}

void SgdUpdate::cpu(std::span<SgdItem> items, const SgdNumbers& numbers) {
  for (SgdItem& item : items) {
    dispatch_float(item.w.dtype(), name, [&](auto t) { sgd_tensor<decltype(t)>(item, numbers); });
  }
}

void MomentumUpdate::cpu(std::span<MomentumItem> items, const MomentumNumbers& numbers) {
  for (MomentumItem& item : items) {
    dispatch_float(item.b.dtype(), name,
                   [&](auto t) { momentum_tensor<decltype(t)>(item, numbers); });
  }
}

void StepUpdate::cpu(std::span<StepItem> items, const Tensor& live) {
  check(!live.defined(), name, ": live numbers are for a device");
  for (StepItem& item : items) {
    dispatch_float(item.w.dtype(), name, [&](auto t) {
      using T = decltype(t);
      T* w = item.w.mutable_data<T>() + item.offset;
      const T* o = item.o.data<T>() + item.offset;
      parallel_for(item.count, kTile, [&](int64_t begin, int64_t end) {
        hot([&] { step_pass<T>(w + begin, o + begin, end - begin, item.shrink, item.rate); });
      });
    });
  }
}

}  // namespace basin
