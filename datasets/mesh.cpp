// Meshes: see mesh.h. One pass over the text with a cursor that knows its line; counts are checked
// against the bytes that are left before anything is reserved (a vertex line has at least 6 bytes,
// a face line 2).
#include "basin/datasets/mesh.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "basin/core/printable.h"

namespace basin {
namespace {

constexpr int64_t kMaxPolygon = 100'000;

bool blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v'; }

// Lines and words of a text; '#' begins a comment.
class TextCursor {
 public:
  TextCursor(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  // Moves to the next line with a word on it; false at the end.
  bool next_line() {
    while (pos_ < text_.size()) {
      const size_t end = std::min(text_.find('\n', pos_), text_.size());
      line_ = text_.substr(pos_, end - pos_);
      line_ = line_.substr(0, line_.find('#'));
      pos_ = end + 1;
      ++number_;
      skip_blanks();
      if (!line_.empty()) return true;
    }
    line_ = {};
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

  int64_t integer(std::string_view what) {
    const std::string_view w = word();
    int64_t value = 0;
    if (!parse_int64(w, value)) fault("expected ", what, ", got '", w.substr(0, 40), "'");
    return value;
  }

  bool at_line_end() const { return line_.empty(); }
  uint64_t remaining() const { return line_.size() + text_.size() - std::min(pos_, text_.size()); }
  void set_line(std::string_view line) { line_ = line, skip_blanks(); }
  std::string_view line() const { return line_; }

  template <class... A>
  [[noreturn]] void fault(const A&... parts) const {
    fail(ErrorKind::data, name_, ": line ", number_, ": ", printable(str(parts...)));
  }

 private:
  void skip_blanks() {
    while (!line_.empty() && blank(line_.front())) line_.remove_prefix(1);
  }

  std::string_view text_, line_;
  const std::string& name_;
  size_t pos_ = 0;
  int64_t number_ = 0;
};

// Reads [ST][C][N]OFF and leaves the cursor on the counts, which may follow without a separator.
void skip_off_keyword(TextCursor& in, const std::string& name) {
  if (!in.next_line()) fail(ErrorKind::data, name, ": line 1: expected OFF, the file is empty");
  std::string_view line = in.line();
  for (const std::string_view prefix : {"ST", "C", "N"}) {
    if (line.starts_with(prefix)) line.remove_prefix(prefix.size());
  }
  if (!line.starts_with("OFF")) {
    in.fault("expected the keyword OFF, got '", in.line().substr(0, 20), "'");
  }
  line.remove_prefix(3);
  const bool binary = line.find("BINARY") != line.npos;
  if (binary) in.fault("binary OFF is not supported; save as ascii");
  in.set_line(line);
  if (in.at_line_end() && !in.next_line())
    in.fault("expected vertex and face counts, the file ends");
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

// "7", "7/1", "7//3", "7/1/3", negative ones count from the last vertex; -> 0-based vertex index.
int32_t obj_index(TextCursor& in, std::string_view word, int64_t vertices) {
  int64_t index = 0;
  if (!parse_int64(word.substr(0, word.find('/')), index)) {
    in.fault("expected a vertex index, got '", word.substr(0, 40), "'");
  }
  const bool inside = index >= -vertices && index <= vertices && index != 0;
  if (!inside) {
    in.fault("expected a vertex index from 1 to ", vertices, " or -1 to -", vertices, ", got ",
             index);
  }
  return static_cast<int32_t>(index > 0 ? index - 1 : vertices + index);
}

double triangle_area(const TriangleMesh& mesh, const std::array<int32_t, 3>& t) {
  const auto &a = mesh.vertices[t[0]], &b = mesh.vertices[t[1]], &c = mesh.vertices[t[2]];
  const double u[3] = {b[0] - a[0], b[1] - a[1], b[2] - a[2]};
  const double v[3] = {c[0] - a[0], c[1] - a[1], c[2] - a[2]};
  return 0.5 * std::hypot(u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2],
                          u[0] * v[1] - u[1] * v[0]);
}

}  // namespace

TriangleMesh parse_off(std::string_view text, const std::string& name) {
  TextCursor in(text, name);
  skip_off_keyword(in, name);
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
    const double x = in.real("x"), y = in.real("y"), z = in.real("z");
    mesh.vertices.push_back({x, y, z});  // normals and colours may follow
  }
  read_off_faces(in, faces, mesh);
  return mesh;
}

TriangleMesh parse_obj(std::string_view text, const std::string& name) {
  TextCursor in(text, name);
  TriangleMesh mesh;
  std::vector<int32_t> polygon;
  while (in.next_line()) {
    const std::string_view keyword = in.word();
    if (keyword == "v") {
      const double x = in.real("x"), y = in.real("y"), z = in.real("z");
      if (mesh.vertices.size() == size_t{std::numeric_limits<int32_t>::max()}) {
        in.fault("too many vertices");
      }
      mesh.vertices.push_back({x, y, z});
    } else if (keyword == "f") {
      polygon.clear();
      while (!in.at_line_end()) {
        polygon.push_back(obj_index(in, in.word(), static_cast<int64_t>(mesh.vertices.size())));
      }
      if (polygon.size() < 3) in.fault("expected a face with 3 corners, got ", polygon.size());
      add_fan(mesh, polygon);
    }
  }
  return mesh;
}

TriangleMesh read_mesh(const fs::path& path) {
  const std::string extension = path.extension().string();
  if (extension == ".obj") return parse_obj(read_text_file(path), path.string());
  check(extension == ".off", "read_mesh: expected a .off or .obj file, got ", path.string());
  return parse_off(read_text_file(path), path.string());
}

double surface_area(const TriangleMesh& mesh) {
  double total = 0;
  for (const auto& t : mesh.triangles) total += triangle_area(mesh, t);
  return total;
}

Tensor sample_surface(const TriangleMesh& mesh, int64_t points, Rng& rng, const std::string& name) {
  check(points > 0, "sample_surface: expected a positive number of points, got ", points);
  std::vector<double> cumulative;
  cumulative.reserve(mesh.triangles.size());
  double total = 0;
  for (const auto& t : mesh.triangles) cumulative.push_back(total += triangle_area(mesh, t));
  if (!(total > 0) || std::isinf(total)) {
    fail(ErrorKind::data, name, ": expected a surface with an area, ", mesh.vertices.size(),
         " vertices and ", mesh.triangles.size(), " triangles have area ", total);
  }
  Tensor out = Tensor::empty({points, 3}, DType::f32);
  auto* xyz = out.mutable_data<float>();
  for (int64_t i = 0; i < points; ++i) {
    const double target = rng.uniform() * total;
    // The first triangle whose cumulative area exceeds the target has an area of its own. There is
    // none when the product was rounded up to the total, which then is subnormal.
    auto hit = std::upper_bound(cumulative.begin(), cumulative.end(), target);
    if (hit == cumulative.end())
      hit = std::lower_bound(cumulative.begin(), cumulative.end(), total);
    const auto& t = mesh.triangles[hit - cumulative.begin()];
    const double root = std::sqrt(rng.uniform()), r2 = rng.uniform();
    const double weights[3] = {1 - root, root * (1 - r2), root * r2};
    for (int axis = 0; axis < 3; ++axis) {
      double value = 0;
      for (int corner = 0; corner < 3; ++corner) {
        value += weights[corner] * mesh.vertices[t[corner]][axis];
      }
      xyz[3 * i + axis] = static_cast<float>(value);
    }
  }
  return out;
}

}  // namespace basin
