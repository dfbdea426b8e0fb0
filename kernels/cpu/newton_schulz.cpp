// The iteration on the CPU, in stages on the Gram matrix where the matrix is not nearly square
// (gram_stages.h). A matrix that is a large part of the work uses all threads, with its products
// cut into fixed tiles; the others run one per thread. The tiling of a product depends on its
// size alone, so both ways and every thread count give the same bits. Of symmetric products only
// the block lower triangle is multiplied, the rest is mirrored.
#include "basin/kernels/newton_schulz.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include "basin/core/parallel.h"
#include "basin/kernels/cpu/gram_stages.h"
#include "basin/kernels/cpu/hot.h"
#include "basin/kernels/cpu/vectors.h"
#include "basin/kernels/gemm.h"

namespace basin {
namespace {

// In p^3, five steps take 5 + 15 q / p one by one and 17 + 6 q / p in two Gram stages; below, so
// many eighths of p, and so many rows, they gain too little to change anything.
constexpr int64_t kGramEighths = 12;
constexpr int64_t kGramLeast = 128;

// Eight fixed partial sums: vectorisable without reordering what the source says.
template <class T>
BASIN_HOT double sum_of_squares(const T* x, int64_t n, double scale) {
  double part[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (int j = 0; j < 8; ++j) {
      const double v = static_cast<double>(x[i + j]) * scale;
      part[j] += v * v;
    }
  }
  for (int j = 0; i < n; ++i, ++j) {
    const double v = static_cast<double>(x[i]) * scale;
    part[j] += v * v;
  }
  return ((part[0] + part[4]) + (part[1] + part[5])) + ((part[2] + part[6]) + (part[3] + part[7]));
}

template <class T>
double norm_of(const T* x, int64_t n) {
  const double plain = hot([&] { return sum_of_squares(x, n, 1.0); });
  if (std::isnan(plain) || (plain > 1e-280 && plain < 1e280)) return std::sqrt(plain);
  double largest = 0;
  for (int64_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(static_cast<double>(x[i])));
  if (largest == 0 || std::isinf(largest)) return largest;
  int exponent = 0;
  std::frexp(largest, &exponent);
  exponent = std::max(exponent, -1000);  // 2^-exponent stays finite
  const double scaled = hot([&] { return sum_of_squares(x, n, std::ldexp(1.0, -exponent)); });
  return std::ldexp(std::sqrt(scaled), exponent);
}

double normaliser(double norm, const NewtonSchulzPlan& plan) {
  const double safe = plan.safety * norm;
  switch (plan.norm) {
    case NormMode::add: return safe + plan.eps;
    case NormMode::max: return std::max(safe, plan.eps);
    case NormMode::relative: break;
  }
  return safe * (1 + plan.eps);
}

template <class T>
BASIN_HOT void round_loop(T* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = static_cast<T>(bf16_value(static_cast<float>(x[i])));
}

template <class T>
void round_all(T* x, int64_t n) {
  hot([&] { round_loop(x, n); });
}

// The same step with everything stored in bf16: y = a x + (b A + c A^2) x, where the matrix in
// brackets has no diagonal a, which would take its digits.
template <class T>
void iterate_bf16(const OddQuintic& step, int64_t p, int64_t q, const T* x, T* y, T* gram,
                  T* poly) {
  const T a = static_cast<T>(step.a), b = static_cast<T>(step.b), c = static_cast<T>(step.c);
  gemm_symmetric(true, p, q, T(1), x, q, x, q, T(0), gram, p, Factors::bf16);
  round_all(gram, p * p);
  std::copy(gram, gram + p * p, poly);
  gemm_symmetric(false, p, p, c, gram, p, gram, p, b, poly, p, Factors::bf16);
  round_all(poly, p * p);
  gemm(false, false, p, q, p, T(1), poly, p, x, q, a, y, q, {x, q}, Factors::bf16);
  round_all(y, p * q);
}

// One step on x [p, q]; result in y. gram and poly are p x p.
template <class T>
void iterate(const OddQuintic& step, int64_t p, int64_t q, const T* x, T* y, T* gram, T* poly,
             bool bf16) {
  if (bf16) return iterate_bf16(step, p, q, x, y, gram, poly);
  const T a = static_cast<T>(step.a), b = static_cast<T>(step.b), c = static_cast<T>(step.c);
  gemm_symmetric(true, p, q, T(1), x, q, x, q, T(0), gram, p);
  if (step.c != 0) {
    std::copy(gram, gram + p * p, poly);
    gemm_symmetric(false, p, p, c, gram, p, gram, p, b, poly, p);
  } else {
    for (int64_t i = 0; i < p * p; ++i) poly[i] = b * gram[i];
  }
  for (int64_t i = 0; i < p; ++i) poly[i * p + i] += a;
  gemm(false, false, p, q, p, T(1), poly, p, x, q, T(0), y, q);
}

// y = a + b g + c square, in place of square.
template <class T>
BASIN_HOT void polynomial(const OddQuintic& step, int64_t p, const T* g, T* square) {
  const T a = static_cast<T>(step.a), b = static_cast<T>(step.b), c = static_cast<T>(step.c);
  if (step.c == 0) {
    for (int64_t i = 0; i < p * p; ++i) square[i] = b * g[i];
  } else {
    for (int64_t i = 0; i < p * p; ++i) square[i] = b * g[i] + c * square[i];
  }
  for (int64_t i = 0; i < p; ++i) square[i * p + i] += a;
}

// All steps on x [p, q] in Gram stages; y [p, q] and squares [4, p, p] are scratch. Returns where
// the result is: `last` unless that is null, else x or y.
template <class T>
T* iterate_gram(std::span<const OddQuintic> steps, int64_t p, int64_t q, T* x, T* y, T* squares,
                T* last) {
  T *g = squares, *factor = g + p * p, *all = factor + p * p, *spare = all + p * p;
  const auto times = [&](const T* a, const T* b, T* c) {
    gemm_symmetric(false, p, p, T(1), a, p, b, p, T(0), c, p);
  };
  std::vector<size_t> ends;
  for (size_t k = 0, stage = 0; k < steps.size(); ++stage) {
    gemm_symmetric(true, p, q, T(1), x, q, x, q, T(0), g, p);
    for (const size_t begin = k; k == begin || k < ends[stage]; ++k) {
      if (steps[k].c != 0) times(g, g, factor);
      if (k == 0) {  // the largest eigenvalue is at most |G|_F, and the root of |G^2|_F
        const bool squared = steps[k].c != 0;
        const double norm = norm_of(squared ? factor : g, p * p);
        ends = gram_stages(steps, squared ? std::sqrt(norm) : norm);
      }
      hot([&] { polynomial(steps[k], p, g, factor); });
      if (k + 1 < ends[stage]) {
        times(factor, g, spare);
        times(spare, factor, g);
      }
      if (k > begin) {
        gemm(false, false, p, p, p, T(1), factor, p, all, p, T(0), spare, p);
        std::swap(spare, all);
      } else {
        std::swap(factor, all);
      }
    }
    if (k == steps.size() && last) y = last;
    gemm(false, false, p, q, p, T(1), all, p, x, q, T(0), y, q);
    std::swap(x, y);
  }
  return x;
}

bool in_gram_stages(int64_t p, int64_t q, const NewtonSchulzPlan& plan) {
  return plan.arithmetic != NsArithmetic::bf16 && plan.steps.size() > 1 && p >= kGramLeast &&
         8 * q >= kGramEighths * p;
}

// A single row or column: the map acts on one number, in f64.
template <class In>
void vector_case(const In* in, In* out, int64_t n, double norm, double denominator,
                 std::span<const OddQuintic> steps) {
  const double gain = scalar_map(steps, norm / denominator);
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<In>(in[i] / norm * gain);
}

// y = x / denominator; not by the reciprocal, which overflows for denormal norms.
template <class In, class W>
BASIN_HOT void divide(const In* __restrict x, double denominator, int64_t n, W* __restrict y) {
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<W>(static_cast<double>(x[i]) / denominator);
}

// In: type of the matrix; W: type of the arithmetic.
template <class In, class W>
void iterate_matrix(const In* in, In* out, int64_t rows, int64_t cols, double denominator,
                    const NewtonSchulzPlan& plan) {
  const int64_t p = std::min(rows, cols), q = std::max(rows, cols), n = rows * cols;
  const bool staged = in_gram_stages(p, q, plan);
  const int64_t squares = plan.steps.empty() ? 0 : p * p;
  Tensor scratch = Tensor::empty({3 * n + (staged ? 4 : 2) * squares}, kDTypeOf<W>);
  W* x = scratch.mutable_data<W>();
  W* y = x + n;
  W* spare = y + n;
  W* gram = spare + n;
  W* poly = gram + squares;
  const bool tall = rows > cols;
  W* first = tall ? spare : x;
  hot([&] { divide(in, denominator, n, first); });
  if (tall) transpose(spare, rows, cols, cols, x, q);
  const bool bf16 = plan.arithmetic == NsArithmetic::bf16;
  if (bf16) round_all(x, n);
  constexpr bool kSame = std::is_same_v<In, W>;
  W* result = spare;
  if constexpr (kSame) result = out;
  W* last = tall ? nullptr : result;  // where the last step writes
  if (staged) {
    x = iterate_gram(plan.steps, p, q, x, y, gram, last);
  } else {
    for (size_t k = 0; k < plan.steps.size(); ++k) {
      if (k + 1 == plan.steps.size() && last) y = last;
      iterate(plan.steps[k], p, q, x, y, gram, poly, bf16);
      std::swap(x, y);
    }
  }
  if (tall) {
    transpose(x, p, q, q, result, cols);
  } else if (x != result) {  // there was no step
    std::copy(x, x + n, result);
  }
  if constexpr (!kSame) {
    for (int64_t i = 0; i < n; ++i) out[i] = static_cast<In>(result[i]);
  }
}

template <class In, class W>
void run_task(const MatrixTask& task, const NewtonSchulzPlan& plan) {
  const In* in = static_cast<const In*>(task.in);
  In* out = static_cast<In*>(task.out);
  const int64_t n = task.rows * task.cols;
  const double norm = norm_of(in, n);
  if (norm == 0) {
    std::fill(out, out + n, In(0));
  } else if (!std::isfinite(norm)) {
    std::fill(out, out + n, std::numeric_limits<In>::quiet_NaN());
  } else if (std::min(task.rows, task.cols) == 1) {
    vector_case(in, out, n, norm, normaliser(norm, plan), plan.steps);
  } else {
    iterate_matrix<In, W>(in, out, task.rows, task.cols, normaliser(norm, plan), plan);
  }
}

double work_of(const MatrixTask& task) {
  const auto p = static_cast<double>(std::min(task.rows, task.cols));
  return p * static_cast<double>(task.rows) * static_cast<double>(task.cols);
}

template <class In, class W>
void run_all(std::span<const MatrixTask> tasks, const NewtonSchulzPlan& plan) {
  // How many threads there are decides which matrices are done inside of a body.
  const SubnormalsAreZero mode;
  std::vector<const MatrixTask*> each;
  double total = 0;
  for (const MatrixTask& task : tasks) total += work_of(task);
  // Beside one with more than half a thread's share the others would not fill the threads.
  const double large = total / (2 * num_threads());
  for (const MatrixTask& task : tasks) {
    if (work_of(task) > large) {
      run_task<In, W>(task, plan);
    } else {
      each.push_back(&task);
    }
  }
  // The largest first, so that the threads end together.
  std::stable_sort(each.begin(), each.end(),
                   [](auto* a, auto* b) { return work_of(*a) > work_of(*b); });
  constexpr int64_t kTasksPerTile = 4;
  const int64_t grain = each.size() > 64 ? kTasksPerTile : 1;
  parallel_for(static_cast<int64_t>(each.size()), grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) run_task<In, W>(*each[i], plan);
  });
}

}  // namespace

double scalar_map(std::span<const OddQuintic> steps, double t) {
  for (const OddQuintic& s : steps) {
    const double t2 = t * t;
    t *= s.a + t2 * (s.b + t2 * s.c);
  }
  return t;
}

double frobenius_norm(const Tensor& m) {
  return dispatch_float(m.dtype(), "frobenius_norm",
                        [&](auto t) { return norm_of(m.data<decltype(t)>(), m.numel()); });
}

void NewtonSchulz::cpu(std::span<const MatrixTask> tasks, DType dtype,
                       const NewtonSchulzPlan& plan) {
  dispatch_float(dtype, name, [&](auto t) {
    using In = decltype(t);
    if (plan.arithmetic == NsArithmetic::f64) {
      run_all<In, double>(tasks, plan);
    } else {
      run_all<In, float>(tasks, plan);
    }
  });
}

}  // namespace basin
