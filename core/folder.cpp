// Writing, verifying and removing folders that are complete or not there.
#include "basin/core/folder.h"

#include "basin/core/listing.h"

namespace basin {
namespace {

constexpr const char* kDone = "DONE";
constexpr std::string_view kTemporary = ".tmp-";
constexpr uint64_t kMaxDoneBytes = uint64_t{1} << 12;

std::string done_line(const std::string& name, std::span<const uint8_t> bytes) {
  return str(sha256_hex(bytes), "  ", name, "\n");
}

void write_files(const fs::path& folder, const FolderFiles& files) {
  std::string done;
  for (const auto& [name, bytes] : files) {
    write_file_atomic(folder / name, bytes);
    done += done_line(name, bytes);
  }
  write_file_atomic(folder / kDone, done);
}

}  // namespace

void make_folder(const fs::path& folder) {
  std::error_code error;
  const bool made = fs::create_directories(folder, error);
  if (error) {
    fail(ErrorKind::output, folder.string(), ": cannot be created: ", error_text(error));
  }
  if (made) fsync_path(folder.has_parent_path() ? folder.parent_path() : fs::path("."));
}

void rename_or_fail(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (error) {
    fail(ErrorKind::output, to.string(), ": cannot be put in place: ", error_text(error));
  }
}

void remove_folder(const fs::path& folder) {
  std::error_code error;
  remove_tree(folder, error);
  if (error) {
    fail(ErrorKind::output, folder.string(), ": cannot be removed: ", error_text(error));
  }
}

// Empty where there is no folder. One that cannot be read must not look like one without
// checkpoints: a run would start from the beginning.
std::vector<fs::path> entries_of(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> out = list_folder(folder, error);
  if (error && error != std::errc::no_such_file_or_directory) {
    fail(ErrorKind::output, folder.string(), ": cannot be listed: ", error_text(error));
  }
  return out;
}

fs::path temporary_name(const fs::path& target, const std::string& kind) {
  return target.parent_path() / str(kTemporary, kind, target.filename().string());
}

void write_folder(const fs::path& target, const FolderFiles& files) {
  const fs::path folder = target.parent_path(), temporary = temporary_name(target);
  std::error_code error;
  make_folder(folder);
  remove_folder(temporary);
  try {
    make_folder(temporary);
    write_files(temporary, files);
    if (fs::exists(target, error)) {  // only a damaged checkpoint is ever written again
      const fs::path old = temporary_name(target, "old-");
      remove_folder(old);
      rename_or_fail(target, old);
    }
    rename_or_fail(temporary, target);
  } catch (...) {
    remove_tree(temporary, error);
    throw;
  }
  fsync_path(folder);
}

std::string read_done(const fs::path& folder) {
  return read_text_file(folder / kDone, kMaxDoneBytes);
}

// A file whose line stands in DONE, byte for byte.
std::vector<uint8_t> read_verified(const fs::path& file, const std::string& done) {
  std::vector<uint8_t> bytes = read_file(file);
  if (done.find(done_line(file.filename().string(), bytes)) == done.npos) {
    fail(ErrorKind::data, file.string(), ": its SHA-256 is not the one in ", kDone,
         "; one of the two was damaged");
  }
  return bytes;
}

void remove_temporaries(const fs::path& folder) {
  for (const fs::path& entry : entries_of(folder)) {
    if (entry.filename().string().starts_with(kTemporary)) remove_folder(entry);
  }
}

}  // namespace basin
