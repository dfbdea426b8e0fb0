// MATLAB's .mat files of level 5 (MAT-File Format, MathWorks): a header of 128 bytes, then one
// element per variable, plain or deflated. Full real numeric arrays of every class, in both byte
// orders, whatever type their numbers are packed into, become f64 tensors of the same sizes,
// row-major: element [i, j] is MATLAB's (i + 1, j + 1). 64-bit integers that f64 cannot hold,
// complex, sparse, text, cell and struct variables are listed, and refused when read; unnamed ones,
// in which MATLAB keeps its objects, are passed over. Files of level 4 and of version 7.3 (HDF5)
// are named and refused.
//   Every size is checked against the bytes that are there, or that deflated ones can hold, before
// anything is allocated. Variables are decoded when asked for.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "basin/core/io.h"
#include "basin/core/tensor.h"

namespace basin {

class Mat5File {
 public:
  // data error naming the file and the offset of the fault; within a deflated variable, its offset
  // and that in what it unpacks to.
  explicit Mat5File(const fs::path& path);
  Mat5File(std::vector<uint8_t> bytes, std::string name);

  std::vector<std::string> names() const;  // in the order of the file
  bool contains(std::string_view name) const;
  Tensor read(
      std::string_view name) const;  // data error listing the variables when there is none such

 private:
  struct Variable {
    std::string name;
    uint64_t offset = 0;  // of the element's tag in the file
  };
  std::vector<uint8_t> bytes_;
  std::string name_;
  bool big_ = false;  // byte order of the file
  std::vector<Variable> variables_;
};

}  // namespace basin
