// Permutations against those that NumPy gave (tests/fixtures/qm9/make_numpy_permutations.py).
#include "basin/datasets/detail/numpy_random.h"

#include <cstring>

#include "basin/datasets/npz.h"
#include "basin/tests/core/files.h"

using namespace basin;

TEST_CASE("numpy random: permutations are NumPy's, bit for bit") {
  const NpzFile numpy(test::fixtures() / "qm9" / "numpy_permutations.npz");
  int compared = 0;
  for (const uint32_t seed : {0U, 1U, 42U, 4294967295U}) {
    for (const int64_t n : {1, 2, 3, 257, 1000}) {
      CAPTURE(seed);
      CAPTURE(n);
      CHECK(numpy::generator_permutation(seed, n) ==
            numpy.read(str("generator_", seed, "_", n)).to_vector<int64_t>());
      CHECK(numpy::random_state_permutation(seed, n) ==
            numpy.read(str("state_", seed, "_", n)).to_vector<int64_t>());
      ++compared;
    }
  }
  CHECK(compared == 20);
  CHECK(numpy::generator_permutation(1, 0).empty());
}

TEST_CASE("numpy random: the permutations of the published splits of QM9") {
  const NpzFile numpy(test::fixtures() / "qm9" / "numpy_permutations.npz");
  const auto check = [&](const std::string& name, const std::vector<int64_t>& rows) {
    std::vector<uint8_t> bytes(rows.size() * sizeof(int64_t));
    std::memcpy(bytes.data(), rows.data(), bytes.size());
    std::string expected;
    for (const int64_t byte : numpy.read(name + "_sha256").to(DType::i64).to_vector<int64_t>()) {
      constexpr std::string_view kDigits = "0123456789abcdef";
      expected += kDigits[static_cast<size_t>(byte / 16)];
      expected += kDigits[static_cast<size_t>(byte % 16)];
    }
    CHECK(sha256_hex(bytes) == expected);
    CHECK(std::vector<int64_t>(rows.begin(), rows.begin() + 16) ==
          numpy.read(name + "_first").to_vector<int64_t>());
  };
  check("generator_1_qm9", numpy::generator_permutation(1, 130831));
  check("state_0_qm9", numpy::random_state_permutation(0, 130831));
}
