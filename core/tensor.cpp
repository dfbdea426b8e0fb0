// Tensor handles: creation, host access, conversion. No arithmetic: that is kernels/ and autograd/.
#include "basin/core/tensor.h"

#include <algorithm>
#include <cstring>

#include "basin/core/host_recording.h"

namespace basin {
namespace {

// f(T*) for the element type, any dtype.
template <class F>
void visit(DType t, F&& f) {
  switch (t) {
    case DType::f32: return f(float{});
    case DType::f64: return f(double{});
    case DType::i32: return f(int32_t{});
    case DType::i64: return f(int64_t{});
  }
}

void require_host(const Tensor& t, const char* what) {
  check(t.defined(), what, ": the tensor is undefined");
  check(t.device() == Device::cpu, what, ": the tensor is on ", name_of(t.device()),
        "; copy it with to(Device::cpu) first");
}

// Values pass between tensors and the host, which a recording does not see.
void pass_values(const char* what) {
  if (HostRecording* const recording = HostRecording::current()) {
    recording->refuse(str("the host ", what, " values of a tensor"));
  }
}

// The recording that a write of this thread to that device belongs to.
HostRecording* recording_on(Device device) {
  HostRecording* const recording = HostRecording::current();
  if (recording == nullptr || device == Device::cpu) return recording;
  recording->refuse("a device is at work beside the CPU");
  return nullptr;
}

void copy_bytes(void* to, Device to_device, const void* from, Device from_device, size_t bytes) {
  if (bytes == 0) return;
  if (to_device == Device::cpu && from_device == Device::cpu) {
    std::memcpy(to, from, bytes);
  } else {
    const Device device = to_device == Device::cpu ? from_device : to_device;
    device_backend(device).copy(to, to_device, from, from_device, bytes);
  }
}

// Both on the CPU, of one size.
void convert_here(const Tensor& from, const Tensor& to) {
  visit(from.dtype(), [&](auto z) {
    const auto* p = static_cast<const decltype(z)*>(from.storage()->data());
    visit(to.dtype(), [&](auto w) {
      using To = decltype(w);
      std::transform(p, p + from.numel(), static_cast<To*>(to.storage()->data()),
                     [](auto v) { return static_cast<To>(v); });
    });
  });
}

}  // namespace

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device) {
  const size_t bytes = static_cast<size_t>(shape.numel()) * size_of(dtype);
  return {shape, dtype, std::make_shared<Storage>(bytes, device), device};
}

Tensor Tensor::zeros(const Shape& shape, DType dtype, Device device) {
  return full(shape, dtype, 0, device);
}

Tensor Tensor::full(const Shape& shape, DType dtype, double value, Device device) {
  Tensor t = empty(shape, dtype, device);
  t.fill(value);
  return t;
}

template <class T>
Tensor Tensor::from(std::span<const T> values, const Shape& shape, Device device) {
  check(static_cast<int64_t>(values.size()) == shape.numel(), "Tensor::from: ", values.size(),
        " values do not fill shape ", shape);
  Tensor t = empty(shape, kDTypeOf<T>, device);
  pass_values("writes");
  copy_bytes(t.data_->data(), device, values.data(), Device::cpu, t.bytes());
  return t;
}

template <class T>
const T* Tensor::data() const {
  require_host(*this, "Tensor::data");
  pass_values("reads");
  check(dtype_ == kDTypeOf<T>, "Tensor::data: the tensor holds ", name_of(dtype_), ", asked for ",
        name_of(kDTypeOf<T>));
  return static_cast<const T*>(data_->data());
}

template <class T>
T* Tensor::mutable_data() {
  data<T>();
  data_->bump_version();
  return static_cast<T*>(data_->data());
}

const void* Tensor::raw() const {
  pass_values("reads");
  return data_ ? data_->data() : nullptr;
}

void* Tensor::mutable_raw() {
  pass_values("writes");
  check(defined(), "Tensor::mutable_raw: the tensor is undefined");
  data_->bump_version();
  return data_->data();
}

double Tensor::item() const {
  check(defined() && numel() == 1, "item: expects one element, the shape is ", shape_);
  return at(0);
}

double Tensor::at(int64_t i) const {
  check(defined(), "Tensor::at: the tensor is undefined");
  check(i >= 0 && i < numel(), "Tensor::at: index ", i, " is outside shape ", shape_);
  pass_values("reads");
  double out = 0;
  visit(dtype_, [&](auto z) {
    copy_bytes(&z, Device::cpu, static_cast<const decltype(z)*>(data_->data()) + i, device_,
               sizeof z);
    out = static_cast<double>(z);
  });
  return out;
}

template <class T>
std::vector<T> Tensor::to_vector() const {
  check(defined(), "Tensor::to_vector: the tensor is undefined");
  pass_values("reads");
  if (device_ != Device::cpu) return to(Device::cpu).to_vector<T>();
  std::vector<T> out(numel());
  visit(dtype_, [&](auto z) {
    const auto* p = static_cast<const decltype(z)*>(data_->data());
    std::transform(p, p + numel(), out.begin(), [](auto v) { return static_cast<T>(v); });
  });
  return out;
}

Tensor Tensor::clone() const {
  if (!defined()) return {};
  Tensor t = empty(shape_, dtype_, device_);
  t.copy_from(*this);
  return t;
}

Tensor Tensor::to(DType dtype) const {
  if (!defined() || dtype == dtype_) return detach();
  Tensor t = empty(shape_, dtype, device_);
  if (HostRecording* const recording = recording_on(device_)) {
    recording->add([from = borrowed(), to = t.borrowed()] { convert_here(from, to); });
  }
  if (device_ != Device::cpu) {
    device_backend(device_).convert(t.data_->data(), dtype, data_->data(), dtype_, numel());
    return t;
  }
  convert_here(*this, t);
  return t;
}

Tensor Tensor::to(Device device) const {
  if (!defined() || device == device_) return detach();
  Tensor t = empty(shape_, dtype_, device);
  pass_values("copies");
  copy_bytes(t.data_->data(), device, data_->data(), device_, bytes());
  return t;
}

Tensor Tensor::view(const Shape& shape) const {
  check(shape.numel() == numel(), "view: ", shape_, " has ", numel(), " elements, ", shape, " has ",
        shape.numel());
  return {shape, dtype_, data_, device_};
}

Tensor Tensor::detach() const { return {shape_, dtype_, data_, device_}; }

Tensor Tensor::borrowed() const { return {shape_, dtype_, Storage::borrowed(data_), device_}; }

Tensor Tensor::meta() const {
  Tensor t = *this;
  t.data_.reset();
  return t;
}

void Tensor::copy_from(const Tensor& other) {
  check(defined() && other.defined(), "copy_from: a tensor is undefined");
  check(shape_ == other.shape_ && dtype_ == other.dtype_, "copy_from: expected ", name_of(dtype_),
        " ", shape_, ", got ", name_of(other.dtype_), " ", other.shape_);
  if (device_ != other.device_) pass_values("copies");
  if (HostRecording* const recording = recording_on(device_)) {
    recording->add([to = borrowed(), from = other.borrowed()]() mutable { to.copy_from(from); });
  }
  data_->bump_version();
  copy_bytes(data_->data(), device_, other.data_->data(), other.device_, bytes());
}

void Tensor::fill(double value) {
  check(defined(), "Tensor::fill: the tensor is undefined");
  if (HostRecording* const recording = recording_on(device_)) {
    recording->add([to = borrowed(), value]() mutable { to.fill(value); });
  }
  data_->bump_version();
  visit(dtype_, [&](auto z) {
    using T = decltype(z);
    if (device_ != Device::cpu) {
      const T item = static_cast<T>(value);
      uint64_t bits = 0;
      std::memcpy(&bits, &item, sizeof item);
      device_backend(device_).fill(data_->data(), bits, sizeof item, numel());
      return;
    }
    std::fill_n(static_cast<T*>(data_->data()), numel(), static_cast<T>(value));
  });
}

template Tensor Tensor::from(std::span<const float>, const Shape&, Device);
template Tensor Tensor::from(std::span<const double>, const Shape&, Device);
template Tensor Tensor::from(std::span<const int32_t>, const Shape&, Device);
template Tensor Tensor::from(std::span<const int64_t>, const Shape&, Device);
template const float* Tensor::data() const;
template const double* Tensor::data() const;
template const int32_t* Tensor::data() const;
template const int64_t* Tensor::data() const;
template float* Tensor::mutable_data();
template double* Tensor::mutable_data();
template int32_t* Tensor::mutable_data();
template int64_t* Tensor::mutable_data();
template std::vector<float> Tensor::to_vector() const;
template std::vector<double> Tensor::to_vector() const;
template std::vector<int32_t> Tensor::to_vector() const;
template std::vector<int64_t> Tensor::to_vector() const;

std::ostream& operator<<(std::ostream& out, const Tensor& t) {
  if (!t.defined()) return out << "an undefined tensor";
  return out << t.shape() << ' ' << name_of(t.dtype());
}

}  // namespace basin
