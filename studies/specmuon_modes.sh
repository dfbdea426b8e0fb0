#!/usr/bin/env bash
# Does SpecMuon treat singular modes differently? Trains a planted matrix factorisation on its whole
# data set with the form printed as an algorithm, with that form under the relaxation of the other,
# and with the squared form, records every mode along the way, and draws how far the modes differ.
# usage: studies/specmuon_modes.sh OUT
# Figures: OUT/compare/figures/mode-spread-linear_map.svg, modes-linear_map-{1,2,3}.svg, with CSVs.
# Exit codes: those of the programs; 2 usage.
set -eu
if [ $# -ne 1 ]; then
  echo "specmuon_modes: expects a folder for the runs, given $# arguments" >&2
  exit 2
fi
out=$1
bin=${BASIN_BIN:-$(cd "$(dirname "$0")/.." && pwd)/build/release/bin}
mkdir -p "$out"
PATH=$bin:$PATH
cd "$out"

train() {  # NAME, then settings of the optimizer
  name=$1
  shift
  rm -rf "$name"
  train_pde --task matrix_factorisation --optimizer specmuon --lr 0.02 --steps 300 --seed 0 \
    --eval-every 20 --probe every=5 --threads 1 --out "$name" "$@"
}
train printed --set optimizer.preset=paper
train norm --set optimizer.preset=robust --set optimizer.form=norm
train squared --set optimizer.preset=robust
landscape_probe compare printed norm squared printed --parts none --out compare
