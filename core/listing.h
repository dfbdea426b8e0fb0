// Folders: what is in one, which of it is data, and its removal with everything in it. The standard
// directory iterator (libstdc++ 12) ends the process where its memory runs out; these throw.
#pragma once
#include <filesystem>
#include <system_error>
#include <vector>

namespace basin {

// The paths of the entries, without "." and "..", in the order of the file system.
std::vector<std::filesystem::path> list_folder(const std::filesystem::path& folder,
                                               std::error_code& error);
// Whether a name (the last of the path) is none that holds data: hidden files, among them .DS_Store
// and the "._name" of AppleDouble, and what archives, file managers and editors leave: __MACOSX,
// Thumbs.db, desktop.ini, "name~", "#name#", .. . Every folder of data is read by this one rule.
bool is_litter(const std::filesystem::path& path);
// A file, a link, or a folder with everything below it. What is not there is no error.
void remove_tree(const std::filesystem::path& path, std::error_code& error);

}  // namespace basin
