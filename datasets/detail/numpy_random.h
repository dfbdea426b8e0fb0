// NumPy's two random generators as far as index splits of published data sets need them, bit for
// bit: what numpy.random.default_rng(seed).permutation(n) and, of the legacy interface,
// numpy.random.RandomState(seed).permutation(n) give.
//   default_rng: SeedSequence (hash of the seed into four words, O'Neill's seed_seq scheme), PCG64
//     (128-bit linear congruence, output XSL RR; O'Neill 2014), 32 bits at a time;
//   RandomState: MT19937 (Matsumoto, Nishimura 1998), seeded by Knuth's recurrence.
// Both shuffle from the last element down (Fisher-Yates) with integers by masking and rejection.
#pragma once
#include <cstdint>
#include <vector>

namespace basin::numpy {

// n < 2^32.
std::vector<int64_t> generator_permutation(uint32_t seed, int64_t n);
std::vector<int64_t> random_state_permutation(uint32_t seed, int64_t n);

}  // namespace basin::numpy
