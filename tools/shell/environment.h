// What produced a number: the machine, the libraries and the build. Goes into run.json and into
// every record of the bench.
#pragma once
#include <cstdint>
#include <string>

#include "basin/core/clock.h"
#include "basin/core/device.h"
#include "basin/core/record.h"

namespace basin::tools {

std::string cpu_model();  // from /proc/cpuinfo, or "unknown"
std::string host_name();
std::string utc_now();     // "2026-01-31T12:00:00Z"
int64_t peak_rss_bytes();  // of this process
int64_t page_faults();     // minor faults of this process so far

// basin_version, git_hash, git_dirty, compiler, flags, build_type, cpu, blas, threads, host,
// system.
Record environment_record();
// device; for a GPU also gpu, cuda_driver, cuda_toolkit, tf32.
Record device_record(Device device);
std::string version_line(const std::string& program);  // for --version

// A word as a shell takes it back: as it is, or quoted where a sign in it could mean something.
std::string shell_word(const std::string& word);
std::string command_line(int argc, const char* const* argv);  // of shell words
std::string duration_text(double seconds);                    // "4.2 s", "3 min 12 s", "2 h 5 min"
std::string bytes_text(double bytes);                         // "13.9 MB"

}  // namespace basin::tools
