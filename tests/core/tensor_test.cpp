// Tensor handles: creation, typed access, conversion, shared storage, in-place writes and their
// version.
#include "basin/core/tensor.h"

#include <doctest/doctest.h>

#include <string>

#include "basin/core/error.h"

using namespace basin;

TEST_CASE("tensor: the undefined tensor") {
  const Tensor t;
  CHECK_FALSE(t.defined());
  CHECK_FALSE(static_cast<bool>(t));
  CHECK(t.raw() == nullptr);
  CHECK_FALSE(t.clone().defined());
  CHECK_FALSE(t.to(DType::f64).defined());
  CHECK_THROWS_AS(t.item(), Error);
  CHECK_THROWS_AS(t.at(0), Error);
  CHECK_THROWS_AS(t.data<float>(), Error);
}

TEST_CASE("tensor: creation in every dtype") {
  for (DType d : {DType::f32, DType::f64, DType::i32, DType::i64}) {
    CAPTURE(std::string(name_of(d)));
    const Tensor z = Tensor::zeros({2, 3}, d), f = Tensor::full({2}, d, 7);
    CHECK(z.to_vector<double>() == std::vector<double>(6, 0.0));
    CHECK(f.to_vector<int64_t>() == std::vector<int64_t>{7, 7});
    CHECK(z.bytes() == 6 * size_of(d));
    CHECK(z.dtype() == d);
    CHECK(dtype_from_name(name_of(d)) == d);
  }
  CHECK(Tensor::scalar(2.5, DType::f64).item() == 2.5);
  CHECK(Tensor::scalar(2.5, DType::f64).rank() == 0);
  CHECK(Tensor::zeros({0, 3}, DType::f32).numel() == 0);
  CHECK_THROWS_AS(dtype_from_name("f16"), Error);
}

TEST_CASE("tensor: values go in and come out") {
  const Tensor t = Tensor::from(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3});
  CHECK(t.size(0) == 2);
  CHECK(t.size(-1) == 3);
  CHECK(t.at(4) == 5);
  CHECK(t.data<float>()[5] == 6);
  CHECK_THROWS_AS(t.at(6), Error);
  CHECK_THROWS_AS(t.at(-1), Error);
  CHECK_THROWS_AS(t.item(), Error);
  CHECK_THROWS_AS(t.data<double>(), Error);
  CHECK_THROWS_AS(Tensor::from(std::vector<float>{1, 2}, {3}), Error);
  CHECK(Tensor::from(std::vector<int32_t>{9}, {1, 1}).item() == 9);
}

TEST_CASE("tensor: conversion copies, or shares when nothing changes") {
  const Tensor t = Tensor::from(std::vector<double>{1.5, -2.5, 3}, {3});
  CHECK(t.to(DType::f32).to_vector<double>() == std::vector<double>{1.5, -2.5, 3});
  CHECK(t.to(DType::i32).to_vector<double>() == std::vector<double>{1, -2, 3});
  CHECK(t.to(DType::f64).raw() == t.raw());
  CHECK(t.to(DType::f32).to(DType::f64).raw() != t.raw());
}

TEST_CASE("tensor: handles share, clones do not") {
  Tensor t = Tensor::from(std::vector<double>{1, 2, 3, 4}, {4});
  Tensor same = t, copy = t.clone(), shaped = t.view({2, 2}), bare = t.detach();
  t.mutable_data<double>()[1] = 20;
  CHECK(same.at(1) == 20);
  CHECK(shaped.at(1) == 20);
  CHECK(bare.at(1) == 20);
  CHECK(copy.at(1) == 2);
  CHECK(shaped.shape() == Shape{2, 2});
  CHECK_THROWS_AS(t.view({3}), Error);
  CHECK_FALSE(t.meta().defined());
  CHECK(t.meta().shape() == Shape{4});
  CHECK(t.meta().dtype() == DType::f64);
}

TEST_CASE("tensor: each in-place write counts as a version") {
  Tensor t = Tensor::zeros({2}, DType::f32);
  const uint64_t v = t.storage()->version();
  (void)t.at(0);
  (void)t.data<float>();
  (void)t.to_vector<float>();
  CHECK(t.storage()->version() == v);
  t.mutable_data<float>()[0] = 1;
  CHECK(t.storage()->version() == v + 1);
  t.fill(3);
  CHECK(t.storage()->version() == v + 2);
  t.copy_from(Tensor::full({2}, DType::f32, 4));
  CHECK(t.storage()->version() > v + 2);
  CHECK(t.to_vector<double>() == std::vector<double>{4, 4});
  CHECK_THROWS_AS(t.copy_from(Tensor::zeros({3}, DType::f32)), Error);
  CHECK_THROWS_AS(t.copy_from(Tensor::zeros({2}, DType::f64)), Error);
}

TEST_CASE("tensor: its text in messages") {
  CHECK(str(Tensor::zeros({2, 3}, DType::f32)) == "[2, 3] f32");
  CHECK(str(Tensor::scalar(1, DType::f64)) == "[] f64");
  CHECK(str(Tensor()) == "an undefined tensor");
}

TEST_CASE("check: a callable part is worked out when the check fails, and only then") {
  int calls = 0;
  const auto count = [&] { return ++calls; };
  check(true, "never written ", count);
  CHECK(calls == 0);
  CHECK_THROWS_WITH_AS(check(false, "call ", count, " of ", 1), "call 1 of 1", Error);
  CHECK(calls == 1);
}

TEST_CASE("device: names") {
  CHECK(device_from_name("cpu") == Device::cpu);
  CHECK(device_from_name("cuda") == Device::cuda);
  CHECK(device_from_name("cuda:0") == Device::cuda);
  CHECK_THROWS_AS(device_from_name("gpu"), Error);
}
