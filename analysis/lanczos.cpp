// The driver: when to look at the Ritz pairs, when to believe them, when to restart. The Krylov
// space and its projected matrix are in krylov.h.
#include "basin/analysis/lanczos.h"

#include <algorithm>
#include <cmath>

#include "basin/analysis/detail/krylov.h"

namespace basin {
namespace {

constexpr double kMissed = 1e-4;  // accepted probability of missing a copy

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
      largest_ = std::max(largest_, ritz_.largest());
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
  std::vector<size_t> places_of_wanted() const {
    std::vector<size_t> out;
    const auto m = static_cast<size_t>(ritz_.size());
    for (size_t i = 0; i < std::min<size_t>(m, options_.top); ++i) out.push_back(m - 1 - i);
    for (size_t i = 0; i < std::min<size_t>(m, options_.bottom); ++i) {
      if (i < m - std::min<size_t>(m, options_.top)) out.push_back(i);
    }
    return out;
  }

  double goal() const { return options_.tolerance * largest_; }
  double allowed(double value) const {
    const double size = options_.relative ? std::abs(value) : largest_;
    return std::max(options_.tolerance * size, 2 * kRounding * krylov_.scale());
  }

  // True when nothing is left to do.
  bool step() {
    const std::vector<size_t> places = places_of_wanted();
    if (static_cast<int64_t>(places.size()) < options_.top + options_.bottom) return false;
    bool converged = true, at_best = true;
    // What the search locks and what is converged on top of it add up.
    const double share = options_.find_copies ? 0.5 : 1.0;
    for (const size_t i : places) {
      const double wanted = share * allowed(ritz_.values[i]);
      converged = converged && std::hypot(ritz_.coupling[i], ritz_.asymmetry[i]) <= wanted;
      at_best = at_best && ritz_.coupling[i] <= std::max(0.5 * wanted, ritz_.asymmetry[i]);
    }
    if (!converged && at_best) {
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
    if (residual <= std::max(floor, std::min(goal(), largest_ * std::min(1e-4, 1 / n))))
      return true;
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
    out.largest_magnitude = largest_;
    out.converged = certain_ || !options_.find_copies;
    for (std::vector<Eigenpair>* side : {&out.top, &out.bottom}) {
      const bool doubtful = certain_ && std::any_of(side->begin(), side->end(), [&](auto& p) {
                              return p.residual > allowed(p.value);
                            });
      if (options_.verify || doubtful) measure(*side);
      for (Eigenpair& p : *side) {
        p.converged = p.residual <= allowed(p.value);
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
  double largest_ = 0;  // |Ritz value| seen so far: a search may start without it
  int64_t restarts_ = 0, since_check_ = 0, verifying_ = 0;
};

}  // namespace

LanczosResult lanczos(const SymmetricOperator& a, const LanczosOptions& options) {
  return Solver(a, options).run();
}

}  // namespace basin
