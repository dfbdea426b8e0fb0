// Index kernels: rows by index, CSR segments, elements along an axis. Sums run in a fixed order per
// output row, with no float atomics: same bits for any thread count. Index tensors are i32 and are
// checked here, because only here are their values read. Checking values on a GPU would wait for
// it: there they are checked with BASIN_SYNC=1 only, and an index outside the range is otherwise an
// undefined read, as in any kernel.
#pragma once
#include "basin/core/tensor.h"
#include "basin/kernels/reduce.h"

namespace basin {

struct Gather {
  static constexpr const char* name = "gather";
  // x [N, F], index [E] -> out [E, F]; usage error when an index leaves 0..N-1
  using Run = void(const Tensor& x, const Tensor& index, Tensor& out);
  static Run cpu, cuda;
};

struct ScatterSum {
  static constexpr const char* name = "scatter_sum";
  // x [E, F], index [E] -> out [N, F], rows summed in order of e (the edges are sorted by target
  // first)
  using Run = void(const Tensor& x, const Tensor& index, Tensor& out);
  static Run cpu, cuda;
};

struct SegmentSum {
  static constexpr const char* name = "segment_sum";
  // x [E, F], offsets [S + 1] rising from 0 to E -> out [S, F]
  using Run = void(const Tensor& x, const Tensor& offsets, Tensor& out);
  static Run cpu, cuda;
};

struct SegmentExpand {
  static constexpr const char* name = "segment_expand";
  // x [S, F], offsets [S + 1] -> out [E, F]
  using Run = void(const Tensor& x, const Tensor& offsets, Tensor& out);
  static Run cpu, cuda;
};

struct SegmentArgmax {
  static constexpr const char* name = "segment_argmax";
  // x [E, F], offsets [S + 1] -> index [S, F] i32: row of the first largest element, -1 if empty
  using Run = void(const Tensor& x, const Tensor& offsets, Tensor& index);
  static Run cpu, cuda;
};

struct TakeAlong {
  static constexpr const char* name = "take_along";
  // x [outer, n, inner], index [outer, m, inner] -> out [outer, m, inner]; index -1 gives 0
  using Run = void(const Tensor& x, const Tensor& index, int axis, Tensor& out);
  static Run cpu, cuda;
};

struct PutAlong {
  static constexpr const char* name = "put_along";
  // x and index [outer, m, inner] -> out [outer, n, inner], zeros plus sums in order of m
  using Run = void(const Tensor& x, const Tensor& index, int axis, Tensor& out);
  static Run cpu, cuda;
};

// usage error unless each index is in lowest..rows-1 (on a GPU: with BASIN_SYNC=1).
void check_index(const Tensor& index, int64_t rows, int64_t lowest, const char* op);

// usage error unless offsets is i32 [S + 1], starts at 0, never falls and ends at `rows` (the
// values on a GPU: with BASIN_SYNC=1).
void check_offsets(const Tensor& offsets, int64_t rows, const char* op);

}  // namespace basin
