#include "basin/tests/emulation/counts.h"

#include "basin/tests/emulation/emulator.h"

namespace basin::emu {
namespace {

int counting = 0;  // the CountOnly that live

}  // namespace

Counts& counts_so_far() {
  static auto* so_far = new Counts;
  return *so_far;
}

Counts operator-(const Counts& later, const Counts& earlier) {
  Counts d{later.kernels - earlier.kernels,   later.few_blocks - earlier.few_blocks,
           later.products - earlier.products, later.waits - earlier.waits,
           later.copies - earlier.copies,     later.copied - earlier.copied,
           later.mappings - earlier.mappings, later.unmappings - earlier.unmappings};
  for (const auto& [name, n] : later.by_kernel) {
    const auto before = earlier.by_kernel.find(name);
    const int64_t more = n - (before == earlier.by_kernel.end() ? 0 : before->second);
    if (more != 0) d.by_kernel[name] = more;
  }
  return d;
}

bool count_only() { return counting > 0; }
CountOnly::CountOnly() { ++counting; }
CountOnly::~CountOnly() { --counting; }

}  // namespace basin::emu
