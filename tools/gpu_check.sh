#!/usr/bin/env bash
# What a machine with a GPU can show that CI cannot: builds Basin with its CUDA kernels for that GPU,
# runs the tests of label gpu, compute-sanitizer on the small ones, the bench beside PyTorch, and a
# short training, and writes bench/results/DATE-gpu.{json,md}. Every stage has a time limit, all
# together nine minutes on 16 cores; a stage that fails is reported and the rest still runs.
# usage: tools/gpu_check.sh
#   DATA=DIR          ModelNet40 for the training; default: what is found below BASIN_DATA or
#                     ../shared/data, else the embedded shapes
#   PYTHON=python3    with a CUDA build of torch (and PyG) for the peers; without one they are skipped
#   RESULTS=DIR       instead of bench/results
# Exit codes: 0 all stages passed; 1 some failed; 5 no GPU, no CUDA toolkit or missing packages.
set -u
cd "$(dirname "$0")/.." || exit 1
budget=540 build=build/gpu
started=$SECONDS

stop() {
  echo "gpu_check: $1" >&2
  exit 5
}
if ! gpus=$(nvidia-smi --query-gpu=name,compute_cap --format=csv,noheader 2>/dev/null) || [ -z "$gpus" ]
then
  stop "no NVIDIA GPU is visible here (nvidia-smi lists none); nothing was built"
fi
PATH=$PATH:/usr/local/cuda/bin
command -v nvcc >/dev/null 2>&1 || stop "a GPU is there, nvcc is not; install the CUDA toolkit"
gpu=$(head -n 1 <<<"$gpus")
architecture=$(tr -d ' .' <<<"${gpu##*,}")
gpu=${gpu%%,*}
. tools/setup.sh
basin_setup

day=$(date -u +%Y-%m-%d)
results=${RESULTS:-bench/results}
work=$build/check
rm -rf "$work"
mkdir -p "$work" "$results" || exit 6
stages=() failed=0

# stage NAME SECONDS COMMAND...: runs it with its output in $work/NAME.log; never stops the script.
stage() {
  local name=$1 limit=$2 log=$work/$1.log code begin=$SECONDS
  shift 2
  local left=$((budget - (SECONDS - started)))
  [ "$limit" -le "$left" ] || limit=$left
  if [ "$limit" -le 0 ]; then
    echo "no time left" >"$log"
    code=124
  else
    echo "gpu_check: $name, at most $limit s" >&2
    timeout --kill-after=5 "$limit" bash -c '"$@"' stage "$@" >"$log" 2>&1
    code=$?
  fi
  stages+=("$name|$code|$((SECONDS - begin))")
  [ "$code" = 0 ] && return 0
  failed=1
  echo "gpu_check: $name failed with code $code, the end of its output:" >&2
  tail -n 15 "$log" >&2
  return 1
}
skip() { # NAME WHY
  echo "gpu_check: $1 is skipped, $2" >&2
  echo "$2" >"$work/$1.log"
  stages+=("$1|skipped|0")
}

build_all() {
  local launcher=
  command -v ccache >/dev/null 2>&1 && launcher=-DCMAKE_CXX_COMPILER_LAUNCHER=ccache
  # The preset's architectures are those of a release; here only this machine's counts.
  cmake --preset cuda -B "$build" -DCMAKE_CUDA_ARCHITECTURES="$architecture" \
    -DBASIN_BUILD_EXAMPLES=OFF $launcher &&
    cmake --build "$build" --parallel "$(nproc)" --target test_gpu bench train_modelnet
}

gpu_tests() {
  ctest --test-dir "$build" -L gpu --parallel 8 --output-on-failure --no-tests=error
}

sanitize() { # TOOL: the small cases, each kernel once
  BASIN_TEST_RERUNS=0 compute-sanitizer --tool "$1" --error-exitcode 9 --log-file "$work/$1.txt" \
    "$build/tests/test_gpu" --test-case='emulation: *' --test-case-exclude='*products*'
}

basin_bench() {
  "$build/bin/bench" knn newton_schulz pointnet dgcnn egnn --device cuda --repeats 5 \
    --json "$work/bench.json"
}

peers() { # CASE VARIANT [flags]: PyTorch beside the bench
  local name=$1-$2
  (cd bench && "$python" peer_pytorch.py "$1" --variant "$2" --device cuda --repeats 5 \
    --json "../$work/peer-$name${3:-}.json" ${3:-})
}
all_peers() {
  local code=0
  peers knn matmul || code=1
  peers newton_schulz batched || code=1
  peers pointnet conv1d || code=1
  peers dgcnn linear || code=1
  peers egnn regular || code=1
  if "$python" -c 'import torch_geometric' 2>/dev/null; then peers egnn pyg || code=1; fi
  return $code
}
compiled_peers() {
  local code=0
  for case in pointnet:conv1d dgcnn:linear egnn:regular; do
    (cd bench && "$python" peer_pytorch.py "${case%:*}" --variant "${case#*:}" --device cuda \
      --repeats 5 --parts gradient,adam --compile --json "../$work/peer-${case%:*}-compiled.json") ||
      code=1
  done
  return $code
}

train() {
  local optimizer
  for optimizer in adamw muon; do
    "$build/bin/train_modelnet" --data "$data" --model pointnet --optimizer "$optimizer" \
      --points 512 --epochs "$epochs" --device cuda --seed 0 --out "$work/run-$optimizer" || return
  done
  "$build/bin/train_modelnet" compare "$work/run-adamw" "$work/run-muon"
}

find_data() {
  local root
  for root in "${BASIN_DATA:-}" ../shared/data; do
    [ -d "$root/modelnet40/modelnet40_ply_hdf5_1024" ] || continue
    echo "$root/modelnet40/modelnet40_ply_hdf5_1024"
    return
  done
  echo embedded
}

# A stage runs in a shell of its own, under timeout.
data=${DATA:-$(find_data)} epochs=3 python=${PYTHON:-python3}
export build work architecture data epochs python
export -f build_all gpu_tests sanitize basin_bench peers all_peers compiled_peers train

if stage build 240 build_all; then
  stage tests 100 gpu_tests
  if command -v compute-sanitizer >/dev/null 2>&1; then
    stage memcheck 45 sanitize memcheck
    stage racecheck 45 sanitize racecheck
  else
    skip memcheck "compute-sanitizer was not found"
    skip racecheck "compute-sanitizer was not found"
  fi
  stage bench 60 basin_bench
  stage training 60 train
  if "$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    stage peers 60 all_peers
    stage peers_compiled 60 compiled_peers
  else
    skip peers "$python has no torch that sees the GPU"
  fi
fi

# --- the report ---
# Medians of one flat JSON file, "key value" a line, without ".median_ms".
medians() { sed -n 's/^ *"\([^"]*\)\.median_ms": \([0-9.eE+-]*\),\{0,1\}$/\1 \2/p' "$1"; }

ratio_table() { # Basin, and each peer's time over it
  local file
  [ -s "$work/bench.json" ] || return 0
  echo '| case | Basin, ms | peer | peer, ms | ratio |'
  echo '|---|---|---|---|---|'
  for file in "$work"/peer-*.json; do
    [ -s "$file" ] || continue
    name=$(basename "$file" .json)
    join <(medians "$work/bench.json" | sort) <(medians "$file" | sort) |
      awk -v peer="${name#peer-}" '{ printf "| %s | %.3f | %s | %.3f | %.2fx |\n", $1, $2, peer, $3, $3 / $2 }'
  done
}

report_markdown() {
  echo "# Basin on a GPU, $day"
  echo
  echo "$gpu, sm_$architecture; driver $(nvidia-smi --query-gpu=driver_version --format=csv,noheader | head -n 1); $(nvcc --version | tail -n 2 | head -n 1); $(nproc) cores; commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown). Made by \`tools/gpu_check.sh\`."
  echo
  echo '| stage | result | seconds |'
  echo '|---|---|---|'
  for s in "${stages[@]}"; do
    IFS='|' read -r name code seconds <<<"$s"
    case $code in 0) text=passed ;; 124 | 137) text='ran out of time' ;; skipped) text="skipped: $(head -n 1 "$work/$name.log")" ;; *) text="failed, code $code" ;; esac
    echo "| $name | $text | $seconds |"
  done
  echo
  ratio_table
  for name in tests bench training peers peers_compiled; do
    [ -s "$work/$name.log" ] || continue
    printf '\n## %s\n\n```\n' "$name"
    if [ "$name" = tests ] || [ "$name" = training ]; then tail -n 25 "$work/$name.log"; else cat "$work/$name.log"; fi
    echo '```'
  done
}

report_json() {
  local separator='' s name code seconds file
  printf '{\n  "date": "%s",\n  "gpu": "%s",\n  "architecture": "sm_%s",\n  "commit": "%s",\n  "stages": {' \
    "$day" "$gpu" "$architecture" "$(git rev-parse HEAD 2>/dev/null || echo unknown)"
  for s in "${stages[@]}"; do
    IFS='|' read -r name code seconds <<<"$s"
    printf '%s\n    "%s": {"code": "%s", "seconds": %s}' "$separator" "$name" "$code" "$seconds"
    separator=,
  done
  printf '\n  }'
  for file in "$work"/bench.json "$work"/peer-*.json "$work"/run-*/result.json; do
    [ -s "$file" ] || continue
    case $file in */run-*) name=$(basename "$(dirname "$file")") ;; *) name=$(basename "$file" .json) ;; esac
    printf ',\n  "%s": ' "$name"
    cat "$file"
  done
  printf '\n}\n'
}

report_markdown >"$results/$day-gpu.md" && report_json >"$results/$day-gpu.json" || exit 6
cat "$results/$day-gpu.md"
echo "gpu_check: $((SECONDS - started)) s; written: $results/$day-gpu.{md,json}" >&2
exit "$failed"
