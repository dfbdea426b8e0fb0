// Folders by readdir, unlink and rmdir, whose failures are codes and not exceptions.
#include "basin/core/listing.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

namespace basin {
namespace {

namespace fs = std::filesystem;

struct Close {
  void operator()(DIR* folder) const { ::closedir(folder); }
};

std::error_code last_error() { return {errno, std::generic_category()}; }

// In lower case, as systems that write them do not tell cases apart.
constexpr std::array<std::string_view, 8> kLitter = {
    "__macosx",     "thumbs.db", "ehthumbs.db", "desktop.ini",
    "$recycle.bin", "@eadir",    "lost+found",  "system volume information"};

std::string lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

}  // namespace

std::vector<fs::path> list_folder(const fs::path& folder, std::error_code& error) {
  std::vector<fs::path> out;
  error.clear();
  const std::unique_ptr<DIR, Close> open(::opendir(folder.c_str()));
  if (!open) {
    error = last_error();
    return out;
  }
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(open.get());
    if (entry == nullptr) break;
    const char* name = entry->d_name;
    if (std::strcmp(name, ".") != 0 && std::strcmp(name, "..") != 0) out.push_back(folder / name);
  }
  if (errno != 0) error = last_error();
  return out;
}

bool is_litter(const fs::path& path) {
  const std::string name = lower(path.filename().string());
  const bool editor =
      name.ends_with('~') || (name.size() > 1 && name.starts_with('#') && name.ends_with('#'));
  return name.starts_with('.') || editor || name == "icon\r" ||
         std::find(kLitter.begin(), kLitter.end(), name) != kLitter.end();
}

void remove_tree(const fs::path& path, std::error_code& error) {
  error.clear();
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) {
    if (errno != ENOENT) error = last_error();
    return;
  }
  if (!S_ISDIR(info.st_mode)) {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) error = last_error();
    return;
  }
  for (const fs::path& entry : list_folder(path, error)) {
    if (!error) remove_tree(entry, error);
    if (error) return;
  }
  if (!error && ::rmdir(path.c_str()) != 0 && errno != ENOENT) error = last_error();
}

}  // namespace basin
