// Every projection is measured by Gram-Schmidt done twice, over V and Q at once. A direction whose
// rest is rounding is let go; where none waits any more the space is closed, and the next one is
// random.
#include "basin/analysis/detail/krylov.h"

#include <algorithm>
#include <cmath>

#include "basin/core/error.h"
#include "basin/core/random.h"
#include "basin/kernels/linalg.h"

namespace basin {
namespace {

constexpr int64_t kWaiting = 3;  // directions beside the basis, at most

}  // namespace

double Ritz::largest() const {
  return values.empty() ? 0 : std::max(std::abs(values.front()), std::abs(values.back()));
}

double Ritz::bound(size_t i) const { return std::hypot(coupling[i], asymmetry[i]) + dropped[i]; }

Krylov::Krylov(const SymmetricOperator& a, int64_t capacity, uint64_t seed)
    : a_(a),
      basis_(a.size()),
      stride_(capacity + kWaiting),
      seed_(seed),
      projected_(static_cast<size_t>(stride_ * stride_), 0.0) {}

void Krylov::advance() {
  if (waiting() == 0) insert_random();
  const int64_t j = size_++;
  Tensor product = a_.apply(basis_[j].view({1, a_.size()})).view({a_.size()});
  ++products_;
  ++chain_;
  const OrthonormalBasis::Projection p = basis_.project_out(product);
  if (!std::isfinite(p.before)) {
    fail(ErrorKind::numerical, "lanczos: product ", products_,
         " is not finite; check the operator at this point");
  }
  const int64_t known = basis_.size();
  for (int64_t i = 0; i < known; ++i) at(i, j) = p.coefficients[static_cast<size_t>(i)];
  for (int64_t i = 0; i < j; ++i) {  // what was let go comes back through the upper triangle
    if (lossy_[static_cast<size_t>(i)]) at(j, i) = at(i, j);
  }
  scale_ = std::max(scale_, p.before);
  const bool rounding = p.after <= kClosed * scale_ || known == a_.size();
  dropped_.push_back(rounding ? p.after : 0);
  lossy_.push_back(rounding);
  if (rounding) return;
  basis_.append(std::move(product), p.after);
  for (int64_t i = 0; i < j; ++i) at(known, i) = 0;
  at(known, j) = p.after;
}

double Krylov::coupling(int64_t waiting, const std::vector<double>& s) const {
  double sum = 0;
  for (int64_t i = 0; i < size_; ++i) sum += at(waiting, i) * s[static_cast<size_t>(i)];
  return sum;
}

// |D s|, D = lower triangle by the recurrence minus the mirrored upper one.
double Krylov::asymmetry(const std::vector<double>& s) const {
  double sum = 0;
  for (int64_t j = 1; j < size_; ++j) {
    double row = 0;
    for (int64_t i = 0; i < j; ++i) row += (at(j, i) - at(i, j)) * s[static_cast<size_t>(i)];
    sum += row * row;
  }
  return std::sqrt(sum);
}

Ritz Krylov::ritz() const {
  const int64_t m = size_;
  Tensor matrix = Tensor::zeros({m, m}, DType::f64);
  double* t = matrix.mutable_data<double>();
  for (int64_t j = 0; j < m; ++j) {
    for (int64_t i = 0; i <= j; ++i) t[j * m + i] = at(i, j);
  }
  const EighFactors eigen = Eigh::cpu(matrix);
  const double* q = eigen.vectors.data<double>();
  Ritz out;
  for (int64_t k = 0; k < m; ++k) {
    out.values.push_back(eigen.values.at(k));
    std::vector<double> s(static_cast<size_t>(m));
    double coupled = 0, dropped = 0;
    for (int64_t i = 0; i < m; ++i) {
      s[static_cast<size_t>(i)] = q[i * m + k];
      dropped += dropped_[static_cast<size_t>(i)] * std::abs(q[i * m + k]);
    }
    for (int64_t w = m; w < basis_.size(); ++w) coupled = std::hypot(coupled, coupling(w, s));
    out.coupling.push_back(coupled);
    out.asymmetry.push_back(asymmetry(s));
    out.dropped.push_back(dropped + kRounding * scale_);
    out.vectors.push_back(std::move(s));
  }
  return out;
}

Tensor Krylov::vector(const Ritz& ritz, size_t i) const {
  std::vector<double> s = ritz.vectors[i];
  s.resize(static_cast<size_t>(basis_.size()), 0.0);
  return basis_.combine(s);
}

void Krylov::swap_waiting(int64_t i, int64_t j) {
  if (i == j) return;
  basis_.swap(i, j);
  for (int64_t k = 0; k < size_; ++k) std::swap(at(i, k), at(j, k));
}

double Krylov::strength(int64_t waiting, const Ritz& ritz, const std::vector<size_t>& pairs) const {
  double sum = 0;
  for (const size_t p : pairs) sum = std::hypot(sum, coupling(waiting, ritz.vectors[p]));
  return sum;
}

void Krylov::prefer(const Ritz& ritz, const std::vector<size_t>& pairs) {
  int64_t best = size_;
  for (int64_t w = size_ + 1; w < basis_.size(); ++w) {
    if (strength(w, ritz, pairs) > strength(best, ritz, pairs)) best = w;
  }
  if (waiting() > 1) swap_waiting(size_, best);
}

void Krylov::drop_waiting(int64_t i) {
  swap_waiting(i, basis_.size() - 1);
  const int64_t last = basis_.size() - 1;
  for (int64_t k = 0; k < size_; ++k) {
    dropped_[static_cast<size_t>(k)] += std::abs(at(last, k));
    lossy_[static_cast<size_t>(k)] = true;
  }
  basis_.pop();
}

void Krylov::restart(const Ritz& ritz, const std::vector<size_t>& kept) {
  const int64_t m = size_, waits = waiting(), all = basis_.size();
  const auto p = static_cast<int64_t>(kept.size());
  std::vector<double> rotation(static_cast<size_t>(all * (p + waits)), 0.0), dropped;
  std::vector<std::vector<double>> coupled(static_cast<size_t>(waits));
  for (int64_t k = 0; k < p; ++k) {
    const size_t from = kept[static_cast<size_t>(k)];
    const std::vector<double>& s = ritz.vectors[from];
    for (int64_t i = 0; i < m; ++i) {
      rotation[static_cast<size_t>(i * (p + waits) + k)] = s[static_cast<size_t>(i)];
    }
    for (int64_t w = 0; w < waits; ++w) {
      coupled[static_cast<size_t>(w)].push_back(coupling(m + w, s));
    }
    dropped.push_back(ritz.asymmetry[from] + ritz.dropped[from]);
  }
  for (int64_t w = 0; w < waits; ++w) {
    rotation[static_cast<size_t>((m + w) * (p + waits) + p + w)] = 1;
  }
  basis_.rotate(rotation, p + waits);
  size_ = p;
  lossy_.assign(kept.size(), std::find(lossy_.begin(), lossy_.end(), true) != lossy_.end());
  dropped_ = std::move(dropped);
  for (int64_t j = 0; j < p; ++j) {
    for (int64_t i = 0; i < p; ++i) at(i, j) = 0;
    at(j, j) = ritz.values[kept[static_cast<size_t>(j)]];
    for (int64_t w = 0; w < waits; ++w) {
      at(p + w, j) = coupled[static_cast<size_t>(w)][static_cast<size_t>(j)];
    }
  }
}

bool Krylov::insert_random() {
  if (basis_.size() == a_.size()) return false;
  chain_ = 0;
  while (true) {
    Tensor v = normal_vector(a_.size(), seed_, stream_id("lanczos", draws_++));
    const OrthonormalBasis::Projection p = basis_.project_out(v);
    if (p.after <= 1e-8 * p.before) continue;  // almost inside the span: draw again
    basis_.append(std::move(v), p.after);
    break;
  }
  const int64_t last = basis_.size() - 1;
  for (int64_t k = 0; k < size_; ++k) at(last, k) = 0;
  swap_waiting(size_, last);
  return true;
}

bool Krylov::begin_chain(const Ritz& ritz, const std::vector<size_t>& pairs) {
  if (waiting() == kWaiting) {
    int64_t least = size_;
    for (int64_t w = size_ + 1; w < basis_.size(); ++w) {
      if (strength(w, ritz, pairs) < strength(least, ritz, pairs)) least = w;
    }
    drop_waiting(least);
  }
  chain_waits_ = insert_random();
  chain_begin_ = size_;
  return chain_waits_;
}

void Krylov::advance_chain() {
  const int64_t before = waiting();
  advance();
  chain_waits_ = waiting() == before;
  if (chain_waits_) swap_waiting(size_, basis_.size() - 1);
}

Ritz Krylov::chain_ritz() const {
  const int64_t m = size_ - chain_begin_;
  Tensor matrix = Tensor::zeros({m, m}, DType::f64);
  double* t = matrix.mutable_data<double>();
  for (int64_t j = 0; j < m; ++j) {
    for (int64_t i = 0; i <= j; ++i) t[j * m + i] = at(chain_begin_ + i, chain_begin_ + j);
  }
  const EighFactors eigen = Eigh::cpu(matrix);
  Ritz out;
  for (int64_t k = 0; k < m; ++k) {
    double coupled = 0;
    if (chain_waits_) {
      for (int64_t i = 0; i < m; ++i) {
        coupled += at(size_, chain_begin_ + i) * eigen.vectors.at(i * m + k);
      }
    }
    out.values.push_back(eigen.values.at(k));
    out.coupling.push_back(std::abs(coupled));
  }
  return out;
}

}  // namespace basin
