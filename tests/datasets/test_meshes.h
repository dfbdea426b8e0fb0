// Meshes with known surfaces: a sphere and a box, wound outwards.
#pragma once
#include <array>
#include <cmath>
#include <numbers>

#include "basin/datasets/mesh.h"

namespace basin::test {

// Vertices on the sphere of this radius; the facets lie inside it by at most
// radius (1 - cos(pi / rings)) (1 + small).
inline TriangleMesh sphere_mesh(double radius, int rings) {
  TriangleMesh mesh;
  const int sectors = 2 * rings;
  for (int i = 0; i <= rings; ++i) {
    const double polar = std::numbers::pi * i / rings;
    for (int j = 0; j < sectors; ++j) {
      const double azimuth = 2 * std::numbers::pi * j / sectors;
      mesh.vertices.push_back({radius * std::sin(polar) * std::cos(azimuth),
                               radius * std::sin(polar) * std::sin(azimuth),
                               radius * std::cos(polar)});
    }
  }
  for (int i = 0; i < rings; ++i) {
    for (int j = 0; j < sectors; ++j) {
      const int a = i * sectors + j, b = i * sectors + (j + 1) % sectors;
      mesh.triangles.push_back({a, a + sectors, b + sectors});
      mesh.triangles.push_back({a, b + sectors, b});
    }
  }
  return mesh;
}

// [-x, x] x [-y, y] x [-z, z].
inline TriangleMesh box_mesh(double x, double y, double z) {
  TriangleMesh mesh;
  for (int i = 0; i < 8; ++i) {
    mesh.vertices.push_back({i & 1 ? x : -x, i & 2 ? y : -y, i & 4 ? z : -z});
  }
  constexpr int faces[6][4] = {{0, 4, 6, 2}, {1, 3, 7, 5}, {0, 1, 5, 4},
                               {2, 6, 7, 3}, {0, 2, 3, 1}, {4, 5, 7, 6}};
  for (const auto& f : faces) {
    mesh.triangles.push_back({f[0], f[1], f[2]});
    mesh.triangles.push_back({f[0], f[2], f[3]});
  }
  return mesh;
}

}  // namespace basin::test
