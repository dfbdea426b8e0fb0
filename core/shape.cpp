// Shape: inline sizes with overflow-checked element counts, and NumPy's broadcasting rule.
#include "basin/core/shape.h"

#include <algorithm>
#include <limits>
#include <ostream>

#include "basin/core/error.h"

namespace basin {

Shape::Shape(std::initializer_list<int64_t> sizes) {
  for (int64_t s : sizes) push_back(s);
}

Shape::Shape(const std::vector<int64_t>& sizes) {
  for (int64_t s : sizes) push_back(s);
}

void Shape::validate() const {
  int64_t n = 1;
  for (int64_t s : *this) {
    check(s >= 0, "shape: sizes must not be negative, got ", *this);
    check(s == 0 || n <= std::numeric_limits<int64_t>::max() / 16 / s,
          "shape: the element count overflows, ", *this);
    n *= std::max<int64_t>(s, 1);
  }
}

int64_t Shape::numel() const {
  int64_t n = 1;
  for (int64_t s : *this) n *= s;
  return n;
}

int Shape::normalise(int axis, std::string_view op) const {
  check(axis >= -rank_ && axis < rank_, op, ": axis ", axis, " is outside ", *this);
  return axis < 0 ? axis + rank_ : axis;
}

void Shape::push_back(int64_t size) {
  check(rank_ < kMaxRank, "shape: at most ", kMaxRank, " axes, got one more than ", *this);
  sizes_[rank_++] = size;
  validate();
}

void Shape::push_front(int64_t size) {
  check(rank_ < kMaxRank, "shape: at most ", kMaxRank, " axes, got one more than ", *this);
  std::copy_backward(sizes_.begin(), sizes_.begin() + rank_, sizes_.begin() + rank_ + 1);
  sizes_[0] = size;
  ++rank_;
  validate();
}

Shape Shape::without_first() const {
  check(rank_ > 0, "shape: a scalar has no first axis");
  Shape rest;
  for (int i = 1; i < rank_; ++i) rest.push_back(sizes_[i]);
  return rest;
}

void Shape::set(int axis, int64_t size) {
  sizes_[normalise(axis)] = size;
  validate();
}

std::string Shape::to_string() const {
  TextWriter out;
  out << '[';
  for (int i = 0; i < rank_; ++i) out << (i ? ", " : "") << sizes_[i];
  out << ']';
  return out.str();
}

bool operator==(const Shape& a, const Shape& b) {
  return a.rank_ == b.rank_ && std::equal(a.begin(), a.end(), b.begin());
}

std::ostream& operator<<(std::ostream& out, const Shape& shape) { return out << shape.to_string(); }

Shape broadcast_shapes(const Shape& a, const Shape& b, std::string_view op) {
  const int rank = std::max(a.rank(), b.rank());
  Shape out;
  for (int axis = -rank; axis < 0; ++axis) {
    const int64_t x = -axis <= a.rank() ? a[axis] : 1;
    const int64_t y = -axis <= b.rank() ? b[axis] : 1;
    check(x == y || x == 1 || y == 1, op, ": shapes do not broadcast, ", a, " with ", b);
    out.push_back(x == 1 ? y : x);
  }
  return out;
}

}  // namespace basin
