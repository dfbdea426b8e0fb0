// Sizes, packed weights and products of the edge-message kernels.
#include "basin/kernels/cpu/edge_message_tile.h"

#include <algorithm>

#include "basin/core/error.h"
#include "basin/core/parallel.h"
#include "basin/kernels/gemm.h"

namespace basin::edge {
namespace {

// dst [ld] = src [d], zeros where it ends or is undefined
template <class T>
const T* padded(const Sizes& s, const Tensor& src, Scratch<T>& scratch) {
  T* dst = scratch.take(s.ld);
  if (src.defined()) std::copy(src.data<T>(), src.data<T>() + s.d, dst);
  std::fill(dst + (src.defined() ? s.d : 0), dst + s.ld, T(0));
  return dst;
}

int64_t panel_count(const Sizes& s, int64_t width) { return tile_count(s.d, width); }

template <class T>
int64_t columns(const Sizes& s, int64_t panel) {  // of a tile, whole vectors
  return std::min(kPanelWidth<T>, s.ld - panel * kPanelWidth<T>);
}

template <class T>
Panels<T> packed(const Sizes& s, bool trans, const Tensor& w, Scratch<T>& scratch) {
  if (!w.defined()) return {};
  const T* src = w.data<T>();
  const int64_t size = s.d * kPanelWidth<T>;
  T* dst = scratch.take(panel_count(s, kPanelWidth<T>) * size);
  for (int64_t p = 0; p < panel_count(s, kPanelWidth<T>); ++p) {
    const int64_t first = p * kPanelWidth<T>;
    pack_panel<T>(PanelForm::plain, trans, src + (trans ? first * s.d : first), s.d, s.d,
                  std::min(kPanelWidth<T>, s.d - first), dst + p * size);
  }
  return {dst};
}

template <class T>
int64_t weight_elements(const Sizes& s) {
  return 6 * s.ld + 4 * panel_count(s, kPanelWidth<T>) * s.d * kPanelWidth<T>;
}

}  // namespace

template <class T>
Sizes sizes_of(const EdgeMessageTensors& in, const Tensor& index) {
  const int64_t d = in.p.size(1);
  return {index.size(0),
          index.size(1),
          index.size(2),
          d,
          (d + kLanes<T> - 1) / kLanes<T> * kLanes<T>,
          in.w_a.defined(),
          in.w_c.defined()};
}

void check_index(const Sizes& s, const Tensor& index) {
  const int32_t* p = index.data<int32_t>();
  for (int64_t e = 0, n = index.numel(); e < n; ++e) {
    if (p[e] < 0 || p[e] >= s.nodes) [[unlikely]] {
      fail(ErrorKind::usage, "edge_message: neighbour ", p[e], " at position ", e,
           " is outside 0..", s.nodes - 1);
    }
  }
}

template <class T>
Weights<T>::Weights(const Sizes& s, const EdgeMessageTensors& in) {
  Scratch<T> scratch(weight_elements<T>(s));
  zero = padded(s, Tensor(), scratch);
  w_s = padded(s, in.w_s, scratch);
  b2 = padded(s, in.b2, scratch);
  w_a = padded(s, in.w_a, scratch);
  b_c = padded(s, in.b_c, scratch);
  w_x = padded(s, in.w_x, scratch);
  if (in.b_a.defined()) b_a = in.b_a.data<T>()[0];
  w2 = packed(s, true, in.w2, scratch);
  w_c = packed(s, true, in.w_c, scratch);
  w2_back = packed(s, false, in.w2, scratch);
  w_c_back = packed(s, false, in.w_c, scratch);
  memory_ = scratch.memory();
}

template <class T>
NodeRows<T>::NodeRows(const Sizes& s, const EdgeMessageTensors& in, int64_t cloud)
    : p(in.p.defined() ? in.p.data<T>() + cloud * s.nodes * s.d : nullptr),
      r(in.r.defined() ? in.r.data<T>() + cloud * s.nodes * s.d : nullptr),
      x(in.x.defined() ? in.x.data<T>() + cloud * s.nodes * 3 : nullptr) {}

template <class T>
void multiply(const Sizes& s, int64_t n, const T* x, const Panels<T>& b, T beta, T* y) {
  constexpr int64_t kWidth = kPanelWidth<T>;
  for (int64_t p = 0; p < panel_count(s, kWidth); ++p) {
    const T* panel = b.data + p * s.d * kWidth;
    T* out = y + p * kWidth;
    if (has_packed_gemm()) {
      multiply_panel<T>({x, s.ld, s.ld, 1, n, s.d, T(1), beta, s.ld}, panel, columns<T>(s, p), out);
    } else {
      gemm_serial<T>(false, false, n, columns<T>(s, p), s.d, T(1), x, s.ld, panel, kWidth, beta,
                     out, s.ld);
    }
  }
}

template <class T>
void add_weight_gradient(const Sizes& s, int64_t n, const T* y, const T* x, T* scratch, T* sum) {
  constexpr int64_t kWidth = kPanelWidth<T>;
  if (!has_packed_gemm()) {
    gemm_serial<T>(true, false, s.d, s.ld, n, T(1), y, s.ld, x, s.ld, T(1), sum, s.ld);
    return;
  }
  for (int64_t p = 0; p < panel_count(s, kWidth); ++p) {
    const T* panel = x;
    if (s.ld != kWidth) {
      pack_panel<T>(PanelForm::plain, false, x + p * kWidth, s.ld, n, columns<T>(s, p), scratch);
      panel = scratch;
    }
    multiply_panel<T>({y, 1, 1, s.ld, s.d, n, T(1), T(1), s.ld}, panel, columns<T>(s, p),
                      sum + p * kWidth);
  }
}

template <class T>
Tile<T> take_tile(const Sizes& s, Slopes slopes, Scratch<T>& scratch) {
  const int64_t n = s.tile_edges();
  Tile<T> t{};
  t.delta = scratch.take(3 * n);
  t.s = scratch.take(n);
  t.phi = scratch.take(n);
  t.gate = scratch.take(n);
  t.e1 = scratch.take(n * s.ld);
  t.m0 = scratch.take(n * s.ld);
  t.m = s.attention ? scratch.take(n * s.ld) : t.m0;
  t.e3 = scratch.take(n * s.ld);
  if (slopes != Slopes::none) {
    for (T** f : {&t.f1, &t.f2, &t.f3}) *f = scratch.take(n * s.ld);
  }
  if (slopes == Slopes::second) {
    for (T** h : {&t.h1, &t.h2, &t.h3}) *h = scratch.take(n * s.ld);
  }
  return t;
}

#define BASIN_EDGE_INSTANTIATE(T)                                                       \
  template Sizes sizes_of<T>(const EdgeMessageTensors&, const Tensor&);                 \
  template struct Weights<T>;                                                           \
  template struct NodeRows<T>;                                                          \
  template void multiply(const Sizes&, int64_t, const T*, const Panels<T>&, T, T*);     \
  template void add_weight_gradient(const Sizes&, int64_t, const T*, const T*, T*, T*); \
  template Tile<T> take_tile(const Sizes&, Slopes, Scratch<T>&);
BASIN_EDGE_INSTANTIATE(float)
BASIN_EDGE_INSTANTIATE(double)
#undef BASIN_EDGE_INSTANTIATE

}  // namespace basin::edge
