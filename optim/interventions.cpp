// Spectra as given, capped, of a stable rank; turns; penalties as functions of singular values.
#include "basin/optim/interventions.h"

#include <algorithm>
#include <cmath>

#include "basin/optim/detail/matrix_blocks.h"
#include "basin/optim/detail/spectral.h"
#include "basin/optim/groups.h"
#include "basin/optim/newton_schulz.h"
#include "basin/optim/routing.h"

namespace basin {
namespace {

double sum_of_squares(std::span<const double> s) {
  double sum = 0;
  for (const double v : s) sum += v * v;
  return sum;
}

double sum_of(std::span<const double> s) {
  double sum = 0;
  for (const double v : s) sum += v;
  return sum;
}

double entropy_rank(std::span<const double> s) {
  const double sum = sum_of(s);
  double entropy = 0;
  for (const double v : s) entropy -= v / sum * std::log(v / sum);
  return std::exp(entropy);
}

}  // namespace

std::vector<ChosenMatrix> chosen_matrices(const ParamList& params, const std::string& pattern,
                                          const char* option) {
  std::vector<ChosenMatrix> out;
  for (size_t i = 0; i < params.size(); ++i) {
    const Param& p = params[i];
    if (pattern.empty() ? !route(p, {}).matrix : !rule_matches({.pattern = pattern}, p)) continue;
    for (size_t b = 0; b < p.view.size(); ++b) {
      if (std::min(p.view[b].rows, p.view[b].cols) < 2) continue;
      out.push_back({i, b, p.view.size() == 1 ? p.name : str(p.name, "[", b, "]")});
    }
  }
  check(!out.empty(), option, ": no weight is a matrix of at least 2x2 ",
        pattern.empty() ? std::string("in a hidden layer; name others with matrices=PATTERN")
                        : str("and matches '", pattern, "'"));
  return out;
}

double stable_rank(std::span<const double> s) {
  if (s.empty() || s[0] == 0) return 0;
  double sum = 0;
  for (const double v : s) sum += (v / s[0]) * (v / s[0]);
  return sum;
}

std::vector<double> with_stable_rank(std::span<const double> s, double rank) {
  std::vector<double> out(s.begin(), s.end());
  if (s.size() < 2 || s[0] == 0) return out;
  double left = std::max(rank, 1.0) - 1;  // for the values behind the first, in units of s_1^2
  for (size_t at = 1; at < s.size(); ++at) {
    const double factor = std::sqrt(left * s[0] * s[0] / sum_of_squares(s.subspan(at)));
    if (!(factor * s[at] > s[0])) {
      for (size_t i = at; i < s.size(); ++i) out[i] = factor * s[i];
      break;
    }
    out[at] = s[0];
    left -= 1;
  }
  return out;
}

double penalty_value(const PenaltyRule& rule, std::span<const double> s) {
  if (s.empty()) return 0;
  double value =
      rule.stable_rank * stable_rank(s) + rule.nuclear * sum_of(s) + rule.spectral * s[0];
  if (rule.effective_rank != 0) value += rule.effective_rank * entropy_rank(s);
  for (const double v : s) value += rule.orthogonality * (v * v - 1) * (v * v - 1);
  return value;
}

std::vector<double> penalty_slopes(const PenaltyRule& rule, std::span<const double> s) {
  std::vector<double> out(s.size());
  if (s.empty()) return out;
  const double top = s[0], sum = sum_of(s), rank = entropy_rank(s);
  for (size_t i = 0; i < s.size(); ++i) {
    out[i] = rule.stable_rank * 2 * s[i] / (top * top) -
             rule.effective_rank * rank / sum * std::log(s[i] / sum * rank) + rule.nuclear +
             rule.orthogonality * 4 * (s[i] * s[i] - 1) * s[i];
  }
  out[0] += rule.spectral - rule.stable_rank * 2 * stable_rank(s) / top;
  return out;
}

Tensor isospectral_turn(const Tensor& w, double size, Rng& rng) {
  const bool tall = w.size(0) > w.size(1);
  const int64_t side = std::min(w.size(0), w.size(1)), length = std::max(w.size(0), w.size(1));
  Tensor noise = Tensor::empty({side, side}, DType::f64);
  double* z = noise.mutable_data<double>();
  std::generate_n(z, side * side, [&] { return rng.normal(); });
  const Tensor q = QrBasis::cpu(noise);
  Tensor parts = product(q, true, w, tall);  // [side, length], along the directions
  double* y = parts.mutable_data<double>();
  const int64_t paired = side / 2 * 2;
  const double reach = 2 * std::sqrt(sum_of_squares({y, static_cast<size_t>(paired * length)}));
  if (reach == 0) return w.clone();
  const double half = std::asin(std::min(1.0, size / reach));
  const double less = -2 * std::sin(half) * std::sin(half), sine = std::sin(2 * half);  // cos - 1
  for (int64_t j = 0; j < paired; j += 2) {
    for (int64_t i = 0; i < length; ++i) {
      double &a = y[j * length + i], &b = y[(j + 1) * length + i];
      const double change = less * a - sine * b;
      b = sine * a + less * b;
      a = change;
    }
  }
  std::fill(y + paired * length, y + side * length, 0.0);
  Tensor out = tall ? product(parts, true, q, true) : product(q, false, parts, false);
  double* sum = out.mutable_data<double>();
  for (int64_t i = 0; i < w.numel(); ++i) sum[i] += w.data<double>()[i];
  return out;
}

Tensor penalty_gradient(const PenaltyRule& rule, const Tensor& w) {
  const SvdFactors f = Svd::cpu(w);
  const int64_t rank = numerical_rank(f.s, w.size(0), w.size(1));
  const std::vector<double> slopes =
      penalty_slopes(rule, {f.s.data<double>(), static_cast<size_t>(rank)});
  return recombined(f, rank, [&](int64_t i) { return slopes[static_cast<size_t>(i)]; });
}

Tensor with_singular_values(const Tensor& w, std::span<const double> values) {
  const SvdFactors f = Svd::cpu(w);
  const auto count = std::min(f.s.numel(), static_cast<int64_t>(values.size()));
  return recombined(f, count, [&](int64_t i) { return values[static_cast<size_t>(i)]; });
}

void transplant_spectra(ParamList& to, const ParamList& from, const std::string& pattern) {
  for (const ChosenMatrix& at : chosen_matrices(to, pattern)) {
    const Param& other = from.at(to[at.param].name);
    check(other.value.shape() == to[at.param].value.shape() &&
              other.view.size() == to[at.param].view.size(),
          "transplant_spectra: '", other.name, "' has shape ", other.value.shape(), ", expected ",
          to[at.param].value.shape());
    const Tensor s = SingularValues::cpu(matrix_of(other, at.block));
    put_matrix(to[at.param], at.block,
               with_singular_values(matrix_of(to[at.param], at.block),
                                    {s.data<double>(), static_cast<size_t>(s.numel())}));
  }
}

}  // namespace basin
