// Rows of the op table: messages of GINE against the composite of plain ops, and what makes its
// arguments. Edges repeat and point to themselves, some nodes have none, some kinds do not occur.
#include <algorithm>
#include <cmath>

#include "basin/tests/autograd/op_table.h"

using namespace basin;
using namespace basin::table;

namespace {

struct Graph {
  int64_t nodes, edges, kinds, d;
};

struct GraphEdges {
  Tensor sender, receiver, kind;
};

GraphEdges random_edges(Rng& rng, const Graph& g) {
  // The last node, where there are several, has no edge.
  const int64_t linked = std::max<int64_t>(1, g.nodes - 1);
  return {indices(rng, {g.edges}, 0, linked), indices(rng, {g.edges}, 0, linked),
          indices(rng, {g.edges}, 0, g.kinds)};
}

// No h_j + t_k is near zero: the features of nodes are multiples of 0.1, those of kinds are off by
// 0.05 and some hundredths.
Tensor grid(Rng& rng, const Shape& shape, double off) {
  Tensor x = uniform(rng, shape, -10, 10);
  double* p = x.mutable_data<double>();
  for (int64_t i = 0; i < x.numel(); ++i) p[i] = 0.1 * std::floor(p[i]) + off;
  return x;
}

Case gine_case(Rng& rng, const Graph& g, bool own) {
  const GraphEdges e = random_edges(rng, g);
  Case c = two(
      str(g.nodes, " nodes, ", g.edges, " edges, ", g.kinds, " kinds, d ", g.d, own ? ", own" : ""),
      grid(rng, {g.nodes, g.d}, 0), grid(rng, {g.kinds, g.d}, 0.04),
      [=](const Tensor& h, const Tensor& t) {
        const EdgeLists lists =
            edge_lists(like(e.sender, h), like(e.receiver, h), like(e.kind, h), g.nodes);
        return square(gine_message(h, t, lists, own));
      },
      [=](const Tensor& h, const Tensor& t) {
        const Tensor along = gather(h, like(e.sender, h)) + gather(t, like(e.kind, h));
        const Tensor sum = scatter_sum(relu(along), like(e.receiver, h), g.nodes);
        return square(own ? h + sum : sum);
      });
  return c;
}

// One constant input, an output without derivative.
Case constant_case(std::string label, const Fn& f, std::vector<double> values) {
  Case c;
  c.label = std::move(label);
  c.x = {Tensor::zeros({1}, DType::f64)};
  c.f = f;
  c.order = 0;
  c.values = std::move(values);
  return c;
}

}  // namespace

OP_ROW(gine_message) {
  Cases cases;
  for (const Graph& g : {Graph{6, 14, 3, 5}, Graph{1, 2, 1, 1}, Graph{5, 0, 2, 3},
                         Graph{9, 4, 7, 2}, Graph{3, 40, 2, 17}, Graph{70, 150, 4, 3}}) {
    cases.push_back(gine_case(rng, g, false));
  }
  cases.front().order = 3;
  cases.push_back(large(gine_case(rng, {900, 2100, 60, 33}, false)));
  cases.push_back(large(gine_case(rng, {300, 700, 130, 64}, true)));
  for (const Graph& g : {Graph{6, 14, 3, 5}, Graph{5, 0, 2, 3}, Graph{9, 4, 7, 2}}) {
    cases.push_back(gine_case(rng, g, true));
  }
  return cases;
}

OP_ROW(edge_lists) {
  const Tensor sender = int32s({2, 0, 1, 2}), receiver = int32s({0, 2, 2, 1}),
               kind = int32s({5, 6, 7, 8});
  const auto list = [=](Tensor EdgeLists::*part) -> Fn {
    return [=](const Tensors& x) {
      const EdgeLists e = edge_lists(like(sender, x[0]), like(receiver, x[0]), like(kind, x[0]), 4);
      return Tensors{(e.*part).to(x[0].dtype())};
    };
  };
  return {constant_case("in_start", list(&EdgeLists::in_start), {0, 1, 2, 4, 4}),
          constant_case("in_node", list(&EdgeLists::in_node), {2, 2, 0, 1}),
          constant_case("in_kind", list(&EdgeLists::in_kind), {5, 8, 6, 7}),
          constant_case("out_start", list(&EdgeLists::out_start), {0, 1, 2, 4, 4}),
          constant_case("out_node", list(&EdgeLists::out_node), {2, 2, 0, 1}),
          constant_case("out_kind", list(&EdgeLists::out_kind), {6, 7, 5, 8})};
}

OP_ROW(multi_hot) {
  const Tensor index = int64s({1, 0, 0, 2, 1, 2}).view({3, 2});
  return {constant_case("three rows",
                        [=](const Tensors& x) {
                          return Tensors{multi_hot(like(index, x[0]), {2, 3}, x[0].dtype())};
                        },
                        {0, 1, 1, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 1})};
}

OP_ROW(mixed_radix) {
  const Tensor index = int64s({1, 0, 0, 2, 1, 2}).view({3, 2});
  return {constant_case("three rows",
                        [=](const Tensors& x) {
                          return Tensors{mixed_radix(like(index, x[0]), {2, 3}).to(x[0].dtype())};
                        },
                        {3, 2, 5})};
}

TEST_CASE("gine_message and what makes its arguments: refusals") {
  Rng rng(1, 2);
  const Graph g{5, 8, 3, 4};
  const GraphEdges e = random_edges(rng, g);
  const EdgeLists lists = edge_lists(e.sender, e.receiver, e.kind, g.nodes);
  const Tensor h = uniform(rng, {5, 4}), t = uniform(rng, {3, 4});
  CHECK_THROWS_WITH_AS(gine_message(h, uniform(rng, {3, 5}), lists),
                       "gine_message: expects h [V, d] and a table [K, d], got [5, 4] and [3, 5]",
                       Error);
  CHECK_THROWS_WITH_AS(gine_message(h, t.to(DType::f32), lists),
                       "gine_message: h and the table need one dtype, got f64 and f32", Error);
  CHECK_THROWS_WITH_AS(gine_message(uniform(rng, {6, 4}), t, lists),
                       "gine_message: expects the edges of 6 nodes, got offsets [6]", Error);
  CHECK_THROWS_AS(gine_message(h, uniform(rng, {2, 4}), lists), Error);  // a kind has no row
  CHECK_THROWS_WITH_AS(edge_lists(int32s({5}), int32s({0}), int32s({0}), 5),
                       "group_edges: index 5 at position 0 is outside 0..4", Error);
  CHECK_THROWS_WITH_AS(multi_hot(int64s({0, 3}).view({1, 2}), {2, 3}, DType::f32),
                       "multi_hot: column 1 of row 0 is 3, expected 0 to 2", Error);
  CHECK_THROWS_WITH_AS(mixed_radix(int64s({-1}).view({1, 1}), {2}),
                       "mixed_radix: column 0 of row 0 is -1, expected 0 to 1", Error);
  CHECK_THROWS_AS(mixed_radix(int64s({0, 0}).view({1, 2}), {1 << 20, 1 << 20}), Error);
  CHECK_THROWS_AS(multi_hot(int64s({0, 0}).view({1, 2}), {2}, DType::f32), Error);
}
