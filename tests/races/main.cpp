// A kernel with a barrier and the same kernel without it, on the emulated device under
// ThreadSanitizer: each CUDA thread is a fibre that the sanitizer knows, barriers order memory, and
// so a missing one is a data race with both places in the source.
//   test_races           the right kernel: no report, exit 0
//   test_races planted   without the barrier: a report, exit 66
#include <cstdio>

#include "basin/core/error.h"
#include "basin/kernels/launch.h"
#include "basin/tests/emulation/planted.h"

using namespace basin;

int main(int argc, char**) {
  const auto fault = argc > 1 ? planted::Fault::missing_barrier : planted::Fault::none;
  try {
    const Tensor x = Tensor::full({20, 300}, DType::f32, 0.5, Device::cuda);
    const std::vector<float> sums = planted::row_sums(x, fault).to_vector<float>();
    std::printf("the first sum is %g\n", static_cast<double>(sums[0]));
    return sums[0] == 150 ? 0 : 1;
  } catch (const Error& e) {
    std::printf("%s\n", e.what());
    return 1;
  }
}
