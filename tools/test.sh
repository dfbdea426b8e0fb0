#!/bin/sh
# Builds Basin (preset release) and runs its tests: labels unit, lint, slow, emulation (the CUDA
# kernels on an emulated device) and perf (instructions of small cases against stored numbers). Arguments replace the choice of tests and go to ctest:
# tools/test.sh -L unit
# Exit codes: ctest's own; 1 when the build fails; 5 when packages are missing.
set -u
cd "$(dirname "$0")/.." || exit 1
. tools/setup.sh
basin_setup
basin_setup_tests
basin_build release || exit 1
[ $# -gt 0 ] || set -- -L 'unit|lint|slow|emulation|perf'
ctest --preset release --parallel "$(nproc)" "$@"
