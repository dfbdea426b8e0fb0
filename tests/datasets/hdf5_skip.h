// For tests that need libhdf5: a visible skip in a build without it.
#pragma once
#include <cstdio>

#include "basin/datasets/hdf5.h"

namespace basin::test {

inline bool skip_without_hdf5() {
  if (hdf5_available()) return false;
  std::printf("SKIPPED: built without HDF5\n");
  return true;
}

}  // namespace basin::test
