// Stands in for the CUDA toolkit's header of this name where .cu sources are built as C++: the
// qualifiers, the device functions and the part of the runtime API that Basin uses. Only what a
// kernel here calls is present; add a function when a kernel needs it.
#pragma once
#define BASIN_EMULATION 1

#include "basin/tests/emulation/device_functions.h"
#include "basin/tests/emulation/runtime_api.h"
