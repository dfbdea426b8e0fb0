#!/usr/bin/env bash
# What the compiler says of every CUDA kernel, without a GPU: registers, spilled bytes, static shared
# memory, and the warps that a multiprocessor holds by registers (64 at most). Reads what the build of
# the preset `cuda` kept beside its objects. A kernel that spills and is not in
# tests/gpu/spills.txt, or spills more than there, is told and fails. How often kernels are launched,
# how a step waits and what it copies are counted by tests/emulation/launches_test.cpp.
# usage: tools/gpu_static.sh [--table] [--record] [BUILD]
#   --table    every kernel, a line each: file, registers, spilled bytes, shared bytes, warps, kernel
#   --record   write tests/gpu/spills.txt anew
#   BUILD      default: build/cuda
# Exit codes: 0; 1 a kernel has begun to spill; 2 usage; 77 nothing was compiled by nvcc there.
set -u
cd "$(dirname "$0")/.." || exit 1
table=0 record=0 build=build/cuda stored=tests/gpu/spills.txt architecture=sm_90
for argument in "$@"; do
  case $argument in
    --table) table=1 ;;
    --record) record=1 ;;
    -*)
      echo "gpu_static: expects --table, --record or a build folder, given '$argument'" >&2
      exit 2
      ;;
    *) build=$argument ;;
  esac
done
mapfile -t logs < <(find "$build" -name '*.cu.o.ptxas' 2>/dev/null | sort)
if [ "${#logs[@]}" = 0 ]; then
  echo "SKIPPED: no kernel was compiled in $build; make it by: cmake --preset cuda && cmake --build" \
    "--preset cuda --target basin_cuda"
  exit 77
fi

# FILE <tab> REGISTERS <tab> SPILLED <tab> SHARED <tab> WARPS <tab> KERNEL; stores and loads together.
kernels() {
  awk -v wanted="'$architecture'" '
    /Compiling entry function/ { split($0, part, "\047"); name = part[2]; take = index($0, wanted) }
    /bytes spill stores/ { if (take) { match($0, /[0-9]+ bytes spill stores/)
      spilled = substr($0, RSTART) + 0; match($0, /[0-9]+ bytes spill loads/)
      spilled += substr($0, RSTART) + 0 } }
    /Used [0-9]+ registers/ { if (!take) next
      match($0, /Used [0-9]+/); registers = substr($0, RSTART + 5) + 0
      shared = match($0, /[0-9]+ bytes smem/) ? substr($0, RSTART) + 0 : 0
      # Registers are given to a warp in groups of 256, warps to the four schedulers alike.
      warps = 4 * int(16384 / (int((registers * 32 + 255) / 256) * 256)); if (warps > 64) warps = 64
      file = FILENAME; sub(/.*\//, "", file); sub(/\.o\.ptxas$/, "", file)
      printf "%s\t%d\t%d\t%d\t%d\t%s\n", file, registers, spilled, shared, warps, name }' \
    "${logs[@]}" | c++filt | sort
}
all=$(kernels)
spills() { awk -F '\t' '$3 > 0 { print $3 "\t" $1 "\t" $6 }' <<<"$all" | sort -k2; }

if [ "$table" = 1 ]; then
  printf 'file\tregisters\tspilled\tshared\twarps\tkernel\n%s\n' "$all"
fi
awk -F '\t' -v arch="$architecture" '
  { n++; if ($2 > most) { most = $2; who = $1 } if ($5 < 16) few++; if ($3 > 0) spilling++ }
  END { printf "%s: %d kernels, at most %d registers (%s), %d with fewer than 16 warps by registers, %d that spill\n",
        arch, n, most, who, few, spilling }' <<<"$all"
if [ "$record" = 1 ]; then
  {
    echo "# Kernels that spill registers on $architecture: bytes stored and loaded, file, kernel. Made by"
    echo "# tools/gpu_static.sh --record, which fails where another kernel begins to."
    spills
  } >"$stored" || exit 1
  exit 0
fi
# Beyond what is stored; the compiler's version may move a few bytes.
spills | awk -F '\t' -v file="$stored" '
  BEGIN { while ((getline line < file) > 0) { if (line ~ /^#/) continue
    split(line, part, "\t"); before[part[2] "\t" part[3]] = part[1] } }
  { key = $2 "\t" $3; allowed = (key in before) ? before[key] * 1.05 : 0
    if ($1 > allowed) { print "gpu_static: " $2 ": a kernel spills " $1 " bytes, stored are " \
      (key in before ? before[key] : 0) ": " $3; bad = 1 } }
  END { exit bad }'
