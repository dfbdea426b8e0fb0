#!/usr/bin/env bash
# Does Muon's advantage hold on molecules, and why does it vanish on graphs? Trains EGNN and GotenNet on
# QM9 and GINE on Peptides-func and ZINC with AdamW and Muon: the rate of each from three by validation
# in short runs of one seed, then two seeds at that rate, with the nuclear ranks of gradients beside the
# stable ranks of inputs recorded on the way. Runs that are done are kept, stopped ones go on.
# usage: studies/molecules_graphs.sh DATA OUT [PART...]
#   DATA   folder with qm9/npz, peptides_func and zinc (train named zinc_train_substitute.npz)
#   PART   egnn-homo egnn-mu egnn-r2 gotennet-homo gotennet-mu gotennet-r2 peptides zinc; default: all
#   JOBS=1 trainings at a time, each on one thread
#   SEARCH, EPOCHS   epochs of a search run and of a final one (default by part)
# Table: OUT/PART.md, one row per run. Exit codes: 0; 1 a training failed; 2 usage.
set -u
cd "$(dirname "$0")/.." || exit 1
if [ $# -lt 2 ] || [ ! -d "$1" ]; then
  echo "molecules_graphs: expects a folder of data and one for the runs; given '${1:-}' '${2:-}'" >&2
  exit 2
fi
data=$1 out=$2
shift 2
[ $# -gt 0 ] || set -- egnn-homo egnn-mu egnn-r2 gotennet-homo gotennet-mu gotennet-r2 peptides zinc
bin=${BASIN_BIN:-build/release/bin}
jobs=${JOBS:-1}
mkdir -p "$out" || exit 1

# What a part trains: the program with its arguments, epochs of a search run and of a final one, graphs
# or molecules of a search run (0: all), the test metric that is reported, and whether more is better.
setting() {
  rates_adamw="3e-4 1e-3 3e-3" rates_muon="2e-3 6e-3 2e-2" limit=0 larger=0 metric=mae
  case $1 in
    egnn-*)
      program=train_qm9 search=1 epochs=4
      args="--data $data/qm9/npz --split own --target ${1#*-} --model egnn-qm9 --probe every=1e,examples=64"
      ;;
    gotennet-*)
      program=train_qm9 search=1 epochs=4
      args="--data $data/qm9/npz --split own --target ${1#*-} --model gotennet --preset tiny"
      args="$args --probe every=1e,examples=64"
      ;;
    peptides)
      program=train_graph search=3 epochs=20 limit=4000 larger=1 metric=ap
      args="--data $data/peptides_func --preset lrgb --schedule cosine --batch 32"
      args="$args --probe every=2e,examples=64"
      ;;
    zinc)
      program=train_graph search=10 epochs=60
      args="--data $data/zinc --preset zinc --schedule cosine --probe every=4e,examples=64"
      ;;
    *)
      echo "molecules_graphs: expects a part of its list, given '$1'" >&2
      exit 2
      ;;
  esac
  search=${SEARCH:-$search} epochs=${EPOCHS:-$epochs}
}

# The value of a field of a run's result, empty without one.
field() { sed -n "s/^ *\"$2\": *\"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}$/\1/p" "$1.json" 2>/dev/null; }

# train FOLDER OPTIMIZER RATE SEED EPOCHS LIMIT: goes on where a stopped run was.
train() {
  [ "$(field "$1" completed)" = true ] && return 0
  # shellcheck disable=SC2086
  "$bin/$program" $args --optimizer "$2" --lr "$3" --wd 0 --seed "$4" --epochs "$5" --limit "$6" \
    --threads 1 --keep 1 --out "$1" --resume auto --json "$1.json" >"$1.log" 2>&1 && return 0
  echo "molecules_graphs: $1 failed, see $1.log" >&2
  return 1
}

running=0 failed=0
# start COMMAND...: in the background, at most JOBS at a time.
start() {
  if [ "$running" -ge "$jobs" ]; then
    wait -n || failed=1
    running=$((running - 1))
  fi
  "$@" &
  running=$((running + 1))
}
settle() {
  while [ "$running" -gt 0 ]; do
    wait -n || failed=1
    running=$((running - 1))
  done
}

# The rate with the best value on validation among the search runs of PART and OPTIMIZER.
chosen() {
  local rate value
  for rate in $3; do
    value=$(field "$out/$1/search/$2-$rate" best_val_value)
    [ -n "$value" ] && echo "$value $rate"
  done | if [ "$larger" = 1 ]; then sort -gr; else sort -g; fi | awk 'NR == 1 { print $2 }'
}

for part; do
  setting "$part"
  mkdir -p "$out/$part/search" "$out/$part/final" || exit 1
  for optimizer in adamw muon; do
    rates=rates_$optimizer
    for rate in ${!rates}; do
      start train "$out/$part/search/$optimizer-$rate" "$optimizer" "$rate" 0 "$search" "$limit"
    done
  done
  settle
  for seed in 0 1; do
    for optimizer in adamw muon; do
      rates=rates_$optimizer
      best=$(chosen "$part" "$optimizer" "${!rates}")
      [ -n "$best" ] || continue
      start train "$out/$part/final/$optimizer-$best-s$seed" "$optimizer" "$best" "$seed" "$epochs" 0
    done
  done
  settle
  {
    echo "| run | epochs | validation | test $metric at the best on validation | test $metric, last epoch | training loss | seconds |"
    echo "|---|---|---|---|---|---|---|"
    for file in "$out/$part"/search/*.json "$out/$part"/final/*.json; do
      [ -f "$file" ] || continue
      run=${file%.json}
      echo "| ${run#"$out/$part/"} | $(field "$run" epochs) | $(field "$run" best_val_value) | $(field "$run" "best_val_$metric") | $(field "$run" "last_$metric") | $(field "$run" train_loss) | $(field "$run" seconds) |"
    done
  } | awk -F '|' 'BEGIN { OFS = "|" } NR > 2 { for (i = 4; i <= 7; i++) $i = sprintf(" %.4g ", $i); $8 = sprintf(" %.0f ", $8) } 1' \
    >"$out/$part.md"
  cat "$out/$part.md"
done
[ "$failed" = 0 ]
