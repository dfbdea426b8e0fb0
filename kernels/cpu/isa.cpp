// The choice of the instruction set, and OpenBLAS brought in line with it.
#include "basin/kernels/isa.h"

#include <cblas.h>

#include <cstdlib>
#include <string_view>

#include "basin/core/error.h"
#include "basin/core/printable.h"
#include "basin/kernels/cpu/isa.h"

#if BASIN_HAS_AMX
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

// What an OpenBLAS that chooses among processors exports for this choice; absent in others.
extern "C" {
[[gnu::weak]] void gotoblas_dynamic_init();
[[gnu::weak]] void gotoblas_dynamic_quit();
}

namespace basin {
namespace {

struct Path {
  Isa isa;
  const char* name;
  const char* core;  // the widest of OpenBLAS's that a machine with no more than this can run
};
constexpr Path kPaths[] = {{Isa::amx, "amx", nullptr},
                           {Isa::avx512, "avx512", nullptr},
                           {Isa::avx2, "avx2", "Haswell"},
                           {Isa::generic, "generic", "Nehalem"}};

#if BASIN_HAS_AMX
// Tiles that multiply bf16, and leave of the kernel (5.16 and later) to use them, which is given to
// all threads of the process.
bool has_tiles() {
  static const bool has = [] {
    unsigned a = 0, b = 0, c = 0, d = 0;
    constexpr unsigned kBf16 = 1U << 22, kTile = 1U << 24;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kBf16) == 0 || (d & kTile) == 0) {
      return false;
    }
    constexpr long kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILE_DATA
    return ::syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
  }();
  return has;
}
#else
bool has_tiles() { return false; }
#endif

bool available(Isa isa) {
#if BASIN_HAS_X86_TILES
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
                    __builtin_cpu_supports("popcnt");
  if (isa == Isa::avx2) return avx2;
  if (isa == Isa::avx512 || isa == Isa::amx) {
    return (isa == Isa::avx512 || has_tiles()) && avx2 && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl");
  }
#endif
  return isa == Isa::generic;
}

// The library chose when it was loaded, for the processor; it chooses anew. Before its first call:
// that is made by the kernels, which ask for the path before.
void choose_library_core(const char* core) {
  if (core == nullptr || std::getenv("OPENBLAS_CORETYPE") != nullptr) return;
  if (gotoblas_dynamic_init == nullptr || gotoblas_dynamic_quit == nullptr) return;
  if (::setenv("OPENBLAS_CORETYPE", core, 0) != 0) return;
  gotoblas_dynamic_quit();
  gotoblas_dynamic_init();
}

}  // namespace

std::vector<std::string> available_isas() {
  std::vector<std::string> out;
  for (const Path& p : kPaths) {
    if (available(p.isa)) out.emplace_back(p.name);
  }
  return out;
}

Isa choose_isa() {
  const char* given = std::getenv("BASIN_ISA");
  const std::string_view wanted = given == nullptr ? "" : given;
  for (const Path& p : kPaths) {
    if (wanted.empty() ? !available(p.isa) : wanted != p.name) continue;
    if (!available(p.isa)) {
      fail(ErrorKind::usage, "BASIN_ISA: ", wanted, " is not for this processor, which has ", [] {
        std::string list;
        for (const std::string& name : available_isas()) list += (list.empty() ? "" : ", ") + name;
        return list;
      });
    }
    if (!wanted.empty()) choose_library_core(p.core);
    return p.isa;
  }
  fail(ErrorKind::usage, "BASIN_ISA: expects amx, avx512, avx2 or generic, given '",
       printable(wanted), "'");
}

std::string isa_name() {
  for (const Path& p : kPaths) {
    if (p.isa == chosen_isa()) return p.name;
  }
  return "";
}

}  // namespace basin
