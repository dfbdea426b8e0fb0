#!/bin/sh
# Counts the instructions of fixed small cases (cases.cpp) on one instruction set and holds them
# against stored numbers: a case that takes more than 5 % more fails, with the functions that grew.
# valgrind counts for avx2 and generic; it knows no AVX-512, whose totals the processor's own
# counters give where they may be read. The numbers are of one compiler, its flags and one C library,
# which the file names; elsewhere the check is skipped.
# usage: instructions.sh PERF_CASES ISA [record]    (record: writes counts/ISA.tsv anew)
# counts/ISA.tsv: "for" and what the counts depend on; then per case a line with the total, and lines
# with the instructions of a function by itself and with what it calls, from one percent on.
# Exit codes: 0 as stored or fewer; 1 more, or a program that failed; 2 usage; 77 skipped, and why.
set -u
if [ $# -lt 2 ]; then
  echo "instructions: expects the program perf_cases and avx512, avx2 or generic" >&2
  exit 2
fi
program=$1 isa=$2 record=${3:-}
stored=$(dirname "$0")/counts/$isa.tsv
skip() {
  echo "SKIPPED: $1"
  exit 77
}
export LC_ALL=C BASIN_ISA="$isa" OPENBLAS_NUM_THREADS=1
list=$("$program" gemm 2>&1) || {
  case $list in
    *"is not for this processor"*) skip "$list" ;;
  esac
  echo "$list" >&2
  exit 1
}
setting=$("$program" | sed -n 's/^for //p')
cases=$("$program" | sed -n 's/^case //p')
if [ "$isa" = avx512 ]; then
  counter=perf
  perf stat -x, -e instructions:u true 2>&1 | grep -q '^[0-9][0-9]*,' ||
    skip "the instructions of avx512 are counted by the processor, whose counters perf cannot read here"
else
  counter=valgrind
  command -v valgrind >/dev/null 2>&1 && command -v callgrind_annotate >/dev/null 2>&1 ||
    skip "valgrind is not installed"
fi
if [ "$record" != record ]; then
  [ -f "$stored" ] || skip "no numbers are stored for $isa"
  known=$(sed -n 's/^for	//p' "$stored")
  [ "$known" = "$setting" ] || skip "the numbers are of $known; this is $setting"
fi
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT INT TERM

# functions FILE KIND OPTIONS: of a callgrind file, their instructions.
functions() {
  file=$1 kind=$2
  shift 2
  callgrind_annotate --threshold=100 --auto=no --show-percs=no "$@" "$file" |
    sed -n 's/^ *\([0-9,][0-9,]*\) *[^ :]*:\(.*\)$/\1	\2/p' |
    awk -F '\t' -v OFS='\t' -v kind="$kind" -v name="$case" '
      { gsub(",", "", $1); sub(/ \[[^]]*\]$/, "", $2); count[substr($2, 1, 200)] += $1 }
      END { for (f in count) print name, kind, count[f], f }'
}

# count CASE: its lines, as they are stored.
count() {
  case=$1
  if [ $counter = perf ]; then
    total=$(perf stat -x, -e instructions:u "$program" "$case" 2>&1 | sed -n 's/^\([0-9]*\),.*/\1/p')
    printf '%s\ttotal\t%s\t\n' "$case" "$total"
    return
  fi
  valgrind --tool=callgrind --collect-atstart=no --toggle-collect=basin_counted \
    --callgrind-out-file="$work/$case.out" "$program" "$case" >"$work/$case.log" 2>&1 || return 1
  total=$(sed -n 's/^\(summary\|totals\): \([0-9]*\).*/\2/p' "$work/$case.out" | head -n 1)
  [ "${total:-0}" -gt 0 ] || return 1
  printf '%s\ttotal\t%s\t\n' "$case" "$total"
  {
    functions "$work/$case.out" self
    functions "$work/$case.out" inclusive --inclusive=yes
  } | awk -F '\t' -v total="$total" '100 * $3 >= total && ($2 == "self" || ($4 ~ /basin::/ && $4 !~ /^(basin_counted|std::)/))' | sort -t '	' -k2,2r -k3,3nr -k4,4
}

# As many at a time as there are processors.
running=
for case in $cases; do
  (count "$case" >"$work/$case.tsv" || echo "$case" >>"$work/failed") &
  running="$running $!"
  # Word splitting is meant: a list of numbers.
  set -- $running
  if [ $# -ge "$(nproc)" ]; then
    wait "$1"
    shift
    running="$*"
  fi
done
wait
if [ -f "$work/failed" ]; then
  for case in $(cat "$work/failed"); do
    echo "instructions: $case could not be counted" >&2
    tail -n 5 "$work/$case.log" >&2
  done
  exit 1
fi
printf 'for\t%s\n' "$setting" >"$work/now.tsv"
for case in $cases; do cat "$work/$case.tsv" >>"$work/now.tsv"; done
if [ "$record" = record ]; then
  mkdir -p "$(dirname "$stored")"
  cp "$work/now.tsv" "$stored"
  echo "instructions: recorded $stored"
  exit 0
fi

awk -F '\t' '
  $1 == "for" { next }
  NR == FNR { old[$1, $2, $4] = $3; next }
  { now[$1, $2, $4] = $3 }
  $2 == "total" { names[++cases] = $1; next }
  { rows[++n] = $1 SUBSEP $2 SUBSEP $4 }
  function growth(row) { return now[row] - old[row] }
  function tell(row,   part) {
    split(row, part, SUBSEP)
    printf "    %+d (%s before) %s\n", growth(row), row in old ? old[row] : "below 1 %", part[3]
  }
  # The functions of one kind that grew by the given amount or more: the smallest first (by what it
  # does altogether, so that a caller follows what it calls), eight at most.
  function tell_grown(name, kind, least, most,   i, best, told, k, part) {
    for (k = 0; k < most; k++) {
      best = ""
      for (i = 1; i <= n; i++) {
        split(rows[i], part, SUBSEP)
        if (part[1] != name || part[2] != kind || rows[i] in told || growth(rows[i]) < least) continue
        if (best == "" || (kind == "self" ? growth(rows[i]) > growth(best) : now[rows[i]] < now[best])) {
          best = rows[i]
        }
      }
      if (best == "") return
      told[best] = 1
      tell(best)
    }
  }
  END {
    for (c = 1; c <= cases; c++) {
      name = names[c]
      before = old[name, "total", ""]
      after = now[name, "total", ""]
      if (before == 0) { printf "%-16s %12d: no number is stored; FAILED\n", name, after; status = 1; continue }
      change = 100 * (after - before) / before
      verdict = change > 5 ? "FAILED" : change < -5 ? "fewer: record them" : "as stored"
      printf "%-16s %12d instructions, %12d stored, %+6.2f %%: %s\n", name, after, before, change, verdict
      if (change <= 5) continue
      status = 1
      print "  grew most by itself:"
      tell_grown(name, "self", (after - before) / 10, 3)
      print "  and with what it calls, from the inside out:"
      tell_grown(name, "inclusive", (after - before) / 2, 8)
    }
    exit status
  }' "$stored" "$work/now.tsv"
