// Folders: what is listed, what a removal takes and what it leaves.
#include "basin/core/listing.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "basin/tests/core/files.h"

namespace basin {

using test::TempDir;

TEST_CASE("listing: every entry once, hidden ones too, dots not") {
  const TempDir dir;
  fs::create_directories(dir / "a/b");
  write_file_atomic(dir / "c", std::string_view("x"));
  write_file_atomic(dir / ".d", std::string_view("x"));
  std::error_code error = std::make_error_code(std::errc::io_error);
  std::vector<fs::path> entries = list_folder(dir.path(), error);
  CHECK_FALSE(error);
  std::sort(entries.begin(), entries.end());
  CHECK(entries == std::vector<fs::path>{dir / ".d", dir / "a", dir / "c"});
  CHECK(list_folder(dir / "a/b", error).empty());
  CHECK_FALSE(error);
  CHECK(list_folder(dir / "none", error).empty());
  CHECK(error == std::errc::no_such_file_or_directory);
  CHECK(list_folder(dir / "c", error).empty());
  CHECK(error == std::errc::not_a_directory);
}

TEST_CASE("listing: a removal takes what lies below, follows no link, and forgives absence") {
  const TempDir dir;
  fs::create_directories(dir / "tree/b/c");
  fs::create_directories(dir / "kept");
  write_file_atomic(dir / "tree/b/file", std::string_view("x"));
  write_file_atomic(dir / "kept/file", std::string_view("x"));
  fs::create_directory_symlink(dir / "kept", dir / "tree/link");
  fs::create_symlink("nowhere", dir / "tree/dangling");
  std::error_code error;
  remove_tree(dir / "tree", error);
  CHECK_FALSE(error);
  CHECK_FALSE(fs::exists(dir / "tree"));
  CHECK(fs::exists(dir / "kept/file"));
  remove_tree(dir / "tree", error);
  CHECK_FALSE(error);
  remove_tree(dir / "kept/file", error);
  CHECK_FALSE(error);
  CHECK(list_folder(dir / "kept", error).empty());
  remove_tree(dir / "kept/file/below", error);
  CHECK_FALSE(error);
}

}  // namespace basin
