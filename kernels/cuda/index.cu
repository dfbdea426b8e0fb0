// CUDA index kernels: one thread per output element; sums run in the order of the CPU kernels.
// Index values are checked with BASIN_SYNC=1 (index.h).
#include "basin/kernels/index.h"

#include "basin/kernels/cuda/elements.cuh"

namespace basin {
namespace {

int64_t width_of(const Tensor& x) { return x.size(0) == 0 ? 0 : x.numel() / x.size(0); }

// The segment that row e belongs to: the last s with offsets[s] <= e.
__device__ inline int64_t segment_of(const int32_t* offsets, int64_t segments, int64_t e) {
  int64_t low = 0, high = segments;
  while (low + 1 < high) {
    const int64_t middle = (low + high) / 2;
    if (offsets[middle] <= e) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return low;
}

template <class T>
void gather(const T* x, const int32_t* at, int64_t width, T* out, int64_t rows) {
  cuda::map_elements(Gather::name, rows, width, [=] __device__(int64_t r, int64_t f) {
    out[r * width + f] = x[at[r] * width + f];
  });
}

template <class T>
void segment_sum(const T* x, const int32_t* start, int64_t width, T* out, int64_t segments) {
  cuda::map_elements(SegmentSum::name, segments, width, [=] __device__(int64_t s, int64_t f) {
    T sum = 0;
    for (int64_t e = start[s]; e < start[s + 1]; ++e) sum += x[e * width + f];
    out[s * width + f] = sum;
  });
}

template <class T>
void segment_expand(const T* x, const int32_t* start, int64_t segments, int64_t width, T* out,
                    int64_t rows) {
  cuda::map_elements(SegmentExpand::name, rows, width, [=] __device__(int64_t r, int64_t f) {
    out[r * width + f] = x[segment_of(start, segments, r) * width + f];
  });
}

template <class T>
void segment_argmax(const T* x, const int32_t* start, int64_t width, int32_t* index,
                    int64_t segments) {
  cuda::map_elements(SegmentArgmax::name, segments, width, [=] __device__(int64_t s, int64_t f) {
    int32_t at = start[s] < start[s + 1] ? start[s] : -1;
    for (int32_t e = start[s] + 1; e < start[s + 1]; ++e) {
      if (x[e * width + f] > x[at * width + f]) at = e;
    }
    index[s * width + f] = at;
  });
}

template <class T>
void take_along(const T* x, AxisView in, const int32_t* at, AxisView v, T* out) {
  const int64_t count = v.outer * v.n * v.inner;
  const cuda::FastDivide inner(v.inner, count), picked(v.n, count);
  cuda::for_items(TakeAlong::name, count, [=] __device__(int64_t i) {
    const int64_t row = inner.quotient(i), f = inner.remainder(i, row);
    const int64_t outer = picked.quotient(row);
    out[i] = at[i] < 0 ? T(0) : x[(outer * in.n + at[i]) * v.inner + f];
  });
}

// One thread owns a column of the output, so the sums need no atomics.
template <class T>
void put_along(const T* x, AxisView v, const int32_t* at, AxisView dst, T* out) {
  cuda::map_elements(PutAlong::name, dst.outer, dst.inner,
                     [=] __device__(int64_t outer, int64_t f) {
                       T* column = out + outer * dst.n * dst.inner + f;
                       for (int64_t k = 0; k < dst.n; ++k) column[k * dst.inner] = T(0);
                       for (int64_t m = 0; m < v.n; ++m) {
                         const int64_t from = (outer * v.n + m) * v.inner + f;
                         if (at[from] >= 0) column[at[from] * dst.inner] += x[from];
                       }
                     });
}

}  // namespace

void Gather::cuda(const Tensor& x, const Tensor& index, Tensor& out) {
  check_index(index, x.size(0), 0, name);
  dispatch_float(x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    gather(cuda::in_ptr<T>(x), cuda::in_ptr<int32_t>(index), width_of(x), cuda::out_ptr<T>(out),
           index.numel());
  });
}

void SegmentSum::cuda(const Tensor& x, const Tensor& offsets, Tensor& out) {
  dispatch_float(x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    segment_sum(cuda::in_ptr<T>(x), cuda::in_ptr<int32_t>(offsets), width_of(out),
                cuda::out_ptr<T>(out), out.size(0));
  });
}

void SegmentExpand::cuda(const Tensor& x, const Tensor& offsets, Tensor& out) {
  dispatch_float(x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    segment_expand(cuda::in_ptr<T>(x), cuda::in_ptr<int32_t>(offsets), x.size(0), width_of(x),
                   cuda::out_ptr<T>(out), out.size(0));
  });
}

void SegmentArgmax::cuda(const Tensor& x, const Tensor& offsets, Tensor& index) {
  dispatch_float(x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    segment_argmax(cuda::in_ptr<T>(x), cuda::in_ptr<int32_t>(offsets), width_of(index),
                   cuda::out_ptr<int32_t>(index), index.size(0));
  });
}

void TakeAlong::cuda(const Tensor& x, const Tensor& index, int axis, Tensor& out) {
  check_index(index, axis_view(x.shape(), axis).n, -1, name);
  dispatch_float(x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    take_along(cuda::in_ptr<T>(x), axis_view(x.shape(), axis), cuda::in_ptr<int32_t>(index),
               axis_view(out.shape(), axis), cuda::out_ptr<T>(out));
  });
}

void PutAlong::cuda(const Tensor& x, const Tensor& index, int axis, Tensor& out) {
  check_index(index, axis_view(out.shape(), axis).n, -1, name);
  dispatch_float(x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    put_along(cuda::in_ptr<T>(x), axis_view(x.shape(), axis), cuda::in_ptr<int32_t>(index),
              axis_view(out.shape(), axis), cuda::out_ptr<T>(out));
  });
}

}  // namespace basin
