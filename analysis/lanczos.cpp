// Rayleigh-Ritz on a Krylov basis V whose projected matrix is measured, not assumed: column j of
// the upper triangle of V^T A V comes from the projection of A v_j, the lower triangle from what
// the recurrence says; where the two differ, the products are not symmetric, and that difference
// enters every residual. After a thick restart the projected matrix has the arrow that belongs to
// it without further care.
#include "basin/analysis/lanczos.h"

#include <algorithm>
#include <cmath>

#include "basin/analysis/orthonormal_basis.h"
#include "basin/core/random.h"
#include "basin/kernels/linalg.h"

namespace basin {
namespace {

constexpr double kClosed = 1e-13;    // of the largest product: what is left is rounding
constexpr double kRounding = 1e-15;  // of the largest product: no residual is known better
constexpr double kMissed = 1e-4;     // accepted probability of missing a copy

// Ritz values ascending, with coefficients in the basis and what is known of each residual.
struct Ritz {
  std::vector<double> values;
  std::vector<std::vector<double>> vectors;
  std::vector<double> coupling;   // to the rest of the space: falls with further steps
  std::vector<double> asymmetry;  // of the products: does not
  std::vector<double> dropped;    // parts of A v that were let go, their worst sum
  int64_t size() const { return static_cast<int64_t>(values.size()); }
  double largest() const {
    return values.empty() ? 0 : std::max(std::abs(values.front()), std::abs(values.back()));
  }
  double bound(size_t i) const { return std::hypot(coupling[i], asymmetry[i]) + dropped[i]; }
};

// The basis and its projected matrix.
class Krylov {
 public:
  Krylov(const SymmetricOperator& a, int64_t capacity, uint64_t seed)
      : a_(a),
        basis_(a.size()),
        capacity_(capacity),
        seed_(seed),
        projected_(static_cast<size_t>(capacity * capacity), 0.0) {}

  const OrthonormalBasis& basis() const { return basis_; }
  int64_t size() const { return basis_.size(); }
  int64_t products() const { return products_; }
  bool closed() const { return length_ == 0; }  // the next direction will be a random one
  int64_t chain() const { return chain_; }      // products since the last random direction
  double scale() const { return scale_; }       // largest |A v|

  // One more direction and one more product.
  void advance() {
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
    scale_ = std::max(scale_, p.before);
    coupling_.assign(static_cast<size_t>(j + 1), 0.0);
    dropped_.push_back(0);
    length_ = p.after;
    if (length_ <= kClosed * scale_ || size() == a_.size()) {
      dropped_.back() = length_;
      length_ = 0;
    }
    coupling_.back() = length_;
  }

  Ritz ritz() const {
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

  // Keeps the chosen Ritz vectors. `leave`: the next direction is random, the coupling to the old
  // one is let go; otherwise the old one follows.
  void restart(const Ritz& ritz, const std::vector<size_t>& kept, bool leave) {
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
      dropped.push_back(ritz.asymmetry[from] + ritz.dropped[from] +
                        (loses ? std::abs(coupled) : 0));
      coupling.push_back(loses ? 0 : coupled);
    }
    basis_.rotate(rotation, p);
    dropped_ = std::move(dropped);
    coupling_ = std::move(coupling);
    for (int64_t j = 0; j < p; ++j) {
      for (int64_t i = 0; i < p; ++i) at(i, j) = 0;
      at(j, j) = ritz.values[kept[static_cast<size_t>(j)]];
    }
    if (leave) length_ = 0;
  }

 private:
  double& at(int64_t i, int64_t j) { return projected_[static_cast<size_t>(i * capacity_ + j)]; }
  double at(int64_t i, int64_t j) const {
    return projected_[static_cast<size_t>(i * capacity_ + j)];
  }

  // |D s|, D = lower triangle by the recurrence minus the mirrored upper one.
  double asymmetry(const std::vector<double>& s) const {
    double sum = 0;
    for (int64_t j = 1; j < size(); ++j) {
      double row = 0;
      for (int64_t i = 0; i < j; ++i) row += (at(j, i) - at(i, j)) * s[static_cast<size_t>(i)];
      sum += row * row;
    }
    return std::sqrt(sum);
  }

  void random_direction() {
    chain_ = 0;
    while (true) {
      Tensor v = normal_vector(a_.size(), seed_, stream_id("lanczos", draws_++));
      const OrthonormalBasis::Projection p = basis_.project_out(v);
      if (p.after <= 1e-8 * p.before) continue;  // almost inside the span: draw again
      basis_.append(std::move(v), p.after);
      return;
    }
  }

  const SymmetricOperator& a_;
  OrthonormalBasis basis_;
  int64_t capacity_;
  uint64_t seed_;
  std::vector<double> projected_;  // [capacity, capacity]
  std::vector<double> coupling_;   // [m]: A v_i has this much of the next direction
  std::vector<double> dropped_;    // [m]: and this much outside of the basis, let go
  Tensor rest_;                    // [n]: the next direction, of length length_
  double length_ = 0, scale_ = 0;
  int64_t products_ = 0, chain_ = 0;
  uint64_t draws_ = 0;
};

class Solver {
 public:
  Solver(const SymmetricOperator& a, const LanczosOptions& options)
      : a_(a), options_(checked(options, a.size())), krylov_(a, options_.max_basis, options.seed) {
    if (options.top > a.size() || options.bottom > a.size()) {
      note(str("more pairs were asked for than the operator has, ", a.size()));
    }
  }

  LanczosResult run() {
    bool done = false;
    while (!done) {
      krylov_.advance();
      const bool full = krylov_.size() == options_.max_basis;
      const bool complete = krylov_.size() == a_.size();
      const bool spent = krylov_.products() >= options_.max_products;
      if (!(full || complete || spent || due())) continue;
      ritz_ = krylov_.ritz();
      since_check_ = 0;
      if (complete) {
        certain_ = true;
        break;
      }
      done = step();
      if (!done && spent) {
        note(str("stopped at the limit of ", options_.max_products, " products"));
        done = true;
      }
      if (!done && krylov_.size() == options_.max_basis) thick_restart();
    }
    return result();
  }

 private:
  static LanczosOptions checked(LanczosOptions o, int64_t n) {
    check(n >= 1, "lanczos: the operator has no rows");
    check(o.top >= 0 && o.bottom >= 0 && o.top + o.bottom >= 1,
          "lanczos: expects at least one pair, got top ", o.top, " and bottom ", o.bottom);
    check(o.tolerance >= 0 && o.max_products >= 1 && o.max_basis >= 0,
          "lanczos: expects tolerance >= 0, max_products >= 1 and max_basis >= 0, got ",
          o.tolerance, ", ", o.max_products, ", ", o.max_basis);
    o.top = std::min(o.top, n);
    o.bottom = std::min(o.bottom, n);
    const int64_t wanted = std::min(o.top + o.bottom, n);
    const int64_t least = std::min(n, wanted + 6);
    check(o.max_basis == 0 || o.max_basis >= least, "lanczos: max_basis must be at least ", least,
          " for ", wanted, " pairs, got ", o.max_basis);
    o.max_basis = std::min(n, o.max_basis == 0 ? 3 * wanted + 40 : o.max_basis);
    return o;
  }

  void note(const std::string& sentence) { note_ += (note_.empty() ? "" : "; ") + sentence; }

  // Small eigenproblems cost time too: they are solved every so many steps.
  bool due() {
    ++since_check_;
    if (!options_.stop_early) return false;
    return krylov_.size() >= options_.top + options_.bottom &&
           (krylov_.closed() || since_check_ >= 1 + krylov_.size() / 8);
  }

  // Places of the wanted Ritz values, all of the top first.
  std::vector<size_t> wanted(const Ritz& ritz) const {
    std::vector<size_t> out;
    const auto m = static_cast<size_t>(ritz.size());
    for (size_t i = 0; i < std::min<size_t>(m, options_.top); ++i) out.push_back(m - 1 - i);
    for (size_t i = 0; i < std::min<size_t>(m, options_.bottom); ++i) {
      if (i < m - std::min<size_t>(m, options_.top)) out.push_back(i);
    }
    return out;
  }

  double goal() const { return options_.tolerance * ritz_.largest(); }

  // True when nothing is left to do.
  bool step() {
    const std::vector<size_t> places = wanted(ritz_);
    if (static_cast<int64_t>(places.size()) < options_.top + options_.bottom) return false;
    bool converged = true, noisy = false;
    // What is locked for the search stays as it is, so that it has to be better than asked for.
    const double share = options_.find_copies && !searching_ ? 0.5 : 1.0;
    for (const size_t i : places) {
      const double left = std::hypot(ritz_.coupling[i], ritz_.asymmetry[i]);
      converged = converged && left <= share * std::max(goal(), 2 * kRounding * krylov_.scale());
      noisy = noisy || (ritz_.coupling[i] <= 0.5 * goal() && ritz_.asymmetry[i] > 0.5 * goal());
    }
    if (!converged && noisy) {
      note(
          "the products are symmetric only to rounding above the tolerance; no smaller residual "
          "can be reached");
      return true;
    }
    if (!converged) return false;
    if (!options_.find_copies) return true;
    if (searching_ && !search_over()) return false;
    std::vector<double> values;
    for (const size_t i : places) values.push_back(ritz_.values[i]);
    if (searching_ && same(values, locked_)) {
      certain_ = true;
      return true;
    }
    if (krylov_.products() >= options_.max_products) return false;
    locked_ = values;
    searching_ = true;
    krylov_.restart(ritz_, places, true);
    ++restarts_;
    return false;
  }

  bool same(const std::vector<double>& a, const std::vector<double>& b) const {
    for (size_t i = 0; i < a.size(); ++i) {
      if (std::abs(a[i] - b[i]) > std::max(goal(), kClosed * krylov_.scale())) return false;
    }
    return true;
  }

  // Whether a further copy of a wanted value would have shown by now, on both sides. The random
  // direction orthogonal to all that is locked has run `chain` steps; its largest Ritz value is the
  // first one beyond the wanted. A hidden eigenvalue above it by the share eps of the spectrum has
  // been missed with probability below 1.648 sqrt(n) exp(-sqrt(eps) (2 chain - 1)) (Kuczynski and
  // Wozniakowski 1992; a rule of thumb once the chain was restarted), or that Ritz pair itself has
  // converged, which smaller eigenvalues do later.
  bool search_over() const {
    const int64_t m = ritz_.size();
    if (m < options_.top + options_.bottom + 2) return false;
    const double low = ritz_.values.front(), high = ritz_.values.back();
    const bool top = options_.top == 0 || side_over(m - options_.top, -1, options_.top, low);
    return top &&
           (options_.bottom == 0 || side_over(options_.bottom - 1, 1, options_.bottom, high));
  }

  // last: place of the innermost wanted value; inward: the step from it to the first one beyond.
  bool side_over(int64_t last, int64_t inward, int64_t count, double far) const {
    const auto beyond = static_cast<size_t>(last + inward);
    const double n = static_cast<double>(a_.size());
    const double range = std::abs(ritz_.values.back() - ritz_.values.front());
    const double residual = std::hypot(ritz_.coupling[beyond], ritz_.asymmetry[beyond]);
    const double floor = kClosed * krylov_.scale();
    if (residual <= std::max(floor, std::min(goal(), ritz_.largest() / n))) return true;
    for (int64_t k = 0; k < count; ++k) {  // from the innermost wanted value outwards
      const double value = ritz_.values[static_cast<size_t>(last - k * inward)];
      const double gap = std::abs(value - ritz_.values[beyond]);
      if (gap <= std::max(goal(), floor)) continue;  // a copy of it would change nothing
      const double eps = gap / std::max(range, std::abs(value - far));
      const auto chain = static_cast<double>(krylov_.chain());
      return 1.648 * std::sqrt(n) * std::exp(-std::sqrt(eps) * (2 * chain - 1)) <= kMissed;
    }
    return true;  // all of them tie with it
  }

  void thick_restart() {
    const int64_t m = ritz_.size();
    const int64_t extra = (m - options_.top - options_.bottom) / 2;
    const int64_t sides = (options_.top > 0 ? 1 : 0) + (options_.bottom > 0 ? 1 : 0);
    const int64_t above = options_.top > 0 ? options_.top + extra / sides : 0;
    const int64_t below = options_.bottom > 0 ? options_.bottom + extra / sides : 0;
    std::vector<size_t> kept;
    for (int64_t i = 0; i < above; ++i) kept.push_back(static_cast<size_t>(m - 1 - i));
    for (int64_t i = 0; i < below; ++i) kept.push_back(static_cast<size_t>(i));
    krylov_.restart(ritz_, kept, false);
    ++restarts_;
  }

  Eigenpair pair(size_t place) const {
    Eigenpair out;
    out.value = ritz_.values[place];
    out.vector = krylov_.basis().combine(ritz_.vectors[place]);
    out.residual = ritz_.bound(place);
    return out;
  }

  // Replaces the bounds by measured residuals.
  void measure(std::vector<Eigenpair>& pairs) {
    for (Eigenpair& pair : pairs) {
      Tensor rest = a_.apply(pair.vector.view({1, a_.size()})).view({a_.size()});
      ++verifying_;
      add_scaled(rest, -pair.value, pair.vector);
      pair.residual = norm(rest);
    }
  }

  LanczosResult result() {
    LanczosResult out;
    const auto m = static_cast<size_t>(ritz_.size());
    for (size_t i = 0; i < std::min<size_t>(m, options_.top); ++i)
      out.top.push_back(pair(m - 1 - i));
    for (size_t i = 0; i < std::min<size_t>(m, options_.bottom); ++i) out.bottom.push_back(pair(i));
    out.largest_magnitude = ritz_.largest();
    const double allowed = std::max(goal(), 2 * kRounding * krylov_.scale());
    out.converged = certain_ || !options_.find_copies;
    for (std::vector<Eigenpair>* side : {&out.top, &out.bottom}) {
      const bool doubtful = certain_ && std::any_of(side->begin(), side->end(),
                                                    [&](auto& p) { return p.residual > allowed; });
      if (options_.verify || doubtful) measure(*side);
      for (Eigenpair& p : *side) {
        p.converged = p.residual <= allowed;
        out.converged = out.converged && p.converged;
      }
    }
    if (out.top.size() < static_cast<size_t>(options_.top) ||
        out.bottom.size() < static_cast<size_t>(options_.bottom)) {
      note("fewer pairs than asked for were found within the products");
      out.converged = false;
    }
    out.products = krylov_.products() + verifying_;
    out.restarts = restarts_;
    out.note = note_;
    return out;
  }

  const SymmetricOperator& a_;
  LanczosOptions options_;
  Krylov krylov_;
  Ritz ritz_;
  std::vector<double> locked_;  // the wanted values when the search for copies began
  std::string note_;
  bool searching_ = false, certain_ = false;
  int64_t restarts_ = 0, since_check_ = 0, verifying_ = 0;
};

}  // namespace

LanczosResult lanczos(const SymmetricOperator& a, const LanczosOptions& options) {
  return Solver(a, options).run();
}

}  // namespace basin
