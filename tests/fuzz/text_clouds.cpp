// Fuzz target: the text layout, lists of shapes and lines x,y,z. The first byte says which of the
// files the rest of the input is.
#include <unistd.h>

#include "basin/datasets/point_cloud.h"
#include "basin/tests/fuzz/fuzz.h"

namespace {

using namespace basin;

fs::path made_folder() {
  const fs::path dir =
      fs::temp_directory_path() / ("basin_fuzz_text_" + std::to_string(::getpid()));
  fs::create_directories(dir / "chair");
  return dir;
}

void write(const fs::path& path, std::string_view text) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr || std::fwrite(text.data(), 1, text.size(), file) != text.size())
    std::abort();
  std::fclose(file);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static const fs::path dir = made_folder();
  const std::string_view given = fuzz::text_of(data + 1, size - 1);
  const std::string_view cloud = "1,2,3\n4,5,6\n7,8,9\n1,0,0\n";
  write(dir / "modelnet40_shape_names.txt", data[0] % 3 == 2 ? given : "chair\n");
  write(dir / "modelnet40_train.txt", data[0] % 3 == 1 ? given : "chair_0001\n");
  write(dir / "modelnet40_test.txt", "chair_0001\n");
  write(dir / "chair" / "chair_0001.txt", data[0] % 3 == 0 ? given : cloud);
  return fuzz::guarded([&] { load_point_clouds(dir, {.points = 4}); });
}
