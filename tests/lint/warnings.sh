#!/bin/sh
# Warnings lint: a user's source that includes basin.h and every header of the kernels, and the
# consumer of tests/consumers, compile without a warning under flags stricter than our own. The
# headers are found by -I: the compiler does not excuse them as a system's.
# usage: warnings.sh SOURCE_DIR CXX INCLUDE_DIR
set -u
cd "$1" || exit 2
command -v "$2" >/dev/null 2>&1 || { echo "SKIPPED: no $2"; exit 77; }
{
  cat tests/consumers/consumer.cpp
  for header in kernels/*.h; do
    echo "#include \"basin/$header\""
  done
} | "$2" -std=c++20 -fsyntax-only -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror \
  -I"$3" -x c++ -
