#include "basin/kernels/isa.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>

#include "basin/core/error.h"
#include "basin/kernels/cpu/isa.h"
#include "basin/kernels/gemm.h"

using namespace basin;

namespace {

std::string refused(const char* value) {
  const char* set = std::getenv("BASIN_ISA");
  const std::string before = set == nullptr ? "" : set;
  ::setenv("BASIN_ISA", value, 1);
  std::string sentence = "accepted";
  try {
    choose_isa();
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::usage);
    sentence = e.what();
  }
  if (set == nullptr) {
    ::unsetenv("BASIN_ISA");
  } else {
    ::setenv("BASIN_ISA", before.c_str(), 1);
  }
  return sentence;
}

}  // namespace

TEST_CASE("isa: the path is the one asked for, or the widest; OpenBLAS runs none wider") {
  const std::vector<std::string> all = available_isas();
  REQUIRE(!all.empty());
  CHECK(all.back() == "generic");
  const char* set = std::getenv("BASIN_ISA");
  CHECK(isa_name() == (set != nullptr && *set != 0 ? set : all.front()));
  CHECK(std::find(all.begin(), all.end(), isa_name()) != all.end());
  const std::string blas = blas_description();
  CHECK_EQ(blas.rfind("Basin " + isa_name(), 0) == 0, isa_name() != "generic");
  if (isa_name() != "avx512" && isa_name() != "amx") {
    for (const char* wide : {"SkylakeX", "Cooperlake", "SapphireRapids"}) {
      CHECK_MESSAGE(blas.find(wide) == std::string::npos, blas);
    }
  }
}

TEST_CASE(
    "isa: a value that is no path, or none of this processor, is a usage error in a sentence") {
  CHECK(refused("sse9") == "BASIN_ISA: expects amx, avx512, avx2 or generic, given 'sse9'");
  CHECK(refused("AVX2") == "BASIN_ISA: expects amx, avx512, avx2 or generic, given 'AVX2'");
  const std::vector<std::string> all = available_isas();
  for (const char* path : {"amx", "avx512", "avx2"}) {
    if (std::find(all.begin(), all.end(), path) != all.end()) continue;
    CHECK(refused(path).find("is not for this processor, which has ") != std::string::npos);
  }
}
