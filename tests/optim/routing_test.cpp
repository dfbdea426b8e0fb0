// Routing: the rule, its switches, the three views and the printed table.
#include "basin/optim/routing.h"

#include "basin/optim/detail/muon.h"
#include "basin/optim/groups.h"
#include "basin/tests/optim/optim_fixtures.h"

using namespace basin;
using namespace basin::optim_test;

TEST_CASE("routing: default rule on a small model") {
  const ParamList p = small_model(DType::f32);
  const char* expected[][2] = {
      {"first.weight", "role first"},     {"first.bias", "no matrix view (bias)"},
      {"conv.weight", "hidden matrix"},   {"norm.gain", "no matrix view (gain)"},
      {"hidden.weight", "hidden matrix"}, {"row.weight", "min(rows, cols) = 1 < 2"},
      {"table", "role embedding"},        {"head.weight", "role head"},
  };
  for (size_t i = 0; i < p.size(); ++i) {
    const Route r = route(p[i], {});
    CHECK(p[i].name == expected[i][0]);
    CHECK(r.why == expected[i][1]);
    CHECK(r.matrix == (r.why == "hidden matrix"));
  }
}

TEST_CASE("routing: each clause is a switch") {
  const ParamList p = small_model(DType::f32);
  CHECK(route(p.at("first.weight"), {.first = true}).why == "role first allowed");
  CHECK(route(p.at("table"), {.embedding = true}).matrix);
  CHECK(route(p.at("head.weight"), {.head = true}).matrix);
  CHECK(route(p.at("row.weight"), {.min_side = 1}).matrix);
  check_routing_used(p, {.force_matrix = {"head.*"}, .force_auxiliary = {"conv.*"}});
  CHECK(error_of(
            [&] {
              check_routing_used(p, {.force_auxiliary = {"head.*", "nope"}});
            },
            ErrorKind::usage) == "routing: force_aux names 'nope', which matches no parameter");
  CHECK_FALSE(route(p.at("conv.weight"), {.min_side = 17}).matrix);
  CHECK(route(p.at("head.weight"), {.force_matrix = {"head.*"}}).why == "named in force_muon");
  CHECK_FALSE(route(p.at("conv.weight"), {.force_auxiliary = {"*.weight"}}).matrix);
  CHECK(
      error_of([&] { route(p.at("norm.gain"), {.force_matrix = {"norm.*"}}); }, ErrorKind::usage) ==
      "routing: 'norm.gain' [24] is named in force_muon but has no matrix under the chosen view");
}

TEST_CASE("routing: views") {
  const ParamList p = small_model(DType::f32);
  const Route rows = route(p.at("conv.weight"), {.view = MatrixView::reference});
  CHECK(rows.blocks.size() == 24);
  CHECK(view_text(rows.blocks) == "24 of 16x1");
  CHECK(rows.blocks[3].offset == 48);
  const Route torch = route(p.at("conv.weight"), {.view = MatrixView::torch});
  CHECK_FALSE(torch.matrix);
  CHECK(torch.why == "reference shape [24, 16, 1] is not 2-D");
  CHECK(route(p.at("hidden.weight"), {.view = MatrixView::torch}).matrix);
  ParamList q;
  q.add_matrix("conv2d", Tensor::zeros({6, 18}, DType::f32), Role::matrix, {6, 2, 3, 3});
  CHECK(view_text(route(q[0], {.view = MatrixView::reference}).blocks) == "6x18");
  ParamList partial;
  partial.add({"w", Tensor::zeros({4, 4}, DType::f32), Role::matrix, {{0, 2, 4}}, {4, 4}});
  CHECK(error_of([&] { route(partial[0], {}); }, ErrorKind::usage) ==
        "routing: the matrix blocks of 'w' hold 8 of its 16 elements");
}

TEST_CASE("routing: the table is aligned text") {
  ParamList p;
  p.add_matrix("hidden", Tensor::zeros({12, 24}, DType::f32), Role::matrix);
  p.add_vector("b", Tensor::zeros({12}, DType::f32), Role::bias);
  Muon optimizer({}, p, parse_group_rules("b lr=0.5"));
  CHECK(format_routing_table(optimizer.routing()) ==
        "name    shape     view   optimizer  lr    wd  group    why\n"
        "hidden  [12, 24]  12x24  muon       0.02  0   default  hidden matrix\n"
        "b       [12]      -      adamw      0.5   0   b        no matrix view (bias)\n");
}
