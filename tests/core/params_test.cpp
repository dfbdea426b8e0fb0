// ParamList: order, unique names, logical views, look-ups with a hint, deep copies.
#include "basin/core/params.h"

#include <doctest/doctest.h>

#include "basin/core/error.h"

using namespace basin;

namespace {

ParamList sample() {
  ParamList p;
  p.add_matrix("feat.conv1.weight", Tensor::full({64, 3}, DType::f32, 0.5), Role::first,
               {64, 3, 1});
  p.add_vector("feat.conv1.bias", Tensor::zeros({64}, DType::f32), Role::bias);
  p.add_matrix("fc.weight", Tensor::full({10, 64}, DType::f32, 2), Role::head);
  return p;
}

}  // namespace

TEST_CASE("params: order, views and counts") {
  const ParamList p = sample();
  REQUIRE(p.size() == 3);
  CHECK(p[0].name == "feat.conv1.weight");
  CHECK(p[0].reference_shape == Shape{64, 3, 1});
  REQUIRE(p[0].view.size() == 1);
  CHECK(p[0].view[0].rows == 64);
  CHECK(p[0].view[0].cols == 3);
  CHECK(p[1].view.empty());
  CHECK(p[2].reference_shape == Shape{10, 64});
  CHECK(p.total_elements() == 64 * 3 + 64 + 640);
  CHECK(p.find("fc.weight") == 2);
  CHECK(p.find("nothing") == -1);
  CHECK(p.values()[1].shape() == Shape{64});
  CHECK(p.values()[1].raw() == p[1].value.raw());
  CHECK(name_of(Role::embedding) == "embedding");
}

TEST_CASE("params: faults are refused") {
  ParamList p = sample();
  CHECK_THROWS_AS(p.add_vector("fc.weight", Tensor::zeros({1}, DType::f32), Role::bias), Error);
  CHECK_THROWS_AS(p.add_vector("", Tensor::zeros({1}, DType::f32), Role::bias), Error);
  CHECK_THROWS_AS(p.add_vector("x", Tensor(), Role::bias), Error);
  CHECK_THROWS_AS(p.add_matrix("x", Tensor::zeros({4}, DType::f32), Role::matrix), Error);
  CHECK_THROWS_AS(p.add_matrix("x", Tensor::zeros({2, 2}, DType::f32), Role::matrix, {5}), Error);
  const Tensor t = Tensor::zeros({2, 3}, DType::f32);
  CHECK_THROWS_AS(p.add({"x", t, Role::matrix, {{1, 2, 3}}, {2, 3}}), Error);
  for (const MatrixBlock& block : {MatrixBlock{-1, 2, 3}, {0, 0, 3}, {0, 2, 0}}) {
    CHECK_THROWS_AS(p.add({"x", t, Role::matrix, {block}, {2, 3}}), Error);
  }
  CHECK(p.size() == 3);
  p.add({"x", t, Role::matrix, {{0, 1, 3}, {3, 1, 3}}, {2, 3}});
  CHECK(p.size() == 4);
}

TEST_CASE("params: an unknown name comes back with the nearest known one") {
  const ParamList p = sample();
  CHECK(p.at("fc.weight").role == Role::head);
  try {
    p.at("fc.wieght");
    FAIL("no error");
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::usage);
    CHECK(std::string(e.what()).find("'fc.weight'") != std::string::npos);
  }
  try {
    p.at("zzzz");
    FAIL("no error");
  } catch (const Error& e) {
    CHECK(std::string(e.what()) == "params: no parameter 'zzzz'");
  }
  CHECK(nearest_name("moun", {"adam", "muon", "sgd"}) == "muon");
  CHECK(nearest_name("zzzzzzzz", {"adam", "muon"}).empty());
}

TEST_CASE("params: clone and conversion are deep") {
  ParamList p = sample();
  ParamList copy = p.clone(), wide = p.to(DType::f64), same = p.to(DType::f32);
  ParamList here = p.to(Device::cpu);
  p[0].value.fill(9);
  CHECK(here[0].value.at(0) == 0.5);
  CHECK(copy[0].value.at(0) == 0.5);
  CHECK(same[0].value.at(0) == 0.5);
  CHECK(wide[0].value.at(0) == 0.5);
  CHECK(wide[0].value.dtype() == DType::f64);
  CHECK(wide.find("fc.weight") == 2);
  CHECK(wide[0].view.size() == 1);

  ParamList counts;
  counts.add_vector("steps", Tensor::from(std::vector<int64_t>{7}, {1}), Role::bias);
  CHECK(counts.to(DType::f64)[0].value.dtype() == DType::i64);  // only floats change
}

TEST_CASE("params: to a device that this build does not know") {
  if (kHasCuda) return;
  try {
    sample().to(Device::cuda);
    FAIL("no error");
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::resource);
  }
}
