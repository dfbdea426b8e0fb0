#!/bin/sh
# The CUDA kernels on the emulated device against the CPU, as one Markdown table: every comparison
# that the last run of the tests printed (its log, nothing is run again). Relative differences.
# usage: tools/emulation_table.sh [LOG]     default: build/release/Testing/Temporary/LastTest.log
# Exit codes: 0; 2 when there is no such log.
set -u
cd "$(dirname "$0")/.." || exit 1
log=${1:-build/release/Testing/Temporary/LastTest.log}
if [ ! -r "$log" ]; then
  echo "emulation_table: no log $log; run tools/test.sh first" >&2
  exit 2
fi
awk '
  function row(name, shapes, f64, f32) {
    if (!rows++) {
      print "| kernel, op or network | shapes | largest difference, f64 | f32 |"
      print "|---|---|---|---|"
    }
    printf "| %s | %s | %s | %s |\n", name, shapes, f64, f32
    if (name == "network" || name == "step") return  # rounding grows from layer to layer
    ++kernels
    if (f64 + 0 > worst64) worst64 = f64 + 0
    if (f32 + 0 > worst32) worst32 = f32 + 0
  }
  # the number that follows a word
  function after(word,   i) {
    for (i = 1; i < NF; ++i) if ($i == word) { value = $(i + 1); sub(/[,;]$/, "", value); return value }
    return ""
  }
  /^device: .* largest difference f64 / {
    name = $2; sub(/,$/, "", name)
    row("op " name, $3 " cases, " $5 " comparisons", after("f64"), after("f32"))
    next
  }
  /^(network|step): .* f64 .*, f32 / {
    name = $0; sub(/:.*/, "", name)
    text = $0; sub(/^[a-z]*: /, "", text); sub(/, (loss against|largest difference).*/, "", text)
    row(name, text, after("f64"), after("f32"))
    next
  }
  / f64 [0-9.e+-]+  f32 [0-9.e+-]+$/ {
    text = $0; sub(/ +f64 .*/, "", text)
    name = text; sub(/  .*/, "", name)
    shapes = substr(text, length(name) + 1); sub(/^ +/, "", shapes)
    if (shapes == "") { shapes = name; sub(/^[^ ]* /, "", shapes); sub(/ .*/, "", name) }
    row(name, shapes, after("f64"), after("f32"))
  }
  END {
    if (!rows) { print "no comparison with the emulated device in this log"; exit }
    printf "\n%d rows, %d of kernels and ops; their largest differences: f64 %.1e, f32 %.1e\n",
      rows, kernels, worst64, worst32
  }' "$log"
