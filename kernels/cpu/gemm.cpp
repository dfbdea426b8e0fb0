// GEMM on the CPU: the cut into tiles and chunks (see gemm.h) around Basin's own packed core, or
// around serial calls to OpenBLAS for single rows and on machines without AVX2. The invariant:
// every cut follows from (m, n, k) and the path alone.
#include "basin/kernels/gemm.h"

#include <cblas.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <vector>

#include "basin/core/parallel.h"
#include "basin/kernels/cpu/gemm_packed.h"
#include "basin/kernels/cpu/hot.h"
#include "basin/kernels/cpu/isa.h"
#include "basin/kernels/cpu/vectors.h"

namespace basin {
namespace {

constexpr int64_t kSerialWork = int64_t{1} << 20;  // multiply-adds; about 10 microseconds
constexpr int64_t kMaxRows = 384, kMinRows = 48;   // of a tile of C; multiples of the register tile
constexpr int64_t kMaxCols = 512, kMinCols = 64;   // multiples of a panel
constexpr int64_t kEnoughTiles = 8;
constexpr int64_t kSymmetricRows = 64;   // of a tile of a symmetric C; a multiple of a panel
constexpr int64_t kSymmetricCols = 256;  // of it, at most; a multiple of its rows
constexpr int64_t kNarrow = 16;          // columns of C below which a vector is mostly padding
constexpr int64_t kChunkedDepth = 4096;  // k from which it may be cut
constexpr int64_t kChunkedOutput = int64_t{1} << 19;  // largest m * n whose k is cut
constexpr int64_t kChunks = 8, kMoreChunks = 16;      // of k: even shares for 2, 4 or 8 threads
constexpr int64_t kMoreDepth = 16384;                 // k from which there are more
constexpr int64_t kInPlace = 1024;  // bytes from row to row up to which a transposed A stays there
constexpr int64_t kStreamed = int64_t{4} << 20;  // bytes of C, more than the second cache of a core

struct Cut {
  int64_t rows, cols;  // a tile of C
  int64_t depth;       // a chunk of k; equal to k when k is not cut
};

template <class T>
Cut cut_of(Factors factors, int64_t m, int64_t n, int64_t k) {
  // Sizes may be huge; the products below are only compared, so doubles serve.
  const double work = static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  if (work <= static_cast<double>(kSerialWork)) return {m, n, k};
  if (k >= kChunkedDepth && m <= kChunkedOutput / n) {
    const int64_t depth = tile_count(k, k < kMoreDepth ? kChunks : kMoreChunks);
    const PanelForm form = panel_form<T>(factors, m, n, depth);
    const int64_t block = form == PanelForm::plain ? 1 : block_depth(form);
    return {m, n, tile_count(depth, block) * block};
  }
  Cut cut{kMaxRows, kMaxCols, k};
  const auto tile_work = [&] {
    return static_cast<double>(std::min(cut.rows, m)) * static_cast<double>(std::min(cut.cols, n)) *
           static_cast<double>(k);
  };
  while (tile_work() < kSerialWork && cut.rows < m) cut.rows *= 2;
  while (tile_work() < kSerialWork && cut.cols < n) cut.cols *= 2;
  while (tile_count(m, cut.rows) * tile_count(n, cut.cols) < kEnoughTiles &&
         tile_work() > kSerialWork) {
    const bool wide = std::min(cut.cols, n) > std::min(cut.rows, m);
    if (wide ? cut.cols > kMinCols : cut.rows > kMinRows) {
      (wide ? cut.cols : cut.rows) /= 2;
    } else {
      break;
    }
  }
  if (cut.rows < m && panel_form<T>(factors, m, n, k) == PanelForm::plain) {
    // An even number of even tiles, or one thread would wait for the other's last.
    const int64_t down = (tile_count(m, cut.rows) + 1) / 2 * 2;
    cut.rows = tile_count(tile_count(m, down), kRegisterRows) * kRegisterRows;
  }
  return cut;
}

// Of the blocks of k: as many as there must be, of one depth.
int64_t even_depth(PanelForm form, int64_t k) {
  const int64_t most = block_depth(form);
  if (form != PanelForm::plain || k <= most) return std::clamp<int64_t>(k, 1, most);
  return tile_count(k, tile_count(k, most));
}

void library_call(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int m, int n, int k, float alpha,
                  const float* a, int lda, const float* b, int ldb, float beta, float* c, int ldc) {
  cblas_sgemm(CblasRowMajor, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
void library_call(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int m, int n, int k, double alpha,
                  const double* a, int lda, const double* b, int ldb, double beta, double* c,
                  int ldc) {
  cblas_dgemm(CblasRowMajor, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

int library_int(int64_t value) {
  check(value <= std::numeric_limits<int>::max(), "gemm: a size or stride of ", value,
        " is beyond the library's 32-bit integers");
  return static_cast<int>(value);
}

void use_one_library_thread() {
  static const bool done = (chosen_isa(), openblas_set_num_threads(1), true);
  (void)done;
}

template <class T>
void library_gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, T alpha, const T* a,
                  int64_t lda, const T* b, int64_t ldb, T beta, T* c, int64_t ldc) {
  use_one_library_thread();
  library_call(trans_a ? CblasTrans : CblasNoTrans, trans_b ? CblasTrans : CblasNoTrans,
               library_int(m), library_int(n), library_int(k), alpha, a,
               library_int(std::max<int64_t>(1, lda)), b, library_int(std::max<int64_t>(1, ldb)),
               beta, c, library_int(ldc));
}

// One row reads B once, so packing it would only add work.
bool use_library(int64_t m, int64_t k) { return m == 1 || k == 0 || !has_packed_gemm(); }

// op(B), packed: blocks of k, in each the panels of columns.
template <class T>
class PackedB {
 public:
  PackedB(PanelForm form, bool trans, const T* b, int64_t ldb, int64_t n, int64_t k)
      : trans_(trans), b_(b), ldb_(ldb), n_(n), k_(k), form_(form), depth_(even_depth(form_, k)) {
    data_ = Tensor::empty({blocks() * panels() * panel_size<T>(form_, depth_)}, kDTypeOf<T>);
  }
  PanelForm form() const { return form_; }
  int64_t blocks() const { return tile_count(k_, depth_); }
  int64_t panels() const { return tile_count(n_, kPanelWidth<T>); }
  int64_t depth(int64_t block) const { return std::min(depth_, k_ - block * depth_); }
  int64_t cols(int64_t panel) const {
    return std::min(kPanelWidth<T>, n_ - panel * kPanelWidth<T>);
  }
  const T* panel(int64_t block, int64_t panel) const {
    return static_cast<const T*>(data_.raw()) + offset(block, panel);
  }
  void pack(int64_t block, int64_t panel) {
    const int64_t l = block * depth_, j = panel * kPanelWidth<T>;
    pack_panel<T>(form_, trans_, b_ + (trans_ ? j * ldb_ + l : l * ldb_ + j), ldb_, depth(block),
                  cols(panel), static_cast<T*>(data_.storage()->data()) + offset(block, panel));
  }

 private:
  int64_t offset(int64_t block, int64_t panel) const {
    return (block * panels() + panel) * panel_size<T>(form_, depth_);
  }
  bool trans_;
  const T* b_;
  int64_t ldb_, n_, k_;
  PanelForm form_;
  int64_t depth_;
  Tensor data_;
};

// C = D, for paths that add only to what C holds.
template <class T>
void copy_addend(int64_t m, int64_t n, const Addend<T>& addend, T* c, int64_t ldc) {
  for (int64_t i = 0; i < m; ++i) {
    const T* row = addend.data + i * addend.stride;
    std::copy(row, row + n, c + i * ldc);
  }
}

// Rows [first, last) of C times the panels [from, to), all of k.
template <class T>
void multiply(const PackedB<T>& packed, bool trans_a, T alpha, const T* a, int64_t lda, T beta,
              T* c, int64_t ldc, const Addend<T>& addend, int64_t first, int64_t last, int64_t from,
              int64_t to, bool streamed = false) {
  const PanelForm form = packed.form();
  const int64_t most = std::min(block_rows(form), last - first), full = packed.depth(0);
  const bool in_place = !trans_a || lda * static_cast<int64_t>(sizeof(T)) <= kInPlace;
  Tensor scratch;
  for (int64_t block = 0; block < packed.blocks(); ++block) {
    const int64_t l = block * full, depth = packed.depth(block);
    for (int64_t begin = first; begin < last; begin += most) {  // these rows of A stay in L2
      const int64_t rows = std::min(most, last - begin);
      Block<T> q = trans_a
                       ? Block<T>{a + l * lda + begin, 1, 1, lda, rows, depth, alpha, beta, ldc}
                       : Block<T>{a + begin * lda + l, lda, lda, 1, rows, depth, alpha, beta, ldc};
      if (block > 0) q.beta = T(1);
      q.streamed = streamed && block + 1 == packed.blocks();
      q.form = form;
      if (!in_place || form != PanelForm::plain) {
        if (!scratch.defined()) {
          scratch = Tensor::empty({rows_size<T>(form, most, packed.depth(0))}, kDTypeOf<T>);
        }
        pack_rows<T>(q, scratch.mutable_data<T>());
      }
      for (int64_t p = from; p < to; ++p) {
        if (addend.data && block == 0) {
          q.addend = {addend.data + begin * addend.stride + p * kPanelWidth<T>, addend.stride};
        }
        multiply_panel<T>(q, packed.panel(block, p), packed.cols(p),
                          c + begin * ldc + p * kPanelWidth<T>);
      }
    }
  }
}

template <class T>
void gemm_chunked(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, int64_t depth,
                  T alpha, const T* a, int64_t lda, const T* b, int64_t ldb, T beta, T* c,
                  int64_t ldc, Factors factors) {
  const int64_t chunks = tile_count(k, depth);
  Tensor scratch = Tensor::empty({chunks, m, n}, kDTypeOf<T>);
  T* parts = scratch.mutable_data<T>();
  parallel_tiles(chunks, [&](int64_t q) {
    const int64_t l = q * depth;
    gemm_serial<T>(trans_a, trans_b, m, n, std::min(depth, k - l), alpha,
                   a + (trans_a ? l * lda : l), lda, b + (trans_b ? l : l * ldb), ldb, T(0),
                   parts + q * m * n, n, {}, factors);
  });
  const int64_t grain = std::max<int64_t>(1, (int64_t{1} << 14) / n);
  parallel_for(m, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      sum_of_rows<T>(parts + i * n, chunks, m * n, beta, c + i * ldc, n);
    }
  });
}

// A^T op(B) with few columns, as the transpose of op(B)^T A: the vectors then run along the m
// columns of the stored A instead of the few of B.
template <class T>
void gemm_narrow(bool trans_b, int64_t m, int64_t n, int64_t k, T alpha, const T* a, int64_t lda,
                 const T* b, int64_t ldb, T beta, T* c, int64_t ldc) {
  Tensor scratch = Tensor::empty({n, m}, kDTypeOf<T>);
  T* turned = scratch.mutable_data<T>();
  gemm<T>(!trans_b, false, n, m, k, alpha, b, ldb, a, lda, T(0), turned, m);
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      T& out = c[i * ldc + j];
      out = beta == T(0) ? turned[j * m + i] : turned[j * m + i] + beta * out;
    }
  }
}

template <class T>
BASIN_HOT void rectify_row(T* __restrict c, int64_t n) {
  for (int64_t j = 0; j < n; ++j) c[j] = c[j] < T(0) ? T(0) : c[j];
}

template <class T>
void rectify(T* c, int64_t rows, int64_t cols, int64_t ldc) {
  hot([&] {
    for (int64_t i = 0; i < rows; ++i) rectify_row(c + i * ldc, cols);
  });
}

// The batch as `count` matrices; a stride of 0 shares one side.
template <class T>
void matmul_batched(bool trans_a, bool trans_b, int64_t count, int64_t m, int64_t n, int64_t k,
                    const T* a, int64_t stride_a, const T* b, int64_t stride_b, T beta,
                    const Addend<T>& addend, T* out) {
  const int64_t lda = trans_a ? m : k, ldb = trans_b ? k : n;
  const auto one = [&](int64_t i) {
    const Addend<T> rows{addend.data ? addend.data + i * m * addend.stride : nullptr,
                         addend.stride};
    gemm<T>(trans_a, trans_b, m, n, k, T(1), a + i * stride_a, lda, b + i * stride_b, ldb, beta,
            out + i * m * n, n, rows);
  };
  if (count < kEnoughTiles) {  // few matrices: each is cut on its own
    for (int64_t i = 0; i < count; ++i) one(i);
    return;
  }
  const int64_t grain = std::max<int64_t>(1, (kSerialWork / 8) / std::max<int64_t>(1, m * n * k));
  parallel_for(count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) one(i);
  });
}

// out = op(a) op(b), plus the addend where it is defined
void matmul(const Tensor& a, const Tensor& b, bool trans_a, bool trans_b, const Tensor& addend,
            Tensor& out) {
  dispatch_float(a.dtype(), Matmul::name, [&](auto zero) {
    using T = decltype(zero);
    const int64_t m = out.size(-2), n = out.size(-1), k = a.size(trans_a ? -2 : -1);
    if (out.numel() == 0) return;
    const T *pa = a.data<T>(), *pb = b.data<T>();
    T* po = out.mutable_data<T>();
    const int64_t count = out.numel() / (m * n);
    const T beta = addend.defined() ? T(1) : T(0);
    Addend<T> rows;
    if (addend.defined()) rows = {addend.data<T>(), addend.rank() == 1 ? 0 : n};
    if (b.rank() == 2 && !trans_a) {  // one product of count * m rows
      gemm<T>(false, trans_b, count * m, n, k, T(1), pa, k, pb, trans_b ? k : n, beta, po, n, rows);
      return;
    }
    matmul_batched<T>(trans_a, trans_b, count, m, n, k, pa, a.rank() == 2 ? 0 : m * k, pb,
                      b.rank() == 2 ? 0 : k * n, beta, rows, po);
  });
}

}  // namespace

template <class T>
void gemm_serial(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, T alpha, const T* a,
                 int64_t lda, const T* b, int64_t ldb, T beta, T* c, int64_t ldc,
                 const Addend<T>& addend, Factors factors) {
  if (m == 0 || n == 0) return;
  if (use_library(m, k)) {
    if (addend.data && beta != T(0)) copy_addend(m, n, addend, c, ldc);
    library_gemm<T>(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    return;
  }
  const PanelForm form = panel_form<T>(factors, m, n, k);
  const int64_t depth = even_depth(form, k);
  for (int64_t l = 0; l < k; l += depth) {  // one block at a time: it is used while in cache
    PackedB<T> packed(form, trans_b, b + (trans_b ? l : l * ldb), ldb, n, std::min(depth, k - l));
    for (int64_t p = 0; p < packed.panels(); ++p) packed.pack(0, p);
    multiply<T>(packed, trans_a, alpha, a + (trans_a ? l * lda : l), lda, l == 0 ? beta : T(1), c,
                ldc, l == 0 ? addend : Addend<T>{}, 0, m, 0, packed.panels());
  }
}

template <class T>
void gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, T alpha, const T* a,
          int64_t lda, const T* b, int64_t ldb, T beta, T* c, int64_t ldc, const Addend<T>& addend,
          Factors factors, bool rectified) {
  if (m == 0 || n == 0) return;
  const Cut cut = cut_of<T>(factors, m, n, k);
  const auto finish = [&] {  // what is not finished tile by tile
    if (!rectified) return;
    parallel_for(m, cut.rows, [&](int64_t begin, int64_t end) {
      rectify(c + begin * ldc, end - begin, n, ldc);
    });
  };
  const bool narrow = trans_a && n < kNarrow && m >= 2 * kNarrow && !use_library(n, k);
  const int64_t down = tile_count(m, cut.rows), across = tile_count(n, cut.cols);
  if (addend.data && beta != T(0) &&
      (narrow || cut.depth < k || (down * across > 1 && use_library(m, k)))) {
    copy_addend(m, n, addend, c, ldc);
    return gemm<T>(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, {}, factors,
                   rectified);
  }
  if (narrow) {
    gemm_narrow<T>(trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    return finish();
  }
  if (cut.depth < k) {
    gemm_chunked<T>(trans_a, trans_b, m, n, k, cut.depth, alpha, a, lda, b, ldb, beta, c, ldc,
                    factors);
    return finish();
  }
  if (down * across == 1) {
    gemm_serial<T>(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, addend, factors);
    return finish();
  }
  if (use_library(m, k)) {
    parallel_tiles(down * across, [&](int64_t tile) {
      const int64_t i = tile / across * cut.rows, j = tile % across * cut.cols;
      library_gemm<T>(trans_a, trans_b, std::min(cut.rows, m - i), std::min(cut.cols, n - j), k,
                      alpha, a + (trans_a ? i : i * lda), lda, b + (trans_b ? j * ldb : j), ldb,
                      beta, c + i * ldc + j, ldc);
    });
    return finish();
  }
  PackedB<T> packed(panel_form<T>(factors, m, n, k), trans_b, b, ldb, n, k);
  parallel_tiles(packed.blocks() * packed.panels(), [&](int64_t tile) {
    packed.pack(tile / packed.panels(), tile % packed.panels());
  });
  const int64_t per_tile = cut.cols / kPanelWidth<T>;  // a whole number: both are powers of two
  const bool streamed = m > kStreamed / static_cast<int64_t>(sizeof(T)) / n;
  parallel_tiles(down * across, [&](int64_t tile) {
    const int64_t i = tile / across * cut.rows, p = tile % across * per_tile;
    const int64_t below = std::min(m, i + cut.rows), j = p * kPanelWidth<T>;
    multiply<T>(packed, trans_a, alpha, a, lda, beta, c, ldc, addend, i, below, p,
                std::min(packed.panels(), p + per_tile), streamed);
    if (rectified) rectify(c + i * ldc + j, below - i, std::min(cut.cols, n - j), ldc);
  });
}

template <class T>
void gemm_symmetric(bool trans_b, int64_t n, int64_t k, T alpha, const T* a, int64_t lda,
                    const T* b, int64_t ldb, T beta, T* c, int64_t ldc, Factors factors) {
  static_assert(kSymmetricRows % kPanelWidth<T> == 0);  // a tile never reaches right of its rows
  struct TileAt {
    int64_t row, col;
  };
  std::vector<TileAt> tiles;  // the longest rows first, so that the threads end together
  for (int64_t i = tile_count(n, kSymmetricRows); i-- > 0;) {
    for (int64_t j = 0; j <= i * kSymmetricRows; j += kSymmetricCols) {
      tiles.push_back({i * kSymmetricRows, j});
    }
  }
  const bool library = use_library(n, k);
  PackedB<T> packed(panel_form<T>(factors, n, n, k), trans_b, b, ldb, library ? 0 : n, k);
  parallel_tiles(packed.blocks() * packed.panels(), [&](int64_t tile) {
    packed.pack(tile / packed.panels(), tile % packed.panels());
  });
  parallel_tiles(static_cast<int64_t>(tiles.size()), [&](int64_t number) {
    const auto [i, j] = tiles[static_cast<size_t>(number)];
    const int64_t down = std::min(n, i + kSymmetricRows);
    const int64_t right = std::min(down, j + kSymmetricCols);
    if (library) {
      library_gemm<T>(false, trans_b, down - i, right - j, k, alpha, a + i * lda, lda,
                      b + (trans_b ? j * ldb : j), ldb, beta, c + i * ldc + j, ldc);
    } else {
      multiply<T>(packed, false, alpha, a, lda, beta, c, ldc, {}, i, down, j / kPanelWidth<T>,
                  tile_count(right, kPanelWidth<T>));
    }
    const int64_t mirrored = std::min(i, right) - j;  // columns left of the diagonal block
    if (mirrored > 0) transpose(c + i * ldc + j, down - i, mirrored, ldc, c + j * ldc + i, ldc);
    // Where the order of a sum differs between an entry and its mirror image, the diagonal block
    // too.
    if (packed.form() == PanelForm::plain && !library) return;
    for (int64_t r = i; r < right; ++r) {
      for (int64_t q = i; q < r; ++q) c[q * ldc + r] = c[r * ldc + q];
    }
  });
}

template void gemm_symmetric(bool, int64_t, int64_t, float, const float*, int64_t, const float*,
                             int64_t, float, float*, int64_t, Factors);
template void gemm_symmetric(bool, int64_t, int64_t, double, const double*, int64_t, const double*,
                             int64_t, double, double*, int64_t, Factors);
template void gemm(bool, bool, int64_t, int64_t, int64_t, float, const float*, int64_t,
                   const float*, int64_t, float, float*, int64_t, const Addend<float>&, Factors,
                   bool);
template void gemm(bool, bool, int64_t, int64_t, int64_t, double, const double*, int64_t,
                   const double*, int64_t, double, double*, int64_t, const Addend<double>&, Factors,
                   bool);
template void gemm_serial(bool, bool, int64_t, int64_t, int64_t, float, const float*, int64_t,
                          const float*, int64_t, float, float*, int64_t, const Addend<float>&,
                          Factors);
template void gemm_serial(bool, bool, int64_t, int64_t, int64_t, double, const double*, int64_t,
                          const double*, int64_t, double, double*, int64_t, const Addend<double>&,
                          Factors);

namespace {
std::atomic<bool> tf32{false};
}  // namespace
void allow_tf32(bool allowed) { tf32 = allowed; }
bool tf32_allowed() { return tf32; }

std::string blas_description() {
  chosen_isa();  // it has a say in the core type
  // The configuration string starts with "OpenBLAS <version>"; its core name may be the build
  // machine's.
  TextReader config(openblas_get_config());
  std::string library, version;
  config >> library >> version;
  const std::string text = library + " " + version + " " + openblas_get_corename();
  return has_packed_gemm() ? std::string("Basin ") + packed_gemm_name() + ", " + text : text;
}

void Matmul::cpu(const Tensor& a, const Tensor& b, bool trans_a, bool trans_b, Tensor& out) {
  matmul(a, b, trans_a, trans_b, Tensor(), out);
}

void MatmulAdd::cpu(const Tensor& a, const Tensor& b, bool trans_a, bool trans_b,
                    const Tensor& addend, Tensor& out) {
  matmul(a, b, trans_a, trans_b, addend, out);
}

void LinearRelu::cpu(const Tensor& x, const Tensor& w, const Tensor& bias, Tensor& out) {
  if (out.numel() == 0) return;
  dispatch_float(x.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    const int64_t n = w.size(0), k = w.size(1);
    gemm<T>(false, true, out.numel() / n, n, k, T(1), x.data<T>(), k, w.data<T>(), k, T(1),
            out.mutable_data<T>(), n, {bias.data<T>(), 0}, Factors::any, true);
  });
}

}  // namespace basin
