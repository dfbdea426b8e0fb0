// A folder of files that is either complete or not there: written as .tmp-NAME, each file fsynced,
// DONE last with the SHA-256 of the others (`sha256sum -c DONE` reads it), the folder fsynced,
// renamed, the parent fsynced. Nothing without a valid DONE is ever read. Checkpoints and the
// bundles of failed steps are such folders.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "basin/core/io.h"

namespace basin {

using FolderFiles = std::vector<std::pair<std::string, std::vector<uint8_t>>>;  // name, content

// With its parents, where it is missing; the new name reaches the disk. output error on failure.
void make_folder(const fs::path& folder);

// A folder of that name is replaced. output error on failure, without a trace of the new one.
void write_folder(const fs::path& target, const FolderFiles& files);

// A file of such a folder; data error when DONE is missing or does not name these bytes.
std::string read_done(const fs::path& folder);
std::vector<uint8_t> read_verified(const fs::path& file, const std::string& done);

std::vector<fs::path> entries_of(const fs::path& folder);  // empty where there is no folder
void rename_or_fail(const fs::path& from, const fs::path& to);
void remove_folder(const fs::path& folder);
void remove_temporaries(const fs::path& folder);  // what a kill left behind in it
// The name under which `target` is written, or, with kind "old-", removed.
fs::path temporary_name(const fs::path& target, const std::string& kind = "");

}  // namespace basin
