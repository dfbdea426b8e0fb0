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
    figures) echo "core|analysis|figures" ;;
    optim) echo "core|kernels|optim" ;;
    datasets) echo "core|datasets" ;;
    train) echo "core|kernels|autograd|nn|models|optim|analysis|train" ;;
    train/tasks) echo "core|autograd|nn|models|analysis|datasets|train" ;;
  esac
}

include='^[[:space:]]*#[[:space:]]*include[[:space:]]+'
folders="core kernels autograd nn models analysis figures optim datasets train train/tasks"
for folder in $folders; do
  [ -d "$folder" ] || continue
  # Tasks know data; what they stand on does not.
  below=$([ "$folder" = train ] && echo "-path train/tasks -prune -o")
  sources=$(find "$folder" $below \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' \) \
            -print)
  [ -n "$sources" ] || continue

  bad=$(grep -HnE "$include\"" $sources |
        grep -vE "\"basin/($(allowed "$folder"))/[^\"]+\"")
  [ -z "$bad" ] || fault "against the arrows, or not written as basin/<folder>/...:
$bad"

  bad=$(grep -HnE "$include\"basin/[^\"]*/detail/" $sources | grep -v "\"basin/$folder/detail/")
  [ -z "$bad" ] || fault "an internal header of another folder:
$bad"

  headers=$(find "$folder" $below -name '*.h' -not -path 'kernels/cpu/*' \
            -not -path 'kernels/cuda/*' -not -path '*/detail/*' -print)
  [ -n "$headers" ] || continue
  # Standard headers have neither a dot nor a slash in their name.
  bad=$(grep -HnE "$include<[^>]*[./]" $headers)
  [ -z "$bad" ] || fault "third-party or system header in a public header:
$bad"
  bad=$(grep -HnE "$include\"basin/(kernels/(cpu|cuda)|[^\"]*/detail)/" $headers)
  [ -z "$bad" ] || fault "a header that is not installed, included by a public header:
$bad"
done

bad=$(grep -rHnE "$include\"basin/[^\"]*/detail/" tools examples basin.h 2>/dev/null |
      grep -vE "^(tools/[a-z_]+)/.*\"basin/\\1/detail/")
[ -z "$bad" ] || fault "an internal header of a folder, used outside it:
$bad"

bad=$(grep -rHnE "$include\"basin/(tools|tests)/" $folders examples basin.h 2>/dev/null |
      grep -v '"basin/tools/shell/')
[ -z "$bad" ] || fault "a library or an example uses tools or tests:
$bad"

# basin.h carries every public header of the folders a user programs against.
for header in core/*.h autograd/*.h nn/*.h models/*.h analysis/*.h figures/*.h optim/*.h \
  datasets/*.h train/*.h train/tasks/*.h; do
  [ -f "$header" ] || continue
  grep -q "\"basin/$header\"" basin.h || fault "basin.h: does not include basin/$header"
done
for header in $(sed -n 's/^#include "basin\/\(.*\)"$/\1/p' basin.h); do
  [ -f "$header" ] || fault "basin.h: includes basin/$header, which does not exist"
done
exit $status
