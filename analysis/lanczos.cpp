// The driver: when to look at the Ritz pairs, when to look for copies, when to restart. The Krylov
// space and its projected matrix are in krylov.h.
#include "basin/analysis/lanczos.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "basin/analysis/detail/krylov.h"

namespace basin {
namespace {

constexpr double kMissed = 1e-4;      // accepted probability of missing a copy
constexpr double kLeastProducts = 4;  // of a search: where the pairs took few, a share sees nothing

class Solver {
 public:
  Solver(const SymmetricOperator& a, const LanczosOptions& options)
      : a_(a), options_(checked(options, a.size())), krylov_(a, options_.max_basis, options.seed) {
    if (options.top > a.size() || options.bottom > a.size()) {
      note(str("more pairs were asked for than the operator has, ", a.size()));
    }
  }

  LanczosResult run() {
    while (true) {
      const bool settled = converge();
      take_pairs();
      if (settled && complete()) {
        out_.copies = CopySearch::none;
        out_.copies_missed = 0;
      } else if (options_.copies_share > 0) {
        out_.copies = CopySearch::open;
        if (settled && search()) {
          ++out_.copies_found;
          out_.copy_products = 0;  // they belong to the pairs now
          continue;
        }
      }
      return result(settled);
    }
  }

 private:
  static LanczosOptions checked(LanczosOptions o, int64_t n) {
    check(n >= 1, "lanczos: the operator has no rows");
    check(o.top >= 0 && o.bottom >= 0 && o.top + o.bottom >= 1,
          "lanczos: expects at least one pair, got top ", o.top, " and bottom ", o.bottom);
    check(o.tolerance >= 0 && o.max_products >= 1 && o.max_basis >= 0 && o.copies_share >= 0,
          "lanczos: expects tolerance >= 0, max_products >= 1, max_basis >= 0 and copies_share >= "
          "0, got ",
          o.tolerance, ", ", o.max_products, ", ", o.max_basis, ", ", o.copies_share);
    o.top = std::min(o.top, n);
    o.bottom = std::min(o.bottom, n);
    const int64_t wanted = std::min(o.top + o.bottom, n);
    const int64_t least = std::min(n, wanted + 6);
    check(o.max_basis == 0 || o.max_basis >= least, "lanczos: max_basis must be at least ", least,
          " for ", wanted, " pairs, got ", o.max_basis);
    o.max_basis = std::min(n, o.max_basis == 0 ? 3 * wanted + 40 : o.max_basis);
    return o;
  }

  void note(const std::string& sentence) {
    out_.note += (out_.note.empty() ? "" : "; ") + sentence;
  }

  bool complete() const { return krylov_.size() == a_.size(); }
  bool full() const { return krylov_.size() == options_.max_basis; }
  bool spent() const { return krylov_.products() >= options_.max_products; }

  void look() {
    ritz_ = krylov_.ritz();
    out_.largest_magnitude = std::max(out_.largest_magnitude, ritz_.largest());
    since_look_ = 0;
  }

  // The eigenproblem of the small matrix, some 10 m^3 operations, is solved as often as that costs
  // no more than the projections, 8 m n for each product.
  bool due() {
    const int64_t m = krylov_.size();
    return ++since_look_ > std::min(m / 8, m * m / a_.size());
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

  std::vector<double> wanted_values() const {
    std::vector<double> out;
    for (const size_t i : places_of_wanted()) out.push_back(ritz_.values[i]);
    return out;
  }

  double goal() const { return options_.tolerance * out_.largest_magnitude; }
  double allowed(double value) const {
    const double size = options_.relative ? std::abs(value) : out_.largest_magnitude;
    return std::max(options_.tolerance * size, 2 * kRounding * krylov_.scale());
  }
  double floor() const { return kClosed * krylov_.scale(); }  // closer values are not told apart

  // Steps until the wanted pairs have converged; false when they have not and no more can be done.
  bool converge() {
    std::optional<bool> verdict;
    if (ritz_.size() > 0) verdict = judge();  // a search has changed the wanted pairs
    while (!verdict) {
      krylov_.advance();
      const bool early = options_.stop_early || filled_;
      const bool looks = due() && early && krylov_.size() >= options_.top + options_.bottom;
      if (!looks && !full() && !complete() && !spent()) continue;
      filled_ = filled_ || full();
      look();
      verdict = judge();
    }
    return *verdict;
  }

  // Of the Ritz pairs just looked at; nothing: go on.
  std::optional<bool> judge() {
    if (complete()) return true;
    std::vector<size_t> open;
    bool at_best = true;
    const std::vector<size_t> places = places_of_wanted();
    for (const size_t i : places) {
      const double wanted = allowed(ritz_.values[i]);
      if (std::hypot(ritz_.coupling[i], ritz_.asymmetry[i]) > wanted) open.push_back(i);
      at_best = at_best && ritz_.coupling[i] <= std::max(0.5 * wanted, ritz_.asymmetry[i]);
    }
    if (static_cast<int64_t>(places.size()) == options_.top + options_.bottom) {
      if (open.empty()) return true;
      if (at_best) {
        note(
            "the products are symmetric only to rounding above the tolerance; no smaller residual "
            "can be reached");
        return false;
      }
    }
    if (spent()) {
      note(str("stopped at the limit of ", options_.max_products, " products"));
      return false;
    }
    krylov_.prefer(ritz_, open);
    if (full()) thick_restart();
    return std::nullopt;
  }

  // Looks for copies; true when the wanted values have changed.
  bool search() {
    const std::vector<double> before = wanted_values();
    out_.copies = CopySearch::not_needed;
    out_.copies_missed = 0;
    if (!telling_copy(before, true) && !telling_copy(before, false)) return false;
    out_.copies = CopySearch::open;
    out_.copies_missed = 1;
    const int64_t budget = search_budget();
    if (budget <= 0) return false;
    const bool apart = budget <= options_.max_basis - krylov_.size();
    if (!apart) {
      krylov_.restart(ritz_, places_of_wanted());
      look();
    }
    const bool chain = krylov_.begin_chain(ritz_, places_of_wanted());
    for (int64_t k = 1; k <= budget; ++k) {
      if (full()) thick_restart();
      chain ? krylov_.advance_chain() : krylov_.advance();
      ++out_.copy_products;
      const bool closed = complete() || (chain && !krylov_.chain_goes_on());
      if (!due() && !full() && !closed && k < budget) continue;
      look();
      if (!same(wanted_values(), before)) return true;
      out_.copies_missed = closed ? 0 : missed(before, apart);
      if (out_.copies_missed > kMissed) continue;
      out_.copies = CopySearch::none;
      return false;
    }
    return false;
  }

  int64_t search_budget() const {
    const auto so_far = static_cast<double>(krylov_.products());
    const auto left = static_cast<double>(options_.max_products) - so_far;
    const double share = std::max(kLeastProducts, std::ceil(options_.copies_share * so_far));
    return static_cast<int64_t>(std::min(left, share));
  }

  bool same(const std::vector<double>& a, const std::vector<double>& b) const {
    for (size_t i = 0; i < a.size(); ++i) {
      if (std::abs(a[i] - b[i]) > std::max(goal(), floor())) return false;
    }
    return true;
  }

  // The wanted value nearest to the innermost one of its side of which a further copy would push
  // that one out; nothing where all tie with it.
  std::optional<double> telling_copy(const std::vector<double>& values, bool top) const {
    const auto begin = static_cast<size_t>(top ? 0 : options_.top);
    const auto end = top ? std::min<size_t>(options_.top, values.size()) : values.size();
    for (size_t i = end; i-- > begin;) {
      if (std::abs(values[i] - values[end - 1]) > std::max(goal(), floor())) return values[i];
    }
    return std::nullopt;
  }

  // Bound of the probability that a telling copy has not shown: the chain, orthogonal to all that
  // was known before it, would have a Ritz value near that copy. After `chain` products its largest
  // one lies below the largest eigenvalue by the share eps of the spectrum with probability below
  // 1.648 sqrt(n) exp(-sqrt(eps) (2 chain - 1)) (Kuczynski and Wozniakowski 1992; a rule of thumb
  // once the chain was restarted). None is left either once that Ritz pair itself has converged,
  // which smaller eigenvalues do later. apart: the chain has not been mixed with what was before.
  double missed(const std::vector<double>& values, bool apart) const {
    const Ritz ritz = apart ? krylov_.chain_ritz() : ritz_;
    const int64_t beside = apart ? 0 : options_.top + options_.bottom;
    if (ritz.size() < beside + 2) return 1;
    const double n = static_cast<double>(a_.size());
    const double settled =
        std::max(floor(), std::min(goal(), out_.largest_magnitude * std::min(1e-4, 1 / n)));
    double worst = 0;
    for (const bool top : {true, false}) {
      const std::optional<double> copy = telling_copy(values, top);
      if (!copy) continue;
      const auto edge = static_cast<size_t>(top ? ritz.size() - 1 - (apart ? 0 : options_.top)
                                                : (apart ? 0 : options_.bottom));
      const double asymmetry = apart ? 0 : ritz.asymmetry[edge];
      if (std::hypot(ritz.coupling[edge], asymmetry) <= settled) continue;
      const double far = top ? ritz_.values.front() : ritz_.values.back();
      const double eps = (*copy - ritz.values[edge]) / (*copy - far);
      const auto chain = static_cast<double>(krylov_.chain());
      const double bound =
          eps > 0 ? 1.648 * std::sqrt(n) * std::exp(-std::sqrt(eps) * (2 * chain - 1)) : 1;
      worst = std::max(worst, std::min(1.0, bound));
    }
    return worst;
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
    krylov_.restart(ritz_, kept);
    ++out_.restarts;
  }

  Eigenpair pair(size_t place) const {
    Eigenpair out;
    out.value = ritz_.values[place];
    out.vector = krylov_.vector(ritz_, place);
    out.residual = ritz_.bound(place);
    return out;
  }

  void take_pairs() {
    const auto m = static_cast<size_t>(ritz_.size());
    out_.top.clear();
    out_.bottom.clear();
    for (size_t i = 0; i < std::min<size_t>(m, options_.top); ++i)
      out_.top.push_back(pair(m - 1 - i));
    for (size_t i = 0; i < std::min<size_t>(m, options_.bottom); ++i)
      out_.bottom.push_back(pair(i));
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

  // settled: the pairs have converged but for what was let go on the way, a sum of worst cases.
  LanczosResult result(bool settled) {
    out_.converged = true;
    for (std::vector<Eigenpair>* side : {&out_.top, &out_.bottom}) {
      const bool doubtful = settled && std::any_of(side->begin(), side->end(), [&](auto& p) {
                              return p.residual > allowed(p.value);
                            });
      if (options_.verify || doubtful) measure(*side);
      for (Eigenpair& p : *side) {
        p.converged = p.residual <= allowed(p.value);
        out_.converged = out_.converged && p.converged;
      }
    }
    if (out_.top.size() < static_cast<size_t>(options_.top) ||
        out_.bottom.size() < static_cast<size_t>(options_.bottom)) {
      note("fewer pairs than asked for were found within the products");
      out_.converged = false;
    }
    out_.products = krylov_.products() + verifying_;
    return out_;
  }

  const SymmetricOperator& a_;
  LanczosOptions options_;
  Krylov krylov_;
  Ritz ritz_;
  LanczosResult out_;
  bool filled_ = false;  // the basis has been, once
  int64_t since_look_ = 0, verifying_ = 0;
};

}  // namespace

std::string copies_text(const LanczosResult& r) {
  if (r.copies == CopySearch::off) return "";
  const std::string found =
      r.copies_found == 0 ? "" : str("taken in after ", r.copies_found, " searches; ");
  if (r.copies == CopySearch::not_needed) {
    return str(found, "none would change the values");
  }
  if (r.copies == CopySearch::none) {
    return str(found, r.copies_found == 0 ? "none found" : "no more found");
  }
  if (r.copy_products == 0) return str(found, "search not begun");
  const auto percent = static_cast<int64_t>(std::ceil(100 * r.copies_missed));
  return str(found, "search left open after ", r.copy_products,
             " products, missed with a probability of up to ", percent, " %");
}

LanczosResult lanczos(const SymmetricOperator& a, const LanczosOptions& options) {
  return Solver(a, options).run();
}

}  // namespace basin
