// Meshes: see mesh.h. One pass over the text with a cursor that knows its line; counts are checked
// against the bytes that are left before anything is reserved (a vertex line has at least 6 bytes,
// a face line 2).
#include "basin/datasets/mesh.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "basin/core/content.h"
#include "basin/core/lines.h"
#include "basin/core/printable.h"

namespace basin {
namespace {

using Vec = std::array<double, 3>;

constexpr int64_t kMaxPolygon = 100'000;

bool blank(char c) { return c == ' ' || c == '\t' || c == '\f' || c == '\v'; }

// Lines and words of a text; '#' begins a comment.
class TextCursor {
 public:
  TextCursor(std::string_view text, const std::string& name)
      : bytes_(text.size()), lines_(text), name_(name) {}

  // Moves to the next line with a word on it; false at the end.
  bool next_line() {
    while (lines_.next(line_)) {
      line_ = line_.substr(0, line_.find('#'));
      skip_blanks();
      if (!line_.empty()) return true;
    }
    return false;
  }

  std::string_view word() {  // empty at the end of the line
    const auto end = std::find_if(line_.begin(), line_.end(), blank);
    const std::string_view out = line_.substr(0, static_cast<size_t>(end - line_.begin()));
    line_.remove_prefix(out.size());
    skip_blanks();
    return out;
  }

  double real(std::string_view what) {
    const std::string_view w = word();
    double value = 0;
    if (!parse_double(w, value) || !std::isfinite(value)) {
      fault("expected ", what, ", got '", w.substr(0, 40), "'");
    }
    return value;
  }

  Vec point() {
    const double x = real("x"), y = real("y"), z = real("z");
    return {x, y, z};
  }

  // Three finite numbers, or false.
  bool vector(Vec& out) {
    for (double& value : out) {
      if (!parse_double(word(), value) || !std::isfinite(value)) return false;
    }
    return true;
  }

  int64_t integer(std::string_view what) {
    const std::string_view w = word();
    int64_t value = 0;
    if (!parse_int64(w, value)) fault("expected ", what, ", got '", w.substr(0, 40), "'");
    return value;
  }

  bool at_line_end() const { return line_.empty(); }
  uint64_t remaining() const { return line_.size() + bytes_ - lines_.offset(); }
  void set_line(std::string_view line) { line_ = line, skip_blanks(); }
  std::string_view line() const { return line_; }

  template <class... A>
  [[noreturn]] void fault(const A&... parts) const {
    fail(ErrorKind::data, name_, ": line ", lines_.number(), ": ", printable(str(parts...)));
  }

 private:
  void skip_blanks() {
    while (!line_.empty() && blank(line_.front())) line_.remove_prefix(1);
  }

  size_t bytes_;
  LineReader lines_;
  std::string_view line_;
  const std::string& name_;
};

// Reads [ST][C][N]OFF and leaves the cursor on the counts, which may follow without a separator.
// Whether normals are promised (N).
bool skip_off_keyword(TextCursor& in, std::string_view text, const std::string& name) {
  if (!in.next_line()) fail(ErrorKind::data, name, ": line 1: expected OFF, the file is empty");
  std::string_view line = in.line();
  bool normals = false;
  for (const std::string_view prefix : {"ST", "C", "N"}) {
    if (!line.starts_with(prefix)) continue;
    line.remove_prefix(prefix.size());
    normals = prefix == "N";
  }
  if (line.starts_with("4OFF") || line.starts_with("nOFF") || line.starts_with("4nOFF")) {
    in.fault("expected vertices of 3 coordinates, got '", in.line().substr(0, 20), "'");
  }
  if (!line.starts_with("OFF")) {
    in.fault("expected the keyword OFF, got '", in.line().substr(0, 20), "'", content_note(text));
  }
  line.remove_prefix(3);
  const bool binary = line.find("BINARY") != line.npos;
  if (binary) in.fault("binary OFF is not supported; save as ascii");
  in.set_line(line);
  if (in.at_line_end() && !in.next_line())
    in.fault("expected vertex and face counts, the file ends");
  return normals;
}

void add_fan(TriangleMesh& mesh, const std::vector<int32_t>& polygon) {
  for (size_t i = 2; i < polygon.size(); ++i) {
    mesh.triangles.push_back({polygon[0], polygon[i - 1], polygon[i]});
  }
}

void read_off_faces(TextCursor& in, int64_t faces, TriangleMesh& mesh) {
  const auto vertices = static_cast<int64_t>(mesh.vertices.size());
  std::vector<int32_t> polygon;
  for (int64_t f = 0; f < faces; ++f) {
    if (!in.next_line()) in.fault("expected ", faces, " faces, the file ends after ", f);
    const int64_t corners = in.integer("the number of corners of a face");
    if (corners < 0 || corners > kMaxPolygon) {
      in.fault("expected 0 to ", kMaxPolygon, " corners, got ", corners);
    }
    polygon.clear();
    for (int64_t i = 0; i < corners; ++i) {
      const int64_t index = in.integer("a vertex index");
      if (index < 0 || index >= vertices) {
        in.fault("expected a vertex index from 0 to ", vertices - 1, ", got ", index);
      }
      polygon.push_back(static_cast<int32_t>(index));
    }
    add_fan(mesh, polygon);  // what follows on the line is a colour
  }
}

// One corner of an OBJ face: "7", "7/1", "7//3" or "7/1/3".
struct ObjCorner {
  int32_t vertex = 0;   // from 0
  int64_t normal = -1;  // from 0; -1 when there is none, or none of that number yet
};

// OBJ counts from 1, and from -1 backwards from the last one; -> from 0, -1 outside.
int64_t obj_index(int64_t index, int64_t count) {
  const bool inside = index >= -count && index <= count && index != 0;
  return !inside ? -1 : index > 0 ? index - 1 : count + index;
}

ObjCorner obj_corner(TextCursor& in, std::string_view word, int64_t vertices, int64_t normals) {
  int64_t index = 0;
  if (!parse_int64(word.substr(0, word.find('/')), index)) {
    in.fault("expected a vertex index, got '", word.substr(0, 40), "'");
  }
  ObjCorner corner;
  corner.vertex = static_cast<int32_t>(obj_index(index, vertices));
  if (corner.vertex < 0) {
    in.fault("expected a vertex index from 1 to ", vertices, " or -1 to -", vertices, ", got ",
             index);
  }
  const size_t last = word.rfind('/');
  const bool third = last != word.npos && word.find('/') != last;
  if (third && parse_int64(word.substr(last + 1), index)) {
    corner.normal = obj_index(index, normals);
  }
  return corner;
}

// The normals of an OBJ file as they come, and which of them the corners at each vertex name.
class ObjNormals {
 public:
  void add(TextCursor& in) {
    Vec normal{};
    usable_ = in.vector(normal) && usable_;
    normals_.push_back(normal);
  }
  int64_t size() const { return static_cast<int64_t>(normals_.size()); }

  void use(const ObjCorner& corner) {
    const auto vertex = static_cast<size_t>(corner.vertex);
    if (chosen_.size() <= vertex) chosen_.resize(vertex + 1, -1);
    int64_t& chosen = chosen_[vertex];
    if (chosen < 0) chosen = corner.normal;
    usable_ = usable_ && corner.normal >= 0 && normals_[chosen] == normals_[corner.normal];
  }

  // One per vertex; empty when there is not one for each.
  std::vector<Vec> per_vertex(const TriangleMesh& mesh) && {
    if (!usable_ || normals_.empty()) return {};
    if (chosen_.empty()) {
      return normals_.size() == mesh.vertices.size() ? std::move(normals_) : std::vector<Vec>();
    }
    std::vector<Vec> out(mesh.vertices.size());
    for (size_t i = 0; i < chosen_.size(); ++i) {
      if (chosen_[i] >= 0) out[i] = normals_[chosen_[i]];
    }
    return out;
  }

 private:
  std::vector<Vec> normals_;
  std::vector<int64_t> chosen_;  // of each vertex that a face has used, -1: none yet
  bool usable_ = true;
};

// Across the triangle, twice its area long.
Vec scaled_normal(const TriangleMesh& mesh, const std::array<int32_t, 3>& t) {
  const auto &a = mesh.vertices[t[0]], &b = mesh.vertices[t[1]], &c = mesh.vertices[t[2]];
  const double u[3] = {b[0] - a[0], b[1] - a[1], b[2] - a[2]};
  const double v[3] = {c[0] - a[0], c[1] - a[1], c[2] - a[2]};
  return {u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]};
}

double triangle_area(const TriangleMesh& mesh, const std::array<int32_t, 3>& t) {
  const Vec n = scaled_normal(mesh, t);
  return 0.5 * std::hypot(n[0], n[1], n[2]);
}

// sum_i w_i p_i over the corners.
Vec mixed(const std::vector<Vec>& of, const std::array<int32_t, 3>& t, const Vec& weights) {
  Vec out{};
  for (int axis = 0; axis < 3; ++axis) {
    for (int corner = 0; corner < 3; ++corner) out[axis] += weights[corner] * of[t[corner]][axis];
  }
  return out;
}

// To length 1, also where the square of a component overflows or vanishes; false for 0 0 0 and for
// what is not finite.
bool to_unit_length(Vec& v) {
  const double largest = std::max({std::abs(v[0]), std::abs(v[1]), std::abs(v[2])});
  if (!(largest > 0) || std::isinf(largest)) return false;
  for (double& x : v) x /= largest;
  const double length = std::hypot(v[0], v[1], v[2]);
  for (double& x : v) x /= length;
  return true;
}

Vec normal_at(const TriangleMesh& mesh, const std::array<int32_t, 3>& t, const Vec& weights) {
  Vec normal{};
  if (!mesh.normals.empty()) normal = mixed(mesh.normals, t, weights);
  if (!to_unit_length(normal)) {
    normal = scaled_normal(mesh, t);
    to_unit_length(normal);  // the area is not 0
  }
  return normal;
}

}  // namespace

TriangleMesh parse_off(std::string_view text, const std::string& name) {
  TextCursor in(text, name);
  const bool promised = skip_off_keyword(in, text, name);
  const int64_t vertices = in.integer("the number of vertices");
  const int64_t faces = in.integer("the number of faces");
  // Each vertex takes at least "0 0 0\n", each face at least "0\n".
  const auto room = static_cast<int64_t>(in.remaining()) + 1;
  if (vertices < 0 || faces < 0) in.fault("negative counts, ", vertices, " and ", faces);
  if (vertices > room / 6 || faces > room / 2) {
    in.fault("expected ", vertices, " vertices and ", faces, " faces, only ", room - 1,
             " bytes follow");
  }
  if (vertices > std::numeric_limits<int32_t>::max()) in.fault("too many vertices, ", vertices);
  TriangleMesh mesh;
  mesh.vertices.reserve(vertices);
  for (int64_t i = 0; i < vertices; ++i) {
    if (!in.next_line()) in.fault("expected ", vertices, " vertices, the file ends after ", i);
    mesh.vertices.push_back(in.point());  // colours may follow
    // Some files promise normals and have none.
    if (Vec normal; promised && in.vector(normal)) mesh.normals.push_back(normal);
  }
  if (mesh.normals.size() != mesh.vertices.size()) mesh.normals.clear();
  read_off_faces(in, faces, mesh);
  return mesh;
}

TriangleMesh parse_obj(std::string_view text, const std::string& name) {
  TextCursor in(text, name);
  TriangleMesh mesh;
  ObjNormals normals;
  std::vector<int32_t> polygon;
  while (in.next_line()) {
    const std::string_view keyword = in.word();
    if (keyword == "v") {
      const Vec point = in.point();
      if (mesh.vertices.size() == size_t{std::numeric_limits<int32_t>::max()}) {
        in.fault("too many vertices");
      }
      mesh.vertices.push_back(point);
    } else if (keyword == "vn") {
      normals.add(in);
    } else if (keyword == "f") {
      polygon.clear();
      while (!in.at_line_end()) {
        const ObjCorner corner =
            obj_corner(in, in.word(), static_cast<int64_t>(mesh.vertices.size()), normals.size());
        normals.use(corner);
        polygon.push_back(corner.vertex);
      }
      if (polygon.size() < 3) in.fault("expected a face with 3 corners, got ", polygon.size());
      add_fan(mesh, polygon);
    }
  }
  const std::string_view what = describe_content(text);
  if (mesh.vertices.empty() && !what.empty()) {
    fail(ErrorKind::data, name, ": line 1: expected vertices of an OBJ mesh, this is ", what);
  }
  mesh.normals = std::move(normals).per_vertex(mesh);
  return mesh;
}

TriangleMesh read_mesh(const fs::path& path) {
  const std::string extension = lower_extension(path);
  if (extension == ".obj") return parse_obj(read_text_file(path), path.string());
  check(extension == ".off", "read_mesh: expected a .off or .obj file, got ", path.string());
  return parse_off(read_text_file(path), path.string());
}

double surface_area(const TriangleMesh& mesh) {
  double total = 0;
  for (const auto& t : mesh.triangles) total += triangle_area(mesh, t);
  return total;
}

SampledSurface sample_surface(const TriangleMesh& mesh, int64_t points, Rng& rng,
                              const std::string& name, bool with_normals) {
  check(points > 0, "sample_surface: expected a positive number of points, got ", points);
  std::vector<double> cumulative;
  cumulative.reserve(mesh.triangles.size());
  double total = 0;
  for (const auto& t : mesh.triangles) cumulative.push_back(total += triangle_area(mesh, t));
  if (!(total > 0) || std::isinf(total)) {
    fail(ErrorKind::data, name, ": expected a surface with an area, ", mesh.vertices.size(),
         " vertices and ", mesh.triangles.size(), " triangles have area ", total);
  }
  SampledSurface out;
  out.points = Tensor::empty({points, 3}, DType::f64);
  if (with_normals) out.normals = Tensor::empty({points, 3}, DType::f64);
  auto* xyz = out.points.mutable_data<double>();
  double* normal = with_normals ? out.normals.mutable_data<double>() : nullptr;
  for (int64_t i = 0; i < points; ++i) {
    const double target = rng.uniform() * total;
    // The first triangle whose cumulative area exceeds the target has an area of its own. There is
    // none when the product was rounded up to the total, which then is subnormal.
    auto hit = std::upper_bound(cumulative.begin(), cumulative.end(), target);
    if (hit == cumulative.end())
      hit = std::lower_bound(cumulative.begin(), cumulative.end(), total);
    const auto& t = mesh.triangles[hit - cumulative.begin()];
    const double root = std::sqrt(rng.uniform()), r2 = rng.uniform();
    const Vec weights{1 - root, root * (1 - r2), root * r2};
    const Vec point = mixed(mesh.vertices, t, weights);
    xyz = std::copy(point.begin(), point.end(), xyz);
    if (!with_normals) continue;
    const Vec direction = normal_at(mesh, t, weights);
    normal = std::copy(direction.begin(), direction.end(), normal);
  }
  return out;
}

SampledSurface mesh_vertices(const TriangleMesh& mesh) {
  const auto tensor_of = [](const std::vector<Vec>& rows) {
    Tensor out = Tensor::empty({static_cast<int64_t>(rows.size()), 3}, DType::f64);
    auto* to = out.mutable_data<double>();
    for (const Vec& row : rows) to = std::copy(row.begin(), row.end(), to);
    return out;
  };
  SampledSurface out;
  out.points = tensor_of(mesh.vertices);
  if (!mesh.normals.empty()) out.normals = tensor_of(mesh.normals);
  return out;
}

}  // namespace basin
