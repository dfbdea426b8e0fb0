// Exact k nearest neighbours on the CPU. In few dimensions the distances of a point are differences
// over coordinates stored one after the other. In three, f32 tries products first, which take half
// the operations: |a_j|^2 - 2 a_i . a_j of centred points is off by less than 9 u (|a_i| + max
// |a_j|)^2 (2 from centring, 3 each from the squares and from the sum), which decides all but a few
// points in a hundred. In many dimensions, too, points are centred, a_i = x_i - mean, and
//   |a_j|^2 - 2 a_i . a_j = |a_i - a_j|^2 - |a_i|^2
// is one product of depth D + 1: rows (a_i, 1) against columns (-2 a_j, |a_j|^2). Its rounding
// error stays below (D / 2 + 16) u (|a_i| + max |a_j|)^2: u |a| per centred coordinate, D + 1
// products of size |a_i| |a_j|, and the rounding of the squares. Where clouds are searched whole, a
// pair is multiplied once: what the row of j needs of the row of i is |a_i|^2 - |a_j|^2 more, which
// is off by at most 3 u (|a_i| + max |a_j|)^2 in addition.
#include "basin/kernels/knn.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "basin/core/parallel.h"
#include "basin/kernels/cpu/gemm_packed.h"
#include "basin/kernels/cpu/hot.h"
#include "basin/kernels/cpu/knn_select.h"
#include "basin/kernels/cpu/vectors.h"
#include "basin/kernels/gemm.h"

namespace basin {
namespace {

constexpr int64_t kFewDimensions = 8;        // up to here differences are cheaper than a product
constexpr int64_t kPointTile = 64;           // points of one task when there is no strip
constexpr int64_t kStripBytes = 160 * 1024;  // a strip of distances stays in L2
constexpr int64_t kSharedRows = 48;          // of a strip where pairs are multiplied once: 8 tiles
constexpr size_t kMostShared = size_t{8} << 20;  // bytes that wait for later strips, per cloud

struct Sizes {
  int64_t batch, points, dims, k, padded;
};

// From row to row of a strip: one cache line more than a row, or the rows of 1024 points would all
// lie in the same few sets of the first cache.
template <class T>
int64_t strip_stride(const Sizes& s) {
  return s.padded + 64 / static_cast<int64_t>(sizeof(T));
}

template <class T>
constexpr double kUnit = std::numeric_limits<T>::epsilon() / 2;

// Of distances made by products with an error below `off` u reach^2: twice the error of one, and as
// much again for the exact one where T is double.
template <class T>
Slack<T> product_slack(double off, double reach) {
  return {static_cast<T>(2 * off * reach * reach * (kUnit<T> + 2 * kUnit<double>)+4 * off *
                         std::numeric_limits<T>::min()),
          T(0)};
}

// Of a cloud in three dimensions: coordinates and squares of its centred points, [4, padded], from
// its coordinates. Returns the largest norm of those that are numbers; with a NaN among them no row
// decides anything, since it is a candidate in each.
template <class T>
BASIN_HOT double centre_columns(const T* __restrict x, int64_t points, int64_t padded,
                                T* __restrict out) {
  T* __restrict squares = out + 3 * padded;
  std::fill(squares, squares + points, T(0));
  std::fill(squares + points, squares + padded, std::numeric_limits<T>::infinity());
  for (int64_t d = 0; d < 3; ++d, x += padded, out += padded) {
    double lanes[8] = {};
    int64_t j = 0;
    for (; j + 8 <= points; j += 8) {
      for (int64_t q = 0; q < 8; ++q) lanes[q] += static_cast<double>(x[j + q]);
    }
    for (; j < points; ++j) lanes[0] += static_cast<double>(x[j]);
    double sum = 0;
    for (const double lane : lanes) sum += lane;
    const T centre = static_cast<T>(sum / static_cast<double>(points));
    for (j = 0; j < points; ++j) {
      out[j] = x[j] - centre;
      squares[j] += out[j] * out[j];
    }
    std::fill(out + points, out + padded, T(0));
  }
  T largest = 0;
  for (int64_t j = 0; j < points; ++j) largest = std::max(largest, squares[j]);
  return std::sqrt(static_cast<double>(largest));
}

template <class T>
void search_by_difference(const T* x, const Sizes& s, bool include_self, int32_t* index) {
  const int64_t tiles = tile_count(s.points, kPointTile);
  const bool products = s.dims == 3 && std::is_same_v<T, float>;
  Tensor columns = Tensor::empty({s.batch, s.dims, s.padded}, kDTypeOf<T>);
  Tensor centred = Tensor::empty({products ? s.batch : 0, 4, s.padded}, kDTypeOf<T>);
  T* all = columns.template mutable_data<T>();
  T* all_centred = centred.template mutable_data<T>();
  std::vector<double> largest(static_cast<size_t>(s.batch));
  parallel_tiles(s.batch, [&](int64_t b) {
    T* first = all + b * s.dims * s.padded;
    for (int64_t d = 0; d < s.dims; ++d) {
      T* column = first + d * s.padded;
      for (int64_t j = 0; j < s.points; ++j) column[j] = x[(b * s.points + j) * s.dims + d];
      std::fill(column + s.points, column + s.padded, std::numeric_limits<T>::infinity());
    }
    if (!products) return;
    largest[static_cast<size_t>(b)] = hot([&] {
      return centre_columns<T>(first, s.points, s.padded, all_centred + b * 4 * s.padded);
    });
  });
  // Every term and every sum is off by less than (D + 4) u of itself, but for underflow.
  const double off = static_cast<double>(s.dims + 4);
  const Slack<T> slack{static_cast<T>(4 * off * std::numeric_limits<T>::min()),
                       static_cast<T>(2.5 * off * kUnit<T>)};
  parallel_tiles(s.batch * tiles, [&](int64_t task) {
    const int64_t b = task / tiles, first = task % tiles * kPointTile;
    const T *cloud = x + b * s.points * s.dims, *around = all_centred + b * 4 * s.padded;
    NearestSelector<T> selector(s.points, s.k, include_self);
    Tensor scratch = Tensor::empty({kKnnTogether, s.padded}, kDTypeOf<T>);
    KnnPoints<T> of{cloud, s.dims, first, 0, {}, scratch.template mutable_data<T>(), s.padded};
    int64_t undecided = 0;  // by products; from an eighth of a task's points on it tries no more
    const int64_t end = std::min(s.points, first + kPointTile);
    for (; of.self < end; of.self += of.count) {
      of.count = std::min(kKnnTogether, end - of.self);
      int32_t* out = index + (b * s.points + of.self) * s.k;
      uint32_t certain = 0;
      if (products && undecided < kPointTile / 8) {
        for (int64_t r = 0; r < of.count; ++r) {
          const double square = static_cast<double>(around[3 * s.padded + of.self + r]);
          of.slack[r] = product_slack<T>(9, std::sqrt(square) + largest[static_cast<size_t>(b)]);
        }
        certain = selector.select_by_product(around, of, out);
        undecided += of.count - std::popcount(certain);
      }
      std::fill(of.slack, of.slack + kKnnTogether, slack);
      const T* raw = all + b * s.dims * s.padded;
      if (certain == 0) {
        selector.select_by_difference(raw, of, out);
        continue;
      }
      for (int64_t r = 0; r < of.count; ++r) {
        if (certain >> r & 1) continue;
        KnnPoints<T> one = of;
        one.self += r;
        one.count = 1;
        selector.select_by_difference(raw, one, out + r * s.k);
      }
    }
  });
}

// The centred clouds, ready for the product.
template <class T>
struct Centred {
  Tensor rows;     // [B, N, D + 1]: (a_i, 1)
  Tensor squares;  // [B, N]: |a_i|^2
  Tensor columns;  // (-2 a_j, |a_j|^2) packed [B, panels, D + 1, width], or [B, N, D + 1]
  bool packed = false;
  std::vector<double> largest;  // [B] max |a_j|
};

template <class T>
BASIN_HOT void add_row(const T* __restrict x, int64_t n, double* __restrict sum) {
  for (int64_t d = 0; d < n; ++d) sum[d] += x[d];
}

// a = x - centre; returns |a|^2.
template <class T>
BASIN_HOT double centre_row(const T* __restrict x, const T* __restrict centre, int64_t n,
                            T* __restrict a) {
  double lanes[16] = {};
  int64_t d = 0;
  for (; d + 16 <= n; d += 16) {
    for (int64_t q = 0; q < 16; ++q) {
      const T value = x[d + q] - centre[d + q];
      a[d + q] = value;
      lanes[q] += static_cast<double>(value) * static_cast<double>(value);
    }
  }
  double sum = 0;
  for (; d < n; ++d) {
    a[d] = x[d] - centre[d];
    sum += static_cast<double>(a[d]) * static_cast<double>(a[d]);
  }
  for (const double lane : lanes) sum += lane;
  return sum;
}

template <class T>
void centre_cloud(const T* x, const Sizes& s, T* rows, T* squares, double& largest) {
  const int64_t depth = s.dims + 1;
  std::vector<double> mean(static_cast<size_t>(s.dims), 0.0);
  for (int64_t j = 0; j < s.points; ++j)
    hot([&] { add_row<T>(x + j * s.dims, s.dims, mean.data()); });
  std::vector<T> centre;
  for (const double m : mean) centre.push_back(static_cast<T>(m / static_cast<double>(s.points)));
  largest = 0;
  for (int64_t j = 0; j < s.points; ++j) {
    const double square =
        hot([&] { return centre_row<T>(x + j * s.dims, centre.data(), s.dims, rows + j * depth); });
    rows[j * depth + s.dims] = T(1);
    squares[j] = static_cast<T>(square);
    if (square > largest || std::isnan(square)) largest = square;  // NaN stays
  }
  largest = std::sqrt(largest);
}

// columns of one cloud, packed: the rows transposed, times -2, above their squares.
template <class T>
void pack_columns(const T* rows, const T* squares, const Sizes& s, T* columns) {
  const int64_t depth = s.dims + 1, width = kPanelWidth<T>;
  for (int64_t first = 0; first < s.points; first += width, columns += depth * width) {
    const int64_t count = std::min(width, s.points - first);
    pack_panel<T>(PanelForm::plain, true, rows + first * depth, depth, s.dims, count, columns);
    for (int64_t d = 0; d < s.dims; ++d) {
      for (int64_t j = 0; j < count; ++j) columns[d * width + j] *= -2;
    }
    std::copy(squares + first, squares + first + count, columns + s.dims * width);
    std::fill(columns + s.dims * width + count, columns + depth * width, T(0));
  }
}

template <class T>
void plain_columns(const T* rows, const T* squares, const Sizes& s, T* columns) {
  const int64_t depth = s.dims + 1;
  for (int64_t j = 0; j < s.points; ++j) {
    for (int64_t d = 0; d < s.dims; ++d) columns[j * depth + d] = -2 * rows[j * depth + d];
    columns[j * depth + s.dims] = squares[j];
  }
}

template <class T>
Centred<T> centre_clouds(const T* x, const Sizes& s) {
  const int64_t depth = s.dims + 1;
  Centred<T> c;
  c.packed = has_packed_gemm();
  c.rows = Tensor::empty({s.batch, s.points, depth}, kDTypeOf<T>);
  c.squares = Tensor::empty({s.batch, s.points}, kDTypeOf<T>);
  const int64_t width = c.packed ? kPanelWidth<T> : 1;
  const int64_t size = tile_count(s.points, width) * depth * width;
  c.columns = Tensor::empty({s.batch, size}, kDTypeOf<T>);
  c.largest.resize(static_cast<size_t>(s.batch));
  T* all_rows = c.rows.template mutable_data<T>();
  T* all_squares = c.squares.template mutable_data<T>();
  T* all_columns = c.columns.template mutable_data<T>();
  parallel_tiles(s.batch, [&](int64_t b) {
    T *rows = all_rows + b * s.points * depth, *squares = all_squares + b * s.points;
    centre_cloud<T>(x + b * s.points * s.dims, s, rows, squares, c.largest[static_cast<size_t>(b)]);
    const auto make = c.packed ? pack_columns<T> : plain_columns<T>;
    make(rows, squares, s, all_columns + b * size);
  });
  return c;
}

// strip [count, strip_stride()], its columns from `from` on, a multiple of a panel:
//   |a_j|^2 - 2 a_i . a_j for the points i = first .. first + count of cloud b.
// done(j, end) when columns j .. end are there and still in the first cache.
template <class T, class Done>
void multiply_strip(const Centred<T>& c, const Sizes& s, int64_t b, int64_t first, int64_t count,
                    int64_t from, T* strip, const Done& done) {
  const int64_t depth = s.dims + 1, width = kPanelWidth<T>, stride = strip_stride<T>(s);
  const T* left = c.rows.template data<T>() + (b * s.points + first) * depth;
  const T* columns = c.columns.template data<T>() + b * c.columns.size(1);
  if (!c.packed) {
    gemm_serial<T>(false, true, count, s.points - from, depth, T(1), left, depth,
                   columns + from * depth, depth, T(0), strip + from, stride);
    done(from, s.points);
    return;
  }
  const Block<T> block{left, depth, depth, 1, count, depth, T(1), T(0), stride};
  for (int64_t j = from; j < s.points; j += width) {
    const int64_t cols = std::min(width, s.points - j);
    multiply_panel<T>(block, columns + j * depth, cols, strip + j);
    done(j, j + cols);
  }
}

template <class T>
void select_strip(const T* x, const Centred<T>& c, const Sizes& s, int64_t b, int64_t first,
                  int64_t count, T* strip, NearestSelector<T>& selector, int32_t* index) {
  const double off = static_cast<double>(s.dims) / 2 + 19;
  const T* squares = c.squares.template data<T>() + b * s.points;
  const int64_t stride = strip_stride<T>(s);
  KnnPoints<T> of{x + b * s.points * s.dims, s.dims, first, 0, {}, strip, stride};
  for (; of.self < first + count; of.self += of.count, of.rows += of.count * stride) {
    of.count = std::min(kKnnTogether, first + count - of.self);
    for (int64_t r = 0; r < of.count; ++r) {
      T* row = of.rows + r * stride;
      std::fill(row + s.points, row + s.padded, std::numeric_limits<T>::infinity());
      const double reach = std::sqrt(static_cast<double>(squares[of.self + r]));
      of.slack[r] = product_slack<T>(off, reach + c.largest[static_cast<size_t>(b)]);
    }
    selector.select(of, index + (b * s.points + of.self) * s.k);
  }
}

// A block [rows, kSharedRows] of products for its place in a strip: kept + (|a_j|^2 - |a_i|^2).
template <class T>
BASIN_HOT void add_squares(const T* __restrict kept, const T* __restrict of_columns,
                           const T* __restrict of_rows, int64_t rows, T* __restrict strip,
                           int64_t stride) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < kSharedRows; ++j) {
      strip[i * stride + j] = kept[i * kSharedRows + j] + (of_columns[j] - of_rows[i]);
    }
  }
}

// Blocks of products that wait for a later strip. Those that were used are given out again first,
// while they are in cache.
template <class T>
class SharedBlocks {
 public:
  static constexpr int64_t kSize = kSharedRows * kSharedRows;
  // As many as wait at a time, at most: t + (t + 1) (strips - 1 - t) while strip t is multiplied.
  static int64_t most(int64_t strips) { return (strips + 1) * (strips + 1) / 4; }

  explicit SharedBlocks(int64_t strips)
      : memory_(Tensor::empty({most(strips) * kSize}, kDTypeOf<T>)),
        waiting_(static_cast<size_t>(strips)) {
    T* first = memory_.template mutable_data<T>();
    for (int64_t q = most(strips); q-- > 0;) unused_.push_back(first + q * kSize);
  }
  T* block(int64_t of, int64_t later) {  // of: all strips before it have theirs
    std::vector<T*>& blocks = waiting_[static_cast<size_t>(later)];
    if (std::ssize(blocks) == of) {
      blocks.push_back(unused_.back());
      unused_.pop_back();
    }
    return blocks[static_cast<size_t>(of)];
  }
  const std::vector<T*>& waiting(int64_t strip) const {
    return waiting_[static_cast<size_t>(strip)];
  }
  void done(int64_t strip) {
    std::vector<T*>& used = waiting_[static_cast<size_t>(strip)];
    unused_.insert(unused_.end(), used.begin(), used.end());
    used.clear();
  }

 private:
  Tensor memory_;
  std::vector<T*> unused_;
  std::vector<std::vector<T*>> waiting_;  // by strip, of the strips before it in order
};

// Strip after strip of one cloud. Each multiplies its points with those from itself on, and keeps
// the columns of later strips, transposed, for them.
template <class T>
void search_cloud(const T* x, const Centred<T>& c, const Sizes& s, int64_t b, bool include_self,
                  int32_t* index) {
  const int64_t strips = tile_count(s.points, kSharedRows), width = kPanelWidth<T>;
  const int64_t stride = strip_stride<T>(s);
  const T* squares = c.squares.template data<T>() + b * s.points;
  NearestSelector<T> selector(s.points, s.k, include_self);
  Tensor scratch = Tensor::empty({kSharedRows * stride}, kDTypeOf<T>);
  T* strip = scratch.template mutable_data<T>();
  SharedBlocks<T> blocks(strips);
  for (int64_t t = 0; t < strips; ++t) {
    const int64_t first = t * kSharedRows, count = std::min(kSharedRows, s.points - first);
    const auto keep = [&](int64_t j, int64_t end) {
      for (j = std::max(j, first + kSharedRows); j < end;) {
        const int64_t later = j / kSharedRows, begin = later * kSharedRows;
        const int64_t here = std::min(end, begin + kSharedRows);
        transpose(strip + j, count, here - j, stride,
                  blocks.block(t, later) + (j - begin) * kSharedRows, kSharedRows);
        j = here;
      }
    };
    multiply_strip<T>(c, s, b, first, count, first / width * width, strip, keep);
    int64_t from = 0;
    for (const T* kept : blocks.waiting(t)) {
      hot([&] {
        add_squares<T>(kept, squares + from, squares + first, count, strip + from, stride);
      });
      from += kSharedRows;
    }
    blocks.done(t);
    select_strip<T>(x, c, s, b, first, count, strip, selector, index);
  }
}

// Whether clouds are searched whole: what waits for later strips fits a cache, and threads that
// wait for the last clouds lose less than half of the products.
template <class T>
bool search_whole(const Sizes& s) {
  const int64_t strips = tile_count(s.points, kSharedRows), threads = num_threads();
  return static_cast<size_t>(SharedBlocks<T>::most(strips) * SharedBlocks<T>::kSize) * sizeof(T) <=
             kMostShared &&
         2 * tile_count(s.batch, threads) * threads <= 3 * s.batch;
}

template <class T>
void search_by_product(const T* x, const Sizes& s, bool include_self, int32_t* index) {
  const Centred<T> centred = centre_clouds<T>(x, s);
  if (search_whole<T>(s)) {
    parallel_tiles(s.batch,
                   [&](int64_t b) { search_cloud<T>(x, centred, s, b, include_self, index); });
    return;
  }
  const int64_t fit = kStripBytes / (s.padded * static_cast<int64_t>(sizeof(T)));
  const int64_t strip_rows = std::clamp<int64_t>(fit / kRegisterRows, 1, 8) * kRegisterRows;
  const int64_t strips = tile_count(s.points, strip_rows);
  parallel_tiles(s.batch * strips, [&](int64_t task) {
    const int64_t b = task / strips, first = task % strips * strip_rows;
    const int64_t count = std::min(strip_rows, s.points - first);
    NearestSelector<T> selector(s.points, s.k, include_self);
    Tensor scratch = Tensor::empty({strip_rows * strip_stride<T>(s)}, kDTypeOf<T>);
    T* strip = scratch.template mutable_data<T>();
    multiply_strip<T>(centred, s, b, first, count, 0, strip, [](int64_t, int64_t) {});
    select_strip<T>(x, centred, s, b, first, count, strip, selector, index);
  });
}

}  // namespace

Shape knn_shape(const Tensor& x, int64_t k, bool include_self) {
  check(x.defined() && x.rank() == 3, "knn: expects points [B, N, D], got ", x.shape());
  check(is_float(x.dtype()), "knn: expects f32 or f64, got ", name_of(x.dtype()));
  const int64_t points = x.size(1), most = include_self ? points : points - 1;
  check(points < std::numeric_limits<int32_t>::max() / 2, "knn: too many points, got ", points);
  check(k >= 1 && k <= most, "knn: k must be in 1..", most, " for ", points, " points",
        include_self ? " with" : " without", " the point itself, got ", k);
  return {x.size(0), points, k};
}

void Knn::cpu(const Tensor& x, int64_t k, bool include_self, Tensor& index) {
  const Shape shape = knn_shape(x, k, include_self);
  check(index.dtype() == DType::i32 && index.shape() == shape, "knn: the index must be i32 ", shape,
        ", got ", index);
  dispatch_float(x.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    const Sizes s{x.size(0), x.size(1), x.size(2), k, NearestSelector<T>::padded(x.size(1), k)};
    const auto search = s.dims <= kFewDimensions ? search_by_difference<T> : search_by_product<T>;
    search(x.data<T>(), s, include_self, index.mutable_data<int32_t>());
  });
}

}  // namespace basin
