// Folders: what is in one, and its removal with everything in it. The standard directory iterator
// (libstdc++ 12) ends the process where its memory runs out; these throw.
#pragma once
#include <filesystem>
#include <system_error>
#include <vector>

namespace basin {

// The paths of the entries, without "." and "..", in the order of the file system.
std::vector<std::filesystem::path> list_folder(const std::filesystem::path& folder,
                                               std::error_code& error);
// A file, a link, or a folder with everything below it. What is not there is no error.
void remove_tree(const std::filesystem::path& path, std::error_code& error);

}  // namespace basin
