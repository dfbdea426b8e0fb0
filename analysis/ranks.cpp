// Ranks of weight matrices. The decompositions are independent and each is serial, so they run in
// parallel, largest first, without any effect on the bits.
#include "basin/analysis/ranks.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "basin/core/error.h"
#include "basin/core/parallel.h"
#include "basin/kernels/linalg.h"

namespace basin {
namespace {

// One logical matrix in f64.   value of any shape, b a block of it -> [rows, cols]
Tensor block_matrix(const Tensor& value, const MatrixBlock& b) {
  Tensor block = Tensor::empty({b.rows, b.cols}, DType::f64);
  double* out = block.mutable_data<double>();
  dispatch_float(value.dtype(), "weight_spectra", [&](auto t) {
    using T = decltype(t);
    std::copy_n(value.data<T>() + b.offset, b.rows * b.cols, out);
  });
  return block;
}

std::string reason_without_matrix(const Param& p) {
  switch (p.role) {
    case Role::bias: return "a bias is a vector";
    case Role::gain: return "the gain of a normalisation is a vector";
    default: return "it declares no matrix view";
  }
}

void decompose(const Tensor& value, const MatrixBlock& b, MatrixSpectrum& out) {
  const Tensor block = block_matrix(value, b);
  const double* x = block.data<double>();
  double squares = 0;
  for (int64_t i = 0; i < block.numel(); ++i) {
    if (!std::isfinite(x[i])) {
      fail(ErrorKind::numerical, "weight_spectra: element ", b.offset + i, " of '", out.name,
           "' is ", x[i], "; a spectrum needs finite values");
    }
    squares += x[i] * x[i];
  }
  out.singular_values = SingularValues::cpu(block);
  const double* s = out.singular_values.data<double>();
  out.ranks =
      rank_numbers({s, static_cast<size_t>(out.singular_values.numel())}, std::min(b.rows, b.cols));
  out.random_edges = marchenko_pastur_edges(
      b.rows, b.cols, squares / (static_cast<double>(b.rows) * static_cast<double>(b.cols)));
}

}  // namespace

RankNumbers rank_numbers(std::span<const double> singular_values, int64_t limit) {
  check(limit >= 0, "rank_numbers: the limit min(m, n) is ", limit);
  double largest = 0;
  for (const double s : singular_values) {
    check(s >= 0 && std::isfinite(s), "rank_numbers: a singular value is ", s);
    largest = std::max(largest, s);
  }
  RankNumbers out{.limit = limit};
  if (largest == 0) return out;
  double sum = 0, squares = 0, entropy_sum = 0;  // of r = s / s_1
  for (const double s : singular_values) {
    const double r = s / largest;
    sum += r;
    squares += r * r;
    if (r > 0) entropy_sum += r * std::log(r);
  }
  out.stable = squares;
  out.effective = sum * std::exp(-entropy_sum / sum);  // -sum q ln q = ln sum - sum r ln r / sum
  out.nuclear = sum * sum / squares;
  return out;
}

SpectrumEdges marchenko_pastur_edges(int64_t rows, int64_t cols, double variance) {
  check(rows >= 0 && cols >= 0 && variance >= 0, "marchenko_pastur_edges: a matrix of ", rows,
        " x ", cols, " with entries of variance ", variance);
  const double m = std::sqrt(static_cast<double>(rows)), n = std::sqrt(static_cast<double>(cols));
  const double scale = std::sqrt(variance);
  return {scale * std::abs(m - n), scale * (m + n)};
}

WeightSpectra weight_spectra(const ParamList& params, const Tensors& values) {
  check(values.size() == params.size(), "weight_spectra: ", values.size(), " tensors for ",
        params.size(), " parameters");
  WeightSpectra out;
  for (size_t i = 0; i < params.size(); ++i) {
    const Param& p = params[i];
    if (!values[i].defined() || p.view.empty()) {
      out.skipped.push_back({p.name, p.role, p.value.shape(),
                             p.view.empty() ? reason_without_matrix(p) : "it has no value here"});
      continue;
    }
    check(values[i].numel() == p.value.numel(), "weight_spectra: '", p.name, "' has shape ",
          p.value.shape(), ", the tensor for it ", values[i].shape());
    for (size_t b = 0; b < p.view.size(); ++b) {
      out.matrices.push_back({.name = p.view.size() == 1 ? p.name : str(p.name, "[", b, "]"),
                              .parameter = static_cast<int>(i),
                              .block = static_cast<int>(b),
                              .role = p.role,
                              .rows = p.view[b].rows,
                              .cols = p.view[b].cols});
    }
  }
  std::vector<size_t> order(out.matrices.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return out.matrices[a].rows * out.matrices[a].cols >
           out.matrices[b].rows * out.matrices[b].cols;
  });
  parallel_tiles(static_cast<int64_t>(order.size()), [&](int64_t tile) {
    MatrixSpectrum& m = out.matrices[order[tile]];
    decompose(values[m.parameter].to(Device::cpu), params[m.parameter].view[m.block], m);
  });
  return out;
}

WeightSpectra weight_spectra(const ParamList& params) {
  return weight_spectra(params, params.values());
}

}  // namespace basin
