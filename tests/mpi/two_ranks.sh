#!/usr/bin/env bash
# Two processes by MPI train the weights, optimizer state and metrics, byte for byte, that one process
# trains with --microbatches 2: every network, 50 steps; a stop by a signal and a resume in the other
# form; and a process that fails ends both.
# usage: two_ranks.sh BIN_DIR      exit code 77: what is missing here
#   STEPS=50   NETWORKS="pointnet dgcnn ..." to try some
set -u
bin=$(cd "$1" && pwd) || exit 2
command -v mpirun >/dev/null || { echo "SKIPPED: mpirun is not installed" && exit 77; }
mpirun --version 2>&1 | grep -q "Open MPI" || { echo "SKIPPED: mpirun is not Open MPI's" && exit 77; }
work=$(mktemp -d /tmp/basin-mpi-XXXXXX) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_btl_vader_single_copy_mechanism=none OMPI_MCA_mpi_yield_when_idle=1
steps=${STEPS:-50}
fault() {
  echo "two_ranks: $1"
  tail -n 20 "$work"/*.log 2>/dev/null
  exit 1
}
two() { mpirun --bind-to none -n 2 "$@"; }

# A build without MPI says so in its own words.
two "$bin/train_modelnet" --ranks 2 --data embedded --limit 20 --points 16 --batch 8 --steps 1 \
  --eval-every 1e --out probe >probe.log 2>&1 || {
  grep -q "built without MPI" probe.log && echo "SKIPPED: this Basin was built without MPI" && exit 77
  fault "a first step by two ranks failed"
}

# Everything but what the clock, the machine and the name of the folder decide.
facts() {
  sed -E 's/"(seconds|since_seconds|examples_per_second|metrics_bytes|peak_rss_bytes)": [^,}]*//g' "$@"
}
same_files() {  # A B: the bytes of all checkpoints and the lines of the metrics
  (cd "$1/ckpt" && ls) >steps.a && (cd "$2/ckpt" && ls) >steps.b
  cmp steps.a steps.b || return 1
  for step in $(cat steps.a); do
    for file in model optim; do
      cmp "$1/ckpt/$step/$file.safetensors" "$2/ckpt/$step/$file.safetensors" || return 1
    done
    [ "$(facts "$1/ckpt/$step/state.json")" = "$(facts "$2/ckpt/$step/state.json")" ] ||
      { echo "another state.json of $step" && return 1; }
  done
  [ "$(facts "$1/metrics.jsonl")" = "$(facts "$2/metrics.jsonl")" ] ||
    { echo "other metrics" && return 1; }
}

settings_of() {
  case $1 in
    pointnet | dgcnn | egnn)
      echo "train_modelnet --data embedded --limit 60 --points 32 --batch 9 --model $1"
      [ "$1" = pointnet ] || echo "--k 6" ;;
    gine) echo "train_graph --limit 60 --batch 9 --model gine" ;;
    egnn-qm9 | gotennet) echo "train_qm9 --limit 40 --batch 7 --model $1 --set bucket=1" ;;
    mlp) echo "train_pde --task burgers --model mlp" ;;
    deeponet) echo "train_pde --task antiderivative --batch 9" ;;
  esac
}

for network in ${NETWORKS:-pointnet dgcnn egnn gine gotennet egnn-qm9 mlp deeponet}; do
  # Word splitting is meant.
  set -- $(settings_of "$network")
  program=$bin/$1
  shift
  common="$* --threads 1 --optimizer muon --clip 1 --steps $steps --checkpoint-every $steps"
  common="$common --eval-every $steps --log-every 1 --keep 0"
  "$program" $common --microbatches 2 --out "one-$network" >one.log 2>&1 || fault "$network by one process"
  two "$program" $common --ranks 2 --out "two-$network" >two.log 2>&1 || fault "$network by two ranks"
  same_files "one-$network" "two-$network" || fault "$network: other bits by two ranks"
  echo "two_ranks: $network, $steps steps, sha256 of the weights" \
    "$(sha256sum <"two-$network/ckpt/step-$steps/model.safetensors" | cut -c1-16)"
done

# Optimizers that look at the loss again, and four microbatches on two ranks.
small="--data embedded --limit 60 --points 32 --batch 10 --steps 12 --checkpoint-every 6 --eval-every 6
  --threads 1 --keep 0 --log-every 1 --set model.widths=8,16,32,16,8"
for rule in specmuon adamw; do
  "$bin/train_modelnet" $small --optimizer $rule --microbatches 4 --out "four-$rule" >one.log 2>&1 ||
    fault "four microbatches with $rule"
  two "$bin/train_modelnet" $small --optimizer $rule --microbatches 4 --ranks 2 --out "shared-$rule" \
    >two.log 2>&1 || fault "four microbatches on two ranks with $rule"
  same_files "four-$rule" "shared-$rule" || fault "$rule: other bits of four microbatches on two ranks"
done

# Two ranks to step 6, one process from there on; and the other way round.
for first in one two; do
  cp -r four-adamw "resumed-$first" && rm -rf "resumed-$first/ckpt/step-12" "resumed-$first/result.json"
done
"$bin/train_modelnet" --resume resumed-one >one.log 2>&1 || fault "resume by one process"
two "$bin/train_modelnet" --resume resumed-two --ranks 2 >two.log 2>&1 || fault "resume by two ranks"
for first in one two; do
  same_files four-adamw "resumed-$first" || fault "other bits after a resume ($first)"
done

# A signal to one rank stops both after the same step, and the run goes on from there.
mpirun --bind-to none -n 2 "$bin/train_modelnet" --data embedded --limit 60 --points 32 --batch 10 \
  --steps 100000 --eval-every 100000 --checkpoint-every 100000 --threads 1 --set model.widths=8,16,32,16,8 \
  --ranks 2 --out stopped >stop.log 2>&1 &
job=$!
for _ in $(seq 200); do
  [ -f stopped/metrics.jsonl ] && [ -s stopped/metrics.jsonl ] && break
  sleep 0.1
done
kill -USR1 $job
wait $job
code=$?
[ $code = 75 ] || fault "a stopped job ended with code $code"
grep -q '"exit_reason": "SIGUSR1"' stopped/run.json || fault "a stopped run does not say so"

# A failing rank ends the job with its sentence and its exit code.
two "$bin/train_modelnet" --data embedded --limit 60 --points 32 --batch 10 --steps 5 --ranks 2 \
  --out stopped >fail.log 2>&1
code=$?
[ $code = 6 ] || fault "a folder that is used: expected exit code 6, got $code"
[ "$(grep -c '^train_modelnet' fail.log)" = 1 ] || fault "one failure, expected one sentence"
timeout 60 mpirun --bind-to none -n 1 "$bin/train_modelnet" $small --ranks 2 --out alone >alone.log 2>&1 &&
  fault "--ranks 2 on one process went through"
grep -q 'ranks 2: MPI started 1 process' alone.log || fault "no sentence about the number of ranks"
echo "two_ranks: resume in either form, a signal, a failure"
