// What programs leave behind, as texts that can be compared: files below a folder, without what the
// clock, the machine and the process decide. And the formats that those files must have.
#pragma once
#include <map>
#include <string>

#include "basin/core/io.h"

namespace basin::tools {

using Texts = std::map<std::string, std::string>;  // file, below its folder -> content

std::string timeless(const std::string& text);
// Every regular file below the folder whose first part is among `tops`, and timeless.
Texts texts_below(const fs::path& folder, const std::vector<std::string>& tops);
// Names of the files that one has and the other has not, or has otherwise.
std::string difference(const Texts& a, const Texts& b);

// "", or what is wrong with a record file, by its extension: .json, .jsonl, .toml, .csv, .svg,
// .html.
std::string fault_in_record(const fs::path& file);

// A small data set as .npy arrays: 16 shapes of 64 points to train, 8 to test.
void write_small_data(const fs::path& folder);

// In single quotes, for a shell.
std::string quoted_word(const std::string& word);

}  // namespace basin::tools
