// Fuzz target: the files of a probe, read as records of every kind of field, under the names that
// the parts "ranks" and "slices" use.
#include "basin/tests/fuzz/fuzz.h"
#include "basin/tools/landscape_probe/record.h"

namespace basin::tools {
namespace {

struct Weight {
  std::string name;
  int64_t rows = 0;
  std::vector<double> singular;
  double stable = 0;
};
struct Skipped {
  std::string name, role;
};
struct Layer {
  std::string layer;
  bool centred = false;
  Estimate stable;
};
struct Anything {
  std::vector<Weight> weights;
  std::vector<Skipped> skipped;
};
struct Layers {
  std::vector<Layer> layers;
};
struct Curvature {
  std::vector<std::vector<double>> density;
  Estimate trace;
};

void fields(FieldWalk& walk, Weight& r) {
  walk("name", r.name), walk("rows", r.rows), walk("singular", r.singular);
  walk("stable", r.stable);
}
void fields(FieldWalk& walk, Skipped& r) { walk("name", r.name), walk.optional("role", r.role); }
void fields(FieldWalk& walk, Layer& r) {
  walk("layer", r.layer), walk("centred", r.centred), walk("stable", r.stable);
}
void fields(FieldWalk& walk, Anything& r) {
  walk("weights", r.weights), walk("skipped", r.skipped);
}
void fields(FieldWalk& walk, Layers& r) { walk("layers", r.layers); }
void fields(FieldWalk& walk, Curvature& r) { walk("density", r.density), walk("trace", r.trace); }

}  // namespace
}  // namespace basin::tools

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace basin;
  using namespace basin::tools;
  const fuzz::MemoryFile file(data, size);
  const fs::path path = file.path();
  fuzz::guarded([&] { read_identity(path); });
  fuzz::guarded([&] { read_record<Anything>(path); });
  fuzz::guarded([&] { read_record<Layers>(path); });
  return fuzz::guarded([&] { read_record<std::vector<Curvature>>(path); });
}
