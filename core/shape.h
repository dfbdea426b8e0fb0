// Shape: the sizes of a contiguous row-major tensor, held inline (no heap). A scalar has rank 0.
#pragma once
#include <array>
#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

namespace basin {

inline constexpr int kMaxRank = 8;

class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<int64_t> sizes);
  explicit Shape(const std::vector<int64_t>& sizes);

  int rank() const { return rank_; }
  int64_t numel() const;  // product of the sizes, 1 for a scalar; overflow was refused on creation
  int64_t operator[](int axis) const {
    return sizes_[static_cast<size_t>(normalise(axis))];
  }  // negative counts from the end
  void set(int axis, int64_t size);
  // -rank..rank-1 -> 0..rank-1, else a usage error in the name of `op`
  int normalise(int axis, std::string_view op = "shape") const;

  void push_back(int64_t size);
  void push_front(int64_t size);
  Shape without_first() const;  // drops axis 0
  const int64_t* begin() const { return sizes_.data(); }
  const int64_t* end() const { return sizes_.data() + rank_; }
  std::string to_string() const;  // "[32, 1024, 3]"
  friend bool operator==(const Shape& a, const Shape& b);

 private:
  void validate() const;
  std::array<int64_t, kMaxRank> sizes_{};
  int rank_ = 0;
};

std::ostream& operator<<(std::ostream& out, const Shape& shape);

// The shape that a and b broadcast to (right-aligned, sizes equal or 1); `op` names the caller.
Shape broadcast_shapes(const Shape& a, const Shape& b, std::string_view op);

}  // namespace basin
