// Fuzz target: the text layout, lists of shapes and lines x,y,z. The first byte says which of the
// files the rest of the input is.
#include "basin/datasets/point_cloud.h"
#include "basin/tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace basin;
  if (size == 0) return 0;
  static const fuzz::Folder folder("text");
  const fs::path& dir = folder.path();
  fs::create_directories(dir / "chair");
  const std::string_view given = fuzz::text_of(data + 1, size - 1);
  const std::string_view cloud = "1,2,3\n4,5,6\n7,8,9\n1,0,0\n";
  fuzz::write_file(dir / "modelnet40_shape_names.txt", data[0] % 3 == 2 ? given : "chair\n");
  fuzz::write_file(dir / "modelnet40_train.txt", data[0] % 3 == 1 ? given : "chair_0001\n");
  fuzz::write_file(dir / "modelnet40_test.txt", "chair_0001\n");
  fuzz::write_file(dir / "chair" / "chair_0001.txt", data[0] % 3 == 0 ? given : cloud);
  return fuzz::guarded([&] { load_point_clouds(dir, {.points = 4}); });
}
