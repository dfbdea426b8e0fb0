// Which instruction set the CPU kernels use: the widest that this processor has, or what the
// environment variable BASIN_ISA says: amx, avx512, avx2 or generic (no AVX at all). All of them
// are in every build for x86-64 (amx on Linux); another processor has generic alone. amx is avx512
// with products of f32 matrices on tile registers, to f32's accuracy (kernels/cpu/gemm_amx.h).
// Results differ between paths by rounding, as between two machines; within one they do not depend
// on the number of threads.
#pragma once
#include <string>
#include <vector>

namespace basin {

// "amx", "avx512", "avx2" or "generic". BASIN_ISA is read by the first call, here or in a kernel,
// and OpenBLAS is then told to use no wider instructions than Basin, unless OPENBLAS_CORETYPE
// already tells it something. Throws a usage error if the variable names no path or one that this
// processor lacks; every kernel would.
std::string isa_name();

// The paths of this processor, the widest first.
std::vector<std::string> available_isas();

}  // namespace basin
