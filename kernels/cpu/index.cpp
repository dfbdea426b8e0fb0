// CPU index kernels. Parallel over output rows; every output row is summed by one thread in a fixed
// order.
#include "basin/kernels/index.h"

#include <algorithm>

#include "basin/core/parallel.h"
#include "basin/kernels/cpu/hot.h"
#include "basin/kernels/csr.h"

namespace basin {
namespace {

constexpr int64_t kGrain = 32768;

int64_t row_grain(int64_t width) {
  return std::max<int64_t>(1, kGrain / std::max<int64_t>(width, 1));
}

int64_t width_of(const Tensor& x) { return x.size(0) == 0 ? 0 : x.numel() / x.size(0); }

template <class T>
BASIN_HOT void add_row(const T* x, T* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] += x[i];
}

}  // namespace

void check_index(const Tensor& index, int64_t rows, int64_t lowest, const char* op) {
  if (index.device() != Device::cpu) {
    if (device_checks()) check_index(index.to(Device::cpu), rows, lowest, op);
    return;
  }
  const int32_t* p = index.data<int32_t>();
  for (int64_t e = 0, n = index.numel(); e < n; ++e) {
    if (p[e] < lowest || p[e] >= rows) [[unlikely]]
      fail(ErrorKind::usage, op, ": index ", p[e], " at position ", e, " is outside ", lowest, "..",
           rows - 1);
  }
}

void check_offsets(const Tensor& offsets, int64_t rows, const char* op) {
  check(offsets.dtype() == DType::i32 && offsets.rank() == 1 && offsets.numel() >= 1, op,
        ": offsets must be i32 [segments + 1], got ", offsets);
  if (offsets.device() != Device::cpu) {
    if (device_checks()) check_offsets(offsets.to(Device::cpu), rows, op);
    return;
  }
  const int32_t* p = offsets.data<int32_t>();
  check(p[0] == 0, op, ": offsets must start at 0, got ", p[0]);
  for (int64_t s = 1; s < offsets.numel(); ++s) {
    check(p[s] >= p[s - 1], op, ": offsets fall at position ", s);
  }
  check(p[offsets.numel() - 1] == rows, op, ": offsets end at ", p[offsets.numel() - 1],
        ", expected ", rows, " rows");
}

void Gather::cpu(const Tensor& x, const Tensor& index, Tensor& out) {
  check_index(index, x.size(0), 0, name);
  const int64_t width = width_of(x);
  const int32_t* at = index.data<int32_t>();
  dispatch_float(x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    const T* p = x.data<T>();
    T* o = out.mutable_data<T>();
    parallel_for(index.numel(), row_grain(width), [&](int64_t e, int64_t end) {
      for (; e < end; ++e) std::copy_n(p + at[e] * width, width, o + e * width);
    });
  });
}

void ScatterSum::cpu(const Tensor& x, const Tensor& index, Tensor& out) {
  check_index(index, out.size(0), 0, name);
  const int64_t width = width_of(out);
  Tensor offsets = Tensor::empty({out.size(0) + 1}, DType::i32);
  Tensor sorted = Tensor::empty({index.numel()}, DType::i32);
  SortByRow::cpu(index, offsets, sorted);
  const int32_t* start = offsets.data<int32_t>();
  const int32_t* order = sorted.data<int32_t>();
  dispatch_float(x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    const T* p = x.data<T>();
    T* o = out.mutable_data<T>();
    parallel_for(out.size(0), row_grain(width), [&](int64_t n, int64_t end) {
      for (; n < end; ++n) {
        std::fill_n(o + n * width, width, T(0));
        for (int32_t k = start[n]; k < start[n + 1]; ++k) {
          hot([&] { add_row(p + order[k] * width, o + n * width, width); });
        }
      }
    });
  });
}

void SegmentSum::cpu(const Tensor& x, const Tensor& offsets, Tensor& out) {
  const int64_t width = width_of(out);
  const int32_t* start = offsets.data<int32_t>();
  dispatch_float(x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    const T* p = x.data<T>();
    T* o = out.mutable_data<T>();
    parallel_for(out.size(0), row_grain(width), [&](int64_t s, int64_t end) {
      for (; s < end; ++s) {
        std::fill_n(o + s * width, width, T(0));
        for (int64_t e = start[s]; e < start[s + 1]; ++e)
          hot([&] { add_row(p + e * width, o + s * width, width); });
      }
    });
  });
}

void SegmentExpand::cpu(const Tensor& x, const Tensor& offsets, Tensor& out) {
  const int64_t width = width_of(x);
  const int32_t* start = offsets.data<int32_t>();
  dispatch_float(x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    const T* p = x.data<T>();
    T* o = out.mutable_data<T>();
    parallel_for(x.size(0), row_grain(width), [&](int64_t s, int64_t end) {
      for (; s < end; ++s) {
        for (int64_t e = start[s]; e < start[s + 1]; ++e) {
          std::copy_n(p + s * width, width, o + e * width);
        }
      }
    });
  });
}

void SegmentArgmax::cpu(const Tensor& x, const Tensor& offsets, Tensor& index) {
  const int64_t width = width_of(index);
  const int32_t* start = offsets.data<int32_t>();
  int32_t* best = index.mutable_data<int32_t>();
  dispatch_float(x.dtype(), name, [&](auto z) {
    const auto* p = x.data<decltype(z)>();
    parallel_for(index.size(0), row_grain(width), [&](int64_t s, int64_t end) {
      for (; s < end; ++s) {
        int32_t* row = best + s * width;
        std::fill_n(row, width, start[s] < start[s + 1] ? start[s] : -1);
        for (int32_t e = start[s] + 1; e < start[s + 1]; ++e) {
          for (int64_t i = 0; i < width; ++i) {
            if (p[e * width + i] > p[row[i] * width + i]) row[i] = e;
          }
        }
      }
    });
  });
}

void TakeAlong::cpu(const Tensor& x, const Tensor& index, int axis, Tensor& out) {
  const AxisView in = axis_view(x.shape(), axis), v = axis_view(out.shape(), axis);
  check_index(index, in.n, -1, name);
  const int32_t* at = index.data<int32_t>();
  dispatch_float(x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    const T* p = x.data<T>();
    T* o = out.mutable_data<T>();
    parallel_for(v.outer * v.n, row_grain(v.inner), [&](int64_t r, int64_t end) {
      for (; r < end; ++r) {
        const T* block = p + r / v.n * in.n * v.inner;
        for (int64_t i = 0; i < v.inner; ++i) {
          const int32_t k = at[r * v.inner + i];
          o[r * v.inner + i] = k < 0 ? T(0) : block[k * v.inner + i];
        }
      }
    });
  });
}

void PutAlong::cpu(const Tensor& x, const Tensor& index, int axis, Tensor& out) {
  const AxisView v = axis_view(x.shape(), axis), dst = axis_view(out.shape(), axis);
  check_index(index, dst.n, -1, name);
  const int32_t* at = index.data<int32_t>();
  dispatch_float(x.dtype(), name, [&](auto z) {
    using T = decltype(z);
    const T* p = x.data<T>();
    T* o = out.mutable_data<T>();
    const int64_t block = dst.n * v.inner;
    parallel_for(v.outer, row_grain(block), [&](int64_t b, int64_t end) {
      for (; b < end; ++b) {
        std::fill_n(o + b * block, block, T(0));
        for (int64_t m = 0; m < v.n; ++m) {
          for (int64_t i = 0; i < v.inner; ++i) {
            const int64_t from = (b * v.n + m) * v.inner + i;
            if (at[from] >= 0) o[b * block + at[from] * v.inner + i] += p[from];
          }
        }
      }
    });
  });
}

}  // namespace basin
