#!/bin/sh
# Runs Basin's bench and its PyTorch peers in turn, part by part and round by round, so that what
# drifts (clock, neighbours on the machine) drifts for both, and writes a Markdown table of times,
# ratios, page faults and peak resident sets. Every part is a process of its own: its peak resident
# set is that part's. The first round ends with PyTorch as installed, forward + backward only.
# usage: BENCH=build/release/bin/bench PYTHON=python3 THREADS="1 2" ROUNDS=2 REPEATS=3 OUT=DIR \
#          compare.sh [CASE...]           cases: knn pointnet dgcnn egnn (default: these), hvp:
#                                         only the Hessian-vector products at B = 32, N = 256;
#                                         gotennet gine pinn: beside published packages, which
#                                         peer_setup.sh installs
# PAUSE: seconds before each measurement. A virtual machine that gives the memory of an ended process
# back to its host is busy with it for a while: 10 to 15 there, or a second thread waits.
# PARTS: of the case, instead of all of them, e.g. "gradient adam".
# SIZE: further flags for both sides, e.g. "--batch 2 --points 128". COMPILE=1 adds torch.compile
# to the parts gradient and adam (a minute of compiling each).
# Exit codes: 1 when a measurement fails; what was measured before stays in OUT.
set -eu
here=$(dirname "$0")
bench=${BENCH:-build/release/bin/bench}
python=${PYTHON:-python3}
out=${OUT:-compare-$(date -u +%Y%m%dT%H%M%SZ)}
repeats=${REPEATS:-3}
mkdir -p "$out"
log=$out/log.txt
[ $# -gt 0 ] || set -- knn pointnet dgcnn egnn
for case in "$@"; do
  shift
  [ "$case" = hvp ] && set -- "$@" hvp_pointnet hvp_dgcnn hvp_egnn || set -- "$@" "$case"
done

# run NAME COMMAND...: output to the log, with the machine's load before it; one line of progress.
run() {
  name=$1
  shift
  sleep "${PAUSE:-0}"
  read -r load _ </proc/loadavg
  echo "$(date -u +%H:%M:%S) load $load $name" | tee -a "$log" >&2
  "$@" >>"$log" 2>&1 || { echo "failed, see $log: $*" >&2; exit 1; }
}

# peer LABEL CASE VARIANT PART THREADS ROUND REPEATS [flags]
peer() {
  label=$1 case=$2 variant=$3 part=$4 threads=$5 round=$6 times=$7
  shift 7
  name=$group.$part.t$threads.r$round.pytorch-$variant-$label
  case " $* " in *" --compile "*) name=$name-compiled ;; esac
  run "$name" env PYTHON="$python" LABELS="$label" THREADS="$threads" OUT= \
    sh "$here/peer_pytorch.sh" "$case" --variant "$variant" --repeats "$times" --warmup 1 \
    --json "$out/$name.json" "$@" ${SIZE:-}
}

measure() { # CASE PART THREADS ROUND
  case=${1#hvp_} part=$2 threads=$3 round=$4 choice= group=$1
  [ "$part" = all ] || choice="--parts $part"
  [ "$case" = "$group" ] || choice="$choice --points 256 --hvp-batch 32"
  name=$group.$part.t$threads.r$round.basin
  # Word splitting is meant here and below: lists of flags and of names.
  run "$name" "$bench" "$case" --threads "$threads" --repeats "$((2 * repeats + 1))" $choice \
    --json "$out/$name.json" ${SIZE:-}
  case " $part" in *_nested) return ;; esac  # another way to the row that the peers have, too
  variants=linear
  [ "$case" = knn ] && variants="cdist matmul unsorted"
  [ "$case" = pointnet ] && variants=conv1d
  [ "$case" = egnn ] && variants="regular pyg"
  [ "$case" = gotennet ] && variants=package
  [ "$case" = gine ] && variants=pyg
  [ "$case" = pinn ] && variants="autograd forward compiled deepxde"
  case $case in gotennet | gine | pinn) choice="$choice --shared $out" ;; esac
  for v in $variants; do
    peer tuned "$case" "$v" "$part" "$threads" "$round" "$repeats" $choice
    if [ -n "${COMPILE:-}" ] && [ "$v" != pyg ] && { [ "$part" = gradient ] || [ "$part" = adam ]; }
    then
      peer tuned "$case" "$v" "$part" "$threads" "$round" "$repeats" $choice --compile
    fi
  done
  if [ "$round" = 1 ] && { [ "$part" = gradient ] || [ "$part" = all ] || [ "$case" = pinn ]; }; then
    peer as-installed "$case" "${variants%% *}" "$part" "$threads" "$round" 2 $choice
  fi
}

for threads in ${THREADS:-1 2}; do
  for chosen in "$@"; do
    parts="forward gradient adam muon hvp"
    case $chosen in
      knn) parts=all ;;
      hvp_*) parts=hvp ;;
      gotennet | gine) parts="forward gradient adamw muon hvp" ;;
      pinn) parts="20x3 128x4 20x3_nested 128x4_nested" ;;
    esac
    case $chosen in
      gotennet | gine | pinn)  # the same weights and the same batch on both sides
        run "$chosen.export" "$bench" "$chosen" --export "$out" ${SIZE:-} ;;
    esac
    parts=${PARTS:-$parts}
    group=$chosen
    case $chosen in
      gotennet) peer tuned gotennet package check "$threads" 0 1 --parts check --shared "$out" ;;
      gine) peer tuned gine pyg check "$threads" 0 1 --parts check --shared "$out" ;;
    esac
    for round in $(seq "${ROUNDS:-2}"); do
      for part in $parts; do measure "$chosen" "$part" "$threads" "$round"; done
    done
  done
done
"$python" "$here/report.py" "$out" | tee "$out/report.md"
