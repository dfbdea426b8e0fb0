// Grouping of edges on the CPU: a stable counting sort.
#include "basin/kernels/segment.h"

#include "basin/kernels/index.h"

namespace basin {

void GroupEdges::cpu(const Tensor& key, const Tensor& node, const Tensor& kind, int64_t nodes,
                     EdgeGroups& out) {
  check_index(key, nodes, 0, name);
  check_index(node, nodes, 0, name);
  const int64_t edges = key.numel();
  out = {Tensor::zeros({nodes + 1}, DType::i32), Tensor::empty({edges}, DType::i32),
         Tensor::empty({edges}, DType::i32)};
  const int32_t *at = key.data<int32_t>(), *other = node.data<int32_t>(),
                *what = kind.data<int32_t>();
  int32_t* start = out.start.mutable_data<int32_t>();
  for (int64_t e = 0; e < edges; ++e) ++start[at[e] + 1];
  for (int64_t n = 0; n < nodes; ++n) start[n + 1] += start[n];
  Tensor cursor = out.start.clone();
  int32_t* next = cursor.mutable_data<int32_t>();
  int32_t *to_node = out.node.mutable_data<int32_t>(), *to_kind = out.kind.mutable_data<int32_t>();
  for (int64_t e = 0; e < edges; ++e) {
    const int32_t place = next[at[e]]++;
    to_node[place] = other[e];
    to_kind[place] = what[e];
  }
}

}  // namespace basin
