// Periods in steps and in epochs.
#include "basin/train/period.h"

#include "basin/tests/core/errors.h"
#include "basin/tests/core/files.h"

namespace basin::test {

TEST_CASE("period: steps, epochs, and the way back to text") {
  const Period steps = parse_period("500"), epochs = parse_period("5e");
  CHECK_FALSE(steps.epochs);
  CHECK(epochs.epochs);
  CHECK(steps.in_steps(7) == 500);
  CHECK(epochs.in_steps(7) == 35);
  CHECK(steps.text() == "500");
  CHECK(epochs.text() == "5e");
  CHECK(parse_period("1").in_steps(100) == 1);
}

TEST_CASE("period: what is none is a usage error that shows the form") {
  for (const char* bad : {"", "e", "0", "0e", "-3", "-3e", "5 e", "5ee", "5s", "1.5", "e5",
                          "99999999999999999999", "2000000000000"}) {
    CAPTURE(bad);
    const auto error = error_of([&] { parse_period(bad); });
    CHECK(error.first == ErrorKind::usage);
    CHECK(error.second ==
          str("expected a number of steps (500) or of epochs (5e), at least 1, given '", bad, "'"));
  }
}

}  // namespace basin::test
