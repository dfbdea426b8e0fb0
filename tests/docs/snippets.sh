#!/usr/bin/env bash
# Compiles every ```cpp block of the documentation: its #include and `using namespace` lines as they
# stand, the rest as the body of a function. Python blocks are parsed where there is a python3.
# usage: snippets.sh SOURCE_DIR COMPILER INCLUDE_DIR
set -u
cd "$1" || exit 2
compiler=$2
include=$3
work=$(mktemp -d "${TMPDIR:-/tmp}/basin-snippets-XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
failures=0
number=0
for page in README.md docs/*.md; do
  for line in $(grep -nE '^```(cpp|python)$' "$page" | cut -d: -f1); do
    number=$((number + 1))
    language=$(sed -n "${line}s/^\`\`\`//p" "$page")
    sed -n "$((line + 1)),\$p" "$page" | sed '/^```$/,$d' >"$work/block"
    if [ "$language" = python ]; then
      command -v python3 >/dev/null || continue
      python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read())' "$work/block"
    else
      {
        grep -E '^(#include|using namespace)' "$work/block"
        echo "void snippet() {"
        echo "#line $((line + 1)) \"$page\""
        sed -E 's/^(#include|using namespace).*//' "$work/block"
        echo "}"
      } >"$work/snippet.cpp"
      "$compiler" -std=c++20 -fsyntax-only -I "$include" "$work/snippet.cpp"
    fi || {
      echo "$page:$line: this block does not compile"
      failures=$((failures + 1))
    }
  done
done
echo "$number blocks, $failures do not compile"
[ "$number" -gt 0 ] && [ "$failures" = 0 ]
