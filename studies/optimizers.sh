#!/usr/bin/env bash
# Optimizers compared on one problem after another, at an equal budget of tuning: the rate of each from
# three (PDEs: five) in short runs of one seed, then several seeds at that rate. A rate is chosen by the first metric on
# the validation split, or, where a problem has none (PDEs), by the training loss at the end. With --probe
# the runs record nuclear ranks of gradients beside stable ranks of inputs. Runs that are done are kept,
# stopped ones go on.
# usage: studies/optimizers.sh DATA OUT PART...
#   DATA   folder with qm9/npz, peptides_func and zinc (train named zinc_train_substitute.npz)
#   PART   egnn-TARGET gotennet-TARGET (QM9: homo, mu, r2 ..) peptides zinc
#          burgers antiderivative advection fractional fractional_operator
#          linear_regression matrix_factorisation
#   JOBS=1 trainings at a time, each on one thread
#   SEARCH, FINAL   epochs (PDEs: steps) of a search run and of a final one;  SEEDS  of final runs
# Table: OUT/PART.md, one row per run. Exit codes: 0; 1 a training failed; 2 usage.
set -u
cd "$(dirname "$0")/.." || exit 1
if [ $# -lt 3 ] || [ ! -d "$1" ]; then
  echo "optimizers: expects a folder of data, one for the runs and the parts; given '$*'" >&2
  exit 2
fi
data=$1 out=$2
shift 2
bin=${BASIN_BIN:-build/release/bin}
unset BASIN_BIN # no setting of the programs
jobs=${JOBS:-1}
mkdir -p "$out" || exit 1

# What a part trains: the program with its arguments, the optimizers, the length of a search run and of a
# final one, graphs or molecules of a search run (0: all), the metric, and whether more of it is better.
# NAME+KEY=VALUE is an optimizer with an option. Weight decay is 0, of PDEs the optimizer's default (AdamW:
# 0.01), by which alone Adam and AdamW differ.
setting() {
  optimizers="adamw muon" seeds="0 1" limit=0 larger=0 metric=mae length=epochs judge=best_val_value functions=32 ends=
  case $1 in
    egnn-*)
      program=train_qm9 search=1 final=4 limit=6000
      args="--data $data/qm9/npz --split own --target ${1#*-} --model egnn-qm9 --probe every=1e,examples=64"
      ;;
    gotennet-*)
      program=train_qm9 search=1 final=4 limit=6000
      args="--data $data/qm9/npz --split own --target ${1#*-} --model gotennet --preset tiny"
      args="$args --probe every=1e,examples=64"
      ;;
    peptides)
      program=train_graph search=3 final=20 limit=4000 larger=1 metric=ap
      args="--data $data/peptides_func --preset lrgb --schedule cosine --batch 32"
      args="$args --probe every=2e,examples=64"
      ;;
    zinc)
      program=train_graph search=10 final=60
      args="--data $data/zinc --preset zinc --schedule cosine --probe every=4e,examples=64"
      ;;
    burgers | antiderivative | advection | fractional | fractional_operator | linear_regression | \
      matrix_factorisation)
      program=train_pde search=2500 final=8000 length=steps metric=rel_l2 judge=train_loss seeds="0 1 2 3"
      optimizers="adam adamw muon polar_adamw specmuon+preset=paper specmuon+preset=robust soap lbfgs"
      args="--task $1 --eval-every 250 --checkpoint-every 2000"
      # Minibatches of 32 of so many functions, which cost more: L-BFGS takes all of them.
      case $1 in
        advection) search=1000 final=4000 functions=1000 ;;
        fractional_operator) search=1000 final=4000 functions=200 ;;
        # Two layers a net: first and last ones are all that there is to orthogonalise.
        antiderivative) ends="--set optimizer.muon_first=true --set optimizer.muon_head=true" ;;
      esac
      ;;
    *)
      echo "optimizers: expects a part of its list, given '$1'" >&2
      exit 2
      ;;
  esac
  search=${SEARCH:-$search} final=${FINAL:-$final} seeds=${SEEDS:-$seeds}
}

# Rates a factor of about three apart, around what is usual.
rates_of() {
  case $program-$1 in
    train_pde-muon) echo "2e-3 6e-3 2e-2 6e-2 2e-1" ;;
    train_pde-specmuon*) echo "1e-4 3e-4 1e-3 3e-3 1e-2" ;;
    train_pde-lbfgs) echo "0.1 0.3 1 2 4" ;;
    train_pde-*) echo "3e-4 1e-3 3e-3 1e-2 3e-2" ;;
    *-muon) echo "2e-3 6e-3 2e-2" ;;
    *) echo "3e-4 1e-3 3e-3" ;;
  esac
}

# The value of a field of a run's result, empty without one.
field() { sed -n "s/^ *\"$2\": *\"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}$/\1/p" "$1.json" 2>/dev/null; }

# train FOLDER OPTIMIZER RATE SEED LENGTH LIMIT: goes on where a stopped run was. A step of L-BFGS looks at
# the loss of all examples some twenty times: as many steps as make it see as many examples, no schedule.
train() {
  [ "$(field "$1" completed)" = true ] && return 0
  local length_of_run=$5 more=()
  case $2 in
    *+*) more+=(--set "optimizer.${2#*+}") ;;
    lbfgs)
      length_of_run=$(($5 * 32 / functions / 20))
      more+=(--schedule constant --eval-every "$((length_of_run < 25 ? 1 : 25))" --checkpoint-every 100)
      [ "$functions" = 32 ] || more+=(--batch "$functions")
      ;;
  esac
  [ "$program" = train_pde ] || more+=(--limit "$6" --wd 0)
  # shellcheck disable=SC2206
  case $2 in muon | polar_adamw | specmuon*) more+=($ends) ;; esac
  # shellcheck disable=SC2086
  "$bin/$program" $args --optimizer "${2%%+*}" --lr "$3" --seed "$4" "--$length" "$length_of_run" \
    "${more[@]}" --threads 1 --keep 1 --out "$1" --resume auto --json "$1.json" >"$1.log" 2>&1 && return 0
  echo "optimizers: $1 failed, see $1.log" >&2
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

# The best rate of the search runs of PART and OPTIMIZER.
chosen() {
  local rate value
  for rate in $(rates_of "$2"); do
    value=$(field "$out/$1/search/$2-$rate" "$judge")
    case $value in '' | *nan* | *inf*) ;; *) echo "$value $rate" ;; esac
  done | if [ "$larger" = 1 ]; then sort -gr; else sort -g; fi | awk 'NR == 1 { print $2 }'
}

for part; do
  setting "$part"
  mkdir -p "$out/$part/search" "$out/$part/final" || exit 1
  for optimizer in $optimizers; do
    for rate in $(rates_of "$optimizer"); do
      start train "$out/$part/search/$optimizer-$rate" "$optimizer" "$rate" 0 "$search" "$limit"
    done
  done
  settle
  for seed in $seeds; do
    for optimizer in $optimizers; do
      best=$(chosen "$part" "$optimizer")
      [ -n "$best" ] || continue
      start train "$out/$part/final/$optimizer-$best-s$seed" "$optimizer" "$best" "$seed" "$final" 0
    done
  done
  settle
  {
    echo "| run | steps | validation | test $metric at the best on validation | test $metric at the end | best on test | training loss | seconds |"
    echo "|---|---|---|---|---|---|---|---|"
    for file in "$out/$part"/search/*.json "$out/$part"/final/*.json; do
      [ -f "$file" ] || continue
      run=${file%.json}
      echo "| ${run#"$out/$part/"} | $(field "$run" steps) | $(field "$run" best_val_value) | $(field "$run" "best_val_$metric") | $(field "$run" "last_$metric") | $(field "$run" "best_$metric") | $(field "$run" train_loss) | $(field "$run" seconds) |"
    done
  } | awk -F '|' 'BEGIN { OFS = "|" } NR > 2 { for (i = 4; i <= 8; i++) $i = $i == "  " ? " - " : sprintf(" %.4g ", $i); $9 = sprintf(" %.0f ", $9) } 1' \
    >"$out/$part.md"
  cat "$out/$part.md"
done
[ "$failed" = 0 ]
