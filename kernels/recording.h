// The arguments of a kernel as a recording on the CPU keeps them (core/host_recording.h): values of
// its own, decided per type when the program is compiled. Numbers, tensors, vectors and arrays, and
// structs of these are copied; a span becomes a vector, a pointer to such a value the value itself.
// Everything else (raw memory, functions, classes with constructors) cannot be kept, and a step
// that launches such a kernel is not recorded.
#pragma once
#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "basin/core/error.h"
#include "basin/core/host_recording.h"
#include "basin/core/tensor.h"

namespace basin::recorded {

struct AnyField {
  template <class T>
  operator T() const;  // never defined
};

template <class T, size_t... I>
constexpr bool takes_fields(std::index_sequence<I...>) {
  return requires { T{(static_cast<void>(I), AnyField{})...}; };
}

// The number of fields of an aggregate: the most initialisers that it takes.
constexpr size_t kMostFields = 12;
template <class T, size_t N = kMostFields + 1>
constexpr size_t field_count() {
  if constexpr (N == 0 || takes_fields<T>(std::make_index_sequence<N>{})) {
    return N;
  } else {
    return field_count<T, N - 1>();
  }
}

template <class T>
auto fields(T& t) {
  constexpr size_t n = field_count<std::remove_const_t<T>>();
  static_assert(n <= kMostFields, "kernels/recording.h: a struct has too many fields");
  if constexpr (n == 0) {
    return std::tie();
  } else if constexpr (n == 1) {
    auto& [a] = t;
    return std::tie(a);
  } else if constexpr (n == 2) {
    auto& [a, b] = t;
    return std::tie(a, b);
  } else if constexpr (n == 3) {
    auto& [a, b, c] = t;
    return std::tie(a, b, c);
  } else if constexpr (n == 4) {
    auto& [a, b, c, d] = t;
    return std::tie(a, b, c, d);
  } else if constexpr (n == 5) {
    auto& [a, b, c, d, e] = t;
    return std::tie(a, b, c, d, e);
  } else if constexpr (n == 6) {
    auto& [a, b, c, d, e, f] = t;
    return std::tie(a, b, c, d, e, f);
  } else if constexpr (n == 7) {
    auto& [a, b, c, d, e, f, g] = t;
    return std::tie(a, b, c, d, e, f, g);
  } else if constexpr (n == 8) {
    auto& [a, b, c, d, e, f, g, h] = t;
    return std::tie(a, b, c, d, e, f, g, h);
  } else if constexpr (n == 9) {
    auto& [a, b, c, d, e, f, g, h, i] = t;
    return std::tie(a, b, c, d, e, f, g, h, i);
  } else if constexpr (n == 10) {
    auto& [a, b, c, d, e, f, g, h, i, j] = t;
    return std::tie(a, b, c, d, e, f, g, h, i, j);
  } else if constexpr (n == 11) {
    auto& [a, b, c, d, e, f, g, h, i, j, k] = t;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k);
  } else {
    auto& [a, b, c, d, e, f, g, h, i, j, k, l] = t;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k, l);
  }
}

// What is a value by itself.
template <class T>
struct IsList : std::false_type {};
template <class T>
struct IsList<std::vector<T>> : std::true_type {};
template <class T, size_t N>
struct IsList<std::array<T, N>> : std::true_type {};
template <class T>
struct IsList<std::optional<T>> : std::true_type {};

template <class T>
constexpr bool owns();
template <class... T>
constexpr bool all_own(std::tuple<T&...>*) {
  return (owns<std::remove_const_t<T>>() && ...);
}
template <class T>
constexpr bool owns() {
  if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T> || std::is_null_pointer_v<T> ||
                std::is_same_v<T, Tensor> || std::is_same_v<T, std::string>) {
    return true;
  } else if constexpr (IsList<T>::value) {
    return owns<std::remove_const_t<typename T::value_type>>();
  } else if constexpr (std::is_class_v<T> && std::is_aggregate_v<T>) {
    return all_own(static_cast<decltype(fields(std::declval<T&>()))*>(nullptr));
  } else {
    return false;
  }
}

// f(Tensor&) for every tensor inside, in order.
template <class T, class F>
void each_tensor(T& t, const F& f) {
  using Value = std::remove_const_t<T>;
  if constexpr (std::is_same_v<Value, Tensor>) {
    f(t);
  } else if constexpr (std::is_same_v<Value, std::string>) {
  } else if constexpr (requires { t.has_value(); }) {
    if (t) each_tensor(*t, f);
  } else if constexpr (IsList<Value>::value) {
    for (auto& item : t) each_tensor(item, f);
  } else if constexpr (std::is_class_v<Value>) {
    std::apply([&](auto&... field) { (each_tensor(field, f), ...); }, fields(t));
  }
}

// An argument as it is kept, and as the kernel is given it.
template <class T>
struct Kept {
  T value;
  T& get() { return value; }
};
template <class T>
struct Kept<std::span<T>> {
  explicit Kept(std::span<T> t) : value(t.begin(), t.end()) {}
  std::vector<std::remove_const_t<T>> value;
  std::span<T> get() { return value; }
};
template <class T>
struct Kept<T*> {
  explicit Kept(T* t) {
    if (t != nullptr) value = *t;
  }
  std::optional<std::remove_const_t<T>> value;
  T* get() { return value ? &*value : nullptr; }
};
template <>
struct Kept<std::string_view> {
  explicit Kept(std::string_view t) : value(t) {}
  std::string value;
  std::string_view get() { return value; }
};
template <>
struct Kept<const char*> {
  explicit Kept(const char* t) : value(t) {}
  std::string value;
  const char* get() { return value.c_str(); }
};

// Whether Kept has an own value of it.
template <class T>
constexpr bool kept_whole() {
  if constexpr (std::is_same_v<T, std::string_view> || std::is_same_v<T, const char*>) {
    return true;
  } else if constexpr (requires {
                         typename T::element_type;
                         std::span<typename T::element_type>{std::declval<T>()};
                       }) {
    return owns<std::remove_const_t<typename T::element_type>>();
  } else if constexpr (std::is_pointer_v<T>) {
    using Value = std::remove_const_t<std::remove_pointer_t<T>>;
    return std::is_class_v<Value> && owns<Value>();  // a pointer to numbers is raw memory
  } else {
    return owns<T>();
  }
}

// Runs the kernel, and has it run again at each replay. Memory of the recording's pool is borrowed
// then, other memory is held; hence the kernel must leave the handles that it is given as they are.
template <class Kernel, class... Args>
void launch_recorded(HostRecording& recording, Args&&... args) {
  if constexpr (!(kept_whole<std::decay_t<Args>>() && ...)) {
    recording.refuse(str("kernel ", Kernel::name, " has arguments that are not its own"));
    Kernel::cpu(std::forward<Args>(args)...);
  } else {
    using Call = std::tuple<Kept<std::decay_t<Args>>...>;
    const auto call = std::make_shared<Call>(Kept<std::decay_t<Args>>{args}...);
    std::vector<const void*> places, places_after;
    const auto each_kept = [&](const auto& f) {
      std::apply([&](auto&... kept) { (each_tensor(kept.value, f), ...); }, *call);
    };
    each_kept([&](Tensor& t) {
      places.push_back(t.storage().get());
      t = t.borrowed();
    });
    {
      const HostRecording::Kernel running;
      Kernel::cpu(args...);
    }
    const Call after(Kept<std::decay_t<Args>>{args}...);
    std::apply(
        [&](auto&... kept) {
          (each_tensor(kept.value,
                       [&](const Tensor& t) { places_after.push_back(t.storage().get()); }),
           ...);
        },
        after);
    if (places != places_after) {
      recording.refuse(str("kernel ", Kernel::name, " makes its own results"));
      return;
    }
    recording.add([call] { std::apply([](auto&... kept) { Kernel::cpu(kept.get()...); }, *call); });
  }
}

}  // namespace basin::recorded
