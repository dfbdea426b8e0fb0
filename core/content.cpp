// Signatures of the formats that lie around where data and weights lie: see content.h. Binary ones
// first, at their fixed places; a text is told by its first word that is no comment.
#include "basin/core/content.h"

#include <algorithm>
#include <array>

#include "basin/core/lines.h"

namespace basin {
namespace {

using std::string_view_literals::operator""sv;

struct Signature {
  std::string_view bytes, what;
  size_t at = 0;
};

constexpr Signature kSignatures[] = {
    {"\x89HDF\r\n\x1A\n"sv, "an HDF5 file"},
    {"MATLAB 7.3 MAT-file"sv, "a MATLAB file, HDF5 behind a block of its own"},
    {"MATLAB 5.0 MAT-file"sv, "a MATLAB file"},
    {"\x93NUMPY"sv, "a .npy array of NumPy"},
    {"\x80\x02\x8A\x0A\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19"sv,
     "a pickle of torch.save, as PyTorch before 1.6 wrote it"},
    {"\x80\x02"sv, "a Python pickle"},
    {"\x80\x03"sv, "a Python pickle"},
    {"\x80\x04"sv, "a Python pickle"},
    {"\x80\x05"sv, "a Python pickle"},
    {"\x1F\x8B"sv, "a gzip file, which must be unpacked"},
    {"BZh"sv, "a bzip2 file, which must be unpacked"},
    {"\xFD\x37zXZ\0"sv, "an xz file, which must be unpacked"},
    {"\x28\xB5\x2F\xFD"sv, "a Zstandard file, which must be unpacked"},
    {"7z\xBC\xAF\x27\x1C"sv, "a 7z archive, which must be unpacked"},
    {"Rar!\x1A\x07"sv, "a RAR archive, which must be unpacked"},
    {"ustar"sv, "a tar archive, which must be unpacked", 257},
    {"TFL3"sv, "a TensorFlow Lite model", 4},
    {"GGUF"sv, "a GGUF model"},
    {"glTF"sv, "a glTF mesh"},
    {"LASF"sv, "a LAS point cloud"},
    {"\x89PNG\r\n"sv, "a PNG picture"},
    {"\xFF\xD8\xFF"sv, "a JPEG picture"},
    {"%PDF"sv, "a PDF document"},
    {"\x7F"
     "ELF"sv,
     "a program"},
    {"\xFF\xFE"sv, "a text in UTF-16, which must be saved as UTF-8"},
    {"\xFE\xFF"sv, "a text in UTF-16, which must be saved as UTF-8"},
};

constexpr Signature kFirstWords[] = {
    {"ply"sv, "a PLY file"},
    {"solid"sv, "an STL mesh"},
    {"<!doctype"sv, "a web page"},
    {"<html"sv, "a web page"},
    {"<?xml"sv, "an XML file"},
    {"{"sv, "a JSON text"},
    {"v"sv, "an OBJ mesh"},
    {"vn"sv, "an OBJ mesh"},
    {"vt"sv, "an OBJ mesh"},
    {"mtllib"sv, "an OBJ mesh"},
    {"usemtl"sv, "an OBJ mesh"},
    {"o"sv, "an OBJ mesh"},
    {"g"sv, "an OBJ mesh"},
    {"version"sv, "a PCD point cloud"},
    {"fields"sv, "a PCD point cloud"},
};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string lower_case(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), lower);
  return out;
}

// By the name of the first member, which stands behind 30 bytes.
std::string_view describe_zip(std::string_view first) {
  const std::string_view name = first.substr(std::min<size_t>(first.size(), 30));
  const auto byte = [&](size_t i) { return static_cast<size_t>(static_cast<uint8_t>(first[i])); };
  const size_t length = first.size() > 27 ? byte(26) | byte(27) << 8 : 0;
  const std::string_view member = name.substr(0, length);
  for (const std::string_view part : {"/data.pkl", "/constants.pkl", "/data/", "/code/"}) {
    if (member.find(part) != member.npos) return "an archive of torch.save";
  }
  return member.ends_with(".npy") ? "an .npz archive of NumPy" : "a zip archive";
}

// Protocol buffers: field 1 is the version of the format, field 2 the name of the producer.
bool is_onnx(std::string_view first) {
  return first.size() > 4 && first[0] == '\x08' && first[1] >= 3 && first[1] < 32 &&
         first[2] == '\x12' && first[3] > 0 && first[4] > ' ' && first[4] < 127;
}

// [ST][C][N][4][n]OFF, with or without something behind that is no letter.
bool is_off(std::string_view line) {
  for (const std::string_view prefix : {"ST", "C", "N", "4", "n"}) {
    if (line.starts_with(prefix)) line.remove_prefix(prefix.size());
  }
  if (!line.starts_with("OFF")) return false;
  const char next = line.size() > 3 ? lower(line[3]) : ' ';
  return next < 'a' || next > 'z';
}

std::string_view describe_text(std::string_view first) {
  LineReader lines(first);
  for (std::string_view line; lines.next(line);) {
    constexpr std::string_view kBlanks = " \t";
    line.remove_prefix(std::min(line.find_first_not_of(kBlanks), line.size()));
    if (line.starts_with("# .PCD")) return "a PCD point cloud";
    if (line.empty() || line[0] == '#') continue;
    if (is_off(line)) return "an OFF mesh";
    if (line.starts_with("version https://git-lfs")) {
      return "a pointer of Git LFS, which must be replaced by the file (git lfs pull)";
    }
    const std::string word = lower_case(line.substr(0, line.find_first_of(kBlanks)));
    for (const Signature& s : kFirstWords) {
      const bool prefix = s.bytes[0] == '<' || s.bytes[0] == '{';
      if (prefix ? word.starts_with(s.bytes) : word == s.bytes) return s.what;
    }
    return {};
  }
  return {};
}

std::string_view as_text(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

std::string_view describe_content(std::string_view first) {
  first = first.substr(0, kContentBytes);
  if (first.empty()) return "an empty file";
  if (first.starts_with("PK\x03\x04")) return describe_zip(first);
  for (const Signature& s : kSignatures) {
    if (first.size() > s.at && first.substr(s.at).starts_with(s.bytes)) return s.what;
  }
  return is_onnx(first) ? "an ONNX model" : describe_text(first);
}

std::string_view describe_content(std::span<const uint8_t> first) {
  return describe_content(as_text(first));
}

std::string content_note(std::string_view first) {
  const std::string_view what = describe_content(first);
  return what.empty() ? std::string() : ", this is " + std::string(what);
}

std::string content_note(std::span<const uint8_t> first) { return content_note(as_text(first)); }

std::string lower_extension(const std::filesystem::path& path) {
  return lower_case(path.extension().string());
}

}  // namespace basin
