// Rows of categories on CUDA: one thread per value, or per row.
#include "basin/kernels/categories.h"

#include "basin/kernels/cuda/elements.cuh"

namespace basin {
namespace {

// Plain arrays for device code.
struct Columns {
  explicit Columns(const ColumnSizes& sizes) : count(sizes.count) {
    int64_t before = 0;
    for (int64_t f = 0; f < count; ++f) {
      size[f] = sizes.size[static_cast<size_t>(f)];
      base[f] = before;
      before += size[f];
    }
  }
  int64_t count;
  int64_t size[kMostColumns] = {}, base[kMostColumns] = {};
};

template <class T>
void multi_hot(const int64_t* index, const Columns& columns, int64_t width, T* out, int64_t rows) {
  cuda::map_elements(MultiHot::name, rows, columns.count, [=] __device__(int64_t r, int64_t f) {
    const int64_t i = r * columns.count + f;
    if (index[i] < 0 || index[i] >= columns.size[f]) return;
    out[r * width + columns.base[f] + index[i]] = T(1);
  });
}

}  // namespace

void MultiHot::cuda(const Tensor& index, const ColumnSizes& sizes, Tensor& out) {
  check_categories(index, sizes, name);
  out.fill(0);
  dispatch_float(out.dtype(), name, [&](auto z) {
    using T = decltype(z);
    multi_hot(cuda::in_ptr<int64_t>(index), Columns(sizes), sizes.sum(), cuda::out_ptr<T>(out),
              index.size(0));
  });
}

void MixedRadix::cuda(const Tensor& index, const ColumnSizes& sizes, Tensor& out) {
  check_categories(index, sizes, name);
  const Columns columns(sizes);
  const int64_t* p = cuda::in_ptr<int64_t>(index);
  int32_t* o = cuda::out_ptr<int32_t>(out);
  cuda::for_items(name, index.size(0), [=] __device__(int64_t r) {
    int64_t code = 0;
    bool inside = true;
    for (int64_t f = 0; f < columns.count; ++f) {
      const int64_t value = p[r * columns.count + f];
      inside = inside && value >= 0 && value < columns.size[f];
      code = code * columns.size[f] + value;
    }
    o[r] = inside ? static_cast<int32_t>(code) : 0;
  });
}

}  // namespace basin
