// Rows of categories, as atoms and bonds have them: column f of a row is one of sizes[f] kinds.
#pragma once
#include <array>
#include <vector>

#include "basin/core/tensor.h"

namespace basin {

inline constexpr size_t kMostColumns = 32;

// By value, so that device code has them too.
struct ColumnSizes {
  ColumnSizes() = default;
  // usage error: no column, more than kMostColumns, a size that is not positive, or an index that
  // is not i64 [R, columns]
  ColumnSizes(const std::vector<int64_t>& sizes, const Tensor& index, const char* op);
  int64_t count = 0;
  std::array<int64_t, kMostColumns> size{};
  int64_t sum() const;
  int64_t product() const;  // usage error above 2^31 - 1
};

struct MultiHot {
  static constexpr const char* name = "multi_hot";
  // index [R, F] i64 -> out [R, sum of sizes], zeros, and a one at sizes[0] + .. + sizes[f - 1] +
  // index[r, f] for every column. usage error for a value outside its column's kinds (on a GPU:
  // with BASIN_SYNC=1, else it leaves no one).
  using Run = void(const Tensor& index, const ColumnSizes& sizes, Tensor& out);
  static Run cpu, cuda;
};

struct MixedRadix {
  static constexpr const char* name = "mixed_radix";
  // index [R, F] i64 -> out [R] i32: the number of the row among all sizes[0] x sizes[1] x .. rows,
  // the last column counting fastest. usage error as above (on a GPU 0 else).
  using Run = void(const Tensor& index, const ColumnSizes& sizes, Tensor& out);
  static Run cpu, cuda;
};

// usage error naming row and column of a value outside 0 .. size - 1 (on a GPU: with BASIN_SYNC=1).
void check_categories(const Tensor& index, const ColumnSizes& sizes, const char* op);

}  // namespace basin
