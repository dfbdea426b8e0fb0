// Rows of categories on the CPU, and their checks.
#include "basin/kernels/categories.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "basin/core/parallel.h"

namespace basin {
namespace {

constexpr int64_t kRows = 2048;

}  // namespace

ColumnSizes::ColumnSizes(const std::vector<int64_t>& sizes, const Tensor& index, const char* op)
    : count(static_cast<int64_t>(sizes.size())) {
  check(!sizes.empty() && sizes.size() <= kMostColumns, op, ": expects 1 to ", kMostColumns,
        " columns, got ", sizes.size());
  check(
      index.defined() && index.dtype() == DType::i64 && index.rank() == 2 && index.size(1) == count,
      op, ": expects the index i64 [rows, ", count, "], got ", index);
  for (size_t f = 0; f < sizes.size(); ++f) {
    check(sizes[f] > 0, op, ": column ", f, " has ", sizes[f], " kinds, expected at least one");
    size[f] = sizes[f];
  }
}

int64_t ColumnSizes::sum() const {
  return std::accumulate(size.begin(), size.begin() + count, int64_t{0});
}

int64_t ColumnSizes::product() const {
  int64_t all = 1;
  for (int64_t f = 0; f < count; ++f) {
    const int64_t kinds = size[static_cast<size_t>(f)];
    check(kinds <= std::numeric_limits<int32_t>::max() / all,
          "mixed_radix: the columns have more than 2^31 - 1 combinations");
    all *= kinds;
  }
  return all;
}

void check_categories(const Tensor& index, const ColumnSizes& sizes, const char* op) {
  if (index.device() != Device::cpu) {
    if (device_checks()) check_categories(index.to(Device::cpu), sizes, op);
    return;
  }
  const int64_t* p = index.data<int64_t>();
  for (int64_t i = 0; i < index.numel(); ++i) {
    const int64_t kinds = sizes.size[static_cast<size_t>(i % sizes.count)];
    if (p[i] < 0 || p[i] >= kinds) [[unlikely]] {
      fail(ErrorKind::usage, op, ": column ", i % sizes.count, " of row ", i / sizes.count, " is ",
           p[i], ", expected 0 to ", kinds - 1);
    }
  }
}

void MultiHot::cpu(const Tensor& index, const ColumnSizes& sizes, Tensor& out) {
  check_categories(index, sizes, name);
  const int64_t width = sizes.sum();
  const int64_t* p = index.data<int64_t>();
  dispatch_float(out.dtype(), name, [&](auto z) {
    using T = decltype(z);
    T* o = out.mutable_data<T>();
    parallel_for(index.size(0), kRows, [&](int64_t r, int64_t end) {
      std::fill(o + r * width, o + end * width, T(0));
      for (; r < end; ++r) {
        int64_t base = r * width;
        for (int64_t f = 0; f < sizes.count; ++f) {
          o[base + p[r * sizes.count + f]] = T(1);
          base += sizes.size[static_cast<size_t>(f)];
        }
      }
    });
  });
}

void MixedRadix::cpu(const Tensor& index, const ColumnSizes& sizes, Tensor& out) {
  check_categories(index, sizes, name);
  const int64_t* p = index.data<int64_t>();
  int32_t* o = out.mutable_data<int32_t>();
  parallel_for(index.size(0), kRows, [&](int64_t r, int64_t end) {
    for (; r < end; ++r) {
      int64_t code = 0;
      for (int64_t f = 0; f < sizes.count; ++f) {
        code = code * sizes.size[static_cast<size_t>(f)] + p[r * sizes.count + f];
      }
      o[r] = static_cast<int32_t>(code);
    }
  });
}

}  // namespace basin
