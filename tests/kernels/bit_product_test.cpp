// Sums over rows that bits choose, against the sums made one by one; the transpose of bits.
#include "basin/kernels/cpu/bit_product.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "basin/core/tensor.h"
#include "basin/tests/kernels/numbers.h"

namespace basin {
namespace {

std::vector<uint32_t> random_words(int64_t n, uint64_t seed) {
  std::vector<uint32_t> words;
  for (double v : testing::numbers<double>(n, seed)) {
    words.push_back(static_cast<uint32_t>((v + 1) * 0x1p31));
  }
  return words;
}

bool bit(uint32_t word, int64_t k) { return (word >> k & 1U) != 0; }

TEST_CASE_TEMPLATE("bit product: the sums of the rows that bits choose", T, float, double) {
  constexpr int64_t kWidth = kBitWidth<T>;
  for (int64_t rows : {1, 7, 64}) {
    std::vector<uint32_t> bits = random_words(rows, 5);
    bits[0] = 0;
    if (rows > 1) bits[1] = 0xffffffff;
    const Tensor panel =
        Tensor::from(testing::numbers<T>(kBitDepth * kWidth, 1), {kBitDepth, kWidth});
    const Tensor before = Tensor::from(testing::numbers<T>(rows * kWidth, 2), {rows, kWidth});
    Tensor sums = Tensor::from(testing::numbers<T>(rows * kWidth, 2), {rows, kWidth});
    add_bit_rows<T>(bits.data(), rows, panel.data<T>(), sums.mutable_data<T>());
    double largest = 0;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < kWidth; ++c) {
        double sum = before.at(r * kWidth + c);
        for (int64_t k = 0; k < kBitDepth; ++k) {
          if (bit(bits[static_cast<size_t>(r)], k)) sum += panel.at(k * kWidth + c);
        }
        largest = std::fmax(largest, std::abs(sums.at(r * kWidth + c) - sum));
      }
    }
    CHECK(largest <= 40 * static_cast<double>(std::numeric_limits<T>::epsilon()));
  }
}

// A row that is not finite reaches the sums that it was chosen for and no others.
TEST_CASE("bit product: what is not finite stays in the rows that chose it") {
  constexpr int64_t kWidth = kBitWidth<float>;
  Tensor panel = Tensor::zeros({kBitDepth, kWidth}, DType::f32);
  panel.mutable_data<float>()[5 * kWidth] = std::numeric_limits<float>::quiet_NaN();
  Tensor sums = Tensor::zeros({2, kWidth}, DType::f32);
  const uint32_t bits[] = {~(1U << 5), 1U << 5};
  add_bit_rows<float>(bits, 2, panel.data<float>(), sums.mutable_data<float>());
  CHECK(sums.at(0) == 0);
  CHECK(std::isnan(sums.at(kWidth)));
  CHECK(sums.at(kWidth + 1) == 0);
}

TEST_CASE("bit product: the transpose of a square of bits") {
  const std::vector<uint32_t> in = random_words(kBitDepth, 9);
  uint32_t out[kBitDepth];
  transpose_bits(in.data(), out);
  int64_t wrong = 0;
  for (int64_t i = 0; i < kBitDepth; ++i) {
    for (int64_t j = 0; j < kBitDepth; ++j) {
      wrong += bit(out[j], i) != bit(in[static_cast<size_t>(i)], j) ? 1 : 0;
    }
  }
  CHECK(wrong == 0);
}

}  // namespace
}  // namespace basin
