// Rows of the op table: graphs, and GotenNet's messages and products against their composites, with
// self loops, nodes without neighbours, one node alone, and sizes with and without vectors of
// channels.
#include <cmath>
#include <limits>

#include "basin/autograd/ops/gata.h"
#include "basin/tests/autograd/op_table.h"

using namespace basin;
using namespace basin::table;

namespace {

Tensor points_of(Rng& rng, int64_t n, double box) { return uniform(rng, {n, 3}, -box, box); }

EdgeList there(const EdgeList& e, const Tensor& x) {
  return {like(e.sender, x),
          like(e.receiver, x),
          like(e.offsets, x),
          {like(e.by_sender.offsets, x), like(e.by_sender.order, x)}};
}

struct Message {
  int64_t nodes, d, heads, degree;
  bool shared = false, moved = true, scaled = false;
  double box = 1;  // points closer than 1 are neighbours

  int64_t rows() const { return (degree + 1) * (degree + 1) - 1; }
  int64_t width() const { return (shared ? 3 : 1 + 2 * degree) * d; }
};

EdgeList some_graph(Rng& rng, const Message& m) {
  const int32_t half = static_cast<int32_t>(m.nodes / 2), all = static_cast<int32_t>(m.nodes);
  return radius_graph(points_of(rng, m.nodes, m.box), int32s({0, half, all}), 1, true);
}

// In the order q, k, s, v, a, f, y, c [, x].
Case message_case(Rng& rng, const Message& m) {
  const EdgeList edges = some_graph(rng, m);
  const int64_t count = edges.edges();
  const Tensor factor = m.scaled ? uniform(rng, {count, m.heads}, 0, 2) : Tensor();
  Case c;
  c.label =
      str(m.nodes, " nodes, ", count, " edges, d ", m.d, ", heads ", m.heads, ", degree ", m.degree,
          m.shared ? ", shared" : "", m.moved ? "" : ", x = 0", m.scaled ? ", factors" : "");
  c.x = {uniform(rng, {m.nodes, m.d}),       uniform(rng, {m.nodes, m.d}),
         uniform(rng, {m.nodes, m.width()}), uniform(rng, {m.nodes, m.width()}),
         uniform(rng, {count, m.d}),         uniform(rng, {count, m.width()}),
         uniform(rng, {count, m.rows()}),    uniform(rng, {count})};
  if (m.moved) c.x.push_back(uniform(rng, {m.nodes, m.rows(), m.d}));
  const auto inputs = [=](const Tensors& x) {
    return GataInputs{x[0], x[1], x[2], x[3], m.moved ? x[8] : Tensor(),
                      x[4], x[5], x[6], x[7], m.scaled ? like(factor, x[0]) : Tensor()};
  };
  c.f = [=](const Tensors& x) {
    const GataMessages out = gata_message(inputs(x), there(edges, x[0]), m.heads);
    return Tensors{out.h, out.x};
  };
  c.reference = [=](const Tensors& x) {
    const GataMessages out = gata_composite(inputs(x), there(edges, x[0]), m.heads);
    return Tensors{out.h, out.x};
  };
  return c;
}

Case product_case(Rng& rng, const Message& m, bool rejection) {
  const EdgeList edges = some_graph(rng, m);
  Case c;
  c.label = str(m.nodes, " nodes, ", edges.edges(), " edges, d ", m.d, ", degree ", m.degree,
                rejection ? ", normal parts" : "");
  c.x = {uniform(rng, {m.nodes, m.rows(), m.d}), uniform(rng, {m.nodes, m.rows(), m.d})};
  if (rejection) c.x.push_back(uniform(rng, {edges.edges(), m.rows()}));
  const auto y = [=](const Tensors& x) { return rejection ? x[2] : Tensor(); };
  c.f = [=](const Tensors& x) {
    return Tensors{edge_products(x[0], x[1], y(x), there(edges, x[0]))};
  };
  c.reference = [=](const Tensors& x) {
    return Tensors{edge_products_composite(x[0], x[1], y(x), there(edges, x[0]))};
  };
  return c;
}

}  // namespace

OP_ROW(csr) {
  Cases cases;
  for (const int64_t rows : {1, 5, 3000}) {
    const Tensor index = indices(rng, {rows == 3000 ? 5000 : 7}, 0, rows);
    Case c = one(str(rows, " rows"), Tensor::zeros({1}, DType::f64), [=](const Tensor& x) {
      const Csr sorted = csr(like(index, x), rows);
      return concat({sorted.offsets.to(x.dtype()), sorted.order.to(x.dtype())}, 0);
    });
    c.order = 0;
    cases.push_back(rows == 3000 ? large(c) : c);
  }
  return cases;
}

OP_ROW(radius_graph) {
  Cases cases;
  const double far = std::numeric_limits<double>::infinity();
  for (const bool loops : {false, true}) {
    for (const double cutoff : {0.8, far}) {
      const Tensor offsets = int32s({0, 1, 9, 40, 43});
      Case c = one(str("43 points, cutoff ", cutoff, loops ? ", loops" : ""), points_of(rng, 43, 1),
                   [=](const Tensor& x) {
                     const EdgeList e = radius_graph(x, like(offsets, x), cutoff, loops);
                     Tensors parts;
                     for (const Tensor& t : {e.sender, e.receiver, e.offsets, e.by_sender.order,
                                             e.by_sender.offsets}) {
                       parts.push_back(t.to(x.dtype()));
                     }
                     return concat(parts, 0);
                   });
      c.order = 0;
      cases.push_back(c);
    }
  }
  return cases;
}

OP_ROW(gata_message) {
  Cases cases;
  cases.push_back(message_case(rng, {5, 4, 2, 1}));
  cases.push_back(message_case(rng, {5, 6, 3, 2, false, true, true}));
  cases.push_back(message_case(rng, {4, 8, 1, 3, false, true, true, 0.6}));
  cases.push_back(message_case(rng, {5, 16, 2, 2, true, true, true}));
  cases.push_back(message_case(rng, {6, 4, 2, 2, false, false, false}));
  cases.push_back(message_case(rng, {4, 2, 1, 3, true, true, false, 4}));  // most nodes are alone
  cases.push_back(message_case(rng, {3, 2, 2, 1, false, true, true}));
  cases.back().order = 3;
  cases.push_back(large(message_case(rng, {60, 32, 4, 2, false, true, true, 1.2})));
  cases.push_back(large(message_case(rng, {40, 36, 6, 3, true, true, false, 1.2})));
  return cases;
}

OP_ROW(edge_products) {
  Cases cases;
  for (const bool rejection : {false, true}) {
    cases.push_back(product_case(rng, {5, 3, 1, 1}, rejection));
    cases.push_back(product_case(rng, {5, 8, 1, 2}, rejection));
    cases.push_back(product_case(rng, {4, 5, 1, 3}, rejection));
    cases.push_back(large(product_case(rng, {60, 40, 1, 2}, rejection)));
  }
  cases.push_back(product_case(rng, {4, 2, 1, 1}, true));
  cases.back().order = 3;
  return cases;
}

TEST_CASE("radius_graph: all pairs of an example, both ways sorted") {
  Rng rng(4, 4);
  const Tensor x = points_of(rng, 12, 1);
  const double* p = x.data<double>();
  const EdgeList e = radius_graph(x, int32s({0, 5, 12}), 1.1, true);
  std::vector<int32_t> sender, receiver;
  for (int32_t i = 0; i < 12; ++i) {
    for (int32_t j = i < 5 ? 0 : 5; j < (i < 5 ? 5 : 12); ++j) {
      const double r =
          std::hypot(p[3 * i] - p[3 * j], p[3 * i + 1] - p[3 * j + 1], p[3 * i + 2] - p[3 * j + 2]);
      if (r >= 1.1) continue;
      sender.push_back(j);
      receiver.push_back(i);
    }
  }
  CHECK(e.sender.to_vector<int32_t>() == sender);
  CHECK(e.receiver.to_vector<int32_t>() == receiver);
  REQUIRE(e.nodes() == 12);
  for (int64_t j = 0; j < 12; ++j) {
    const auto begin = static_cast<int64_t>(e.by_sender.offsets.at(j));
    const auto end = static_cast<int64_t>(e.by_sender.offsets.at(j + 1));
    for (int64_t n = begin; n < end; ++n) {
      const auto edge = static_cast<int64_t>(e.by_sender.order.at(n));
      CHECK(e.sender.at(edge) == j);
      CHECK((n == begin || edge > e.by_sender.order.at(n - 1)));
    }
  }
  CHECK(
      radius_graph(x, int32s({0, 5, 12}), std::numeric_limits<double>::infinity(), false).edges() ==
      5 * 4 + 7 * 6);
  // A pair exactly at the cutoff is none.
  const Tensor line = Tensor::from(std::vector<double>{0, 0, 0, 1, 0, 0}, {2, 3});
  CHECK(radius_graph(line, int32s({0, 2}), 1, true).edges() == 2);
}

TEST_CASE("gata_message: wrong arguments are refused by name") {
  Rng rng(1, 2);
  const Message m{5, 4, 2, 2};
  const EdgeList edges = some_graph(rng, m);
  const Case c = message_case(rng, m);
  const Tensors& x = c.x;
  const GataInputs good{x[0], x[1], x[2], x[3], x[8], x[4], x[5], x[6], x[7], Tensor()};
  const auto refuses = [&](const GataInputs& in, int64_t heads, const std::string& message) {
    try {
      gata_message(in, edges, heads);
      FAIL("accepted");
    } catch (const Error& e) {
      CHECK(e.kind() == ErrorKind::usage);
      CHECK(std::string(e.what()).find(message) != std::string::npos);
    }
  };
  refuses(good, 3, "4 channels do not divide among 3 heads");
  GataInputs bad = good;
  bad.k = Tensor::zeros({5, 3}, DType::f64);
  refuses(bad, 2, "gata_message: expects k [5, 4] f64, got [5, 3] f64");
  bad = good;
  bad.y = Tensor::zeros({edges.edges(), 7}, DType::f64);
  refuses(bad, 2, "gata_message: expects 3, 8 or 15 rows of steerable features, got 7");
}
