// What files are by their first bytes, every cut of them, and extensions.
#include "basin/core/content.h"

#include <doctest/doctest.h>

#include "basin/core/safetensors.h"
#include "basin/tests/core/files.h"

using namespace basin;
using std::string_view_literals::operator""sv;

namespace {

// A zip archive whose first member has this name.
std::string zip(const std::string& member) {
  std::string out("PK\x03\x04\0\0\x08\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"sv);
  out[26] = static_cast<char>(member.size());
  return out + member + "PK\x01\x02";
}

std::string tar() { return std::string(257, 'a') + "ustar  "; }

}  // namespace

TEST_CASE("content: what lies beside data and weights is told by its first bytes") {
  const std::pair<std::string, std::string> cases[] = {
      {zip("archive/data.pkl"), "an archive of torch.save"},
      {zip("model_best/data.pkl"), "an archive of torch.save"},
      {zip("script/data/0"), "an archive of torch.save"},
      {zip("positions.npy"), "an .npz archive of NumPy"},
      {zip("word/document.xml"), "a zip archive"},
      {std::string("\x80\x02\x8A\x0A\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19.\x80"sv),
       "a pickle of torch.save, as PyTorch before 1.6 wrote it"},
      {std::string("\x80\x04\x95\x10\0"sv), "a Python pickle"},
      {"\x89HDF\r\n\x1A\n rest", "an HDF5 file"},
      {std::string("\x93NUMPY\x01\0"sv), "a .npy array of NumPy"},
      {"\x1F\x8B\x08 rest", "a gzip file, which must be unpacked"},
      {tar(), "a tar archive, which must be unpacked"},
      {std::string("\x08\x07\x12\x07pytorch"sv), "an ONNX model"},
      {std::string("\xFF\xFEO\0F\0F\0"sv), "a text in UTF-16, which must be saved as UTF-8"},
      {"ply\r\nformat ascii 1.0\r\n", "a PLY file"},
      {"# a comment\n\n  NOFF\n8 6 0\n", "an OFF mesh"},
      {"\xEF\xBB\xBFOFF490 518 0\n", "an OFF mesh"},
      {"4OFF 3 1 0\n", "an OFF mesh"},
      {"# Blender v3\nmtllib a.mtl\nv 0 0 0\n", "an OBJ mesh"},
      {"solid cube\nfacet normal 0 0 1\n", "an STL mesh"},
      {"# .PCD v0.7 - Point Cloud Data\nVERSION 0.7\n", "a PCD point cloud"},
      {"<!DOCTYPE html>\n<html>", "a web page"},
      {"\n<HTML lang=en>", "a web page"},
      {"{\"a\": 1}", "a JSON text"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
       "a pointer of Git LFS, which must be replaced by the file (git lfs pull)"},
      {"", "an empty file"},
  };
  for (const auto& [bytes, what] : cases) {
    INFO(what);
    CHECK(describe_content(bytes) == what);
    CHECK(describe_content(test::bytes_of(bytes)) == what);
    CHECK(content_note(bytes) == ", this is " + what);
    for (size_t n = 1; n < bytes.size(); ++n) CHECK_NOTHROW(describe_content(bytes.substr(0, n)));
  }
  for (const std::string text :
       {"1,2,3\n4,5,6\n", "OFFICE hours\n", "chair_0001\n", "version = 2\n", "offset\n", "vertex\n",
        "# only a comment", "\x08\x01\x12", "PK"}) {
    INFO(text);
    CHECK(describe_content(text) == (text == "version = 2\n" ? "a PCD point cloud" : ""));
    CHECK(content_note(text).empty() == describe_content(text).empty());
  }
}

TEST_CASE("content: weights of another format are called by their name") {
  const auto refused = [](const std::string& bytes, const std::string& what) {
    test::check_error(ErrorKind::data,
                      {"model.pth: offset 0: expected a safetensors file, this is " + what,
                       "docs/probing.md, \"Trained elsewhere\""},
                      [&] { parse_safetensors(test::bytes_of(bytes), "model.pth"); });
  };
  refused(zip("model/data.pkl"), "an archive of torch.save");
  refused(zip("weight.npy"), "an .npz archive of NumPy");
  refused(std::string("\x80\x02\x8A\x0A\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19."sv),
          "a pickle of torch.save");
  refused(std::string("\x80\x04\x95\x10\0\0\0\0\0\0"sv), "a Python pickle");
  refused("\x89HDF\r\n\x1A\n rest", "an HDF5 file");
  refused("\x1F\x8B\x08 and the rest", "a gzip file");
  refused(std::string("\x08\x07\x12\x07pytorch"sv), "an ONNX model");
  refused("version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS");
  refused("<!DOCTYPE html><html>", "a web page");
}

TEST_CASE("content: extensions without case") {
  CHECK(lower_extension("a/b.OFF") == ".off");
  CHECK(lower_extension("a.tar.Gz") == ".gz");
  CHECK(lower_extension("a/none").empty());
  CHECK(lower_extension("a.\xC3\x84") == ".\xC3\x84");
}
