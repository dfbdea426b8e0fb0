#!/bin/sh
# clang-tidy 14 with the checks of .clang-tidy: over FILES, or over every source of the libraries,
# programs and examples, with the flags of the preset release. Headers are looked at through the
# sources that include them.
# usage: tools/tidy.sh [FILES...]        JOBS=N runs N at a time (default: all cores)
# Some seconds of processor time per file. For what a branch changes:
#   tools/tidy.sh $(git diff --name-only main -- '*.cpp')
# Exit codes: 0 nothing found, 1 something found or no build, 5 clang-tidy 14 is missing.
set -u
cd "$(dirname "$0")/.." || exit 1
tool=
for name in clang-tidy-14 clang-tidy; do
  if "$name" --version 2> /dev/null | grep -q 'version 14\.'; then
    tool=$name
    break
  fi
done
if [ -z "$tool" ]; then
  echo "tools/tidy.sh: clang-tidy 14 is missing; install the package clang-tidy-14" >&2
  exit 5
fi
# A folder of its own, never built: the commands of a unity build are not those of the files.
build=build/tidy
cmake --preset release -B $build > /dev/null || exit 1
[ $# -gt 0 ] || set -- $(git ls-files '*.cpp' ':!tests')
findings=$(printf '%s\n' "$@" | xargs -P "${JOBS:-$(nproc)}" -n 1 "$tool" --quiet -p $build 2> /dev/null)
if [ -n "$findings" ]; then
  printf '%s\n' "$findings"
  exit 1
fi
echo "nothing found in $# files"
