// The GINE message kernels, the grouping of edges and rows of categories on the device against
// their CPU forms (compare.h): over shapes that cross the ends of warps, blocks and tiles, with
// nodes without edges and kinds that do not occur.
#include <doctest/doctest.h>

#include "basin/kernels/categories.h"
#include "basin/kernels/gine_message.h"
#include "basin/tests/emulation/compare.h"

using namespace basin;
using testing::compare;
using testing::Place;

namespace {

struct GineShape {
  int64_t nodes, edges, kinds, d;
  bool own;
};

EdgeGroups grouped(const Place& on, const Tensor& key, const Tensor& node, const Tensor& kind,
                   int64_t nodes) {
  EdgeGroups out;
  launch<GroupEdges>(on.device, on(key), on(node), on(kind), nodes, out);
  return out;
}

void compare_gine(const GineShape& s) {
  Rng rng(13, stream_id("gine", static_cast<uint64_t>(s.nodes * 100 + s.d)));
  const int64_t linked = std::max<int64_t>(1, s.nodes - 1);
  const Tensor sender = testing::indices(rng, {s.edges}, 0, linked),
               receiver = testing::indices(rng, {s.edges}, 0, linked),
               kind = testing::indices(rng, {s.edges}, 0, s.kinds);
  const Tensor h = testing::uniform(rng, {s.nodes, s.d}), t = testing::uniform(rng, {s.kinds, s.d}),
               h_t = testing::uniform(rng, {s.nodes, s.d}),
               t_t = testing::uniform(rng, {s.kinds, s.d}),
               ct = testing::uniform(rng, {s.nodes, s.d});
  const std::string shapes =
      str("V ", s.nodes, ", E ", s.edges, ", K ", s.kinds, ", d ", s.d, s.own ? ", own" : "");
  compare("group_edges", shapes, [&](const Place& on) {
    const EdgeGroups g = grouped(on, receiver, sender, kind, s.nodes);
    return Tensors{g.start, g.node, g.kind};
  });
  compare("gine_message", shapes, [&](const Place& on) {
    Tensor y = on.empty({s.nodes, s.d});
    launch<GineMessage>(on.device, on(h), on(t), grouped(on, receiver, sender, kind, s.nodes),
                        s.own, y);
    return Tensors{y};
  });
  compare("gine_message_jvp", shapes, [&](const Place& on) {
    const EdgeGroups into = grouped(on, receiver, sender, kind, s.nodes);
    Tensors lanes;
    for (const auto& [a, b] :
         {std::pair(h_t, t_t), std::pair(h_t, Tensor()), std::pair(Tensor(), t_t)}) {
      lanes.push_back(on.empty({s.nodes, s.d}));
      launch<GineMessageJvp>(on.device, on(h), on(t), into, s.own, on(a), on(b), lanes.back());
    }
    return lanes;
  });
  compare("gine_message_vjp", shapes, [&](const Place& on) {
    Tensors grads{on.empty({s.nodes, s.d}), on.empty({s.kinds, s.d})};
    launch<GineMessageVjp>(on.device, on(h), on(t), grouped(on, sender, receiver, kind, s.nodes),
                           s.own, on(ct), grads[0], grads[1]);
    return grads;
  });
}

}  // namespace

TEST_CASE("emulation: GINE messages, several tiles of nodes") {
  compare_gine({150, 330, 5, 37, false});
  compare_gine({70, 90, 66, 8, true});  // more kinds than a tile has nodes at least
}
TEST_CASE("emulation: GINE messages, the smallest, and without edges") {
  compare_gine({1, 1, 1, 1, false});
  compare_gine({6, 0, 2, 3, true});
}
TEST_CASE("emulation: rows of categories") {
  Rng rng(14, stream_id("categories"));
  const std::vector<int64_t> sizes{3, 1, 7, 2};
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < 300 * 4; ++i)
    rows.push_back(rng.below(sizes[static_cast<size_t>(i % 4)]));
  const Tensor index = Tensor::from(rows, {300, 4});
  const ColumnSizes columns(sizes, index, "test");
  compare("multi_hot", "[300, 4], 13 kinds", [&](const Place& on) {
    Tensor out = on.empty({300, columns.sum()});
    launch<MultiHot>(on.device, on(index), columns, out);
    return Tensors{out};
  });
  compare("mixed_radix", "[300, 4], 42 rows", [&](const Place& on) {
    Tensor out = on.empty({300}, DType::i32);
    launch<MixedRadix>(on.device, on(index), columns, out);
    return Tensors{out};
  });
}
