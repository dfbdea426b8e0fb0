// Elements of arrays as files hold them: bytes of either order, and arrays whose first axis runs
// fastest (Fortran, MATLAB). Internal to datasets/.
#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <utility>
#include <vector>

namespace basin {

// The element at p, whose bytes are in big-endian order or not.
template <class T>
T decode_element(const uint8_t* p, bool big) {
  std::array<uint8_t, sizeof(T)> raw;
  std::copy_n(p, sizeof(T), raw.begin());
  if (big) std::reverse(raw.begin(), raw.end());
  return std::bit_cast<T>(raw);
}

// Position of every element, in C order, in a file whose first axis runs fastest.
class FortranOrder {
 public:
  explicit FortranOrder(std::vector<int64_t> shape)
      : shape_(std::move(shape)), index_(shape_.size()) {
    int64_t stride = 1;
    for (int64_t s : shape_) {
      strides_.push_back(stride);
      stride *= s;
    }
  }
  int64_t next() {  // of the current element; then moves on in C order
    const int64_t here = position_;
    for (size_t axis = shape_.size(); axis-- > 0;) {
      position_ += strides_[axis];
      if (++index_[axis] < shape_[axis]) break;
      position_ -= strides_[axis] * shape_[axis];
      index_[axis] = 0;
    }
    return here;
  }

 private:
  std::vector<int64_t> shape_, index_, strides_;
  int64_t position_ = 0;
};

}  // namespace basin
