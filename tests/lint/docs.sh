#!/bin/sh
# Documentation lint: the links of README.md, docs/ and bench/results/ lead to files and headings that
# exist, so do the source files that the pages name, every page of docs/ can be reached from the
# README, lines have at most 120 columns (rows of tables apart), pages at most 150 lines. No page, record
# or figure that is published has a path of the machine that made it.
# usage: docs.sh SOURCE_DIR
set -u
cd "$1" || exit 2
status=0
fault() {
  echo "$1"
  status=1
}

# A heading as the anchor that it gets: lower case, blanks as hyphens, no punctuation.
anchors() {
  sed -n 's/^##* //p' "$1" | tr 'A-Z' 'a-z' | sed -e 's/[^a-z0-9 _-]//g' -e 's/ /-/g'
}

for page in README.md docs/*.md bench/results/*.md; do
  folder=$(dirname "$page")
  for link in $(sed '/^```/,/^```$/d' "$page" | grep -oE '\]\([^) ]+\)' | sed -e 's/^](//' -e 's/)$//'); do
    case $link in http*://*) continue ;; esac
    file=${link%%#*}
    target=$page
    [ -z "$file" ] || target=$folder/$file
    if [ ! -e "$target" ]; then
      fault "$page: a link to $link, which does not exist"
    elif [ "$link" != "$file" ] && ! anchors "$target" | grep -qxF -e "${link#*#}"; then
      fault "$page: a link to $link, a heading that does not exist"
    fi
  done
done

for page in README.md docs/*.md; do
  # `folder/..` in prose, without placeholders and patterns.
  for file in $(sed '/^```/,/^```$/d' "$page" | grep -oE '`[a-z]+/[A-Za-z0-9_./-]+`' | tr -d '`'); do
    case $file in
      build/* | runs/* | ckpt/*) ;;
      */x.cpp | */x.cu | */fused_x.cpp) ;;
      detail/*) ;;
      *) [ -e "$file" ] || fault "$page: names $file, which does not exist" ;;
    esac
  done
  # Columns, not bytes: a byte that goes on with a character does not count.
  long=$(LC_ALL=C sed 's/[\x80-\xBF]//g' "$page" | LC_ALL=C awk 'length($0) > 120 && !/^\|/ { printf "%d ", NR }')
  [ -z "$long" ] || fault "$page: more than 120 columns in line ${long% }"
  lines=$(wc -l <"$page")
  most=150
  [ "$page" != README.md ] || most=130
  [ "$lines" -le $most ] || fault "$page: $lines lines, more than $most"
  [ "$page" = README.md ] || grep -qF "]($page)" README.md || fault "README.md: no link to $page"
done
for file in $(grep -rlE '(^|[ "=(>])/(tmp|home|root|work|mnt)/' README.md CHANGELOG.md docs bench studies); do
  fault "$file: a path of one machine: $(grep -oE '/(tmp|home|root|work|mnt)/[^ "<]*' "$file" | head -1)"
done
exit $status
