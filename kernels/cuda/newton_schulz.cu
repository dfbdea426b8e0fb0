// The Newton-Schulz iteration on the device. Matrices of one shape go through together: norms in
// f64 by tiles whose sums are added in order, packing to [batch, p, q] with p <= q, the steps,
// unpacking. f32 and f64: X X^T and its square by the symmetric kernel, the product with X by
// cuBLAS. bf16: all three on the tensor cores. Nothing is read back: the host never waits.
#include "basin/kernels/newton_schulz.h"

#include <cmath>
#include <limits>
#include <vector>

#include "basin/kernels/cuda/dual.cuh"
#include "basin/kernels/cuda/elements.cuh"
#include "basin/kernels/cuda/gemm.cuh"
#include "basin/kernels/cuda/symmetric.cuh"
#include "basin/kernels/cuda/tensor_core.cuh"

namespace basin {
namespace {

constexpr int kThreads = 256, kMaxBatch = 128, kMaxSteps = 100;
constexpr int64_t kNormTile = 8192;
constexpr int64_t kBatchElements = int64_t{1} << 26;  // of X, its successor, A and the polynomial
constexpr const char* kName = NewtonSchulz::name;

template <class In>
struct Batch {
  const In* in[kMaxBatch];
  In* out[kMaxBatch];
  int64_t rows, cols;
  int count;

  int64_t size() const { return rows * cols; }
  int64_t p() const { return std::min(rows, cols); }
  int64_t q() const { return std::max(rows, cols); }
};
struct Steps {
  OddQuintic step[kMaxSteps];
  int count;
};

// Not in the templates: nvcc loses the braces of a shape beside a device lambda.
Tensor device_bytes(int64_t bytes) {
  return Tensor::empty({(bytes + 7) / 8}, DType::f64, Device::cuda);
}

// What the norm pass knows of a matrix. exponent: of the largest element, where the plain squares
// leave the range of f64 and the sum is made again with scaled elements.
struct Scale {
  double norm, denominator, gain;
  int32_t exponent, again;
};

// partial, largest [count, tiles]; `again`: only the matrices that need it, scaled.
template <class In>
__global__ void norm_kernel(Batch<In> batch, int64_t n, bool again, const Scale* scale,
                            double* partial, double* largest) {
  __shared__ double part[2][kThreads / 32];
  const int at = static_cast<int>(blockIdx.y);
  if (again && !scale[at].again) return;
  const double factor = again ? ldexp(1.0, -scale[at].exponent) : 1.0;
  const In* x = batch.in[at];
  const int64_t begin = blockIdx.x * kNormTile;
  const int64_t end = begin + kNormTile < n ? begin + kNormTile : n;
  double sum = 0, top = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
    const double plain = static_cast<double>(x[i]), v = plain * factor;
    sum += v * v;
    top = fabs(plain) > top ? fabs(plain) : top;
  }
  sum = cuda::warp_sum(sum);
  for (int half = 16; half > 0; half /= 2) {
    const double other = __shfl_xor_sync(0xffffffffu, top, half);
    top = other > top ? other : top;
  }
  if (threadIdx.x % 32 == 0) {
    part[0][threadIdx.x / 32] = sum;
    part[1][threadIdx.x / 32] = top;
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  sum = top = 0;
  for (int w = 0; w < kThreads / 32; ++w) {
    sum += part[0][w];
    top = part[1][w] > top ? part[1][w] : top;
  }
  partial[at * gridDim.x + blockIdx.x] = sum;
  largest[at * gridDim.x + blockIdx.x] = top;
}

// The norms from the tiles' sums; the first pass says which of them are to be made again.
void finish_norms(int count, int64_t tiles, bool again, const double* partial,
                  const double* largest, Scale* scale) {
  cuda::for_items(kName, count, [=] __device__(int64_t m) {
    Scale& s = scale[m];
    if (again && !s.again) return;
    double sum = 0, top = 0;
    for (int64_t t = 0; t < tiles; ++t) {
      sum += partial[m * tiles + t];
      top = largest[m * tiles + t] > top ? largest[m * tiles + t] : top;
    }
    if (again) {
      s.norm = ldexp(sqrt(sum), s.exponent);
      return;
    }
    s.again = 0;
    if (sum != sum || (sum > 1e-280 && sum < 1e280)) {
      s.norm = sqrt(sum);
    } else if (top == 0 || top > 1.7976931348623157e308) {
      s.norm = top;
    } else {
      frexp(top, &s.exponent);
      if (s.exponent < -1000) s.exponent = -1000;  // 2^-exponent stays finite
      s.again = 1;
    }
  });
}

void finish_scales(int count, const NewtonSchulzPlan& plan, const Steps& steps, Scale* scale) {
  const double safety = plan.safety, eps = plan.eps;
  const NormMode mode = plan.norm;
  cuda::for_items(kName, count, [=] __device__(int64_t m) {
    Scale& s = scale[m];
    const double safe = safety * s.norm;
    s.denominator = mode == NormMode::add   ? safe + eps
                    : mode == NormMode::max ? (safe > eps ? safe : eps)
                                            : safe * (1 + eps);
    double t = s.norm / s.denominator;  // for vectors: the map of the one singular value
    for (int i = 0; i < steps.count; ++i) {
      const double t2 = t * t;
      t *= steps.step[i].a + t2 * (steps.step[i].b + t2 * steps.step[i].c);
    }
    s.gain = t;
  });
}

template <class In>
void norms(const Batch<In>& batch, const NewtonSchulzPlan& plan, const Steps& steps, Scale* scale) {
  const int64_t n = batch.size(), tiles = (n + kNormTile - 1) / kNormTile;
  Tensor sums = device_bytes(2 * batch.count * tiles * 8);
  double* partial = static_cast<double*>(sums.mutable_raw());
  double* largest = partial + batch.count * tiles;
  const cuda::Grid grid{cuda::grid_of(kName, tiles, batch.count), dim3(kThreads)};
  // Squares of f32 never leave the range of f64.
  for (bool again = false;; again = true) {
    cuda::run(kName, grid, norm_kernel<In>, batch, n, again, scale, partial, largest);
    finish_norms(batch.count, tiles, again, partial, largest, scale);
    if (again || sizeof(In) == 4) break;
  }
  finish_scales(batch.count, plan, steps, scale);
}

// A result where there is nothing to iterate: 0 for the zero matrix, NaN for a non-finite norm.
template <class In>
__device__ In outcome_of(const Scale& s, double value) {
  if (s.norm == 0) return In(0);
  const double off = s.norm - s.norm;  // 0, or NaN
  return static_cast<In>(value + off);
}

template <class In>
void vectors(const Batch<In>& batch, const Scale* scale) {
  const int64_t n = batch.size();
  cuda::map_elements(kName, batch.count, n, [=] __device__(int64_t m, int64_t i) {
    const Scale& s = scale[m];
    batch.out[m][i] = outcome_of<In>(s, static_cast<double>(batch.in[m][i]) / s.norm * s.gain);
  });
}

template <class W>
__device__ W to_work(double x) {
  return static_cast<W>(x);
}
template <>
__device__ inline __nv_bfloat16 to_work(double x) {
  return __float2bfloat16(static_cast<float>(x));
}
__device__ inline double from_work(double x) { return x; }
__device__ inline double from_work(__nv_bfloat16 x) { return __bfloat162float(x); }

// Of the blocks that have left their part of a tile; packing clears them.
struct Counters {
  unsigned* p;
  int64_t count;
};

// X [batch, ldp, ldq] and the matrices, through a tile of 32 x 32 where one is the other's
// transpose, so that both sides are read and written in rows. The padding of X is zero.
template <class In, class W, bool kPack>
__global__ void move_kernel(Batch<In> batch, const Scale* scale, W* x, int64_t ldp, int64_t ldq,
                            Counters counters) {
  __shared__ double tile[32][33];
  const int64_t p = batch.rows < batch.cols ? batch.rows : batch.cols;
  const int64_t q = batch.rows < batch.cols ? batch.cols : batch.rows;
  const bool tall = batch.rows > batch.cols;
  const int64_t i0 = blockIdx.y * int64_t{32}, j0 = blockIdx.x * int64_t{32};  // in X
  const int m = static_cast<int>(blockIdx.z);
  const Scale s = scale[m];
  x += m * ldp * ldq;
  const int lane = static_cast<int>(threadIdx.x);
  if constexpr (kPack) {
    const int64_t block = (int64_t{blockIdx.z} * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    const int64_t at = block * 256 + threadIdx.y * 32 + threadIdx.x;
    if (at < counters.count) counters.p[at] = 0;
  }
  for (int y = static_cast<int>(threadIdx.y); y < 32; y += 8) {
    if constexpr (kPack) {  // the tile as it stands in the matrix
      const int64_t i = tall ? j0 + y : i0 + y, j = tall ? i0 + lane : j0 + lane;
      const bool inside = i < batch.rows && j < batch.cols;
      const double v = inside ? static_cast<double>(batch.in[m][i * batch.cols + j]) : 0;
      tile[y][lane] = s.norm == 0 ? 0 : v / s.denominator;
    } else {
      const int64_t i = i0 + y, j = j0 + lane;
      tile[y][lane] = i < p && j < q ? from_work(x[i * ldq + j]) : 0;
    }
  }
  __syncthreads();
  for (int y = static_cast<int>(threadIdx.y); y < 32; y += 8) {
    const double v = tall ? tile[lane][y] : tile[y][lane];
    if constexpr (kPack) {
      const int64_t i = i0 + y, j = j0 + lane;
      if (i < ldp && j < ldq) x[i * ldq + j] = to_work<W>(v);
    } else {
      const int64_t i = tall ? j0 + y : i0 + y, j = tall ? i0 + lane : j0 + lane;
      if (i < batch.rows && j < batch.cols) {
        batch.out[m][i * batch.cols + j] = outcome_of<In>(s, v);
      }
    }
  }
}

// Sides of the work arrays: whole tiles for the tensor cores.
template <class W>
int64_t padded(int64_t n) {
  return sizeof(W) == 2 ? (n + cuda::kSide - 1) / cuda::kSide * cuda::kSide : n;
}

template <class W>
using SumOf = std::conditional_t<sizeof(W) == 2, float, W>;
template <class W>
struct Work {
  int64_t batch, p, q;
  W *x, *y, *gram, *poly;
  cuda::Parts<SumOf<W>> parts;
};

// Of the memory in which products leave the parts of tiles.
struct PartSizes {
  int64_t elements, tiles;
};
template <class W>
PartSizes part_sizes(int64_t count, int64_t p, int64_t q) {
  if constexpr (sizeof(W) == 2) {
    return {
        std::max({cuda::bf16_parts(count, true, p, p, q), cuda::bf16_parts(count, true, p, p, p),
                  cuda::bf16_parts(count, false, p, q, p)}),
        count * cuda::bf16_tiles(false, p, q)};  // with q >= p the most
  } else {
    return {std::max(cuda::symmetric_parts<W>(count, p, q), cuda::symmetric_parts<W>(count, p, p)),
            count * cuda::triangle_tiles(p, cuda::SymmetricPlan<W>::kSide)};
  }
}

template <class T>
void iterate(const OddQuintic& step, const Work<T>& w) {
  using Terms = cuda::SymmetricTerms<T>;
  const T a = static_cast<T>(step.a), b = static_cast<T>(step.b), c = static_cast<T>(step.c);
  const int64_t pp = w.p * w.p, pq = w.p * w.q;
  cuda::symmetric_product<T>(kName, w.batch,
                             Terms{w.x, nullptr, w.gram, w.p, w.q, T(1), T(0), T(0)}, w.parts);
  cuda::symmetric_product<T>(kName, w.batch, Terms{w.gram, w.gram, w.poly, w.p, w.p, c, b, a},
                             w.parts);
  cuda::multiply<T>(w.batch, w.p, w.q, w.p, {w.poly, w.p, pp, false}, {w.x, w.q, pq, false}, T(0),
                    w.y);
}

void iterate(const OddQuintic& step, const Work<__nv_bfloat16>& w) {
  const auto a = static_cast<float>(step.a), b = static_cast<float>(step.b);
  const auto c = static_cast<float>(step.c);
  cuda::bf16_product(kName, w.batch, true, {w.x, w.x, nullptr, w.gram, w.p, w.p, w.q, 1, 0, true},
                     w.parts);
  cuda::bf16_product(kName, w.batch, true,
                     {w.gram, w.gram, w.gram, w.poly, w.p, w.p, w.p, c, b, true}, w.parts);
  cuda::bf16_product(kName, w.batch, false, {w.poly, w.x, w.x, w.y, w.p, w.q, w.p, 1, a, false},
                     w.parts);
}

template <class In, class W>
void iterate_batch(const Batch<In>& batch, const Steps& steps, const Scale* scale) {
  using Sum = SumOf<W>;
  const int64_t p = padded<W>(batch.p()), q = padded<W>(batch.q()), count = batch.count;
  const int64_t elements = count * (2 * p * q + 2 * p * p);
  Tensor memory = device_bytes(elements * static_cast<int64_t>(sizeof(W)));
  const PartSizes sizes = part_sizes<W>(count, p, q);
  Tensor partial = device_bytes(sizes.elements * static_cast<int64_t>(sizeof(Sum)) +
                                sizes.tiles * static_cast<int64_t>(sizeof(unsigned)));
  Sum* sums = static_cast<Sum*>(partial.mutable_raw());
  const Counters counters{reinterpret_cast<unsigned*>(sums + sizes.elements), sizes.tiles};
  W* x = static_cast<W*>(memory.mutable_raw());
  Work<W> work{count,
               p,
               q,
               x,
               x + count * p * q,
               x + 2 * count * p * q,
               x + 2 * count * p * q + count * p * p,
               {sums, counters.p}};
  const cuda::Grid grid{cuda::grid_of(kName, (q + 31) / 32, (p + 31) / 32, count), dim3(32, 8)};
  cuda::run(kName, grid, move_kernel<In, W, true>, batch, scale, work.x, p, q, counters);
  for (int i = 0; i < steps.count; ++i) {
    iterate(steps.step[i], work);
    std::swap(work.x, work.y);
  }
  cuda::run(kName, grid, move_kernel<In, W, false>, batch, scale, work.x, p, q, counters);
}

template <class In>
void run_batch(const Batch<In>& batch, const NewtonSchulzPlan& plan, const Steps& steps) {
  Tensor scales = device_bytes(batch.count * static_cast<int64_t>(sizeof(Scale)));
  Scale* scale = static_cast<Scale*>(scales.mutable_raw());
  norms(batch, plan, steps, scale);
  if (batch.p() == 1) return vectors(batch, scale);
  switch (plan.arithmetic) {
    case NsArithmetic::f32: return iterate_batch<In, float>(batch, steps, scale);
    case NsArithmetic::f64: return iterate_batch<In, double>(batch, steps, scale);
    case NsArithmetic::bf16: return iterate_batch<In, __nv_bfloat16>(batch, steps, scale);
  }
}

template <class In>
void run_all(std::span<const MatrixTask> tasks, const NewtonSchulzPlan& plan) {
  Steps steps{};
  check(plan.steps.size() <= kMaxSteps, kName, ": at most ", kMaxSteps, " steps, got ",
        plan.steps.size());
  for (const OddQuintic& step : plan.steps) steps.step[steps.count++] = step;
  std::vector<bool> done(tasks.size(), false);
  for (size_t first = 0; first < tasks.size(); ++first) {
    if (done[first]) continue;
    Batch<In> batch{};
    batch.rows = tasks[first].rows;
    batch.cols = tasks[first].cols;
    const int64_t most = kBatchElements / (2 * (batch.p() + batch.q()) * batch.p());
    for (size_t i = first; i < tasks.size(); ++i) {
      if (done[i] || tasks[i].rows != batch.rows || tasks[i].cols != batch.cols) continue;
      if (batch.count > 0 && (batch.count == kMaxBatch || batch.count >= most)) break;
      batch.in[batch.count] = static_cast<const In*>(tasks[i].in);
      batch.out[batch.count++] = static_cast<In*>(tasks[i].out);
      done[i] = true;
    }
    run_batch(batch, plan, steps);
  }
}

}  // namespace

void NewtonSchulz::cuda(std::span<const MatrixTask> tasks, DType dtype,
                        const NewtonSchulzPlan& plan) {
  dispatch_float(dtype, name, [&](auto z) { run_all<decltype(z)>(tasks, plan); });
}

}  // namespace basin
