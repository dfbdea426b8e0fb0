#!/bin/sh
# The first command: builds train_modelnet and landscape_probe (preset release), trains PointNet on the
# embedded shapes with Adam and with Muon, probes where each of them ended, and writes a report that sets
# them side by side: curvature, loss slices, ranks. No data set is downloaded. The network is a small
# one without T-Nets: some minutes on two cores, most of them for the compiler.
# usage: tools/demo.sh [EPOCHS]
# Exit codes: those of the programs; 1 when the build fails; 5 when packages are missing.
set -u
cd "$(dirname "$0")/.." || exit 1
. tools/setup.sh
epochs=${1:-10}
basin_setup
basin_build release train_modelnet landscape_probe || exit 1

program=build/release/bin/train_modelnet
# The shapes carry their own nuisance variation, so nothing is augmented but the choice of points.
for optimizer in adam muon; do
  # The runs of an earlier demo are its own to replace.
  rm -rf "runs/demo-$optimizer"
  "$program" --data embedded --model pointnet --optimizer "$optimizer" --points 256 \
    --set model.input_transform=false --set model.feature_transform=false \
    --set model.widths=64,128,256,128,64 \
    --selection random --augment none --epochs "$epochs" --seed 0 \
    --probe every=2,shapes=64 --out "runs/demo-$optimizer" >&2 || exit $?
done

echo
echo "PointNet without T-Nets on the embedded shapes: 256 points, $epochs epochs, seed 0"
"$program" compare runs/demo-adam runs/demo-muon

# Small settings: a minute on two cores, not the precision of a study.
echo
rm -rf runs/demo-compare
build/release/bin/landscape_probe compare runs/demo-adam runs/demo-muon --out runs/demo-compare \
  --shapes 64 --batch 64 --top 5 --bottom 2 --lanczos-steps 24 --probes 16 --density-steps 16 \
  --rank-shapes 200 --slice-shapes 48 --grid 15 --sharpness-shapes 48 --memory 4GB || exit $?
echo "open runs/demo-compare/report.html in a browser"
