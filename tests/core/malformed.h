// Malformed files: a good file cut at every byte, and deterministic mutations of it (Philox), each
// given to a reader as a file. A reader accepts, or throws its documented kind with one printable
// line that names the file (and a place in it); it stays within twice the file + 64 MB of memory
// and within 5 s of processor time.
#pragma once
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "basin/core/random.h"
#include "basin/core/storage.h"
#include "basin/tests/core/files.h"
#include "basin/tests/core/peak_memory.h"

namespace basin::test {

struct Reader {
  std::string name, file;  // of the format; of the file that is written
  std::function<void(const fs::path&)> read;
  ErrorKind refused = ErrorKind::data;
  std::vector<std::string> places = {};  // one of them is in every message; empty: none is asked
};

struct Refusals {
  int files = 0, refused = 0;
  double slowest = 0;  // seconds of processor time for one file
};

inline std::vector<uint8_t> mutated(std::vector<uint8_t> bytes, Rng& rng) {
  const auto at = [&] { return static_cast<size_t>(rng.below(int64_t(bytes.size()) + 1)); };
  const auto range = [&] {
    const size_t a = at(), b = at();
    return std::pair(bytes.begin() + std::min(a, b), bytes.begin() + std::max(a, b));
  };
  const int steps = 1 + static_cast<int>(rng.below(3));
  for (int step = 0; step < steps && !bytes.empty(); ++step) {
    const size_t i = std::min(at(), bytes.size() - 1);
    switch (rng.below(8)) {
      case 0: bytes[i] ^= static_cast<uint8_t>(1 << rng.below(8)); break;
      case 1: bytes[i] = static_cast<uint8_t>(rng.next_u32()); break;
      case 2: {  // something is missing
        const auto [first, last] = range();
        bytes.erase(first, last);
        break;
      }
      case 3: {  // something is there twice
        const auto [first, last] = range();
        const std::vector<uint8_t> part(first, last);
        const size_t to = at();
        bytes.insert(bytes.begin() + static_cast<ptrdiff_t>(to), part.begin(), part.end());
        break;
      }
      case 4: {  // two fields change places
        const size_t n = 1 + static_cast<size_t>(rng.below(8)),
                     j = std::min(at(), bytes.size() - 1);
        for (size_t k = 0; k < n && std::max(i, j) + k < bytes.size(); ++k) {
          std::swap(bytes[i + k], bytes[j + k]);
        }
        break;
      }
      case 5: {  // a huge or negative binary count
        constexpr uint64_t kCounts[] = {~0ull, ~0ull >> 1, 1ull << 32, (1ull << 31) - 1,
                                        1ull << 62};
        const uint64_t count = kCounts[rng.below(5)];
        const size_t width = size_t{1} << rng.below(4);
        for (size_t k = 0; k < width && i + k < bytes.size(); ++k) {
          bytes[i + k] = static_cast<uint8_t>(count >> (8 * k));
        }
        break;
      }
      case 6: {  // a number in a text becomes another
        const auto digit = [](uint8_t c) { return c >= '0' && c <= '9'; };
        const auto first =
            std::find_if(bytes.begin() + static_cast<ptrdiff_t>(i), bytes.end(), digit);
        const auto last = std::find_if_not(first, bytes.end(), digit);
        constexpr std::string_view kNumbers[] = {
            "-1",    "0",   "99999999999999999999", "4294967295",
            "1e308", "nan", "9223372036854775807",  "",
            "1e999"};
        const std::string_view number = kNumbers[rng.below(9)];
        const auto hole = bytes.erase(first, last);
        bytes.insert(hole, number.begin(), number.end());
        break;
      }
      default: {  // what no file should hold
        constexpr std::string_view kWords[] = {"\n", "\x1b[2J", "\xff\xfe", "\"",
                                               "{",  "]",       "../",      "\r\n"};
        const std::string_view word = kWords[rng.below(8)];
        bytes.insert(bytes.begin() + static_cast<ptrdiff_t>(i), word.begin(), word.end());
      }
    }
  }
  return bytes;
}

// One file through one reader, into the counts.
inline void read_malformed(const Reader& reader, const fs::path& path,
                           std::span<const uint8_t> bytes, Refusals& out) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  reset_peak_bytes();
  const size_t live = allocator_stats().live_bytes;
  const std::clock_t begin = std::clock();
  std::string text;
  ++out.files;
  try {
    reader.read(path);
  } catch (const Error& error) {
    ++out.refused;
    text = error.what();
    CHECK_MESSAGE(error.kind() == reader.refused, text);
    const bool line = std::none_of(text.begin(), text.end(), [](char c) {
      return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    });
    CHECK_MESSAGE(line, text);
    CHECK_MESSAGE(text.size() < 1000, text);
    CHECK_MESSAGE(text.find(path.parent_path().string()) != text.npos, text);
    const bool placed =
        reader.places.empty() ||
        std::any_of(reader.places.begin(), reader.places.end(),
                    [&](const std::string& p) { return text.find(p) != text.npos; });
    CHECK_MESSAGE(placed, text);
  }
  const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  out.slowest = std::max(out.slowest, seconds);
  CHECK_MESSAGE(seconds < 5, reader.name, ": ", seconds, " s ", text);
  const size_t peak = allocator_stats().peak_bytes - live;
  CHECK_MESSAGE(peak <= 2 * bytes.size() + (size_t{64} << 20), reader.name, ": ", peak, " bytes");
}

// Every seed cut at up to `cuts` places and mutated `mutations` times; prints and returns counts.
inline Refusals run_malformed(const Reader& reader, const std::vector<std::vector<uint8_t>>& seeds,
                              size_t cuts, int mutations) {
  const TempDir dir;
  const fs::path path = dir / reader.file;
  fs::create_directories(path.parent_path());
  Refusals out;
  const auto give = [&](std::span<const uint8_t> bytes) {
    read_malformed(reader, path, bytes, out);
  };
  const PeakMemory memory;
  size_t longest = 0;
  for (size_t s = 0; s < seeds.size(); ++s) {
    const std::vector<uint8_t>& seed = seeds[s];
    INFO(reader.name, ", seed ", s);
    for (size_t k = 0; k < std::min(cuts, seed.size()); ++k) {
      INFO("cut ", k);
      give(std::span(seed).first(seed.size() <= cuts ? k : k * seed.size() / cuts));
    }
    for (int m = 0; m < mutations; ++m) {
      INFO("mutation ", m);
      Rng rng(2021, stream_id("malformed " + reader.name, s, static_cast<uint64_t>(m)));
      const auto bytes = mutated(seed, rng);
      longest = std::max(longest, bytes.size());
      give(bytes);
    }
  }
  CHECK(memory.growth() <= static_cast<int64_t>(2 * longest) + (int64_t{64} << 20));
  std::printf("malformed %s: %d files, %d refused, memory grew by %.3f MB, slowest %.3f s\n",
              reader.name.c_str(), out.files, out.refused,
              static_cast<double>(memory.growth()) / 1e6, out.slowest);
  return out;
}

// The committed seeds of a fuzz target, in the order of their names.
inline std::vector<std::vector<uint8_t>> fuzz_seeds(const std::string& target) {
  std::vector<fs::path> files;
  for (const auto& entry :
       fs::directory_iterator(fs::path(BASIN_SOURCE_DIR) / "tests" / "fuzz" / "seeds" / target)) {
    files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<std::vector<uint8_t>> out;
  for (const fs::path& file : files) out.push_back(read_file(file));
  return out;
}

}  // namespace basin::test
