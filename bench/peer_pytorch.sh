#!/bin/sh
# Runs peer_pytorch.py as PyTorch comes ("as-installed") and with glibc's allocator told to keep its
# pages ("tuned"), on 1 and 2 threads. A fresh page costs about ten times a reused one and PyTorch's
# CPU allocator returns its large blocks at once, so a ratio that ignores this flatters whoever
# reuses.
# BASIN_ISA=avx2 holds PyTorch, oneDNN and MKL to AVX2 too, as it holds bench.
# usage: PYTHON=python3 THREADS="1 2" LABELS="as-installed tuned" OUT=DIR \
#          peer_pytorch.sh [CASE [arguments of peer_pytorch.py]]      CASE: pointnet if not given
set -eu
here=$(dirname "$0")
python=${PYTHON:-python3}
unset MALLOC_MMAP_MAX_ MALLOC_TRIM_THRESHOLD_ MALLOC_TOP_PAD_ GLIBC_TUNABLES ATEN_CPU_CAPABILITY
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE OMP_NUM_THREADS MKL_NUM_THREADS
if [ "${BASIN_ISA:-}" = avx2 ]; then
  export ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2
fi
[ $# -gt 0 ] || set -- pointnet
[ -z "${OUT:-}" ] || mkdir -p "$OUT"

for threads in ${THREADS:-1 2}; do
  for label in ${LABELS:-as-installed tuned}; do
    settings=
    if [ "$label" = tuned ]; then
      settings="MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_TOP_PAD_=268435456
        GLIBC_TUNABLES=glibc.malloc.hugetlb=1"
    fi
    # Word splitting is meant: $settings is a list of assignments without blanks.
    env $settings "$python" "$here/peer_pytorch.py" "$@" --threads "$threads" --label "$label" \
      ${OUT:+--json "$OUT/pytorch-$1-$label-$threads.json"}
    echo
  done
done
