// Triangle meshes: OFF (also COFF/NOFF, and ModelNet's fused header "OFF490 518 0"), OBJ, and
// area-weighted surface sampling: a triangle with probability area / total, inside it the point
// (1 - sqrt r1) a + sqrt r1 (1 - r2) b + sqrt r1 r2 c (Osada et al., ACM TOG 2002).
// Polygons become fans of triangles; a file without faces gives vertices only, which are then the
// points of a cloud. Lines end in \n, \r\n or \r. Coordinates keep the precision of their text, in
// double. Every index is checked. Errors name the file and the line.
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
  // One per vertex, of the length that the file gives it; empty without normals. NOFF: behind the
  // coordinates. OBJ: vn, where all corners at a vertex agree (a vertex without a face has 0 0 0),
  // or without any face as many vn as v.
  std::vector<std::array<double, 3>> normals = {};
};

TriangleMesh read_mesh(const fs::path& path);  // by extension: .off or .obj, in either case
TriangleMesh parse_off(std::string_view text, const std::string& name);
TriangleMesh parse_obj(std::string_view text, const std::string& name);

double surface_area(const TriangleMesh& mesh);

struct SampledSurface {
  Tensor points;   // [P, 3] f64
  Tensor normals;  // [P, 3] f64, undefined when there are none
};

// `points` random points. with_normals: unit normals, interpolated between those of the vertices
// where the mesh has them, else across the triangle, by the right-hand rule; they change no point.
// data error naming `name` if the surface has no area.
SampledSurface sample_surface(const TriangleMesh& mesh, int64_t points, Rng& rng,
                              const std::string& name, bool with_normals = false);

// The vertices in their order, with the normals as the mesh has them: the cloud that a file without
// faces is.
SampledSurface mesh_vertices(const TriangleMesh& mesh);

}  // namespace basin
