#!/usr/bin/env bash
# Makes a folder that looks like a checkout in which a reader works: programs, scripts, and small
# stand-ins for the data, weights and runs that the documentation names.
# usage: stand_ins.sh FOLDER PAGE         DOCS_SOURCE and DOCS_BUILD are set
#
# | the pages name                             | here                                                       |
# |--------------------------------------------|------------------------------------------------------------|
# | build/release/bin/PROGRAM                  | program.sh: the program, with small sizes                  |
# | modelnet40_ply_hdf5_2048, my_clouds, scans | OFF meshes of boxes and pyramids                           |
# | chair.off                                  | one of them                                                |
# | QM9, molecules.xyz                         | the molecules of tests/fixtures/qm9                        |
# | runs/adam, runs/muon                       | PointNet trained for three epochs                          |
# | dgcnn.safetensors                          | the weights of a small DGCNN after a step                  |
# | studies/*.toml                             | the file of that name with two seeds, one epoch, 32 points |
# | ctest --preset release ...                 | the same choice of tests, listed: it must not be empty     |
# | sbatch                                     | prints a job's number, as --parsable does                  |
set -eu
folder=$1
page=$2
source_dir=$DOCS_SOURCE
build=$DOCS_BUILD
mkdir -p "$folder/build/release/bin" "$folder/stand_in" "$folder/studies" "$folder/runs"
cd "$folder"

for program in "$build"/bin/*; do
  ln -s "$source_dir/tests/docs/program.sh" "build/release/bin/$(basename "$program")"
done
cat >stand_in/ctest <<'END'
#!/bin/sh
[ "$1 $2" = "--preset release" ] || { echo "ctest: expected --preset release"; exit 2; }
shift 2
# From a folder of its own: ctest writes a log where it runs, also when it lists, and that of the
# build folder belongs to whoever runs this test.
mkdir -p listing && echo "subdirs(\"$DOCS_BUILD\")" >listing/CTestTestfile.cmake
PATH=${PATH#*:} ctest --test-dir listing -N "$@" >listed || exit 1
tail -n 1 listed
! grep -q '^Total Tests: 0$' listed
END
printf '#!/bin/sh\n[ "$1" = --parsable ] && echo 1234\n' >stand_in/sbatch
chmod +x stand_in/*

# solid KIND NUMBER FILE: a box or a pyramid of its own proportions.
solid() {
  awk -v kind="$1" -v n="$2" 'BEGIN {
    a = 1 + n % 5 / 4; b = 1 + n % 3 / 2; c = 1 + n % 7 / 5
    if (kind == "box") {
      print "OFF\n8 6 0"
      for (i = 0; i < 8; ++i) print (i % 2) * a, (int(i / 2) % 2) * b, int(i / 4) * c
      print "4 0 1 3 2\n4 4 6 7 5\n4 0 4 5 1\n4 2 3 7 6\n4 0 2 6 4\n4 1 5 7 3"
    } else {
      print "OFF\n5 5 0"
      print 0, 0, 0; print a, 0, 0; print a, b, 0; print 0, b, 0; print a / 2, b / 2, c
      print "4 3 2 1 0\n3 0 1 4\n3 1 2 4\n3 2 3 4\n3 3 0 4"
    }
  }' >"$3"
}
for class in box pyramid; do
  for n in $(seq 24); do
    split=train
    [ "$n" -le 20 ] || split=test
    mkdir -p "modelnet40_ply_hdf5_2048/$class/$split"
    solid $class "$n" "modelnet40_ply_hdf5_2048/$class/$split/${class}_$n.off"
  done
done
cp -r modelnet40_ply_hdf5_2048 my_clouds
mkdir scans
cp my_clouds/*/test/*.off scans
cp scans/box_21.off chair.off

cp -r "$source_dir/tests/fixtures/qm9/parts" QM9
cp "$source_dir/tests/fixtures/qm9/three.xyz" molecules.xyz

for toml in "$source_dir"/studies/*.toml; do
  sed -E -e 's/^epochs = .*/epochs = 1/; s/^steps = .*/steps = 4/; s/^seeds = .*/seeds = [0, 1]/' \
    -e 's/^limit = .*/limit = 90/; s/^examples = .*/examples = 16/; s/^points = .*/points = 32/' \
    -e 's/^probes = .*/probes = 4/; s/^lanczos_steps = .*/lanczos_steps = 8/' \
    "$toml" >"studies/$(basename "$toml")"
done

# Runs only for the pages that begin with some; checkpoints enough for a trajectory.
uses() { grep -qF "$1" "$source_dir/$page"; }
for optimizer in adam muon; do
  ! uses "runs/$optimizer" || "$build/bin/train_modelnet" --quiet --data modelnet40_ply_hdf5_2048 \
    --model pointnet --set model.widths=16,32,64,32,16 --set model.input_transform=false \
    --set model.feature_transform=false --optimizer $optimizer --points 64 --batch 16 --epochs 3 \
    --keep 0 --probe every=1,examples=8,probes=2,steps=4 --out runs/$optimizer
done
if uses dgcnn.safetensors; then
  build/release/bin/train_modelnet --quiet --data modelnet40_ply_hdf5_2048 --model dgcnn --steps 1 --out stand_in/dgcnn
  cp "$(find stand_in/dgcnn -name model.safetensors | head -n 1)" dgcnn.safetensors
fi
