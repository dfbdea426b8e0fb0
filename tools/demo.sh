#!/bin/sh
# The first command: builds train_modelnet (preset release), trains PointNet on the embedded shapes
# with Adam and with Muon, and prints a table of both. No data set is downloaded.
# usage: tools/demo.sh [EPOCHS]
# Exit codes: those of train_modelnet; 1 when the build fails; 5 when packages are missing.
set -u
cd "$(dirname "$0")/.." || exit 1
. tools/setup.sh
epochs=${1:-15}
basin_setup
basin_build release train_modelnet || exit 1

program=build/release/bin/train_modelnet
# The shapes carry their own nuisance variation, so nothing is augmented but the choice of points.
for optimizer in adam muon; do
  # The runs of an earlier demo are its own to replace.
  rm -rf "runs/demo-$optimizer"
  "$program" --data embedded --model pointnet --optimizer "$optimizer" --points 256 \
    --selection random --augment none --epochs "$epochs" --seed 0 \
    --out "runs/demo-$optimizer" >&2 || exit $?
done

echo
echo "PointNet on the embedded shapes: 256 points, $epochs epochs, seed 0"
"$program" compare runs/demo-adam runs/demo-muon
