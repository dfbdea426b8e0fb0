// Tensor: a value handle on a contiguous row-major block, with an optional place on a tape.
// Copying a Tensor copies the handle. A default-constructed Tensor is *undefined*: the engine reads
// it as a symbolic zero. Only optimizers and readers write in place, through mutable_data().
#pragma once
#include <iosfwd>
#include <memory>
#include <span>
#include <vector>

#include "basin/core/device.h"
#include "basin/core/dtype.h"
#include "basin/core/shape.h"
#include "basin/core/storage.h"

namespace basin {

struct Node;  // autograd/node.h; null for constants
using NodePtr = std::shared_ptr<Node>;

class Tensor {
 public:
  Tensor() = default;
  Tensor(Shape shape, DType dtype, StoragePtr data, Device device = Device::cpu)
      : shape_(shape), dtype_(dtype), device_(device), data_(std::move(data)) {}

  static Tensor empty(const Shape& shape, DType dtype, Device device = Device::cpu);
  static Tensor zeros(const Shape& shape, DType dtype, Device device = Device::cpu);
  static Tensor full(const Shape& shape, DType dtype, double value, Device device = Device::cpu);
  static Tensor scalar(double value, DType dtype) { return full({}, dtype, value); }
  // Copies `values` (numel of them) in.
  template <class T>
  static Tensor from(std::span<const T> values, const Shape& shape, Device device = Device::cpu);
  template <class T>
  static Tensor from(const std::vector<T>& values, const Shape& shape,
                     Device device = Device::cpu) {
    return from(std::span<const T>(values), shape, device);
  }

  bool defined() const { return data_ != nullptr; }
  explicit operator bool() const { return defined(); }
  const Shape& shape() const { return shape_; }
  int64_t size(int axis) const { return shape_[axis]; }
  int rank() const { return shape_.rank(); }
  int64_t numel() const { return shape_.numel(); }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }
  size_t bytes() const { return static_cast<size_t>(numel()) * size_of(dtype_); }
  const StoragePtr& storage() const { return data_; }

  // Typed pointers; the type must match dtype(). Host access to a CUDA tensor is a usage error.
  template <class T>
  const T* data() const;
  template <class T>
  T* mutable_data();  // counts as an in-place write (bumps the storage version)
  const void* raw() const;
  void* mutable_raw();

  // Reading values works on every device; from a GPU it waits and copies.
  double item() const;         // of a tensor with one element, any dtype
  double at(int64_t i) const;  // flat index, any dtype; for tests and printing
  template <class T>
  std::vector<T> to_vector() const;  // converts element by element

  Tensor clone() const;                   // fresh storage, no tape
  Tensor to(DType dtype) const;           // converted copy (or this, when equal), no tape
  Tensor to(Device device) const;         // copy on the device (or this, when there), no tape
  Tensor view(const Shape& shape) const;  // same storage, other shape, no tape
  Tensor detach() const;                  // same storage, no tape
  Tensor borrowed() const;                // for a recording (Storage::borrowed), no tape
  Tensor meta() const;                    // shape, dtype and tape place, no storage
  void copy_from(const Tensor& other);    // in-place, equal shape and dtype, any device
  void fill(double value);                // in-place

  // The tape's side (autograd only).
  const NodePtr& node() const { return node_; }
  int slot() const { return slot_; }
  void attach(NodePtr node, int slot) {
    node_ = std::move(node);
    slot_ = slot;
  }

 private:
  Shape shape_;
  DType dtype_ = DType::f32;
  Device device_ = Device::cpu;
  int slot_ = 0;
  StoragePtr data_;
  NodePtr node_;
};

using Tensors = std::vector<Tensor>;

// For messages: "[2, 3] f32", "an undefined tensor".
std::ostream& operator<<(std::ostream& out, const Tensor& t);

}  // namespace basin
