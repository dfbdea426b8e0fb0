#!/bin/sh
# Self-containment lint: every public header compiles as the first and only line of a source,
# without a warning.
# usage: self_contained.sh SOURCE_DIR CXX INCLUDE_DIR
set -u
cd "$1" || exit 2
export CXX="$2" INCLUDE="$3"
find basin.h core kernels autograd nn models analysis optim datasets -name '*.h' \
  -not -path 'kernels/cpu/*' -not -path 'kernels/cuda/*' 2>/dev/null |
  xargs -P 2 -I HEADER sh -c '
    echo "#include \"basin/HEADER\"" |
      "$CXX" -std=c++20 -fsyntax-only -Wall -Wextra -Werror -I"$INCLUDE" -x c++ - ||
      { echo "not self-contained: HEADER"; exit 1; }'
