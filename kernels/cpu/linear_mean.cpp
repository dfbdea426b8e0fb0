// The mean over points of linear_max.h: forward pass in tiles of the product that stay in cache,
// derivatives by products of bits.
#include "basin/kernels/cpu/linear_mean.h"

#include <algorithm>
#include <bit>

#include "basin/core/parallel.h"
#include "basin/kernels/cpu/activation.h"
#include "basin/kernels/cpu/bit_product.h"
#include "basin/kernels/cpu/hot.h"
#include "basin/kernels/cpu/pool_rows.h"
#include "basin/kernels/gemm.h"

namespace basin {
namespace {

constexpr int64_t kChannels = 1024;   // that share the tables of a panel
constexpr int64_t kChannelTile = 16;  // of sums over the batch

// Bit r of word c: whether the pre-activation of row r is not on the left side.
template <class T>
BASIN_HOT void set_bits(const T* __restrict z, const T* __restrict mean, const T* __restrict scale,
                        const T* __restrict beta, int64_t rows, int64_t n,
                        uint32_t* __restrict active) {
  for (int64_t c = 0; c < n; ++c) active[c] = 0;
  for (int64_t r = 0; r < rows; ++r) {
    const uint32_t set = uint32_t{1} << r;
    BASIN_INDEPENDENT
    for (int64_t c = 0; c < n; ++c) {
      const T y = (z[r * n + c] - mean[c]) * scale[c] + beta[c];
      active[c] |= y <= T(0) ? 0 : set;
    }
  }
}

// panel [kBitDepth, kBitWidth] = x - centre of the rows and columns that exist; shared, their sum.
template <class T>
BASIN_HOT void centre_panel(const T* __restrict x, const T* __restrict centre, int64_t rows,
                            int64_t stride, int64_t columns, T* __restrict panel,
                            double* __restrict shared) {
  constexpr int64_t kWidth = kBitWidth<T>;
  T sum[kWidth] = {};
  for (int64_t r = 0; r < kBitDepth; ++r, panel += kWidth) {
    const int64_t n = r < rows ? columns : 0;
    for (int64_t i = 0; i < n; ++i) panel[i] = x[r * stride + i] - centre[i];
    for (int64_t i = n; i < kWidth; ++i) panel[i] = T(0);
    for (int64_t i = 0; i < kWidth; ++i) sum[i] += panel[i];
  }
  for (int64_t i = 0; i < kWidth; ++i) shared[i] += static_cast<double>(sum[i]);
}

template <class T>
BASIN_HOT void mix_slopes(const double* __restrict shared, double slope, int64_t rows,
                          T* __restrict sums) {
  constexpr int64_t kWidth = kBitWidth<T>;
  const T chosen = static_cast<T>(1 - slope);
  T all[kWidth];
  for (int64_t i = 0; i < kWidth; ++i) all[i] = static_cast<T>(slope * shared[i]);
  for (int64_t r = 0; r < rows; ++r) {
    T* row = sums + r * kWidth;
    for (int64_t i = 0; i < kWidth; ++i) row[i] = chosen * row[i] + all[i];
  }
}

// Of a panel.
struct Columns {
  int64_t first, count;
};

// U of channels [first, first + count) and these columns, [count, kBitWidth].
template <class T>
void sum_slopes(const Slopes& s, const T* x, const T* centre, int64_t b, int64_t first,
                int64_t count, Columns columns, T* sums) {
  constexpr int64_t kWidth = kBitWidth<T>;
  alignas(64) T panel[kBitDepth * kWidth];
  double shared[kWidth] = {};
  std::fill_n(sums, count * kWidth, T(0));
  const int64_t blocks = active_blocks(s.points);
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t begin = block * kBitDepth, rows = std::min(kBitDepth, s.points - begin);
    hot([&] {
      centre_panel<T>(x + (b * s.points + begin) * s.in + columns.first, centre + columns.first,
                      rows, s.in, columns.count, panel, shared);
    });
    if (s.slope == 1) continue;
    add_bit_rows<T>(s.active + (b * blocks + block) * s.out + first, count, panel, sums);
  }
  hot([&] { mix_slopes<T>(shared, s.slope, count, sums); });
}

// to[r, :] += weight[r] u[r, :]
template <class T>
BASIN_HOT void add_weighted_rows(const T* __restrict u, int64_t u_stride,
                                 const double* __restrict weight, int64_t rows, int64_t columns,
                                 int64_t stride, double* __restrict to) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < columns; ++i) {
      to[r * stride + i] += weight[r] * static_cast<double>(u[r * u_stride + i]);
    }
  }
}

// panel [kBitDepth, kBitWidth] += coefficient[r] w[r, :]
template <class T>
BASIN_HOT void add_scaled_rows(const T* __restrict coefficient, const T* __restrict w, T factor,
                               int64_t rows, int64_t stride, int64_t columns, T* __restrict panel) {
  for (int64_t r = 0; r < rows; ++r) {
    const T by = factor * coefficient[r];
    for (int64_t i = 0; i < columns; ++i) panel[r * kBitWidth<T> + i] += by * w[r * stride + i];
  }
}

// to[r, :] += sums[r, :] + constant
template <class T>
BASIN_HOT void add_panel(const T* __restrict sums, const T* __restrict constant, int64_t rows,
                         int64_t columns, int64_t stride, T* __restrict to) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < columns; ++i) {
      to[r * stride + i] += sums[r * kBitWidth<T> + i] + constant[i];
    }
  }
}

// The bits of the points [begin, end) of a cloud by point: words [blocks of Cout, end - begin].
Tensor bits_by_point(const Slopes& s, int64_t b, int64_t begin, int64_t end) {
  const int64_t count = end - begin, blocks = active_blocks(s.points);
  Tensor words = Tensor::empty({active_blocks(s.out), count}, DType::i32);
  auto* to = static_cast<uint32_t*>(words.mutable_raw());
  for (int64_t first = 0; first < s.out; first += kBitDepth, to += count) {
    const int64_t channels = std::min(kBitDepth, s.out - first);
    for (int64_t n = 0; n < count; n += kBitDepth) {
      uint32_t in[kBitDepth] = {}, out[kBitDepth];
      std::copy_n(s.active + (b * blocks + (begin + n) / kBitDepth) * s.out + first, channels, in);
      transpose_bits(in, out);
      std::copy_n(out, std::min(kBitDepth, count - n), to + n);
    }
  }
  return words;
}

template <class Body>
void for_columns(int64_t in, int64_t width, const Body& body) {
  for (int64_t i = 0; i < in; i += width) body(Columns{i, std::min(width, in - i)});
}

}  // namespace

Slopes slopes_of(const LinearMaxPoint& at, const BnAct& how) {
  const double slope = how.act == Act::none ? 1 : how.act == Act::relu ? 0 : how.slope;
  return {at.x.size(0),
          at.x.size(1),
          at.x.size(2),
          at.w.size(0),
          static_cast<const uint32_t*>(at.kept.active.raw()),
          slope};
}

template <class T>
void pool_products(const MeanForward<T>& f, int64_t b, int64_t first, int64_t count) {
  Tensor scratch = Tensor::empty({f.points, count}, kDTypeOf<T>);
  T* z = scratch.mutable_data<T>();
  gemm_serial<T>(false, true, f.points, count, f.in, T(1), f.x + b * f.points * f.in, f.in,
                 f.w + first * f.in, f.in, T(0), z, count);
  const T *mean = f.mean + first, *scale = f.scale + first, *beta = f.beta + first;
  const int64_t blocks = active_blocks(f.points);
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t begin = block * kBitDepth;
    hot([&] {
      set_bits<T>(z + begin * count, mean, scale, beta, std::min(kBitDepth, f.points - begin),
                  count, f.active + (b * blocks + block) * f.out + first);
    });
  }
  double sum[kMeanChannels] = {};
  T *largest = f.y + 2 * b * f.out + first, *share = largest + f.out;
  pool_rows<T>({z, mean, scale, beta, f.points, count, count}, f.how.act,
               static_cast<T>(f.how.slope), largest, f.argmax + b * f.out + first, sum);
  for (int64_t c = 0; c < count; ++c) {
    share[c] = static_cast<T>(sum[c] / static_cast<double>(f.points));
  }
}

template <class T>
Tensor mean_cotangents(const Slopes& s, const Tensor& ct) {
  Tensor h = Tensor::empty({s.batch, s.out}, DType::f64);
  double* to = h.mutable_data<double>();
  const T* from = ct.data<T>() + s.out;
  const auto points = static_cast<double>(s.points);
  for (int64_t b = 0; b < s.batch; ++b, from += s.out) {
    for (int64_t c = 0; c < s.out; ++c) *to++ = static_cast<double>(*from++) / points;
  }
  return h;
}

Tensor slope_sums(const Slopes& s) {
  Tensor sums = Tensor::empty({s.batch, s.out}, DType::f64);
  double* to = sums.mutable_data<double>();
  const int64_t blocks = active_blocks(s.points);
  const auto points = static_cast<double>(s.points);
  for (int64_t b = 0; b < s.batch; ++b) {
    for (int64_t c = 0; c < s.out; ++c) {
      int64_t set = 0;
      for (int64_t block = 0; block < blocks; ++block) {
        set += std::popcount(s.active[(b * blocks + block) * s.out + c]);
      }
      to[b * s.out + c] = s.slope * points + (1 - s.slope) * static_cast<double>(set);
    }
  }
  return sums;
}

template <class T>
Tensor slope_products(const Slopes& s, const T* x, const T* centre) {
  constexpr int64_t kWidth = kBitWidth<T>;
  Tensor u = Tensor::empty({s.batch, s.out, s.in}, kDTypeOf<T>);
  T* to = u.mutable_data<T>();
  const int64_t parts = tile_count(s.out, kChannels);
  parallel_tiles(s.batch * parts, [&](int64_t tile) {
    const int64_t b = tile / parts, first = tile % parts * kChannels;
    const int64_t count = std::min(kChannels, s.out - first);
    Tensor scratch = Tensor::empty({count, kWidth}, kDTypeOf<T>);
    T* products = scratch.mutable_data<T>();
    for_columns(s.in, kWidth, [&](Columns columns) {
      sum_slopes<T>(s, x, centre, b, first, count, columns, products);
      for (int64_t r = 0; r < count; ++r) {
        std::copy_n(products + r * kWidth, columns.count,
                    to + (b * s.out + first + r) * s.in + columns.first);
      }
    });
  });
  return u;
}

template <class T>
void add_slope_products(const Slopes& s, const T* x, const T* centre, const WeightedSum& sum) {
  constexpr int64_t kWidth = kBitWidth<T>;
  const int64_t parts = tile_count(s.out, kChannels);
  parallel_tiles(tile_count(s.in, kWidth) * parts, [&](int64_t tile) {
    const int64_t first = tile % parts * kChannels, count = std::min(kChannels, s.out - first);
    const int64_t column = tile / parts * kWidth;
    const Columns columns{column, std::min(kWidth, s.in - column)};
    Tensor scratch = Tensor::empty({count, kWidth}, kDTypeOf<T>);
    T* products = scratch.mutable_data<T>();
    for (int64_t b = 0; b < s.batch; ++b) {
      sum_slopes<T>(s, x, centre, b, first, count, columns, products);
      hot([&] {
        add_weighted_rows<T>(products, kWidth, sum.weight + b * s.out + first, count, columns.count,
                             s.in, sum.to + first * s.in + column);
      });
    }
  });
}

template <class T>
void add_weighted(const Tensor& u, const std::vector<WeightedSum>& sums) {
  const int64_t batch = u.size(0), out = u.size(1), in = u.size(2);
  const T* from = u.data<T>();
  parallel_for(out, kChannelTile, [&](int64_t begin, int64_t end) {
    for (int64_t b = 0; b < batch; ++b) {
      for (const WeightedSum& sum : sums) {
        hot([&] {
          add_weighted_rows<T>(from + (b * out + begin) * in, in, sum.weight + b * out + begin,
                               end - begin, in, in, sum.to + begin * in);
        });
      }
    }
  });
}

template <class T>
SlopeRows<T>::SlopeRows(const Slopes& s, const std::vector<SlopeTerm<T>>& terms)
    : s_(s), terms_(terms), constant_(Tensor::zeros({s.batch, s.in}, kDTypeOf<T>)) {
  T* constant = constant_.mutable_data<T>();
  for (const SlopeTerm<T>& term : terms_) {
    gemm<T>(false, false, s.batch, s.in, s.out, static_cast<T>(s.slope), term.coefficient, s.out,
            term.w, s.in, T(1), constant, s.in);
  }
}

template <class T>
void SlopeRows<T>::add(int64_t b, int64_t begin, int64_t end, T* dx) const {
  constexpr int64_t kWidth = kBitWidth<T>;
  const int64_t count = end - begin;
  const T* constant = constant_.data<T>() + b * s_.in;
  const Tensor bits = s_.slope == 1 ? Tensor() : bits_by_point(s_, b, begin, end);
  Tensor scratch = Tensor::empty({count, kWidth}, kDTypeOf<T>);
  T* sums = scratch.mutable_data<T>();
  for_columns(s_.in, kWidth, [&](Columns columns) {
    std::fill_n(sums, count * kWidth, T(0));
    for (int64_t first = 0; bits.defined() && first < s_.out; first += kBitDepth) {
      const int64_t rows = std::min(kBitDepth, s_.out - first);
      alignas(64) T panel[kBitDepth * kWidth] = {};
      for (const SlopeTerm<T>& term : terms_) {
        hot([&] {
          add_scaled_rows<T>(term.coefficient + b * s_.out + first,
                             term.w + first * s_.in + columns.first, static_cast<T>(1 - s_.slope),
                             rows, s_.in, columns.count, panel);
        });
      }
      const auto* words = static_cast<const uint32_t*>(bits.raw()) + first / kBitDepth * count;
      add_bit_rows<T>(words, count, panel, sums);
    }
    hot([&] {
      add_panel<T>(sums, constant + columns.first, count, columns.count, s_.in, dx + columns.first);
    });
  });
}

#define BASIN_INSTANTIATE(T)                                                               \
  template void pool_products(const MeanForward<T>&, int64_t, int64_t, int64_t);           \
  template Tensor mean_cotangents<T>(const Slopes&, const Tensor&);                        \
  template Tensor slope_products(const Slopes&, const T*, const T*);                       \
  template void add_slope_products(const Slopes&, const T*, const T*, const WeightedSum&); \
  template void add_weighted<T>(const Tensor&, const std::vector<WeightedSum>&);           \
  template class SlopeRows<T>;
BASIN_INSTANTIATE(float)
BASIN_INSTANTIATE(double)
#undef BASIN_INSTANTIATE

}  // namespace basin
