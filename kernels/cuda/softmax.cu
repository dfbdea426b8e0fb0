// Softmax and cross-entropy on the device: one warp per row, each by the functions of row_maps.h.
#include "basin/kernels/softmax.h"

#include "basin/kernels/cuda/warp_rows.cuh"

namespace basin {
namespace {

struct Rows {
  explicit Rows(const Tensor& x) : n(x.size(-1)), count(x.numel() / n) {}
  int64_t n, count;
};

template <class T>
void softmax(bool log, Rows rows, const T* x, T* y) {
  cuda::for_rows(Softmax::name, rows.count,
                 [=] __device__(const cuda::WarpLanes& lanes, int64_t r) {
                   const int64_t at = r * rows.n;
                   if (log) {
                     row_map::log_softmax(lanes, rows.n, x + at, y + at);
                   } else {
                     row_map::softmax(lanes, rows.n, x + at, y + at);
                   }
                 });
}

template <class T>
void softmax_vjp(bool log, Rows rows, const T* y, const T* c, T* dx) {
  cuda::for_rows(SoftmaxVjp::name, rows.count,
                 [=] __device__(const cuda::WarpLanes& lanes, int64_t r) {
                   const int64_t at = r * rows.n;
                   if (log) {
                     row_map::log_softmax_vjp(lanes, rows.n, y + at, c + at, dx + at);
                   } else {
                     row_map::softmax_slope(lanes, rows.n, y + at, c + at, dx + at);
                   }
                 });
}

template <class T>
void softmax_jvp(bool log, Rows rows, const T* y, const T* t, T* y_t) {
  cuda::for_rows(SoftmaxJvp::name, rows.count,
                 [=] __device__(const cuda::WarpLanes& lanes, int64_t r) {
                   const int64_t at = r * rows.n;
                   if (log) {
                     row_map::log_softmax_jvp(lanes, rows.n, y + at, t + at, y_t + at);
                   } else {
                     row_map::softmax_slope(lanes, rows.n, y + at, t + at, y_t + at);
                   }
                 });
}

template <class T>
__device__ const T* or_null(const T* p, int64_t at) {
  return p ? p + at : nullptr;
}

template <class T>
void softmax_vjp_jvp(bool log, Rows rows, const T* y, const T* c, const T* t, const T* c_t,
                     T* dx_t) {
  cuda::for_rows(SoftmaxVjpJvp::name, rows.count,
                 [=] __device__(const cuda::WarpLanes& lanes, int64_t r) {
                   const int64_t at = r * rows.n;
                   const T *ts = or_null(t, at), *cs = or_null(c_t, at);
                   if (log) {
                     row_map::log_softmax_vjp_jvp(lanes, rows.n, y + at, c + at, ts, cs, dx_t + at);
                   } else {
                     row_map::softmax_vjp_jvp(lanes, rows.n, y + at, c + at, ts, cs, dx_t + at);
                   }
                 });
}

// Not in the templates: nvcc loses the braces of a shape beside a device lambda.
Tensor doubles(int64_t n) { return Tensor::empty({n}, DType::f64, Device::cuda); }

struct Targets {
  Targets(const Tensor& labels, int64_t classes, double smoothing)
      : label(cuda::in_ptr<int64_t>(labels)),
        hit(1 - smoothing),
        other(classes > 1 ? smoothing / static_cast<double>(classes - 1) : 0) {}
  __device__ row_map::Target operator()(int64_t r) const { return {label[r], hit, other}; }
  const int64_t* label;
  double hit, other;
};

constexpr int kMeanThreads = 1024;

// One block: a thread's parts in their order, then a tree over the threads.
template <class T>
__global__ void __launch_bounds__(kMeanThreads)
    mean_kernel(const double* part, int64_t rows, T* mean) {
  __shared__ double sum[kMeanThreads];
  double own = 0;
  for (int64_t r = threadIdx.x; r < rows; r += kMeanThreads) own += part[r];
  sum[threadIdx.x] = own;
  __syncthreads();
  for (int width = kMeanThreads / 2; width > 0; width /= 2) {
    if (static_cast<int>(threadIdx.x) < width) sum[threadIdx.x] += sum[threadIdx.x + width];
    __syncthreads();
  }
  if (threadIdx.x == 0) *mean = static_cast<T>(sum[0] / static_cast<double>(rows));
}

// mean <- the mean of part [rows]
template <class T>
void mean_of(const char* name, const double* part, int64_t rows, T* mean) {
  cuda::run(name, {1, kMeanThreads}, mean_kernel<T>, part, rows, mean);
}

template <class T>
void cross_entropy(Rows rows, const T* x, Targets target, T* y, T* loss) {
  Tensor parts = doubles(rows.count);
  double* part = cuda::out_ptr<double>(parts);
  cuda::for_rows(
      CrossEntropy::name, rows.count, [=] __device__(const cuda::WarpLanes& lanes, int64_t r) {
        const double value =
            row_map::cross_entropy(lanes, rows.n, x + r * rows.n, target(r), y + r * rows.n);
        if (lanes.lane == 0) part[r] = value;
      });
  mean_of(CrossEntropy::name, part, rows.count, loss);
}

template <class T>
void cross_entropy_vjp(Rows rows, const T* y, Targets target, const T* ct, T* dx) {
  cuda::for_rows(CrossEntropyVjp::name, rows.count,
                 [=] __device__(const cuda::WarpLanes& lanes, int64_t r) {
                   row_map::cross_entropy_vjp(lanes, rows.n, y + r * rows.n, target(r),
                                              *ct / static_cast<T>(rows.count), dx + r * rows.n);
                 });
}

template <class T>
void cross_entropy_jvp(Rows rows, const T* y, Targets target, const T* t, T* loss_t) {
  Tensor parts = doubles(rows.count);
  double* part = cuda::out_ptr<double>(parts);
  cuda::for_rows(
      CrossEntropyJvp::name, rows.count, [=] __device__(const cuda::WarpLanes& lanes, int64_t r) {
        const double value =
            row_map::cross_entropy_jvp(lanes, rows.n, y + r * rows.n, target(r), t + r * rows.n);
        if (lanes.lane == 0) part[r] = value;
      });
  mean_of(CrossEntropyJvp::name, part, rows.count, loss_t);
}

template <class T>
void cross_entropy_vjp_jvp(Rows rows, const T* y, Targets target, const T* ct, const T* t,
                           const T* ct_t, T* dx_t) {
  cuda::for_rows(CrossEntropyVjpJvp::name, rows.count,
                 [=] __device__(const cuda::WarpLanes& lanes, int64_t r) {
                   const int64_t at = r * rows.n;
                   const T share = T(1) / static_cast<T>(rows.count);
                   row_map::cross_entropy_vjp_jvp(lanes, rows.n, y + at, target(r), *ct * share,
                                                  or_null(t, at), ct_t ? *ct_t * share : T(0),
                                                  dx_t + at);
                 });
}

}  // namespace

void Softmax::cuda(bool log, const Tensor& x, Tensor& out) {
  dispatch_float(x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    softmax(log, Rows(x), cuda::in_ptr<T>(x), cuda::out_ptr<T>(out));
  });
}
void SoftmaxVjp::cuda(bool log, const Tensor& out, const Tensor& ct, Tensor& dx) {
  dispatch_float(out.dtype(), name, [&](auto z) {
    using T = decltype(z);
    softmax_vjp(log, Rows(out), cuda::in_ptr<T>(out), cuda::in_ptr<T>(ct), cuda::out_ptr<T>(dx));
  });
}
void SoftmaxJvp::cuda(bool log, const Tensor& out, const Tensor& t, Tensor& out_t) {
  dispatch_float(out.dtype(), name, [&](auto z) {
    using T = decltype(z);
    softmax_jvp(log, Rows(out), cuda::in_ptr<T>(out), cuda::in_ptr<T>(t), cuda::out_ptr<T>(out_t));
  });
}
void SoftmaxVjpJvp::cuda(bool log, const Tensor& out, const Tensor& ct, const Tensor& t,
                         const Tensor& ct_t, Tensor& dx_t) {
  dispatch_float(out.dtype(), name, [&](auto z) {
    using T = decltype(z);
    softmax_vjp_jvp(log, Rows(out), cuda::in_ptr<T>(out), cuda::in_ptr<T>(ct), cuda::in_ptr<T>(t),
                    cuda::in_ptr<T>(ct_t), cuda::out_ptr<T>(dx_t));
  });
}

void CrossEntropy::cuda(const Tensor& x, const Tensor& labels, double smoothing, Tensor& y,
                        Tensor& loss) {
  dispatch_float(x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    cross_entropy(Rows(x), cuda::in_ptr<T>(x), Targets(labels, x.size(1), smoothing),
                  cuda::out_ptr<T>(y), cuda::out_ptr<T>(loss));
  });
}
void CrossEntropyVjp::cuda(const Tensor& y, const Tensor& labels, double smoothing,
                           const Tensor& ct, Tensor& dx) {
  dispatch_float(y.dtype(), name, [&](auto z) {
    using T = decltype(z);
    cross_entropy_vjp(Rows(y), cuda::in_ptr<T>(y), Targets(labels, y.size(1), smoothing),
                      cuda::in_ptr<T>(ct), cuda::out_ptr<T>(dx));
  });
}
void CrossEntropyJvp::cuda(const Tensor& y, const Tensor& labels, double smoothing, const Tensor& t,
                           Tensor& loss_t) {
  dispatch_float(y.dtype(), name, [&](auto z) {
    using T = decltype(z);
    cross_entropy_jvp(Rows(y), cuda::in_ptr<T>(y), Targets(labels, y.size(1), smoothing),
                      cuda::in_ptr<T>(t), cuda::out_ptr<T>(loss_t));
  });
}
void CrossEntropyVjpJvp::cuda(const Tensor& y, const Tensor& labels, double smoothing,
                              const Tensor& ct, const Tensor& t, const Tensor& ct_t, Tensor& dx_t) {
  dispatch_float(y.dtype(), name, [&](auto z) {
    using T = decltype(z);
    cross_entropy_vjp_jvp(Rows(y), cuda::in_ptr<T>(y), Targets(labels, y.size(1), smoothing),
                          cuda::in_ptr<T>(ct), cuda::in_ptr<T>(t), cuda::in_ptr<T>(ct_t),
                          cuda::out_ptr<T>(dx_t));
  });
}

}  // namespace basin
