// Farthest-point sampling (Gonzalez, 1985; Eldar, Lindenbaum, Porat, Zeevi, 1997): every point
// chosen is the one farthest from all that were chosen before,
//   i_1 = argmax_i |x_i - mean|,   i_{m+1} = argmax_i min_{j <= m} |x_i - x_{i_j}|,
// of equal ones the one of the lowest number. No seed: the choice depends on the cloud alone, and
// on the order of its points only where distances are equal. O(P count) in f32.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace basin {

// Rows of xyz [P, 3], each once, in the order of the choice. usage error unless
// 1 <= count <= P. Coordinates are finite.
std::vector<int64_t> farthest_points(std::span<const float> xyz, int64_t count);

}  // namespace basin
