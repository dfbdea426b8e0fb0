#!/bin/sh
# Does HEAD compute what BASE computed, bit for bit? Builds both commits, each in a clone of its own under
# build/same_bits, and runs in both 50 steps of PointNet/AdamW, DGCNN/AdamW and EGNN/Muon on the embedded
# shapes and a probe of each. Compares the SHA-256 of weights, optimizer state, metrics, results and of
# the probe's CSV and JSON files; then lets HEAD resume a run that BASE was stopped in, and probe one that
# BASE finished. HEAD may name a field, column or file more than BASE, and give none another value. Left
# out: provenance (run.json, config.toml), what a checkpoint keeps for the loop alone (state.json; the
# resumed run shows whether it is read well), pictures, and the fields that tell time or memory.
# usage: tools/same_bits.sh BASE [NETWORK...]      (default: pointnet dgcnn egnn)
#   BASIN_BASE_BIN=DIR BASIN_HEAD_BIN=DIR   programs that are built already, instead of building
# Some three minutes on two cores besides the builds; the files stay in build/same_bits/runs.
# Exit codes: 0 the same bits; 1 a difference, or a program that failed; 2 usage; 5 packages are missing.
set -u
cd "$(dirname "$0")/.." || exit 1
if [ $# -eq 0 ] || ! base=$(git rev-parse --verify --quiet "$1^{commit}"); then
  echo "same_bits: expects the commit to compare HEAD with, given '${1:-}'; for example: HEAD~1" >&2
  exit 2
fi
shift
[ $# -gt 0 ] || set -- pointnet dgcnn egnn
for net; do
  case $net in
    pointnet | dgcnn | egnn) ;;
    *)
      echo "same_bits: expects networks out of pointnet, dgcnn and egnn, given '$net'" >&2
      exit 2
      ;;
  esac
done
. tools/setup.sh
top=$PWD/build/same_bits
runs=$top/runs
mkdir -p "$top" || exit 1

# build COMMIT FOLDER: a clone at that commit, with its programs in FOLDER/build/release/bin. Objects
# that ccache knows from another folder count there too.
build() {
  [ -d "$2" ] || git clone --quiet --shared --no-checkout . "$2" || return 1
  git -C "$2" fetch --quiet origin "$1" && git -C "$2" checkout --quiet --detach "$1" || return 1
  (
    export CCACHE_BASEDIR="${CCACHE_BASEDIR:-$2}"
    cd "$2" && . tools/setup.sh && basin_build release train_modelnet landscape_probe
  )
}

base_bin=${BASIN_BASE_BIN:-} head_bin=${BASIN_HEAD_BIN:-}
unset BASIN_BASE_BIN BASIN_HEAD_BIN # the programs would wonder about settings that they do not know
if [ -z "$base_bin" ] || [ -z "$head_bin" ]; then basin_setup; fi
if [ -z "$base_bin" ]; then
  build "$base" "$top/base" || exit 1
  base_bin=$top/base/build/release/bin
fi
if [ -z "$head_bin" ]; then
  build "$(git rev-parse HEAD)" "$top/head" || exit 1
  head_bin=$top/head/build/release/bin
fi

# --- the runs ---
# Two epochs of 25 steps; the nets have their usual widths where the kernels' tiles depend on them. The
# sharpness of PointNet is left out: its exact decompositions alone would take as long as all the rest.
options() {
  case $1 in
    pointnet) echo --model pointnet --optimizer adamw ;;
    dgcnn) echo --model dgcnn --optimizer adamw --k 8 --set model.widths=64,64,64,128,256,128,64 ;;
    egnn) echo --model egnn --optimizer muon --k 8 ;;
  esac
}
parts() {
  [ "$1" = pointnet ] || printf sharpness,
  echo curvature,ranks,representations,slices
}

failed() { # WHAT LOG
  echo "same_bits: $1 failed; the end of its output:" >&2
  tail -n 15 "$2" >&2
  exit 1
}

# train, probe BIN FOLDER NETWORK take the place of the shell that calls them. The folder of a run is the
# network's name, in BASE as in HEAD, because records of the probe name it.
train() {
  cd "$2" || exit 1
  # Word splitting is meant: the options are a list.
  exec "$1/train_modelnet" $(options "$3") --data embedded --limit 400 --points 128 --batch 16 \
    --steps 50 --seed 3 --log-every 1 --out "$3" >"$3.log" 2>&1
}
probe() {
  cd "$2" || exit 1
  exec "$1/landscape_probe" run "$3" --parts "$(parts "$3")" --shapes 8 --batch 8 --top 2 --bottom 1 \
    --lanczos-steps 6 --probes 4 --density-probes 1 --density-steps 3 --rank-shapes 40 \
    --sharpness-shapes 8 --slice-shapes 8 --slices random,random1d,eigen --grid 3 --grid1d 5 \
    >"$3-probe.log" 2>&1
}

# A run of BASE that is told to stop in its second epoch. One that was faster than the signal loses its
# last checkpoint instead, as if it had been killed before that was written.
train_and_stop() {
  train "$1" "$2" "$3" &
  runner=$!
  while kill -0 $runner 2>/dev/null && ! grep -q '"step": 28,' "$2/$3/metrics.jsonl" 2>/dev/null; do
    sleep 0.01
  done
  kill -TERM $runner 2>/dev/null
  wait $runner
  rm -rf "$2/$3/ckpt/step-50" "$2/$3/result.json"
  ls -d "$2/$3"/ckpt/step-* >/dev/null 2>&1
}

# --- what is compared: one line "name TAB value" per field ---
# JSON, or a JSON object per line: the path of each scalar. mawk has to do.
json_fields() {
  awk '
    function emit(value,   path, i) {
      for (i = 1; i <= depth; i++) path = path "." (kind[i] == "{" ? key[i] : place[i])
      print documents path "\t" value
    }
    { rest = $0
      while (match(rest, /"([^"\\]|\\.)*"|[][{},:]|[^][{},:" \t]+/)) {
        token = substr(rest, RSTART, RLENGTH)
        rest = substr(rest, RSTART + RLENGTH)
        if (token == "{" || token == "[") {
          kind[++depth] = token; place[depth] = 0; named = 0
        } else if (token == "}" || token == "]") {
          named = kind[--depth] == "{"
          if (depth == 0) documents++
        } else if (token == ",") {
          place[depth]++; named = 0
        } else if (token == ":") {
          named = 1
        } else if (kind[depth] == "{" && !named) {
          key[depth] = token
        } else {
          emit(token)
        }
      }
    }' "$1"
}

# CSV with a header: the number of the row and the name of the column.
csv_fields() {
  awk '
    { rest = $0; column = 0
      while (match(rest, /^("([^"]|"")*"|[^,]*)/)) {
        cell = substr(rest, 1, RLENGTH)
        more = substr(rest, RLENGTH + 1, 1) == ","
        rest = substr(rest, RLENGTH + 2)
        column++
        if (NR == 1) name[column] = cell; else print NR - 1 "." name[column] "\t" cell
        if (!more) break
      }
    }' "$1"
}

# safetensors: dtype, shape and SHA-256 of each tensor, and the metadata. A file is 8 bytes with the
# length of a JSON header, the header, the tensors.
tensor_fields() {
  length=$(od -A n -t u8 -N 8 "$1" | tr -d ' ')
  head -c $((8 + length)) "$1" | tail -c +9 >"$top/header.json"
  json_fields "$top/header.json" >"$top/header"
  grep -v 'data_offsets' "$top/header"
  sed -n 's/\."data_offsets"\.0\t/\t/p' "$top/header" >"$top/begin"
  sed -n 's/.*\."data_offsets"\.1\t//p' "$top/header" | paste "$top/begin" - |
    while IFS="$(printf '\t')" read -r name begin end; do
      printf '%s\t%s\n' "$name" "$(tail -c +$((9 + length + begin)) "$1" | head -c $((end - begin)) |
        sha256sum | cut -c -64)"
    done
}

fields() { # FOLDER FILE...: of all of them, without the clock and the memory
  folder=$1
  shift
  for file; do
    [ -f "$folder/$file" ] || continue
    case $file in
      *.safetensors) tensor_fields "$folder/$file" ;;
      *.csv) csv_fields "$folder/$file" ;;
      *) json_fields "$folder/$file" ;;
    esac | sed "s|^|$file |"
  done | grep -v -E '("[a-z_]*seconds"|"examples_per_second"|"peak_rss_bytes")	'
}

probe_files() { # FOLDER
  (cd "$1" && find probe -name '*.json' -o -name '*.jsonl' -o -name '*.csv' -o -name '*.safetensors') |
    grep -v '^probe/run.json$' | sort
}

# same LABEL BASE HEAD FILE...: one line of the table. The hash of HEAD is over the fields of BASE.
status=0
same() {
  label=$1 old=$2 new=$3
  shift 3
  fields "$old" "$@" >"$top/old"
  fields "$new" "$@" >"$top/new"
  awk -F '\t' -v OFS='\t' '
    NR == FNR { value[$1] = $2; next }
    { print $1, $1 in value ? value[$1] : "(absent)" }' "$top/new" "$top/old" >"$top/kept"
  old_hash=$(sha256sum <"$top/old" | cut -c -16)
  new_hash=$(sha256sum <"$top/kept" | cut -c -16)
  count=$(wc -l <"$top/old") gained=$(($(wc -l <"$top/new") - count))
  verdict=same
  if [ "$old_hash" != "$new_hash" ] || [ "$count" -eq 0 ]; then
    verdict=DIFFERENT status=1
  fi
  printf '%-42s %-17s %-17s %7d %7d  %s\n' "$label" "$old_hash" "$new_hash" "$count" "$gained" "$verdict"
  paste "$top/old" "$top/kept" | awk -F '\t' '
    $2 != $4 { if (++n > 3) exit; print "    " $1 ": " $2 " in BASE, " $4 " in HEAD" }'
}
same_run() { # LABEL BASE HEAD
  same "$1: weights" "$2" "$3" ckpt/step-50/model.safetensors
  same "$1: optimizer state" "$2" "$3" ckpt/step-50/optim.safetensors
  same "$1: metrics" "$2" "$3" metrics.jsonl
  same "$1: results" "$2" "$3" result.json
}

rm -rf "$runs"
mkdir -p "$runs/base" "$runs/head" "$runs/resumed" "$runs/probed" || exit 1
echo "BASE $base"
printf '%-42s %-17s %-17s %7s %7s\n' '' 'SHA-256 of BASE' 'of HEAD' fields gained
for net; do
  for side in base head; do
    [ $side = base ] && bin=$base_bin || bin=$head_bin
    (train "$bin" "$runs/$side" "$net") || failed "$side: training $net" "$runs/$side/$net.log"
    [ $side = base ] && cp -r "$runs/base/$net" "$runs/probed/$net"
    (probe "$bin" "$runs/$side" "$net") || failed "$side: the probe of $net" "$runs/$side/$net-probe.log"
  done
  old=$runs/base/$net
  same_run "$net" "$old" "$runs/head/$net"
  same "$net: probe" "$old" "$runs/head/$net" $(probe_files "$old")

  train_and_stop "$base_bin" "$runs/resumed" "$net" ||
    failed "base: the part of a training of $net" "$runs/resumed/$net.log"
  (cd "$runs/resumed" && "$head_bin/train_modelnet" --resume "$net") \
    >"$runs/resumed/$net-resumed.log" 2>&1 ||
    failed "head: resuming BASE's $net" "$runs/resumed/$net-resumed.log"
  same_run "$net, BASE's, resumed" "$old" "$runs/resumed/$net"
  (probe "$head_bin" "$runs/probed" "$net") ||
    failed "head: the probe of BASE's $net" "$runs/probed/$net-probe.log"
  same "$net, BASE's, probed" "$old" "$runs/probed/$net" $(probe_files "$old")
done
if [ $status = 0 ]; then
  echo "HEAD computes what BASE computed, bit for bit"
else
  echo "HEAD differs from BASE; the files are in $runs"
fi
exit $status
