// How much deflated bytes may claim to hold, for the limits that stop a bomb before it unpacks.
// Internal to datasets/.
#pragma once
#include <cstdint>

namespace basin {

// Two bits of deflate (RFC 1951), one for a length of 258 and one for a distance, give 258 bytes at
// the most.
constexpr uint64_t kDeflateRatio = 258 * 8 / 2;
constexpr uint64_t kUnpackedFloor = 4096;  // so little is granted to any number of packed bytes

constexpr bool can_hold(uint64_t packed, uint64_t unpacked) {
  return unpacked <= kUnpackedFloor || unpacked / kDeflateRatio <= packed;
}

}  // namespace basin
