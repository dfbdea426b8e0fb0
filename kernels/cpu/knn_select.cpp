// Bound, candidates, ranks and the exact order among near-equal candidates.
#include "basin/kernels/cpu/knn_select.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "basin/kernels/cpu/isa.h"
#include "basin/kernels/cpu/knn_registers.h"

#if BASIN_HAS_X86_TILES
#include <immintrin.h>
#endif

namespace basin {
namespace {

template <class T>
constexpr T kInfinity = std::numeric_limits<T>::infinity();

constexpr int64_t kPad = 64;           // rows of distances are multiples of it
constexpr int64_t kSpare = 64;         // what vector stores write beyond the candidates
constexpr int64_t kCountedRanks = 96;  // up to here counting beats sorting

// An index as wide as the value, so that both move through the same vector lanes.
template <class T>
using Wide = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;

template <class T>
struct Loops {
  void (*differences)(const T*, int64_t, const T*, int64_t, int64_t, T*);
  T (*bound32)(const T*, int64_t, int64_t);
  T (*bound64)(const T*, int64_t, int64_t);
  int64_t (*compress)(const T*, int64_t, T, int32_t*);
  void (*ranks)(const T*, int64_t, Wide<T>*);
};

#define BASIN_ISA baseline
#define BASIN_ISA_TARGET
#define BASIN_ISA_BYTES 16
#include "basin/kernels/cpu/knn_tile.inc"

#if BASIN_HAS_X86_TILES
#define BASIN_ISA avx2
#define BASIN_ISA_TARGET BASIN_TARGET_AVX2
#define BASIN_ISA_BYTES 32
#include "basin/kernels/cpu/knn_tile.inc"

#define BASIN_ISA avx512
#define BASIN_ISA_TARGET BASIN_TARGET_AVX512
#define BASIN_ISA_BYTES 64
#include "basin/kernels/cpu/knn_tile.inc"
#endif

template <class T>
const Loops<T>& loops() {
  static const Loops<T> best = [] {
#if BASIN_HAS_X86_TILES
    if (chosen_isa() >= Isa::avx512) return avx512::loops<T>();
    if (chosen_isa() == Isa::avx2) return avx2::loops<T>();
#endif
    return baseline::loops<T>();
  }();
  return best;
}

// False also where a difference of infinities is no number.
template <class T>
bool apart(T below, T above, Slack<T> slack) {
  return above - below > slack.absolute + slack.relative * std::abs(above);
}

// Half as many groups again as wanted values keep the bound tight: about 1.5 k candidates. More
// than 64 groups are handled in memory; too few points for that are all candidates.
int64_t groups_for(int64_t wanted, int64_t padded) {
  int64_t groups = 32;
  while (2 * groups < 3 * wanted) groups *= 2;
  return groups > padded / 2 ? 0 : groups;
}

}  // namespace

template <class T>
double squared_distance(const T* a, const T* b, int64_t dims) {
  double lanes[8] = {};
  int64_t d = 0;
  for (; d + 8 <= dims; d += 8) {
    for (int q = 0; q < 8; ++q) {
      const double difference = static_cast<double>(b[d + q]) - static_cast<double>(a[d + q]);
      lanes[q] += difference * difference;
    }
  }
  for (int q = 0; d < dims; ++d, ++q) {
    const double difference = static_cast<double>(b[d]) - static_cast<double>(a[d]);
    lanes[q] += difference * difference;
  }
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return std::isnan(sum) ? kInfinity<double> : sum;
}

template <class T>
int64_t NearestSelector<T>::padded(int64_t points, int64_t k) {
  const int64_t width = (points + kPad - 1) / kPad * kPad;
  const int64_t groups = std::max(kPad, groups_for(k + 1, width));
  return (points + groups - 1) / groups * groups;
}

template <class T>
NearestSelector<T>::NearestSelector(int64_t points, int64_t k, bool include_self)
    : points_(points),
      k_(k),
      padded_(padded(points, k)),
      groups_(groups_for(k + 1, (points + kPad - 1) / kPad * kPad)),
      wanted_(include_self ? k : k + 1),
      include_self_(include_self),
      in_registers_(sizeof(T) == 4 && (groups_ == 32 || groups_ == 64) && knn_registers()),
      minima_(static_cast<size_t>(kKnnTogether * groups_)),
      value_(static_cast<size_t>(padded_ + kSpare)),
      sorted_(static_cast<size_t>(k + 1)),
      candidate_(static_cast<size_t>(kKnnTogether * (padded_ + kSpare))),
      order_(static_cast<size_t>(padded_ + kSpare)) {}

template <class T>
T NearestSelector<T>::upper_bound(const T* row) {
  if (groups_ == 0) return kInfinity<T>;
  if (groups_ == 32) return loops<T>().bound32(row, padded_, wanted_);
  if (groups_ == 64) return loops<T>().bound64(row, padded_, wanted_);
  T* best = minima_.data();
  std::fill(best, best + groups_, kInfinity<T>);
  for (int64_t j = 0; j < padded_; j += groups_) {
    for (int64_t g = 0; g < groups_; ++g) best[g] = row[j + g] < best[g] ? row[j + g] : best[g];
  }
  std::nth_element(best, best + (wanted_ - 1), best + groups_);
  return best[wanted_ - 1];
}

// order_: positions of the candidates by rising value, equal ones by rising number.
template <class T>
void NearestSelector<T>::order_candidates(int64_t count) {
  int32_t* order = order_.data();
  if (count > kCountedRanks) {
    for (int64_t c = 0; c < count; ++c) order[c] = static_cast<int32_t>(c);
    std::sort(order, order + count, [v = value_.data()](int32_t a, int32_t b) {
      return v[a] != v[b] ? v[a] < v[b] : a < b;
    });
    return;
  }
  alignas(64) Wide<T> rank[kCountedRanks + kSpare];
  std::fill(value_.begin() + count, value_.begin() + count + 16, kInfinity<T>);
  loops<T>().ranks(value_.data(), count, rank);
  std::fill(order, order + count, -1);
  for (int64_t c = 0; c < count; ++c) {
    Wide<T> place = rank[c];
    while (order[place] >= 0) ++place;  // behind its equals
    order[place] = static_cast<int32_t>(c);
  }
}

template <class T>
void NearestSelector<T>::select_by_difference(const T* columns, const KnnPoints<T>& of,
                                              int32_t* out) {
  for (int64_t r = 0; r < of.count; ++r) {
    loops<T>().differences(columns, padded_, of.x + (of.self + r) * of.dims, of.dims, padded_,
                           of.rows + r * of.stride);
  }
  select(of, out);
}

template <class T>
uint32_t NearestSelector<T>::select_by_product(const T* columns, const KnnPoints<T>& of,
                                               int32_t* out) {
  if constexpr (std::is_same_v<T, float>) {
    if (!in_registers_) return 0;
    for (int64_t r = 0; r < of.count; ++r) {
      knn_registers()->products3(columns, padded_, of.self + r, groups_, of.rows + r * of.stride,
                                 minima(r));
    }
    return select_in_registers(of, out);
  }
  return 0;
}

template <class T>
void NearestSelector<T>::select(const KnnPoints<T>& of, int32_t* out) {
  uint32_t certain = 0;
  if constexpr (std::is_same_v<T, float>) {
    if (in_registers_) {
      for (int64_t r = 0; r < of.count; ++r) {
        knn_registers()->minima(of.rows + r * of.stride, padded_, groups_, minima(r));
      }
      certain = select_in_registers(of, out);
    }
  }
  for (int64_t r = 0; r < of.count; ++r) {
    if (!(certain >> r & 1)) select_generally(of, r, out + r * k_);
  }
}

template <class T>
uint32_t NearestSelector<T>::select_in_registers(const KnnPoints<T>& of, int32_t* out) {
  if constexpr (std::is_same_v<T, float>) {
    KnnRow rows[kKnnTogether];
    for (int64_t r = 0; r < of.count; ++r) {
      const int32_t excluded = include_self_ ? -1 : static_cast<int32_t>(of.self + r);
      rows[r] = {of.rows + r * of.stride,
                 minima(r),
                 of.slack[r],
                 excluded,
                 candidate_.data() + r * (padded_ + kSpare),
                 out + r * k_};
    }
    return knn_registers()->select({padded_, groups_, wanted_, k_}, rows, of.count);
  }
  return 0;
}

template <class T>
void NearestSelector<T>::select_generally(const KnnPoints<T>& of, int64_t r, int32_t* out) {
  const T* row = of.rows + r * of.stride;
  const Slack<T> slack = of.slack[r];
  const int64_t self = of.self + r;
  const bool known = std::isfinite(slack.absolute);
  const T bound = known ? upper_bound(row) : kInfinity<T>;
  const T limit = bound + (slack.absolute + slack.relative * std::abs(bound)) * T(1.01);
  int32_t* candidate = candidate_.data();
  int64_t count = loops<T>().compress(row, padded_, known ? limit : kInfinity<T>, candidate);
  while (count > 0 && candidate[count - 1] >= points_) --count;
  if (!include_self_) {
    int32_t* at = std::lower_bound(candidate, candidate + count, static_cast<int32_t>(self));
    count = std::copy(at + 1, candidate + count, at) - candidate;  // self is always among them
  }
  T* value = value_.data();
  for (int64_t c = 0; c < count; ++c) {
    const T v = row[candidate[c]];
    value[c] = known && !std::isnan(v) ? v : kInfinity<T>;
  }
  order_candidates(count);
  if (all_decided(count, slack)) {
    for (int64_t q = 0; q < k_; ++q) out[q] = candidate[order_[static_cast<size_t>(q)]];
  } else {
    decide(count, slack, of.x + self * of.dims, of.x, of.dims, out);
  }
}

// Whether every one of the first k candidates is apart from the next.
template <class T>
bool NearestSelector<T>::all_decided(int64_t count, Slack<T> slack) {
  T* sorted = sorted_.data();
  const int64_t last = std::min(count, k_ + 1);
  for (int64_t q = 0; q < last; ++q) sorted[q] = value_[static_cast<size_t>(order_[q])];
  int32_t close = 0;
  for (int64_t q = 1; q < last; ++q) close += !apart(sorted[q - 1], sorted[q], slack);
  return close == 0;
}

// Runs of candidates that are not apart from the next are put in order by exact distance.
template <class T>
void NearestSelector<T>::decide(int64_t count, Slack<T> slack, const T* point, const T* x,
                                int64_t dims, int32_t* out) {
  const auto value = [&](int64_t q) { return value_[static_cast<size_t>(order_[q])]; };
  for (int64_t first = 0, last = 0; first < k_; first = last) {
    for (last = first + 1; last < count; ++last) {
      if (apart(value(last - 1), value(last), slack)) break;
    }
    exact_.clear();
    for (int64_t q = first; q < last; ++q) {
      const int32_t j = candidate_[static_cast<size_t>(order_[q])];
      const bool alone = last == first + 1;
      exact_.emplace_back(alone ? 0 : squared_distance(point, x + j * dims, dims), j);
    }
    const int64_t needed = std::min(last, k_) - first;
    std::partial_sort(exact_.begin(), exact_.begin() + needed, exact_.end());
    for (int64_t q = 0; q < needed; ++q) out[first + q] = exact_[static_cast<size_t>(q)].second;
  }
}

template double squared_distance(const float*, const float*, int64_t);
template double squared_distance(const double*, const double*, int64_t);
template class NearestSelector<float>;
template class NearestSelector<double>;

}  // namespace basin
