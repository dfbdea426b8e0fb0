// Finding a form of QM9 in a folder, reading it, leaving the uncharacterized molecules out.
#include <algorithm>
#include <numeric>
#include <unordered_set>

#include "basin/core/content.h"
#include "basin/core/listing.h"
#include "basin/core/text.h"
#include "basin/datasets/detail/qm9_atoms.h"

namespace basin {
namespace {

constexpr const char* kListName = "uncharacterized.txt";
constexpr const char* kArchivePrefix = "dsgdb9nsd_";
constexpr std::array<const char*, 3> kSplitFiles{"train.npz", "valid.npz", "test.npz"};

// .xyz of "a.xyz", "A.XYZ" and "a.xyz.gz".
std::string form_of(const fs::path& path) {
  const std::string ending = lower_extension(path);
  return ending == ".gz" ? lower_extension(path.stem()) + ending : ending;
}

bool is_frames(const fs::path& path) {
  const std::string form = form_of(path);
  return form == ".xyz" || form == ".extxyz" || form == ".xyz.gz" || form == ".extxyz.gz";
}

// One data set in a folder: its files in order.
struct FoundForm {
  std::string form;
  std::vector<fs::path> files;
  bool own_split = false;
};

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> out = list_folder(folder, error);
  if (error) fail(ErrorKind::data, folder.string(), ": cannot be listed: ", error_text(error));
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<FoundForm> forms_in(const std::vector<fs::path>& entries) {
  FoundForm archive{"the archive's files", {}}, parts{"NPZ in three parts", {}, true};
  std::vector<FoundForm> out;
  for (const fs::path& entry : entries) {
    const std::string name = entry.filename().string();
    if (fs::is_directory(entry)) continue;
    if (std::find(kSplitFiles.begin(), kSplitFiles.end(), name) != kSplitFiles.end()) {
      parts.files.push_back(entry);
    } else if (name.starts_with(kArchivePrefix) && is_frames(entry)) {
      archive.files.push_back(entry);
    } else if (form_of(entry) == ".npz") {
      out.push_back({"NPZ", {entry}});
    } else if (form_of(entry) == ".sdf") {
      out.push_back({"SDF", {entry}});
    } else if (is_frames(entry)) {
      out.push_back({"XYZ", {entry}});
    }
  }
  if (!archive.files.empty()) out.push_back(std::move(archive));
  if (parts.files.size() == kSplitFiles.size()) {
    for (size_t i = 0; i < parts.files.size(); ++i) {  // train, valid, test: not as sorted
      parts.files[i] = parts.files[i].parent_path() / kSplitFiles[i];
    }
    out.push_back(std::move(parts));
  } else {
    for (const fs::path& file : parts.files) out.push_back({"NPZ", {file}});
  }
  return out;
}

FoundForm find_form(const fs::path& path) {
  if (!fs::is_directory(path)) {
    return {is_frames(path) ? "XYZ" : form_of(path) == ".sdf" ? "SDF" : "NPZ", {path}};
  }
  const std::vector<fs::path> entries = entries_of(path);
  std::vector<FoundForm> found = forms_in(entries);
  for (size_t i = 0; i < entries.size() && found.empty(); ++i) {
    if (fs::is_directory(entries[i])) found = forms_in(entries_of(entries[i]));
  }
  if (found.empty()) {
    fail(ErrorKind::data, path.string(), ": expected molecules as ", kArchivePrefix,
         "*.xyz, .sdf, .npz or .xyz, found none");
  }
  if (found.size() > 1) {
    std::string names;
    for (const FoundForm& f : found) {
      names += (names.empty() ? "" : ", ") + f.files.front().filename().string();
    }
    fail(ErrorKind::data, path.string(), ": expected one data set, found several; name one of ",
         printable(names));
  }
  return std::move(found.front());
}

// gdb9.sdf.csv or gdb9.csv beside gdb9.sdf.
fs::path table_of(const fs::path& sdf) {
  fs::path other = sdf;
  other += ".csv";
  if (fs::exists(other)) return other;
  other = sdf;
  other.replace_extension(".csv");
  return fs::exists(other) ? other : fs::path{};
}

// The set without the listed molecules; how many they were.
int64_t leave_out(Qm9Set& set, const std::vector<int64_t>& listed, const std::string& list) {
  const int64_t before = set.size();
  if (!set.own_ids && before != kQm9Molecules) {
    fail(ErrorKind::data, set.source, ": line 1: expected identifiers (gdb_N), by which ", list,
         " names molecules, found none");
  }
  const std::unordered_set<int64_t> out(listed.begin(), listed.end());
  std::vector<int64_t> kept;
  for (int64_t i = 0; i < before; ++i) {
    if (!out.contains(set.ids[static_cast<size_t>(i)])) kept.push_back(i);
  }
  const int64_t gone = before - static_cast<int64_t>(kept.size());
  if (before == kQm9Molecules && gone != kQm9Uncharacterized) {
    fail(ErrorKind::data, list, ": expected to leave ", kQm9Uncharacterized, " of all ",
         kQm9Molecules, " molecules out, it names ", gone);
  }
  if (gone > 0) set = subset(set, kept);
  return gone;
}

// Identifiers are the source's own and distinct, or counted over all of its files.
void settle_identifiers(Qm9Set& set) {
  if (!set.own_ids) std::iota(set.ids.begin(), set.ids.end(), int64_t{1});
  std::unordered_set<int64_t> seen;
  for (const int64_t id : set.ids) {
    if (!seen.insert(id).second) {
      fail(ErrorKind::data, set.source, ": expected each molecule once, ", kIdentifier, id,
           " is there again");
    }
  }
}

}  // namespace

Qm9Set read_molecules(const fs::path& path) {
  const std::string name = path.string();
  if (is_frames(path)) return read_molecules_xyz(path);
  if (form_of(path) == ".npz") return read_molecules_npz(path);
  if (form_of(path) != ".sdf") {
    fail(ErrorKind::data, name,
         ": expected molecules in a file called .xyz, .extxyz, .xyz.gz, .sdf or .npz");
  }
  Qm9Set out = parse_molecules_sdf(read_text_file(path), name);
  const fs::path table = table_of(path);
  if (!table.empty()) parse_molecules_csv(read_text_file(table), table.string(), out);
  return out;
}

Qm9Data load_qm9(const fs::path& path, const fs::path& uncharacterized) {
  if (!fs::exists(path)) {
    fail(ErrorKind::data, path.string(), ": no such file or folder; expected QM9 or 'embedded'");
  }
  const FoundForm found = find_form(path);
  Qm9Data out;
  for (size_t i = 0; i < found.files.size(); ++i) {
    const Qm9Set part = read_molecules(found.files[i]);
    if (found.own_split) out.own_split[i] = part.size();
    out.set.append(part);
  }
  out.set.source = path.string();
  settle_identifiers(out.set);
  fs::path list = uncharacterized;
  if (list.empty() && !found.own_split) {
    const fs::path beside = found.files.front().parent_path() / kListName;
    if (fs::exists(beside)) list = beside;
  }
  if (!list.empty() && found.own_split) {
    fail(ErrorKind::data, list.string(), ": ", found.form,
         " is a split of its own, from which no molecules are left out");
  }
  int64_t gone = 0;
  if (!list.empty()) {
    gone = leave_out(out.set, parse_uncharacterized(read_text_file(list), list.string()),
                     list.string());
  }
  out.description =
      str(found.form, ", ", out.set.size(), " molecules",
          list.empty() ? std::string{} : str(", ", gone, " uncharacterized ones left out"));
  return out;
}

}  // namespace basin
