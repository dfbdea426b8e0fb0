// Triangle meshes: OFF (also COFF/NOFF, and ModelNet's fused header "OFF490 518 0"), OBJ, and
// area-weighted surface sampling: a triangle with probability area / total, inside it the point
// (1 - sqrt r1) a + sqrt r1 (1 - r2) b + sqrt r1 r2 c (Osada et al., ACM TOG 2002).
// Polygons become fans of triangles. Every index is checked. Errors name the file and the line.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "basin/core/io.h"
#include "basin/core/random.h"
#include "basin/core/tensor.h"

namespace basin {

struct TriangleMesh {
  std::vector<std::array<double, 3>> vertices;
  std::vector<std::array<int32_t, 3>> triangles;
};

TriangleMesh read_mesh(const fs::path& path);  // by extension: .off or .obj
TriangleMesh parse_off(std::string_view text, const std::string& name);
TriangleMesh parse_obj(std::string_view text, const std::string& name);

double surface_area(const TriangleMesh& mesh);

// data error naming `name` if the surface has no area.
Tensor sample_surface(const TriangleMesh& mesh, int64_t points, Rng& rng,
                      const std::string& name);  // -> [points, 3] f32

}  // namespace basin
