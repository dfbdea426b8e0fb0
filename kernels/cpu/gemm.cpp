// GEMM on the CPU: the cut into tiles and chunks (see gemm.h), with OpenBLAS called serially inside
// each. The invariant: a tile's sizes follow from (m, n, k) alone, and each tile is one library
// call with one thread.
#include "basin/kernels/gemm.h"

#include <cblas.h>

#include <algorithm>
#include <limits>
#include <sstream>

#include "basin/core/parallel.h"
#include "basin/kernels/cpu/hot.h"

namespace basin {
namespace {

constexpr int64_t kSerialWork = int64_t{1} << 20;  // multiply-adds; about 10 microseconds
constexpr int64_t kMaxTile = 512;                  // rows and columns of a tile of C
constexpr int64_t kMinTile = 64;
constexpr int64_t kEnoughTiles = 8;
constexpr int64_t kChunkedDepth = 4096;               // k from which it may be cut
constexpr int64_t kChunkedOutput = int64_t{1} << 18;  // largest m * n whose k is cut
constexpr int64_t kMaxChunks = 16;

struct Cut {
  int64_t rows, cols;  // a tile of C
  int64_t depth;       // a chunk of k; equal to k when k is not cut
};

Cut cut_of(int64_t m, int64_t n, int64_t k) {
  // Sizes may be huge; the products below are only compared, so doubles serve.
  const double work = static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  if (work <= static_cast<double>(kSerialWork)) return {m, n, k};
  if (k >= kChunkedDepth && m <= kChunkedOutput / n) {
    const int64_t even = (k + kMaxChunks - 1) / kMaxChunks;
    return {m, n, std::max<int64_t>(1024, (even + 255) / 256 * 256)};
  }
  Cut cut{std::min(m, kMaxTile), std::min(n, kMaxTile), k};
  const auto tile_work = [&] {
    return static_cast<double>(cut.rows) * static_cast<double>(cut.cols) * static_cast<double>(k);
  };
  while (tile_work() < kSerialWork && cut.rows < m) cut.rows = std::min(m, 2 * cut.rows);
  while (tile_work() < kSerialWork && cut.cols < n) cut.cols = std::min(n, 2 * cut.cols);
  while (tile_count(m, cut.rows) * tile_count(n, cut.cols) < kEnoughTiles &&
         tile_work() > kSerialWork && std::max(cut.rows, cut.cols) > kMinTile) {
    int64_t& side = cut.rows > cut.cols ? cut.rows : cut.cols;
    side = std::max(kMinTile, (side / 2 + 15) / 16 * 16);
  }
  return cut;
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
  static const bool done = (openblas_set_num_threads(1), true);
  (void)done;
}

// c[j] = sum over chunks of parts[chunk * stride + j] (+ beta c[j]) for one row of C, in chunk
// order.
template <class T>
BASIN_HOT void add_chunks(const T* parts, int64_t chunks, int64_t stride, T beta, T* c, int64_t n) {
  constexpr int64_t kStrip = 256;
  double sum[kStrip];
  for (int64_t begin = 0; begin < n; begin += kStrip) {
    const int64_t size = std::min(kStrip, n - begin);
    for (int64_t j = 0; j < size; ++j) sum[j] = 0;
    if (beta != T(0)) {
      for (int64_t j = 0; j < size; ++j) sum[j] = static_cast<double>(beta) * c[begin + j];
    }
    for (int64_t q = 0; q < chunks; ++q) {
      const T* part = parts + q * stride + begin;
      for (int64_t j = 0; j < size; ++j) sum[j] += static_cast<double>(part[j]);
    }
    for (int64_t j = 0; j < size; ++j) c[begin + j] = static_cast<T>(sum[j]);
  }
}

template <class T>
void gemm_chunked(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, int64_t depth,
                  T alpha, const T* a, int64_t lda, const T* b, int64_t ldb, T beta, T* c,
                  int64_t ldc) {
  const int64_t chunks = tile_count(k, depth);
  Tensor scratch = Tensor::empty({chunks, m, n}, kDTypeOf<T>);
  T* parts = scratch.mutable_data<T>();
  parallel_tiles(chunks, [&](int64_t q) {
    const int64_t l = q * depth;
    gemm_serial<T>(trans_a, trans_b, m, n, std::min(depth, k - l), alpha,
                   a + (trans_a ? l * lda : l), lda, b + (trans_b ? l : l * ldb), ldb, T(0),
                   parts + q * m * n, n);
  });
  const int64_t grain = std::max<int64_t>(1, (int64_t{1} << 14) / n);
  parallel_for(m, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      add_chunks<T>(parts + i * n, chunks, m * n, beta, c + i * ldc, n);
    }
  });
}

// The batch as `count` matrices; a stride of 0 shares one side.
template <class T>
void matmul_batched(bool trans_a, bool trans_b, int64_t count, int64_t m, int64_t n, int64_t k,
                    const T* a, int64_t stride_a, const T* b, int64_t stride_b, T* out) {
  const int64_t lda = trans_a ? m : k, ldb = trans_b ? k : n;
  const auto one = [&](int64_t i) {
    gemm<T>(trans_a, trans_b, m, n, k, T(1), a + i * stride_a, lda, b + i * stride_b, ldb, T(0),
            out + i * m * n, n);
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

}  // namespace

template <class T>
void gemm_serial(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, T alpha, const T* a,
                 int64_t lda, const T* b, int64_t ldb, T beta, T* c, int64_t ldc) {
  if (m == 0 || n == 0) return;
  use_one_library_thread();
  library_call(trans_a ? CblasTrans : CblasNoTrans, trans_b ? CblasTrans : CblasNoTrans,
               library_int(m), library_int(n), library_int(k), alpha, a,
               library_int(std::max<int64_t>(1, lda)), b, library_int(std::max<int64_t>(1, ldb)),
               beta, c, library_int(ldc));
}

template <class T>
void gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, T alpha, const T* a,
          int64_t lda, const T* b, int64_t ldb, T beta, T* c, int64_t ldc) {
  if (m == 0 || n == 0) return;
  const Cut cut = cut_of(m, n, k);
  if (cut.depth < k) {
    gemm_chunked<T>(trans_a, trans_b, m, n, k, cut.depth, alpha, a, lda, b, ldb, beta, c, ldc);
    return;
  }
  const int64_t down = tile_count(m, cut.rows), across = tile_count(n, cut.cols);
  parallel_tiles(down * across, [&](int64_t tile) {
    const int64_t i = tile / across * cut.rows, j = tile % across * cut.cols;
    gemm_serial<T>(trans_a, trans_b, std::min(cut.rows, m - i), std::min(cut.cols, n - j), k, alpha,
                   a + (trans_a ? i : i * lda), lda, b + (trans_b ? j * ldb : j), ldb, beta,
                   c + i * ldc + j, ldc);
  });
}

template void gemm(bool, bool, int64_t, int64_t, int64_t, float, const float*, int64_t,
                   const float*, int64_t, float, float*, int64_t);
template void gemm(bool, bool, int64_t, int64_t, int64_t, double, const double*, int64_t,
                   const double*, int64_t, double, double*, int64_t);
template void gemm_serial(bool, bool, int64_t, int64_t, int64_t, float, const float*, int64_t,
                          const float*, int64_t, float, float*, int64_t);
template void gemm_serial(bool, bool, int64_t, int64_t, int64_t, double, const double*, int64_t,
                          const double*, int64_t, double, double*, int64_t);

std::string blas_description() {
  // The configuration string starts with "OpenBLAS <version>"; its core name may be the build
  // machine's.
  std::istringstream config(openblas_get_config());
  std::string library, version;
  config >> library >> version;
  return library + " " + version + " " + openblas_get_corename();
}

void Matmul::cpu(const Tensor& a, const Tensor& b, bool trans_a, bool trans_b, Tensor& out) {
  dispatch_float(a.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    const int64_t m = out.size(-2), n = out.size(-1), k = a.size(trans_a ? -2 : -1);
    if (out.numel() == 0) return;
    const T *pa = a.data<T>(), *pb = b.data<T>();
    T* po = out.mutable_data<T>();
    const int64_t count = out.numel() / (m * n);
    if (b.rank() == 2 && !trans_a) {  // one product of count * m rows
      gemm<T>(false, trans_b, count * m, n, k, T(1), pa, k, pb, trans_b ? k : n, T(0), po, n);
      return;
    }
    matmul_batched<T>(trans_a, trans_b, count, m, n, k, pa, a.rank() == 2 ? 0 : m * k, pb,
                      b.rank() == 2 ? 0 : k * n, po);
  });
}

}  // namespace basin
