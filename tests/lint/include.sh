#!/bin/sh
# Include lint. Holds the arrows of the house (core <- kernels <- autograd <- nn <- models, and so
# on), keeps third-party headers out of the public ones, and sees that every quoted include starts
# at basin/.
# usage: include.sh SOURCE_DIR
set -u
cd "$1" || exit 2
status=0
fault() {
  echo "$1"
  status=1
}

# What a folder may include besides itself.
allowed() {
  case $1 in
    core) echo "core" ;;
    kernels) echo "core|kernels" ;;
    autograd) echo "core|kernels|autograd" ;;
    nn) echo "core|kernels|autograd|nn" ;;
    models) echo "core|kernels|autograd|nn|models" ;;
    analysis) echo "core|kernels|autograd|nn|analysis" ;;
    optim) echo "core|kernels|optim" ;;
    datasets) echo "core|datasets" ;;
  esac
}

include='^[[:space:]]*#[[:space:]]*include[[:space:]]+'
folders="core kernels autograd nn models analysis optim datasets"
for folder in $folders; do
  [ -d "$folder" ] || continue
  sources=$(find "$folder" -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh')
  [ -n "$sources" ] || continue

  bad=$(grep -HnE "$include\"" $sources |
        grep -vE "\"basin/($(allowed "$folder"))/[^\"]+\"")
  [ -z "$bad" ] || fault "against the arrows, or not written as basin/<folder>/...:
$bad"

  headers=$(find "$folder" -name '*.h' -not -path 'kernels/cpu/*' -not -path 'kernels/cuda/*')
  [ -n "$headers" ] || continue
  # Standard headers have neither a dot nor a slash in their name.
  bad=$(grep -HnE "$include<[^>]*[./]" $headers)
  [ -z "$bad" ] || fault "third-party or system header in a public header:
$bad"
  bad=$(grep -HnE "$include\"basin/kernels/(cpu|cuda)/" $headers)
  [ -z "$bad" ] || fault "a header that is not installed, included by a public header:
$bad"
done

bad=$(grep -rHnE "$include\"basin/(tools|tests)/" $folders examples basin.h 2>/dev/null)
[ -z "$bad" ] || fault "a library or an example uses tools or tests:
$bad"

# basin.h carries every public header of the folders a user programs against.
for header in core/*.h autograd/*.h nn/*.h models/*.h analysis/*.h optim/*.h datasets/*.h; do
  [ -f "$header" ] || continue
  grep -q "\"basin/$header\"" basin.h || fault "basin.h: does not include basin/$header"
done
for header in $(sed -n 's/^#include "basin\/\(.*\)"$/\1/p' basin.h); do
  [ -f "$header" ] || fault "basin.h: includes basin/$header, which does not exist"
done
exit $status
