// Element types. f32 and f64 carry derivatives; i32 and i64 are indices and labels.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "basin/core/error.h"

namespace basin {

enum class DType : uint8_t { f32, f64, i32, i64 };

constexpr size_t size_of(DType t) { return t == DType::f32 || t == DType::i32 ? 4 : 8; }
constexpr bool is_float(DType t) { return t == DType::f32 || t == DType::f64; }
constexpr std::string_view name_of(DType t) {
  constexpr std::string_view names[] = {"f32", "f64", "i32", "i64"};
  return names[static_cast<int>(t)];
}
DType dtype_from_name(std::string_view name);  // usage error naming the four accepted names

template <class T>
inline constexpr DType kDTypeOf = DType::f32;
template <>
inline constexpr DType kDTypeOf<double> = DType::f64;
template <>
inline constexpr DType kDTypeOf<int32_t> = DType::i32;
template <>
inline constexpr DType kDTypeOf<int64_t> = DType::i64;

// Calls f(float{}) or f(double{}); any other type is a usage error in the name of `op`.
template <class F>
decltype(auto) dispatch_float(DType t, std::string_view op, F&& f) {
  switch (t) {
    case DType::f32: return f(float{});
    case DType::f64: return f(double{});
    default: fail(ErrorKind::usage, op, ": expects f32 or f64, got ", name_of(t));
  }
}

}  // namespace basin
