#!/usr/bin/env bash
# What a machine with a GPU can show that CI cannot: builds Basin with its CUDA kernels for that GPU,
# runs the tests of label gpu, the bench, a short training, the bench of PyTorch, and compute-sanitizer
# on the small tests: in this order, which is that of their worth. Each stage has a limit, all together
# nine minutes on 16 cores; a stage that fails is reported and the rest still runs. After each one
# bench/results/DATE-gpu.{json,md} holds what there is.
# usage: tools/gpu_check.sh [--prefix DIR] [--rehearse]
#   --prefix DIR      libraries and headers unpacked there (tools/gpu_prefix.sh): nothing is installed,
#                     no package mirror is asked
#   --rehearse        on the emulated device, with small sizes: shows that the script runs whole where
#                     there is no GPU; limits are those of SLOWER, the results say what they are
#   DATA=DIR          ModelNet40 for the training; default: what is found below BASIN_DATA or
#                     ../shared/data, else the embedded shapes
#   PYTHON=python3    with a CUDA build of torch (and PyG) for the peers; without one they are skipped
#   RESULTS=DIR       instead of bench/results
#   SLOWER=1          all limits times so much, for a machine with fewer cores (a rehearsal: 20)
# Exit codes: 0 all stages passed; 1 some failed; 2 usage; 5 no GPU, no CUDA toolkit or missing
# packages; 6 no results can be written.
set -u
cd "$(dirname "$0")/.." || exit 1
prefix='' rehearse=0
while [ $# -gt 0 ]; do
  case $1 in
    --prefix)
      prefix=${2:-}
      if [ ! -d "$prefix/usr/include" ]; then
        echo "gpu_check: --prefix expects a folder made by tools/gpu_prefix.sh, given '$prefix'" >&2
        exit 2
      fi
      prefix=$(cd "$prefix" && pwd)
      shift
      ;;
    --rehearse) rehearse=1 ;;
    *)
      echo "gpu_check: expects --prefix DIR or --rehearse, given '$1'" >&2
      exit 2
      ;;
  esac
  shift
done
slower=${SLOWER:-$((rehearse ? 20 : 1))}
budget=$((540 * slower)) started=$SECONDS
build=build/gpu$([ "$rehearse" = 0 ] || echo _rehearsal)

stop() {
  echo "gpu_check: $1" >&2
  exit 5
}
if [ "$rehearse" = 1 ]; then
  gpu='emulated device' architecture=none toolkit='no CUDA toolkit' driver='no driver'
else
  if ! gpus=$(nvidia-smi --query-gpu=name,compute_cap --format=csv,noheader 2>/dev/null) ||
    [ -z "$gpus" ]; then
    stop "no NVIDIA GPU is visible here (nvidia-smi lists none); nothing was built"
  fi
  PATH=$PATH:/usr/local/cuda/bin
  command -v nvcc >/dev/null 2>&1 || stop "a GPU is there, nvcc is not; install the CUDA toolkit"
  gpu=$(head -n 1 <<<"$gpus")
  architecture=$(tr -d ' .' <<<"${gpu##*,}")
  gpu=${gpu%%,*}
  toolkit=$(nvcc --version | tail -n 2 | head -n 1)
  driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader | head -n 1)
fi
if [ -n "$prefix" ]; then
  for tool in c++ cmake ninja; do
    command -v "$tool" >/dev/null 2>&1 || stop "$tool is not here, and --prefix does not hold it"
  done
  libraries=$prefix/usr/lib/$(uname -m)-linux-gnu
  export LD_LIBRARY_PATH=$libraries:$libraries/openblas-pthread${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
else
  . tools/setup.sh
  basin_setup
fi
# cuBLAS would otherwise round to TF32 behind the back of what --tf32 says.
unset NVIDIA_TF32_OVERRIDE

day=$(date -u +%Y-%m-%d)
results=${RESULTS:-bench/results}
work=$build/check
rm -rf "$work"
mkdir -p "$work" "$results" || exit 6
stages=() failed=0

# stage NAME SECONDS COMMAND...: runs it with its output in $work/NAME.log; never stops the script.
stage() {
  local name=$1 limit=$(($2 * slower)) log=$work/$1.log code begin=$SECONDS
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
  write_reports
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
  local launcher='' found='' device targets
  command -v ccache >/dev/null 2>&1 && launcher=-DCMAKE_CXX_COMPILER_LAUNCHER=ccache
  [ -z "$prefix" ] || found="-DCMAKE_PREFIX_PATH=$prefix/usr -DCMAKE_LIBRARY_PATH=$libraries/openblas-pthread"
  # The preset's architectures are those of a release; here only this machine's counts.
  if [ "$rehearse" = 1 ]; then
    device=-DBASIN_EMULATE_CUDA=ON targets="test_emulation bench train_modelnet"
  else
    device="-DBASIN_WITH_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES=$architecture"
    targets="test_gpu bench train_modelnet"
  fi
  # Word splitting is meant: lists of arguments.
  cmake --preset release -B "$build" -DBASIN_BUILD_EXAMPLES=OFF -DBASIN_WITH_MPI=OFF \
    -DCMAKE_UNITY_BUILD=ON -DCMAKE_UNITY_BUILD_BATCH_SIZE=6 $device $launcher $found &&
    cmake --build "$build" --parallel "$(nproc)" --target $targets
}

gpu_tests() {
  if [ "$rehearse" = 1 ]; then # one test of each kind
    ctest --test-dir "$build" -R 'emulation: the kernels of clipping|emulation graph' \
      --parallel "$(nproc)" --output-on-failure --no-tests=error
  else
    ctest --test-dir "$build" -L gpu --parallel 8 --output-on-failure --no-tests=error
  fi
}

sanitize() { # TOOL: the small cases, each kernel once
  BASIN_TEST_RERUNS=0 compute-sanitizer --tool "$1" --error-exitcode 9 --log-file "$work/$1.txt" \
    "$build/tests/test_gpu" --test-case='emulation: *' --test-case-exclude='*products*'
}

basin_bench() {
  local small=''
  [ "$rehearse" = 0 ] || small='--batch 2 --points 32 --k 4 --dims 3 --parts gradient,adam'
  # Word splitting is meant.
  "$build/bin/bench" knn pointnet dgcnn egnn $([ "$rehearse" = 1 ] || echo newton_schulz) \
    --device cuda --repeats $((rehearse ? 1 : 5)) $small --json "$work/bench.json"
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
  local optimizer small=''
  [ "$rehearse" = 0 ] || small='--limit 16 --batch 4 --points 32 --epochs 1 --set model.widths=8,16,32,16,8'
  for optimizer in adamw muon; do
    # Word splitting is meant.
    "$build/bin/train_modelnet" --data "$data" --model pointnet --optimizer "$optimizer" \
      --points 512 --epochs "$epochs" --device cuda --seed 0 --out "$work/run-$optimizer" $small ||
      return
  done
  "$build/bin/train_modelnet" compare "$work/run-adamw" "$work/run-muon"
}

find_data() {
  local root
  [ "$rehearse" = 0 ] && [ -z "$prefix" ] || { echo embedded && return; } # no HDF5 in a prefix
  for root in "${BASIN_DATA:-}" ../shared/data; do
    [ -d "$root/modelnet40/modelnet40_ply_hdf5_1024" ] || continue
    echo "$root/modelnet40/modelnet40_ply_hdf5_1024"
    return
  done
  echo embedded
}

# A stage runs in a shell of its own, under timeout.
data=${DATA:-$(find_data)} epochs=3 python=${PYTHON:-python3}
export build work architecture data epochs python prefix rehearse libraries
export -f build_all gpu_tests sanitize basin_bench peers all_peers compiled_peers train

# --- the report ---
# Medians of one flat JSON file, "key value" a line, without ".median_ms".
medians() { sed -n 's/^ *"\([^"]*\)\.median_ms": \([0-9.eE+-]*\),\{0,1\}$/\1 \2/p' "$1"; }

ratio_table() { # Basin, and each peer's time over it
  local file name
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
  local s name code seconds text
  if [ "$rehearse" = 1 ]; then
    echo "# Rehearsal of the check of a GPU on the emulated device, $day: no time here is a device's"
  else
    echo "# Basin on a GPU, $day"
  fi
  echo
  echo "$gpu, sm_$architecture; driver $driver; $toolkit; $(nproc) cores; commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown). Made by \`tools/gpu_check.sh\`."
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

# What there is so far; a machine that goes away in the middle leaves it.
write_reports() {
  local name=$results/$day-gpu$([ "$rehearse" = 0 ] || echo -rehearsal)
  report_markdown >"$name.md.part" && mv "$name.md.part" "$name.md" &&
    report_json >"$name.json.part" && mv "$name.json.part" "$name.json" || exit 6
  report=$name
}

if stage build 240 build_all; then
  stage tests 100 gpu_tests
  stage bench 60 basin_bench
  stage training 60 train
  if [ "$rehearse" = 1 ]; then
    skip peers "a rehearsal has no GPU for them"
    skip sanitizers "a rehearsal has no GPU for them; the emulated device's tests have sanitizers of their own"
  else
    if "$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
      stage peers 60 all_peers
    else
      skip peers "$python has no torch that sees the GPU"
    fi
    if command -v compute-sanitizer >/dev/null 2>&1; then
      stage memcheck 45 sanitize memcheck
      stage racecheck 45 sanitize racecheck
    else
      skip memcheck "compute-sanitizer was not found"
      skip racecheck "compute-sanitizer was not found"
    fi
    if [ -s "$work/peer-knn-matmul.json" ]; then stage peers_compiled 60 compiled_peers; fi
  fi
fi
write_reports
cat "$report.md"
echo "gpu_check: $((SECONDS - started)) s; written: $report.{md,json}" >&2
exit "$failed"
