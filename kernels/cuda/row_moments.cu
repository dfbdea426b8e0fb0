// The moments in two passes, as on the CPU. Column sums are taken of x - x[0], so that a constant
// column gets its exact mean and a zero row in the matrix. The centred rows go to double in slabs
// of 512: one cuBLAS call multiplies many slabs (a single tall product would keep a few blocks
// busy), and their products are added in order.
#include "basin/kernels/cuda/row_moments.cuh"

#include "basin/kernels/cuda/gemm.cuh"
#include "basin/kernels/cuda/rows.cuh"
#include "basin/kernels/gemm.h"

namespace basin {
namespace {

// Rows of a slab, and elements of each scratch array (f64).
int64_t slab_rows() { return cuda::tile_length(512, 64); }
int64_t scratch_elements() { return cuda::tile_length(int64_t{1} << 22, 512); }

Tensor doubles(int64_t a, int64_t b, int64_t c) {
  return Tensor::empty({a, b, c}, DType::f64, Device::cuda);
}

template <class T>
void column_means(const char* name, const T* x, int64_t rows, int64_t n, double* mean) {
  const double count = static_cast<double>(rows);
  cuda::finish_column_sums<1>(
      name, rows, n,
      [=] __device__(int64_t r, int64_t c, double* s) {
        s[0] += static_cast<double>(x[r * n + c]) - static_cast<double>(x[c]);
      },
      [=] __device__(int64_t c, const double* s) { mean[c] = x[c] + s[0] / count; });
}

// Rows first .. first + count of x less the means; zeros from `rows` on.
template <class T>
void centre(const char* name, const T* x, const double* mean, int64_t rows, int64_t first,
            int64_t count, int64_t n, double* out) {
  cuda::for_rows(name, count, n, [=] __device__(int64_t r, int64_t c) {
    const int64_t from = first + r;
    out[r * n + c] = from < rows ? static_cast<double>(x[from * n + c]) - mean[c] : 0.0;
  });
}

// total [n] gets factor times the sum of the products [count, n], added to it unless `first`.
void add_slabs(const char* name, const double* products, int64_t count, double factor, bool first,
               double* total, int64_t n) {
  cuda::for_items(name, n, [=] __device__(int64_t i) {
    double sum = 0;
    for (int64_t k = 0; k < count; ++k) sum += products[k * n + i];
    total[i] = (first ? 0.0 : total[i]) + factor * sum;
  });
}

template <class T>
void moments_of(const char* name, const Tensor& x, const Tensor& t, double* moments) {
  const int64_t n = x.size(-1);
  if (n == 0) return;
  const int64_t rows = x.numel() / n;
  const bool same = x.raw() == t.raw();
  const T *px = cuda::in_ptr<T>(x), *pt = cuda::in_ptr<T>(t);
  Tensor means = doubles(1, 1, n);
  double *mean_t = moments, *mean_x = same ? moments : cuda::out_ptr<double>(means);
  column_means(name, pt, rows, n, mean_t);
  if (!same) column_means(name, px, rows, n, mean_x);

  const int64_t slab = slab_rows(), slabs = (rows + slab - 1) / slab;
  const int64_t fit = std::max<int64_t>(1, scratch_elements() / (n * std::max(n, slab)));
  for (int64_t first = 0; first < slabs; first += fit) {
    const int64_t count = std::min(fit, slabs - first), height = count * slab;
    Tensor left = doubles(count, slab, n), right = left;
    centre(name, px, mean_x, rows, first * slab, height, n, cuda::out_ptr<double>(left));
    if (!same) {
      right = doubles(count, slab, n);
      centre(name, pt, mean_t, rows, first * slab, height, n, cuda::out_ptr<double>(right));
    }
    Tensor products = doubles(count, n, n);
    Matmul::cuda(left, right, true, false, products);
    add_slabs(name, cuda::in_ptr<double>(products), count, 1.0 / static_cast<double>(rows),
              first == 0, moments + n, n * n);
  }
}

template <class T>
void widen(const char* name, const T* from, double* to, int64_t n) {
  cuda::for_items(name, n, [=] __device__(int64_t i) { to[i] = static_cast<double>(from[i]); });
}

void add_transpose(const char* name, const double* from, double* to, int64_t n) {
  cuda::map_elements(name, n, n, [=] __device__(int64_t r, int64_t c) {
    to[r * n + c] = from[r * n + c] + from[c * n + r];
  });
}

}  // namespace

void cuda::row_cross_moments(const char* name, const Tensor& x, const Tensor& t, Tensor& moments) {
  dispatch_float(x.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    moments_of<T>(name, x, t, out_ptr<double>(moments));
  });
}

Tensor cuda::symmetric_moments(const char* name, const Tensor& moments) {
  const int64_t n = moments.size(1);
  Tensor matrix = doubles(1, n, n).view({n, n});
  add_transpose(name, moment_matrix(moments), out_ptr<double>(matrix), n);
  return matrix;
}

Tensor cuda::wide_product(const char* name, const Tensor& w, const double* s) {
  const int64_t rows = w.size(0), n = w.size(1);
  Tensor wide = Tensor::empty(w.shape(), DType::f64, Device::cuda);
  Tensor product = Tensor::empty(w.shape(), DType::f64, Device::cuda);
  if (w.numel() == 0) return product;
  dispatch_float(w.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    widen(name, in_ptr<T>(w), out_ptr<double>(wide), w.numel());
  });
  multiply<double>(1, rows, n, n, {in_ptr<double>(wide), n, 0, false}, {s, n, 0, false}, 0,
                   out_ptr<double>(product));
  return product;
}

}  // namespace basin
