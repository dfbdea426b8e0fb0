// A library to preload (LD_PRELOAD) into a program under test: before main it gives the program the
// locales of a host program that writes 1.234,5: the global one of C++, and that of C when
// HOST_LOCALE names one that setlocale knows.
#include <clocale>
#include <cstdlib>
#include <locale>

#include "basin/tests/tools/host_locale.h"

namespace {

const bool chosen = [] {
  std::locale::global(basin::test::grouping_locale());
  if (const char* name = std::getenv("HOST_LOCALE")) {
    if (std::setlocale(LC_ALL, name) == nullptr) std::abort();
  }
  return true;
}();

}  // namespace
