// Which build is running: for --version, for run.json and for anyone who asks what made a number.
// The definition is generated at build time (cmake/basin_version.cmake).
#pragma once
#include <string_view>

namespace basin {

struct VersionInfo {
  std::string_view version;     // "0.1.0"
  std::string_view git_hash;    // 40 hex digits, or "unknown" outside a checkout
  bool git_dirty = false;       // tracked files differ from that commit
  std::string_view compiler;    // "GNU 12.2.0"
  std::string_view flags;       // the build type's flags; empty for none
  std::string_view build_type;  // "Release"
};

const VersionInfo& version_info();

}  // namespace basin
