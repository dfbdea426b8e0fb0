#!/usr/bin/env bash
# Runs every ```sh block of one page of the documentation, in their order, in a temporary folder that
# looks like a checkout of the reader: build/release/bin with the programs, and the data, weights and
# runs that the page speaks of. What stands in for what is the table of stand_ins.sh; the text of a
# block is run by bash as it stands in the page. Comments of the page, each on the line before a block:
#   <!-- not run: why -->   its commands are not run; those of Basin's programs have their flags checked
#   <!-- file: NAME -->     the block, of any language, is written to this file of the folder
# Beside the blocks, every --flag that the page's prose names has to be one of some program.
# usage: commands.sh SOURCE_DIR BUILD_DIR PAGE
set -u
source_dir=$(cd "$1" && pwd) && build=$(cd "$2" && pwd) || exit 2
page=$3
here=$source_dir/tests/docs
work=$(mktemp -d "${TMPDIR:-/tmp}/basin-docs-XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
export LC_ALL=C.UTF-8 DOCS_SOURCE=$source_dir DOCS_BUILD=$build
failures=0
fault() {
  echo "$1"
  failures=$((failures + 1))
}

# --- the blocks: number, first line, language and mark of each, its text in blocks/NUMBER
mkdir "$work/blocks"
awk -v out="$work/blocks" '
  !inside && /^```/ {
    language = substr($0, 4); if (language == "") language = "-"
    inside = 1; ++n; file = out "/" n
    mark = previous ~ /^<!-- (not run|file): .* -->$/ ? substr(previous, 6, length(previous) - 9) : "-"
    printf "%d\t%d\t%s\t%s\n", n, NR + 1, language, mark > (out "/list")
    for (i = 1; i <= NR; ++i) print "" > file   # so that bash names the line of the page
    previous = ""; next
  }
  inside && /^```$/ { inside = 0; close(file); next }
  inside { print > file; next }
  { previous = $0 }
  END { if (inside) { print "a block that does not end"; exit 1 } }
' "$source_dir/$page" || fault "$page: a block that does not end"
touch "$work/blocks/list"

# --- flags, as the programs' own --help has them
programs=$(cd "$build/bin" && ls | grep -v '^example_')
mkdir "$work/flags"
for program in $programs; do
  {
    "$build/bin/$program" --help
    # Each task of train_pde has options of its own.
    [ "$program" != train_pde ] || for task in advection fractional fractional_operator fractional_ball matrix_factorisation; do
      "$build/bin/$program" --task $task --help
    done
  } | grep -oE '(^|[ ,])--[a-z0-9][a-z0-9-]*' | tr -d ' ,' | sort -u >"$work/flags/$program"
done
# Flags of other programs that the pages speak of.
printf '%s\n' --preset --build --test-dir --signal >"$work/flags/others"
sort -u "$work/flags"/* >"$work/all_flags"
awk '/^```/ { inside = !inside } !inside' "$source_dir/$page" | grep -oE '(^|[ `(|])--[a-z][a-z0-9-]*' |
  tr -d ' `(|' | sort -u >"$work/named"
for flag in $(comm -23 "$work/named" "$work/all_flags"); do
  fault "$page: $flag is no flag of any program"
done
# The commands of a block that is not run: words of one program's line up to a comment.
check_flags() {
  local line program flag
  sed -e ':a' -e '/\\$/N; s/\\\n//; ta' "$1" | sed -E 's/(^|[[:space:]])#.*//' | while read -r line; do
    program=$(printf '%s\n' "$line" | grep -oE 'build/[a-z-]+/bin/[a-z_]+' | head -n 1)
    [ -n "$program" ] || continue
    program=${program##*/}
    [ -f "$work/flags/$program" ] || { echo "no such program: $program"; continue; }
    for flag in $(printf '%s\n' "$line" | grep -oE '(^| )--[a-z][a-z0-9-]*'); do
      grep -qxe "$flag" "$work/flags/$program" || echo "$program has no flag $flag"
    done
  done
  # Scripts have to be there and executable.
  grep -oE '(^|[ ;(])(tools|bench|studies|tests)/[a-z_/]+\.sh' "$1" | tr -d ' ;(' | sort -u | while read -r line; do
    [ -x "$source_dir/$line" ] || echo "no such script: $line"
  done
}

# --- run
run=0
left=0
checkout=$work/checkout
"$here/stand_ins.sh" "$checkout" "$page" >"$work/log" 2>&1 || {
  tail -n 30 "$work/log"
  echo "$page: the stand-ins could not be made"
  exit 1
}
export PATH=$checkout/stand_in:$PATH
while IFS=$'\t' read -r number line language mark; do
  block=$work/blocks/$number
  case $mark in
    "file: "*)
      sed "1,$((line - 1))d" "$block" >"$checkout/${mark#file: }"
      continue
      ;;
  esac
  [ "$language" = sh ] || continue
  if [ "$mark" != - ]; then
    left=$((left + 1))
    echo "$page:$line: ${mark}:"
    sed -n 's/^./    &/p' "$block"
    while read -r wrong; do fault "$page:$line: $wrong"; done < <(check_flags "$block")
    continue
  fi
  run=$((run + 1))
  before=$SECONDS
  if (cd "$checkout" && timeout 300 bash -eu "$block") >"$work/log" 2>&1 </dev/null; then
    echo "$page:$line: ran, $((SECONDS - before)) s"
  else
    tail -n 15 "$work/log" | cut -c1-300
    fault "$page:$line: this block failed"
  fi
done <"$work/blocks/list"

echo "$page: $run blocks of commands run, $left not run, $failures faults"
[ "$failures" = 0 ]
