// Every projection is measured by Gram-Schmidt done twice. A direction whose rest is rounding
// closes the space; the next one is then random, orthogonal to all before.
#include "basin/analysis/detail/krylov.h"

#include <algorithm>
#include <cmath>

#include "basin/core/error.h"
#include "basin/core/random.h"
#include "basin/kernels/linalg.h"

namespace basin {
double Ritz::largest() const {
  return values.empty() ? 0 : std::max(std::abs(values.front()), std::abs(values.back()));
}

double Ritz::bound(size_t i) const { return std::hypot(coupling[i], asymmetry[i]) + dropped[i]; }

Krylov::Krylov(const SymmetricOperator& a, int64_t capacity, uint64_t seed)
    : a_(a),
      basis_(a.size()),
      capacity_(capacity),
      seed_(seed),
      projected_(static_cast<size_t>(capacity * capacity), 0.0) {}

void Krylov::advance() {
  if (closed()) {
    random_direction();
  } else {
    basis_.append(std::move(rest_), length_);
  }
  const int64_t j = size() - 1;
  for (int64_t i = 0; i < j; ++i) at(j, i) = coupling_[static_cast<size_t>(i)];
  rest_ = a_.apply(basis_[j].view({1, a_.size()})).view({a_.size()});
  ++products_;
  ++chain_;
  const OrthonormalBasis::Projection p = basis_.project_out(rest_);
  if (!std::isfinite(p.before)) {
    fail(ErrorKind::numerical, "lanczos: product ", products_,
         " is not finite; check the operator at this point");
  }
  for (int64_t i = 0; i <= j; ++i) at(i, j) = p.coefficients[static_cast<size_t>(i)];
  for (int64_t i = 0; i < j; ++i) {  // what was let go comes back through the upper triangle
    if (lossy_[static_cast<size_t>(i)]) at(j, i) = at(i, j);
  }
  scale_ = std::max(scale_, p.before);
  coupling_.assign(static_cast<size_t>(j + 1), 0.0);
  dropped_.push_back(0);
  lossy_.push_back(false);
  length_ = p.after;
  if (length_ <= kClosed * scale_ || size() == a_.size()) {
    lossy_.back() = true;
    dropped_.back() = length_;
    length_ = 0;
  }
  coupling_.back() = length_;
}

Ritz Krylov::ritz() const {
  const int64_t m = size();
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
      coupled += coupling_[static_cast<size_t>(i)] * q[i * m + k];
      dropped += dropped_[static_cast<size_t>(i)] * std::abs(q[i * m + k]);
    }
    out.coupling.push_back(std::abs(coupled));
    out.asymmetry.push_back(asymmetry(s));
    out.dropped.push_back(dropped + kRounding * scale_);
    out.vectors.push_back(std::move(s));
  }
  return out;
}

void Krylov::restart(const Ritz& ritz, const std::vector<size_t>& kept, bool leave) {
  const int64_t m = size();
  const auto p = static_cast<int64_t>(kept.size());
  std::vector<double> rotation(static_cast<size_t>(m * p)), dropped, coupling;
  for (int64_t k = 0; k < p; ++k) {
    const size_t from = kept[static_cast<size_t>(k)];
    const std::vector<double>& s = ritz.vectors[from];
    double coupled = 0;
    for (int64_t i = 0; i < m; ++i) {
      rotation[static_cast<size_t>(i * p + k)] = s[static_cast<size_t>(i)];
      coupled += coupling_[static_cast<size_t>(i)] * s[static_cast<size_t>(i)];
    }
    const bool loses = leave || closed();
    dropped.push_back(ritz.asymmetry[from] + ritz.dropped[from] + (loses ? std::abs(coupled) : 0));
    coupling.push_back(loses ? 0 : coupled);
  }
  basis_.rotate(rotation, p);
  const bool lossy = leave || std::find(lossy_.begin(), lossy_.end(), true) != lossy_.end();
  lossy_.assign(kept.size(), lossy);
  dropped_ = std::move(dropped);
  coupling_ = std::move(coupling);
  for (int64_t j = 0; j < p; ++j) {
    for (int64_t i = 0; i < p; ++i) at(i, j) = 0;
    at(j, j) = ritz.values[kept[static_cast<size_t>(j)]];
  }
  if (leave) length_ = 0;
}

// |D s|, D = lower triangle by the recurrence minus the mirrored upper one.
double Krylov::asymmetry(const std::vector<double>& s) const {
  double sum = 0;
  for (int64_t j = 1; j < size(); ++j) {
    double row = 0;
    for (int64_t i = 0; i < j; ++i) row += (at(j, i) - at(i, j)) * s[static_cast<size_t>(i)];
    sum += row * row;
  }
  return std::sqrt(sum);
}

void Krylov::random_direction() {
  chain_ = 0;
  while (true) {
    Tensor v = normal_vector(a_.size(), seed_, stream_id("lanczos", draws_++));
    const OrthonormalBasis::Projection p = basis_.project_out(v);
    if (p.after <= 1e-8 * p.before) continue;  // almost inside the span: draw again
    basis_.append(std::move(v), p.after);
    return;
  }
}

}  // namespace basin
