// Helpers of the tests that touch files: a scratch folder, the error that a call throws, real data.
#pragma once
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "basin/core/io.h"

namespace basin::test {

// A folder of its own, removed at the end.
class TempDir {
 public:
  TempDir() : TempDir(fs::temp_directory_path()) {}
  explicit TempDir(const fs::path& below) {
    std::string pattern = (below / "basin-test-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~TempDir() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  fs::path operator/(const std::string& name) const { return path_ / name; }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// f must throw a basin::Error of this kind whose one sentence contains every word.
template <class F>
void check_error(ErrorKind kind, const std::vector<std::string>& words, F&& f) {
  bool thrown = false;
  try {
    f();
  } catch (const Error& error) {
    thrown = true;
    const std::string text = error.what();
    INFO(text);
    CHECK(static_cast<int>(error.kind()) == static_cast<int>(kind));
    CHECK(text.find('\n') == text.npos);
    for (const std::string& word : words) {
      INFO("expected: ", word);
      CHECK(text.find(word) != text.npos);
    }
  }
  INFO("expected an error with: ", words.empty() ? std::string() : words[0]);
  CHECK(thrown);
}

inline fs::path fixtures() { return fs::path(BASIN_SOURCE_DIR) / "tests" / "fixtures"; }

// A folder of the shared real data, or an empty path after a visible line.
inline fs::path real_data(const std::string& relative) {
  const char* set = std::getenv("BASIN_DATA");
  const fs::path root = set ? fs::path(set) : fs::path(BASIN_SOURCE_DIR) / ".." / "shared" / "data";
  if (fs::exists(root / relative)) return root / relative;
  std::printf("SKIPPED: no %s; set BASIN_DATA to the folder of real data\n",
              (root / relative).string().c_str());
  return {};
}

inline std::vector<uint8_t> bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

}  // namespace basin::test
