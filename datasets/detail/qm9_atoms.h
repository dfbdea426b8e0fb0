// What the readers of molecules share: limits, and an atom checked and appended.
#pragma once
#include <cmath>

#include "basin/datasets/detail/text_lines.h"
#include "basin/datasets/qm9.h"

namespace basin {

inline constexpr int64_t kMaxAtoms = 1000;         // of a molecule
inline constexpr double kLargestCoordinate = 1e4;  // Å
inline constexpr std::string_view kIdentifier = "gdb_";

// An element's symbol or atomic number.
inline int64_t element_of(const TextLines& in, std::string_view word) {
  int64_t z = atomic_number(word);
  if (z == 0 && (!parse_int64(word, z) || z < 1 || z > 118)) {
    in.fault("expected an element, got '", TextLines::shown(word), "'");
  }
  return z;
}

inline double coordinate_of(const TextLines& in, std::string_view word) {
  const double x = in.real_of(word, "a coordinate");
  if (std::abs(x) > kLargestCoordinate) {
    in.fault("expected a coordinate in Angstrom of at most ", kLargestCoordinate, ", got ", x);
  }
  return x;
}

// The number of "gdb_17", or 0.
inline int64_t identifier_of(std::string_view word) {
  int64_t id = 0;
  if (!word.starts_with(kIdentifier)) return 0;
  return parse_int64(word.substr(kIdentifier.size()), id) && id > 0 ? id : 0;
}

inline std::array<double, kQm9Properties> nothing_known() {
  std::array<double, kQm9Properties> out;
  out.fill(std::nan(""));
  return out;
}

}  // namespace basin
