// Folders: what is listed, what a removal takes and what it leaves.
#include "basin/core/listing.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cerrno>

#include "basin/tests/core/faults.h"
#include "basin/tests/core/files.h"

namespace basin {

using test::Call;
using test::Fault;
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

TEST_CASE("listing: what is no data, by its name") {
  for (const char* name : {".DS_Store", "._box.off", ".hidden", "a/b/._x", "Thumbs.db", "thumbs.DB",
                           "desktop.ini", "Desktop.ini", "__MACOSX", "box.off~", "#box.off#",
                           "Icon\r", "ehthumbs.db", "@eaDir", "$RECYCLE.BIN", "lost+found"}) {
    INFO(name);
    CHECK(is_litter(name));
  }
  for (const char* name : {"box.off", "a/.hidden/box.off", "Thumbs.db.off", "#1.off", "#", "icon",
                           "~box.off", "macosx", "desktop.initial", "x_.off"}) {
    INFO(name);
    CHECK_FALSE(is_litter(name));
  }
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
  write_file_atomic(dir / "kept/file", std::string_view("x"));
  remove_tree(dir / "kept/file/below", error);
  CHECK(error == std::errc::not_a_directory);
}

TEST_CASE("listing: a device that fails, at each place") {
  const TempDir dir;
  fs::create_directories(dir / "tree/b");
  write_file_atomic(dir / "tree/b/file", std::string_view("x"));
  std::error_code error;
  {
    const Fault fault(Call::list, EIO, 2);
    CHECK(list_folder(dir / "tree", error).size() < 2);
    CHECK(error == std::errc::io_error);
  }
  // Each folder is read four times: its two dots and one entry, in some order, and the end.
  for (int skip = 0; skip < 8; ++skip) {
    const Fault fault(Call::list, EIO, skip);
    remove_tree(dir / "tree", error);
    CHECK(fault.struck());
    CHECK(error == std::errc::io_error);
  }
  for (int skip = 0; skip < 3; ++skip) {  // the file, its folder, the folder above
    fs::create_directories(dir / "tree/b");
    write_file_atomic(dir / "tree/b/file", std::string_view("x"));
    {
      const Fault fault(Call::remove, EIO, skip);
      remove_tree(dir / "tree", error);
      CHECK(fault.struck());
      CHECK(error == std::errc::io_error);
      CHECK(fs::exists(dir / "tree"));
    }
    fs::create_directories(dir / "tree/b");
    write_file_atomic(dir / "tree/b/file", std::string_view("x"));
    const Fault fault(Call::remove, ENOENT, skip);  // as if somebody else had been faster
    remove_tree(dir / "tree", error);
    if (skip < 2) CHECK(error == std::errc::directory_not_empty);
    if (skip == 2) CHECK_FALSE(error);
  }
}

}  // namespace basin
