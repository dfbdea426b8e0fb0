// Hutchinson and Hutch++ with the shared sampling loop: probes in groups of `lanes`, per-block sums
// over fixed tiles in order, looks at the interval on a fixed schedule.
#include "basin/analysis/trace.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <utility>

#include "basin/analysis/detail/orthonormal_basis.h"
#include "basin/analysis/statistics.h"
#include "basin/core/error.h"
#include "basin/core/parallel.h"
#include "basin/core/random.h"

namespace basin {
namespace {

constexpr int64_t kProbeTile =
    1 << 14;                     // of one probe; a multiple of the 128 signs of a Philox block
constexpr int64_t kPilot = 16;   // least samples of a pilot, and of what follows it
constexpr double kMargin = 1.5;  // of the samples that the pilot asks for

void check_options(const char* what, const SymmetricOperator& a, const TraceOptions& o,
                   int64_t least) {
  check(a.size() >= 1, what, ": expects an operator of size at least 1, got ", a.size());
  check(o.products >= least, what, ": expects at least ", least, " products, got ", o.products);
  check(o.lanes >= 1, what, ": expects at least one lane, got ", o.lanes);
  check(o.relative >= 0, what, ": expects a relative precision >= 0, got ", o.relative);
  check(o.basis >= 0, what, ": expects a basis of >= 0 vectors, got ", o.basis);
  check(o.level > 0 && o.level < 1, what, ": expects a level between 0 and 1, got ", o.level);
}

// A tile never crosses the border of a block.
struct Piece {
  size_t block;
  int64_t begin, end;
};

std::vector<Piece> pieces_of(const std::vector<int64_t>& offsets) {
  std::vector<Piece> pieces;
  for (size_t b = 0; b + 1 < offsets.size(); ++b) {
    for (int64_t at = offsets[b]; at < offsets[b + 1]; at += kProbeTile) {
      pieces.push_back({b, at, std::min(at + kProbeTile, offsets[b + 1])});
    }
  }
  return pieces;
}

// The samples z^T A z of probes 0, 1 .., cut into blocks, of A or of what is left of A outside a
// basis.
class Samples {
 public:
  Samples(const char* what, const SymmetricOperator& a, const TraceOptions& options,
          const std::vector<int64_t>& offsets, const OrthonormalBasis* removed)
      : what_(what),
        a_(a),
        options_(options),
        pieces_(pieces_of(offsets)),
        removed_(removed),
        blocks_(offsets.size() - 1) {}

  int64_t count() const { return static_cast<int64_t>(total_.size()); }
  int64_t drawn() const { return forgotten_ + count(); }
  // The samples so far leave the stage; the next one is a fresh probe.
  void forget() {
    forgotten_ += count();
    total_.clear();
    for (std::vector<double>& block : blocks_) block.clear();
  }
  const std::vector<double>& total() const { return total_; }
  const std::vector<std::vector<double>>& blocks() const { return blocks_; }

  void extend(int64_t target) {
    while (count() < target) {
      const int64_t lanes = std::min(options_.lanes, target - count());
      Tensor z = rademacher_probes(a_.size(), drawn(), lanes, options_.seed);
      if (removed_ != nullptr) project(z);
      const Tensor product = a_.apply(z);
      for (int64_t l = 0; l < lanes; ++l) {
        take(z.data<double>() + l * a_.size(), product.data<double>() + l * a_.size());
      }
    }
  }

 private:
  void project(Tensor& z) const {
    double* rows = z.mutable_data<double>();
    for (int64_t l = 0; l < z.size(0); ++l) {
      Tensor row = copy_row(z, l);
      removed_->project_out(row);
      std::copy_n(row.data<double>(), a_.size(), rows + l * a_.size());
    }
  }

  void take(const double* z, const double* product) {
    std::vector<double> partial(pieces_.size());
    parallel_tiles(static_cast<int64_t>(pieces_.size()), [&](int64_t p) {
      const Piece& piece = pieces_[static_cast<size_t>(p)];
      partial[static_cast<size_t>(p)] =
          dot_of(z + piece.begin, product + piece.begin, piece.end - piece.begin);
    });
    std::vector<double> sums(blocks_.size(), 0.0);
    for (size_t p = 0; p < pieces_.size(); ++p) sums[pieces_[p].block] += partial[p];
    const double all = std::accumulate(sums.begin(), sums.end(), 0.0);
    if (!std::isfinite(all)) {
      fail(ErrorKind::numerical, what_, ": the product with probe ", drawn(),
           " is not finite; check the operator at this point");
    }
    for (size_t b = 0; b < blocks_.size(); ++b) blocks_[b].push_back(sums[b]);
    total_.push_back(all);
  }

  const char* what_;
  const SymmetricOperator& a_;
  const TraceOptions& options_;
  std::vector<Piece> pieces_;
  const OrthonormalBasis* removed_;
  int64_t forgotten_ = 0;
  std::vector<double> total_;
  std::vector<std::vector<double>> blocks_;
};

// Draws at most `most` samples. For a precision: a pilot says how many fresh samples to take and
// is forgotten, so that the choice never sees what the interval is made of. False when the interval
// of known + their mean is wider than asked for.
bool sample(Samples& samples, int64_t most, double known, const TraceOptions& options) {
  if (options.relative == 0) {
    samples.extend(most);
    return true;
  }
  auto excess = [&] {  // half width over the one asked for
    const Estimate e = skewed_mean_estimate(samples.total(), options.level);
    const double half = (e.interval.high - e.interval.low) / 2;
    return half > 0 ? half / (options.relative * std::abs(known + e.value)) : half;
  };
  int64_t fresh = 0;
  for (int64_t pilot = std::clamp<int64_t>(most / 2, 1, kPilot);; pilot += pilot / 2) {
    samples.extend(pilot);
    const double ratio = excess();
    const double wanted = kMargin * static_cast<double>(pilot) * ratio * ratio;
    const bool last = pilot + pilot / 2 > most / 3 || pilot == 1;
    if (!last && !(wanted <= 4.0 * static_cast<double>(pilot))) continue;
    const int64_t room = most - pilot;
    fresh = wanted < static_cast<double>(room) ? static_cast<int64_t>(std::ceil(wanted)) : room;
    fresh = std::min(std::max(fresh, kPilot), room);
    break;
  }
  if (fresh > 0) {
    samples.forget();
    samples.extend(fresh);
  }
  return excess() <= 1;
}

BlockTraces hutchinson(const char* what, const SymmetricOperator& a,
                       const std::vector<int64_t>& offsets, const TraceOptions& options) {
  Samples samples(what, a, options, offsets, nullptr);
  BlockTraces out;
  out.total.reached = sample(samples, options.products, 0, options);
  out.total.samples = samples.total();
  out.total.products = samples.drawn();
  out.total.estimate = skewed_mean_estimate(samples.total(), options.level, "hutchinson");
  out.samples = samples.blocks();
  return out;
}

// Q = orth(A S), dependent products left out; adds to `trace` the sum of q^T A q. S is normal, not
// signs: two short sign vectors are easily dependent themselves, and then a dependent product would
// not mean that Q spans the range of A.
OrthonormalBasis sketch(const SymmetricOperator& a, int64_t vectors, const TraceOptions& options,
                        double& trace, int64_t& products) {
  const int64_t n = a.size();
  OrthonormalBasis q(n);
  for (int64_t at = 0; at < vectors; at += options.lanes) {
    const int64_t lanes = std::min(options.lanes, vectors - at);
    Tensor s = Tensor::empty({lanes, n}, DType::f64);
    for (int64_t l = 0; l < lanes; ++l) {
      const uint64_t stream = stream_id("hutch++", static_cast<uint64_t>(at + l));
      const Tensor row = normal_vector(n, options.seed, stream);
      std::copy_n(row.data<double>(), n, s.mutable_data<double>() + l * n);
    }
    const Tensor y = a.apply(s);
    products += lanes;
    for (int64_t l = 0; l < lanes; ++l) {
      Tensor w = copy_row(y, l);
      const OrthonormalBasis::Projection p = q.project_out(w);
      if (!std::isfinite(p.before)) {
        fail(ErrorKind::numerical, "hutch++: the product with basis vector ", at + l,
             " is not finite; check the operator at this point");
      }
      if (p.after > kDependent * p.before && q.size() < n) q.append(std::move(w), p.after);
    }
  }
  for (int64_t at = 0; at < q.size(); at += options.lanes) {
    const int64_t lanes = std::min(options.lanes, q.size() - at);
    Tensor v = Tensor::empty({lanes, n}, DType::f64);
    for (int64_t l = 0; l < lanes; ++l) {
      std::copy_n(q[at + l].data<double>(), n, v.mutable_data<double>() + l * n);
    }
    const Tensor y = a.apply(v);
    products += lanes;
    for (int64_t l = 0; l < lanes; ++l) trace += dot_product(q[at + l], copy_row(y, l));
  }
  return q;
}

}  // namespace

Tensor rademacher_probes(int64_t n, int64_t first, int64_t count, uint64_t seed) {
  check(n >= 1 && first >= 0 && count >= 1,
        "rademacher_probes: expects n >= 1, first >= 0 and count >= 1, got ", n, ", ", first, ", ",
        count);
  Tensor out = Tensor::empty({count, n}, DType::f64);
  double* rows = out.mutable_data<double>();
  for (int64_t l = 0; l < count; ++l) {
    const uint64_t stream = stream_id("rademacher", static_cast<uint64_t>(first + l));
    double* row = rows + l * n;
    parallel_for(n, kProbeTile, [&](int64_t begin, int64_t end) {
      for (int64_t at = begin; at < end; at += 128) {
        const auto bits = philox4x32(static_cast<uint64_t>(at / 128), stream, seed);
        const int64_t length = std::min<int64_t>(128, end - at);
        for (int64_t i = 0; i < length; ++i) {
          row[at + i] = (bits[static_cast<size_t>(i / 32)] >> (i % 32) & 1) != 0 ? 1.0 : -1.0;
        }
      }
    });
  }
  return out;
}

TraceResult hutchinson_trace(const SymmetricOperator& a, const TraceOptions& options) {
  check_options("hutchinson", a, options, 1);
  return hutchinson("hutchinson", a, {0, a.size()}, options).total;
}

BlockTraces block_traces(const SymmetricOperator& a, const std::vector<int64_t>& offsets,
                         const TraceOptions& options) {
  check_options("block_traces", a, options, 1);
  check(offsets.size() >= 2 && offsets.front() == 0 && offsets.back() == a.size() &&
            std::is_sorted(offsets.begin(), offsets.end()),
        "block_traces: offsets must ascend from 0 to n = ", a.size(), ", given ", offsets.size(),
        " offsets", [&] {
          return offsets.empty() ? "" : str(" from ", offsets.front(), " to ", offsets.back());
        });
  BlockTraces out = hutchinson("block_traces", a, offsets, options);
  for (const std::vector<double>& samples : out.samples) {
    out.blocks.push_back(skewed_mean_estimate(samples, options.level, "hutchinson block"));
  }
  return out;
}

Estimate BlockTraces::group(const std::vector<int>& members) const {
  check(!members.empty(), "group: expects at least one block, given none");
  std::vector<double> sums(total.samples.size(), 0.0);
  for (const int b : members) {
    check(b >= 0 && static_cast<size_t>(b) < samples.size(), "group: expects blocks below ",
          samples.size(), ", given ", b);
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += samples[static_cast<size_t>(b)][i];
  }
  return skewed_mean_estimate(sums, total.estimate.interval.level, "hutchinson block");
}

TraceResult hutch_plus_plus_trace(const SymmetricOperator& a, const TraceOptions& options) {
  check_options("hutch++", a, options, 6);
  const int64_t wanted =
      options.basis > 0 ? options.basis : options.products / (options.relative > 0 ? 6 : 3);
  const int64_t vectors = std::min(wanted, a.size());
  check(2 * vectors + (vectors < a.size() ? 1 : 0) <= options.products, "hutch++: a basis of ",
        vectors, " vectors costs ", 2 * vectors, " products and leaves none of ", options.products,
        " for the rest");
  TraceResult out;
  double known = 0;
  const OrthonormalBasis q = sketch(a, vectors, options, known, out.products);
  if (q.size() == a.size() || q.size() < vectors) {  // the basis spans the range of A
    out.estimate.value = known;
    out.estimate.standard_error = 0;
    out.estimate.interval = {known, known, options.level};
    out.estimate.method = "hutch++ (exact)";
    return out;
  }
  Samples samples("hutch++", a, options, {0, a.size()}, &q);
  out.reached = sample(samples, options.products - out.products, known, options);
  out.products += samples.drawn();
  out.estimate = skewed_mean_estimate(samples.total(), options.level, "hutch++");
  out.estimate.value += known;
  out.estimate.interval.low += known;
  out.estimate.interval.high += known;
  for (const double s : samples.total()) out.samples.push_back(known + s);
  return out;
}

PaperTrace paper_protocol_trace(const SymmetricOperator& a, const PaperTraceOptions& options) {
  check(options.probes >= 1, "paper_protocol_trace: expects at least one probe, got ",
        options.probes);
  check(options.tolerance >= 0, "paper_protocol_trace: expects a tolerance >= 0, got ",
        options.tolerance);
  TraceOptions one;
  one.seed = options.seed;
  one.lanes = 1;
  Samples samples("paper_protocol_trace", a, one, {0, a.size()}, nullptr);
  PaperTrace out;
  double last = 0;  // the protocol compares the first mean with zero
  while (samples.count() < options.probes && !out.converged) {
    samples.extend(samples.count() + 1);
    const double now = mean(samples.total());
    out.converged = std::abs(now - last) / (std::abs(last) + 1e-6) < options.tolerance;
    out.running.push_back(now);
    last = now;
  }
  out.estimate.value = last;
  out.estimate.samples = samples.count();
  out.estimate.method = "hutchinson, paper protocol";
  return out;
}

}  // namespace basin
