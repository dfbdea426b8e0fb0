#!/usr/bin/env bash
# Stands in for build/release/bin/PROGRAM while the pages' commands are run (commands.sh): the program
# of that name with the reader's arguments, of which the sizes of a whole training become small ones.
# What the page leaves to a default is made small by the environment, which a flag overrides.
set -eu
program=$(basename "$0")
arguments=("$@")
shrink() { # FLAG VALUE: every value of the flag
  local i
  for ((i = 0; i + 1 < ${#arguments[@]}; ++i)); do
    [ "${arguments[i]}" != "$1" ] || arguments[i + 1]=$2
  done
}
has() { # WORD: whether the reader gives it
  local word
  for word in ${arguments[@]+"${arguments[@]}"}; do
    [ "$word" != "$1" ] || return 0
  done
  return 1
}

small_dgcnn=(--set model.widths=8,8,16,16,32,16,8)
case $program in
  train_* | example_custom_*)
    shrink --epochs 1
    shrink --extend 1
    shrink --steps 4
    shrink --points 64
    shrink --k 8
    shrink --batch 16
    ;;
esac
has --extend || has --resume || case $program in
  train_modelnet | train_qm9 | train_graph | train_molecules) export BASIN_EPOCHS=1 ;;
  train_pde) export BASIN_STEPS=4 ;;
esac
case $program in
  train_modelnet)
    export BASIN_POINTS=64 BASIN_LIMIT=60 BASIN_BATCH=16 BASIN_TRANSFORMATIONS=1
    # A new PointNet has no T-Nets and few channels, as has every DGCNN and every new EGNN.
    if has dgcnn; then
      has --resume || arguments+=("${small_dgcnn[@]}")
    elif has egnn; then
      has --resume || arguments+=(--set model.hidden=16 --set model.layers=2)
    elif ! has --model || has pointnet; then
      has --resume || has predict || has compare ||
        arguments+=(--set model.widths=16,32,64,32,16 --set model.input_transform=false
          --set model.feature_transform=false)
    fi
    ;;
  train_qm9 | train_graph) export BASIN_LIMIT=24 BASIN_BATCH=8 ;;
  landscape_probe)
    ! has dgcnn || arguments+=("${small_dgcnn[@]}")
    export BASIN_EXAMPLES=16 BASIN_SLICE_EXAMPLES=8 BASIN_SHARPNESS_EXAMPLES=8 BASIN_PATH_EXAMPLES=8
    export BASIN_GRID=3 BASIN_GRID1D=3 BASIN_PROBES=4 BASIN_LANCZOS_STEPS=8 BASIN_TOP=2 BASIN_BOTTOM=1
    export BASIN_DENSITY_STEPS=6 BASIN_RANK_EXAMPLES=8 BASIN_RESAMPLES=20
    ;;
esac
exec "$DOCS_BUILD/bin/$program" ${arguments[@]+"${arguments[@]}"}
