#!/bin/sh
# tools/gpu_static.sh told of a kernel that spills: one is compiled with too few registers.
# usage: planted_spill.sh SOURCE_DIR
# Exit codes: 0; 1 it was not told; 77 no nvcc.
source=$1
PATH=$PATH:/usr/local/cuda/bin
if ! command -v nvcc >/dev/null 2>&1; then
  echo "SKIPPED: no nvcc"
  exit 77
fi
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
cat >"$folder/planted.cu" <<'CODE'
__global__ void planted_kernel(const float* x, float* y, int n) {
  float held[64];
  for (int k = 0; k < 64; ++k) held[k] = x[k * n + threadIdx.x];
  for (int round = 0; round < n; ++round) {
#pragma unroll
    for (int k = 0; k < 64; ++k) held[k] = held[k] * held[(k + 7) % 64] + held[(k + 13) % 64];
  }
  for (int k = 0; k < 64; ++k) y[k * n + threadIdx.x] = held[k];
}
CODE
compile() { # REGISTERS
  "$source/cmake/keep_ptxas.sh" "$folder/planted.cu.o" nvcc -O3 -maxrregcount "$1" \
    -gencode arch=compute_90,code=sm_90 -Xptxas=-v -c "$folder/planted.cu" -o "$folder/planted.cu.o"
}
compile 255 || exit 1
if ! "$source/tools/gpu_static.sh" "$folder"; then
  echo "a kernel that does not spill was refused"
  exit 1
fi
compile 32 || exit 1
if told=$("$source/tools/gpu_static.sh" "$folder" 2>&1); then
  echo "a kernel that spills was not told: $told"
  exit 1
fi
case $told in
  *"planted.cu: a kernel spills "*"planted_kernel"*) echo "$told" ;;
  *)
    echo "the planted kernel is not named: $told"
    exit 1
    ;;
esac
