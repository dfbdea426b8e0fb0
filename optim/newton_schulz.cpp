// Orthogonalisation: the iteration is in kernels/newton_schulz.h, the exact polar factor here.
#include "basin/optim/newton_schulz.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "basin/core/parallel.h"
#include "basin/core/storage.h"
#include "basin/kernels/gemm.h"
#include "basin/kernels/launch.h"
#include "basin/kernels/linalg.h"

namespace basin {
namespace {

constexpr int64_t kMaxSide = int64_t{1} << 30;  // BLAS counts in 32 bits

// U V^T without the directions whose singular value is rounding noise.
template <class In, class W>
void exact_matrix(const In* in, In* out, int64_t rows, int64_t cols) {
  const int64_t p = std::min(rows, cols);
  Tensor a = Tensor::empty({rows, cols}, kDTypeOf<W>);
  std::transform(in, in + rows * cols, a.mutable_data<W>(), [](In v) { return static_cast<W>(v); });
  SvdFactors f = Svd::cpu(a);
  const W* s = f.s.data<W>();
  const W cut = s[0] * static_cast<W>(std::max(rows, cols)) * std::numeric_limits<W>::epsilon();
  W* vt = f.vt.mutable_data<W>();
  for (int64_t i = 0; i < p; ++i) {
    if (s[i] <= cut) std::fill(vt + i * cols, vt + (i + 1) * cols, W(0));
  }
  gemm_serial(false, false, rows, cols, p, W(1), f.u.data<W>(), p, vt, cols, W(0),
              a.mutable_data<W>(), cols);
  std::transform(a.data<W>(), a.data<W>() + rows * cols, out,
                 [](W v) { return static_cast<In>(v); });
}

template <class In, class W>
void run_exact(std::span<const MatrixTask> tasks) {
  constexpr int64_t kTasksPerTile = 4;
  const int64_t grain = tasks.size() > 64 ? kTasksPerTile : 1;  // an SVD is serial inside
  parallel_for(static_cast<int64_t>(tasks.size()), grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const MatrixTask& t = tasks[i];
      const In* in = static_cast<const In*>(t.in);
      In* out = static_cast<In*>(t.out);
      const int64_t n = t.rows * t.cols;
      if (std::all_of(in, in + n, [](In v) { return v == 0; })) {
        std::fill(out, out + n, In(0));
      } else {
        exact_matrix<In, W>(in, out, t.rows, t.cols);
      }
    }
  });
}

// Decompositions run on the CPU, wherever the matrices are.
void exact(std::span<const MatrixTask> tasks, DType dtype, NsPrecision precision, Device device) {
  Tensors copies;
  std::vector<MatrixTask> here(tasks.begin(), tasks.end());
  for (MatrixTask& t : here) {
    if (device == Device::cpu) break;
    Tensor in = Tensor::empty({t.rows, t.cols}, dtype), out = in.clone();
    device_backend(device).copy(in.mutable_raw(), Device::cpu, t.in, device, in.bytes());
    t.in = in.raw();
    t.out = out.mutable_raw();
    copies.push_back(in);
    copies.push_back(out);
  }
  dispatch_float(dtype, "orthogonalise", [&](auto t) {
    using In = decltype(t);
    switch (precision) {
      case NsPrecision::same: return run_exact<In, In>(here);
      case NsPrecision::f32:
      case NsPrecision::bf16: return run_exact<In, float>(here);
      case NsPrecision::f64: return run_exact<In, double>(here);
    }
  });
  for (size_t i = 0; i < copies.size() / 2; ++i) {
    const Tensor& out = copies[2 * i + 1];
    device_backend(device).copy(tasks[i].out, device, out.raw(), Device::cpu, out.bytes());
  }
}

NsArithmetic arithmetic_of(NsPrecision precision, DType dtype) {
  switch (precision) {
    case NsPrecision::f32: return NsArithmetic::f32;
    case NsPrecision::f64: return NsArithmetic::f64;
    case NsPrecision::bf16: return NsArithmetic::bf16;
    case NsPrecision::same: break;
  }
  return dtype == DType::f64 ? NsArithmetic::f64 : NsArithmetic::f32;
}

}  // namespace

void orthogonalise(std::span<const MatrixTask> tasks, DType dtype,
                   const OrthogonaliseConfig& config, Device device) {
  validate(config);
  for (const MatrixTask& task : tasks) {
    check(task.in && task.out && task.rows > 0 && task.cols > 0 && task.rows < kMaxSide &&
              task.cols < kMaxSide,
          "orthogonalise: expects matrices with sides from 1 to ", kMaxSide, ", got ", task.rows,
          " x ", task.cols);
  }
  if (config.exact) return exact(tasks, dtype, config.precision, device);
  const std::vector<OddQuintic> steps = coefficient_set(config.set, config.steps, config.safety);
  const NewtonSchulzPlan plan{steps, config.norm, config.eps, safety_factor(config),
                              arithmetic_of(config.precision, dtype)};
  launch<NewtonSchulz>(device, tasks, dtype, plan);
}

Tensor orthogonalise(const Tensor& m, const OrthogonaliseConfig& config) {
  check(m.defined() && (m.rank() == 2 || m.rank() == 3),
        "orthogonalise: expects [rows, cols] or a batch [k, rows, cols], got ", m);
  Tensor out = Tensor::empty(m.shape(), m.dtype(), m.device());
  const int64_t rows = m.size(-2), cols = m.size(-1);
  const int64_t count = m.rank() == 3 ? m.size(0) : 1;
  const size_t stride = static_cast<size_t>(rows * cols) * size_of(m.dtype());
  const char* in = static_cast<const char*>(m.raw());
  char* to = static_cast<char*>(out.mutable_raw());
  std::vector<MatrixTask> tasks;
  for (int64_t i = 0; i < count; ++i)
    tasks.push_back({in + i * stride, to + i * stride, rows, cols});
  orthogonalise(tasks, m.dtype(), config, m.device());
  return out;
}

}  // namespace basin
