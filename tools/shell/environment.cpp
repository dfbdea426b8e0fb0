// What the machine, the libraries and the build say about themselves.
#include "basin/tools/shell/environment.h"

#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <ctime>
#include <fstream>

#include "basin/core/error.h"
#include "basin/core/parallel.h"
#include "basin/core/version.h"
#include "basin/kernels/gemm.h"
#include "basin/kernels/isa.h"

namespace basin::tools {

std::string cpu_model() {
  std::ifstream in("/proc/cpuinfo");
  in.imbue(std::locale::classic());
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("model name", 0) != 0) continue;
    const size_t colon = line.find(':');
    if (colon != line.npos && colon + 2 <= line.size()) return line.substr(colon + 2);
  }
  return "unknown";
}

std::string host_name() {
  std::array<char, 256> buffer{};
  return ::gethostname(buffer.data(), buffer.size() - 1) == 0 ? buffer.data() : "unknown";
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  std::array<char, 32> buffer{};
  std::strftime(buffer.data(), buffer.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return buffer.data();
}

int64_t peak_rss_bytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

int64_t page_faults() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

Record device_record(Device device) {
  Record out;
  out.add("device", name_of(device));
  if (device == Device::cpu) return out;
  const DeviceInfo info = device_info(device);
  return out.add("gpu", std::string_view(info.name))
      .add("cuda_driver", std::string_view(info.driver))
      .add("cuda_toolkit", std::string_view(info.toolkit))
      .add("tf32", tf32_allowed());
}

Record environment_record() {
  const VersionInfo& v = version_info();
  utsname system{};
  ::uname(&system);
  Record out;
  out.add("basin_version", v.version)
      .add("git_hash", v.git_hash)
      .add("git_dirty", v.git_dirty)
      .add("compiler", v.compiler)
      .add("flags", v.flags)
      .add("build_type", v.build_type)
      .add("cpu", cpu_model())
      .add("isa", isa_name())
      .add("blas", blas_description())
      .add("threads", num_threads())
      .add("host", host_name())
      .add("system", str(system.sysname, " ", system.release, " ", system.machine));
  return out;
}

std::string version_line(const std::string& program) {
  const VersionInfo& v = version_info();
  return str(program, " (Basin) ", v.version, ", git ", v.git_hash, v.git_dirty ? " (dirty)" : "",
             ", ", v.compiler, ", ", v.build_type, "\n", isa_name(), "; ", blas_description(),
             "\n");
}

std::string shell_word(const std::string& word) {
  constexpr const char* kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+./,:@%";
  if (!word.empty() && word.find_first_not_of(kPlain) == word.npos) return word;
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string command_line(int argc, const char* const* argv) {
  std::string out;
  for (int i = 0; i < argc; ++i) out += str(i > 0 ? " " : "", shell_word(argv[i]));
  return out;
}

std::string duration_text(double seconds) {
  if (!std::isfinite(seconds)) return "?";
  const auto whole = static_cast<int64_t>(seconds);
  if (seconds < 120) return fixed_text(seconds, 1) + " s";
  if (seconds < 7200) return str(whole / 60, " min ", whole % 60, " s");
  return str(whole / 3600, " h ", whole % 3600 / 60, " min");
}

std::string bytes_text(double bytes) {
  const char* units[] = {"B", "kB", "MB", "GB", "TB"};
  int unit = 0;
  while (bytes >= 1000 && unit < 4) {
    bytes /= 1000;
    ++unit;
  }
  return str(fixed_text(bytes, unit == 0 ? 0 : 1), " ", units[unit]);
}

}  // namespace basin::tools
