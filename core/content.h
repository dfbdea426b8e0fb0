// What a file is, by its first bytes and by its name: for the sentence of a reader that was given
// something else than it reads ("expected the keyword OFF, this is a gzip file"), and for choices
// by extension, in which case does not count.
#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace basin {

// A noun phrase: "an HDF5 file", "an archive of torch.save", "a web page"; empty when the bytes do
// not tell. At most the first kContentBytes are looked at.
constexpr size_t kContentBytes = 512;
std::string_view describe_content(std::string_view first);
std::string_view describe_content(std::span<const uint8_t> first);

// For the end of a sentence: ", this is an HDF5 file"; empty when the bytes do not tell.
std::string content_note(std::string_view first);
std::string content_note(std::span<const uint8_t> first);

// ".off" of "shape.OFF"; empty without an extension. Letters beyond ASCII stay as they are.
std::string lower_extension(const std::filesystem::path& path);

}  // namespace basin
