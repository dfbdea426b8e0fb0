// CUDA copies and fills: one thread per element.
#include "basin/kernels/copy.h"

#include "basin/kernels/cuda/elements.cuh"
#include "basin/kernels/reduce.h"

namespace basin {
namespace {

struct StridedPlan {
  int rank = 0;
  cuda::FastDivide sizes[kMaxRank];
  int64_t strides[kMaxRank] = {};
};

template <class Word>
void strided_copy(const Tensor& x, const StridedPlan& plan, Tensor& out) {
  const Word* p = cuda::in_ptr<Word>(x);
  Word* o = cuda::out_ptr<Word>(out);
  cuda::for_items(StridedCopy::name, out.numel(), [=] __device__(int64_t i) {
    int64_t rest = i, at = 0;
    for (int k = plan.rank - 1; k > 0; --k) {
      const int64_t outer = plan.sizes[k].quotient(rest);
      at += plan.sizes[k].remainder(rest, outer) * plan.strides[k];
      rest = outer;
    }
    o[i] = p[at + rest * plan.strides[0]];
  });
}

template <class Word>
void copy_axis(const Tensor& x, AxisView in, int64_t from, int64_t count, Tensor& out, AxisView dst,
               int64_t to) {
  const Word* p = cuda::in_ptr<Word>(x);
  Word* o = cuda::out_ptr<Word>(out);
  const int64_t run = count * in.inner;
  cuda::map_elements(CopyAxis::name, in.outer, run, [=] __device__(int64_t outer, int64_t rest) {
    o[(outer * dst.n + to) * in.inner + rest] = p[(outer * in.n + from) * in.inner + rest];
  });
}

template <class T>
void fill(T value, T* out, int64_t n) {
  cuda::for_items(Fill::name, n, [=] __device__(int64_t i) { out[i] = value; });
}

template <class T>
void identity(T* out, int64_t side) {
  cuda::map_elements(Identity::name, side, side, [=] __device__(int64_t r, int64_t c) {
    out[r * side + c] = r == c ? T(1) : T(0);
  });
}

}  // namespace

void StridedCopy::cuda(const Tensor& x, const std::array<int64_t, kMaxRank>& strides, Tensor& out) {
  StridedPlan plan;
  plan.rank = out.rank();
  for (int k = 0; k < plan.rank; ++k) {
    plan.sizes[k] = cuda::FastDivide(out.size(k), out.numel());
    plan.strides[k] = strides[k];
  }
  if (size_of(x.dtype()) == 4) {
    strided_copy<uint32_t>(x, plan, out);
  } else {
    strided_copy<uint64_t>(x, plan, out);
  }
}

void CopyAxis::cuda(const Tensor& x, int axis, int64_t from, int64_t count, Tensor& out,
                    int64_t to) {
  const AxisView in = axis_view(x.shape(), axis), dst = axis_view(out.shape(), axis);
  if (size_of(x.dtype()) == 4) {
    copy_axis<uint32_t>(x, in, from, count, out, dst, to);
  } else {
    copy_axis<uint64_t>(x, in, from, count, out, dst, to);
  }
}

void Fill::cuda(double value, Tensor& out) {
  dispatch_float(out.dtype(), name, [&](auto z) {
    using T = decltype(z);
    fill(static_cast<T>(value), cuda::out_ptr<T>(out), out.numel());
  });
}

void Identity::cuda(Tensor& out) {
  dispatch_float(out.dtype(), name, [&](auto z) {
    using T = decltype(z);
    identity(cuda::out_ptr<T>(out), out.size(0));
  });
}

}  // namespace basin
