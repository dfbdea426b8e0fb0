#!/bin/sh
# Builds the fuzz targets (preset fuzz: clang, libFuzzer, address and undefined-behaviour sanitizers)
# and runs each for SECONDS, from the committed seeds; what is found lands in build/fuzz/findings.
# usage: tools/fuzz.sh [SECONDS [TARGET...]]
# Prints per target: executions, how many of them the reader accepted, coverage, findings. Exit codes:
# 0 none found, 1 a finding, a target that accepts nothing or no build, 2 an unknown target, 5 when clang
# is missing.
set -u
cd "$(dirname "$0")/.." || exit 1
seconds=${1:-60}
[ $# -gt 0 ] && shift
known=$(ls tests/fuzz/*.cpp | sed 's|.*/||; s|\.cpp$||')
targets=${*:-$known}
for target in $targets; do
  [ -f "tests/fuzz/$target.cpp" ] && continue
  echo "tools/fuzz.sh: expects targets out of $(echo $known), given '$target'" >&2
  exit 2
done
if ! command -v clang++ > /dev/null; then
  echo "tools/fuzz.sh: clang++ (with libFuzzer) is missing; install the packages clang and libclang-rt-dev" >&2
  exit 5
fi
cmake --preset fuzz > /dev/null && cmake --build --preset fuzz >&2 || exit 1

# A target that needs a folder writes it for every execution: in memory, not through a disk (3,900
# executions a second of text_clouds, not 80).
[ -w /dev/shm ] && export TMPDIR=/dev/shm
work=build/fuzz/work
findings=build/fuzz/findings
mkdir -p "$findings"
status=0
printf '%-12s %12s %12s %10s %10s %9s\n' target executions accepted edges features findings
for target in $targets; do
  corpus=$work/$target
  mkdir -p "$corpus"
  dictionary=
  [ -f "tests/fuzz/dictionaries/$target.dict" ] &&
    dictionary=-dict=tests/fuzz/dictionaries/$target.dict
  log=$work/$target.log
  # Allocations are bounded by the readers; the limits here catch one that is not.
  "build/fuzz/bin/fuzz_$target" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=1024 \
    -max_len=65536 -print_final_stats=1 -artifact_prefix="$findings/$target-" $dictionary \
    "$corpus" "tests/fuzz/seeds/$target" > "$log" 2>&1
  [ $? -eq 0 ] || status=1
  found=$(ls "$findings" | grep -c "^$target-")
  accepted=$(sed -n 's/^accepted: //p' "$log")
  [ "${accepted:-0}" -gt 0 ] || status=1
  printf '%-12s %12s %12s %10s %10s %9s\n' "$target" \
    "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" "$accepted" \
    "$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' "$log" | tail -1)" \
    "$(sed -n 's/.* ft: \([0-9]*\).*/\1/p' "$log" | tail -1)" "$found"
done
exit $status
