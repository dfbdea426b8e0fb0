// Names of element types, devices and parameter roles, as the command line and files spell them.
#include "basin/core/dtype.h"

#include "basin/core/device.h"

namespace basin {

DType dtype_from_name(std::string_view name) {
  for (DType t : {DType::f32, DType::f64, DType::i32, DType::i64}) {
    if (name == name_of(t)) return t;
  }
  fail(ErrorKind::usage, "dtype: expected f32, f64, i32 or i64, got '", name, "'");
}

Device device_from_name(std::string_view name) {
  if (name == "cpu") return Device::cpu;
  if (name == "cuda" || name == "cuda:0") return Device::cuda;
  fail(ErrorKind::usage, "device: expected cpu or cuda, got '", name,
       "'; choose among several GPUs with CUDA_VISIBLE_DEVICES");
}

}  // namespace basin
