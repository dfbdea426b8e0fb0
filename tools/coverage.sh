#!/bin/sh
# Line coverage of the tests, per folder: builds the preset coverage (gcc --coverage, -O1), runs the
# tests there and prints what gcovr counts. Run are the labels unit and slow without what repeats
# the same lines (crash campaigns, 10,000 replications) and without the consumers, which are builds
# of their own; arguments replace that choice and go to ctest: tools/coverage.sh -L unit
# Counted are all sources and headers of Basin that a build without CUDA compiles; kernels/cuda (the
# emulated device runs it, ctest -L emulation), the tests and other people's headers are not. Code in
# core and optim that only a device reaches counts as missed. Where a kernel is compiled for several
# instruction sets from the same lines, a line counts when the variant of this machine ran it; one
# written for a set that this machine lacks counts as missed. Branches are those of gcc at -O1,
# without the ones that only an exception takes.
# BASIN_COVERAGE_DETAILS=FILE also writes every line's count there, as HTML.
# Exit codes: 0 at least 90 % of the lines, 1 fewer, a failed test or no build, 5 gcovr is missing.
set -u
cd "$(dirname "$0")/.." || exit 1
least=90
if ! command -v gcovr > /dev/null; then
  echo "tools/coverage.sh: gcovr is missing; install the package gcovr" >&2
  exit 5
fi
build=build/coverage
cmake --preset coverage > /dev/null || exit 1
# Every test program but those of the emulated device, which carry sanitizers; and the examples.
programs=$(for test in tests/*/*_test.cpp; do
  folder=$(basename "$(dirname "$test")")
  case $test in
    tests/emulation/*) ;;
    *_slow_test.cpp) echo "test_${folder}_slow" ;;
    *) echo "test_$folder" ;;
  esac
done | sort -u)
examples=$(for main in examples/*/main.cpp; do
  echo "example_$(basename "$(dirname "$main")")"
done)
# shellcheck disable=SC2086
cmake --build "$build" --target $programs $examples >&2 || exit 1

find "$build" -name '*.gcda' -delete
[ $# -gt 0 ] || set -- -L 'unit|slow' -E 'consumers|trace coverage|crash: (kills|killed|every call)'
status=0
ctest --preset coverage --parallel "$(nproc)" "$@" >&2 || status=1

table=$build/coverage.csv
gcovr --root . --object-directory "$build" --exclude-directories '.*CompilerId.*' -j "$(nproc)" \
  --filter '(analysis|autograd|core|datasets|examples|kernels|models|nn|optim|tools)/' \
  --exclude-throw-branches --exclude-unreachable-branches \
  --csv "$table" ${BASIN_COVERAGE_DETAILS:+--html-details "$BASIN_COVERAGE_DETAILS"} >&2 || exit 1
awk -F, -v least=$least '
  function row(name, lines, hit, branches, taken) {
    printf "%-12s %8d %8d %7.1f %10d %8d %7.1f\n", name, lines, hit, 100 * hit / (lines ? lines : 1),
           branches, taken, 100 * taken / (branches ? branches : 1)
  }
  FNR > 1 {
    folder = $1
    sub(/^.*\/include\/basin\//, "", folder)  # headers are reached through this link
    sub(/\/.*/, "", folder)
    lines[folder] += $2; hit[folder] += $3; branches[folder] += $5; taken[folder] += $6
    all += $2; all_hit += $3; all_branches += $5; all_taken += $6
  }
  BEGIN {
    printf "%-12s %8s %8s %7s %10s %8s %7s\n", "folder", "lines", "covered", "%", "branches",
           "taken", "%"
  }
  END {
    n = split("core kernels autograd nn models optim datasets analysis tools examples", order, " ")
    for (i = 1; i <= n; ++i) {
      f = order[i]
      if (f in lines) row(f, lines[f], hit[f], branches[f], taken[f])
    }
    row("all", all, all_hit, all_branches, all_taken)
    if (all_hit * 100 < least * all) {
      printf "expected at least %d %% of the lines\n", least
      exit 1
    }
  }' "$table" || status=1
exit $status
