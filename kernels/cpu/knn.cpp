// Exact k nearest neighbours on the CPU. In few dimensions the distances of a point are differences
// over coordinates stored one after the other. In many, points are centred, a_i = x_i - mean, and
//   |a_j|^2 - 2 a_i . a_j = |a_i - a_j|^2 - |a_i|^2
// is one product of depth D + 1: rows (a_i, 1) against columns (-2 a_j, |a_j|^2). Its rounding
// error stays below (D / 2 + 16) u (|a_i| + max |a_j|)^2: u |a| per centred coordinate, D + 1
// products of size |a_i| |a_j|, and the rounding of the squares. Where clouds are searched whole, a
// pair is multiplied once: what the row of j needs of the row of i is |a_i|^2 - |a_j|^2 more, which
// is off by at most 3 u (|a_i| + max |a_j|)^2 in addition.
#include "basin/kernels/knn.h"

#include <algorithm>
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

template <class T>
void search_by_difference(const T* x, const Sizes& s, bool include_self, int32_t* index) {
  const int64_t tiles = tile_count(s.points, kPointTile);
  Tensor columns = Tensor::empty({s.batch, s.dims, s.padded}, kDTypeOf<T>);
  T* all = columns.template mutable_data<T>();
  parallel_tiles(s.batch, [&](int64_t b) {
    for (int64_t d = 0; d < s.dims; ++d) {
      T* column = all + (b * s.dims + d) * s.padded;
      for (int64_t j = 0; j < s.points; ++j) column[j] = x[(b * s.points + j) * s.dims + d];
      std::fill(column + s.points, column + s.padded, std::numeric_limits<T>::infinity());
    }
  });
  // Every term and every sum is off by less than (D + 4) u of itself, but for underflow.
  const double off = static_cast<double>(s.dims + 4);
  const Slack<T> slack{static_cast<T>(4 * off * std::numeric_limits<T>::min()),
                       static_cast<T>(2.5 * off * kUnit<T>)};
  parallel_tiles(s.batch * tiles, [&](int64_t task) {
    const int64_t b = task / tiles, first = task % tiles * kPointTile;
    const T* cloud = x + b * s.points * s.dims;
    NearestSelector<T> selector(s.points, s.k, include_self);
    Tensor scratch = Tensor::empty({s.padded}, kDTypeOf<T>);
    T* row = scratch.template mutable_data<T>();
    for (int64_t i = first; i < std::min(s.points, first + kPointTile); ++i) {
      selector.select_by_difference(all + b * s.dims * s.padded, s.padded, i, slack, cloud, s.dims,
                                    row, index + (b * s.points + i) * s.k);
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
  const double largest = c.largest[static_cast<size_t>(b)];
  for (int64_t i = 0; i < count; ++i) {
    T* row = strip + i * strip_stride<T>(s);
    std::fill(row + s.points, row + s.padded, std::numeric_limits<T>::infinity());
    const T square = c.squares.template data<T>()[b * s.points + first + i];
    const double reach = std::sqrt(static_cast<double>(square)) + largest;
    const double off = static_cast<double>(s.dims) / 2 + 19;
    // Twice the error of one distance, and as much again for the exact one where T is double.
    const double slack = 2 * off * reach * reach * (kUnit<T> + 2 * kUnit<double>)+4 * off *
                         std::numeric_limits<T>::min();
    selector.select(row, first + i, {static_cast<T>(slack), T(0)}, x + b * s.points * s.dims,
                    s.dims, index + (b * s.points + first + i) * s.k);
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
