// What the edge-message kernels share: the sizes of a call, its weights padded and packed once, and
// the three products of a tile (x W^T, y W, y^T x) by the packed micro-kernel. Rows of a tile have
// `ld` elements: d rounded up to whole cache lines, the padding zero. With d = 64 in f32 a tile is
// itself a panel of the micro-kernel and is never copied.
#pragma once
#include <algorithm>
#include <bit>
#include <type_traits>

#include "basin/kernels/cpu/gemm_packed.h"
#include "basin/kernels/cpu/isa.h"
#include "basin/kernels/edge_message.h"
#include "basin/kernels/scalar.h"

namespace basin::edge {

inline constexpr int64_t kTileEdges = 120;  // wanted: 20 register tiles, 30 KiB of f32 at d = 64
template <class T>
inline constexpr int kLanes = 64 / static_cast<int>(sizeof(T));

struct Sizes {
  int64_t clouds, nodes, k, d, ld;
  bool attention, moves;
  double limit = 87;  // of a sigmoid's argument: e^87 is finite in f32

  int64_t rows() const { return clouds * nodes; }
  int64_t width() const { return moves ? d + 3 : d; }  // of the result
  int64_t tile_nodes() const { return k >= kTileEdges ? 1 : kTileEdges / k; }
  int64_t tile_edges() const { return tile_nodes() * k; }
};

template <class T>
Sizes sizes_of(const EdgeMessageTensors& in, const Tensor& index);
void check_index(const Sizes& s, const Tensor& index);

// op(B) [d, ld] in panels of kPanelWidth columns, [panels, d, width].
template <class T>
struct Panels {
  const T* data = nullptr;
  explicit operator bool() const { return data != nullptr; }
};

// The weights of one call, or their tangents (then every vector is there, zero where undefined, and
// every undefined matrix has no panels).
template <class T>
struct Weights {
  Weights(const Sizes& s, const EdgeMessageTensors& in);
  const T* zero = nullptr;                                                                // [ld]
  const T *w_s = nullptr, *b2 = nullptr, *w_a = nullptr, *b_c = nullptr, *w_x = nullptr;  // [ld]
  T b_a = 0;
  Panels<T> w2, w_c;            // x -> x W^T
  Panels<T> w2_back, w_c_back;  // y -> y W

 private:
  Tensor memory_;
};

// Node rows of the arguments or tangents from the start of one cloud; null where undefined.
template <class T>
struct NodeRows {
  NodeRows(const Sizes& s, const EdgeMessageTensors& in, int64_t cloud);
  const T *p, *r, *x;
};

// Hands out rows of a tile from one allocation.
template <class T>
class Scratch {
 public:
  explicit Scratch(int64_t elements)
      : memory_(Tensor::empty({elements}, kDTypeOf<T>)), next_(memory_.mutable_data<T>()) {}
  T* take(int64_t elements) {  // whole cache lines
    T* at = next_;
    next_ += (elements + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
    return at;
  }
  const Tensor& memory() const { return memory_; }

 private:
  Tensor memory_;
  T* next_;
};

// y [n, ld] = x op(B) + beta y
template <class T>
void multiply(const Sizes& s, int64_t n, const T* x, const Panels<T>& b, T beta, T* y);
// sum [d, ld] += y^T x; scratch of weight_scratch() elements
template <class T>
void add_weight_gradient(const Sizes& s, int64_t n, const T* y, const T* x, T* scratch, T* sum);
template <class T>
int64_t weight_scratch(const Sizes& s) {
  return s.ld == kPanelWidth<T> ? 0 : s.tile_edges() * kPanelWidth<T> + kLanes<T>;
}

// The edges of a tile and what the forward pass leaves, or the tangents of it all.
template <class T>
struct Tile {
  T *delta, *s;       // [n, 3], [n]: x_i - x_j, its square
  T *e1, *m0, *m;     // [n, ld]; without attention m is m0
  T *e3, *phi;        // [n, ld], [n]: silu(Wc m + bc), where coordinates move
  T *f1, *f2, *f3;    // [n, ld]: silu' at e1, m0 and e3; null where it is not wanted
  T *h1, *h2, *h3;    // [n, ld]: silu'' there; null where it is not wanted, and in tangents
  T* gate = nullptr;  // [n], with attention
};
// Derivatives of silu that a tile keeps.
enum class Slopes { none, first, second };
template <class T>
int64_t tile_scratch(const Sizes& s) {
  return s.tile_edges() * (10 * s.ld + 6) + 16 * kLanes<T>;
}
template <class T>
Tile<T> take_tile(const Sizes& s, Slopes slopes, Scratch<T>& scratch);

// The forward pass of the edges of nodes [first, first + count) of a cloud, up to e3 and phi.
template <class T>
void forward_tile(const Sizes& s, const Weights<T>& w, const NodeRows<T>& rows,
                  const int32_t* index, int64_t first, int64_t count, const Tile<T>& t);
// Its tangents t_t, given the tile t with its slopes; with second slopes also those of silu'.
template <class T>
void tangent_tile(const Sizes& s, const Weights<T>& w, const Weights<T>& w_t,
                  const NodeRows<T>& rows_t, const int32_t* index, int64_t first, int64_t count,
                  const Tile<T>& t, const Tile<T>& t_t);

// out row i: the sums over the edges of node i: sum_j m, and mean_j delta phi + beta out
template <class T>
void sum_messages(const Sizes& s, int64_t count, const T* m, T* out);
template <class T>
void sum_shifts(const Sizes& s, int64_t count, const T* delta, const T* phi, T beta, T* out);

// run(cloud, first, count) for the tiles of the batch's nodes [begin, end)
inline constexpr int64_t kTaskNodes = 96;  // a multiple of the tile's nodes for k = 20
template <class Run>
void for_tiles(const Sizes& s, int64_t begin, int64_t end, Run&& run) {
  while (begin < end) {
    const int64_t cloud = begin / s.nodes, first = begin % s.nodes;
    const int64_t count = std::min({s.tile_nodes(), s.nodes - first, end - begin});
    run(cloud, first, count);
    begin += count;
  }
}

// 1 / (1 + e^-x). In f32 without a division: e^-x = 2^n 2^-f with |f| <= 1/2 and the polynomial of
// degree 6 that is best for the relative error of 2^-f (Remez, 2e-9); the reciprocal of d >= 1
// starts from its exponent bits (off by at most 12 %) and takes two steps of third order, y <- y +
// y (e + e^2) with e = 1 - d y; with kDivide a division takes their place. Relative error below
// 2e-7 + 8e-8 |x|. x is clamped at +-limit = Sizes::limit, which must not be a constant to the
// compiler: it would branch on it.
template <bool kDivide>
[[gnu::always_inline]] inline float sigmoid(float x, float limit) {
  constexpr float kLog2E = 1.44269504088896341f;
  constexpr float kRound = 12582912.f;  // 1.5 * 2^23: the low bits of the sum are n
  float t = -limit > x ? -limit : x;    // a NaN passes
  t = limit < t ? limit : t;
  const float shifted = t * -kLog2E + kRound;
  const float f = t * kLog2E + (shifted - kRound);
  float p = 1.534581243e-4f;
  p = p * f - 1.339993090e-3f;
  p = p * f + 9.618489072e-3f;
  p = p * f - 5.550328642e-2f;
  p = p * f + 2.402264625e-1f;
  p = p * f - 6.931471825e-1f;
  p = p * f + 1.f;
  const float d = 1.f + std::bit_cast<float>(std::bit_cast<int32_t>(p) +
                                             (std::bit_cast<int32_t>(shifted) << 23));
  if constexpr (kDivide) return 1.f / d;
  float y = std::bit_cast<float>(0x7ef311c7 - std::bit_cast<int32_t>(d));
  float e = 1.f - d * y;
  y += y * (e * e + e);
  e = 1.f - d * y;
  return y + y * (e * e + e);
}
template <bool kDivide>
[[gnu::always_inline]] inline double sigmoid(double x, double) {
  return scalar::sigmoid_(x);
}

// f(kDivide): a division of eight numbers takes less than the seven operations that replace it, one
// of sixteen does not on every processor.
template <class F>
void with_reciprocal(const F& f) {
  if (chosen_isa() == Isa::avx2) {
    f(std::true_type{});
  } else {
    f(std::false_type{});
  }
}

// Dot product of whole cache lines, in a fixed order that vectorises; for use inside BASIN_HOT.
template <class T>
[[gnu::always_inline]] inline T row_dot(const T* __restrict a, const T* __restrict b, int64_t n) {
  constexpr int kWidth = kLanes<T>;
  T lanes[kWidth] = {};
  for (int64_t i = 0; i < n; i += kWidth) {
    for (int q = 0; q < kWidth; ++q) lanes[q] += a[i + q] * b[i + q];
  }
  for (int half = kWidth / 2; half > 0; half /= 2) {
    for (int q = 0; q < half; ++q) lanes[q] += lanes[q + half];
  }
  return lanes[0];
}

}  // namespace basin::edge
