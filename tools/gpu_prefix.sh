#!/usr/bin/env bash
# The libraries and headers that Basin needs, unpacked into a folder, for a machine with a GPU that
# reaches no package mirror: run it on a Debian or Ubuntu that does, carry the folder, and give it to
# tools/gpu_check.sh --prefix. No root is needed. Left out are HDF5 (the check trains on the embedded
# shapes then), MPI and static libraries, so that it stays below 64 MB.
# usage: tools/gpu_prefix.sh DIR     an empty or new folder
# Exit codes: 0; 1 a package was not to be had, or too much was unpacked; 2 usage; 6 DIR is not empty.
set -u
if [ $# != 1 ]; then
  echo "gpu_prefix: expects one folder, given '$*'" >&2
  exit 2
fi
folder=$1
mkdir -p "$folder" || exit 6
if [ -n "$(ls -A "$folder")" ]; then
  echo "gpu_prefix: $folder is not empty" >&2
  exit 6
fi
folder=$(cd "$folder" && pwd)
packages="libopenblas0-pthread libopenblas-pthread-dev libgfortran5 libquadmath0 zlib1g zlib1g-dev
  libstb-dev libnanoflann-dev libcli11-dev libtomlplusplus-dev nlohmann-json3-dev doctest-dev"
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
# Word splitting is meant: a list of packages.
if ! (cd "$work" && apt-get -qq download $packages); then
  echo "gpu_prefix: a package was not to be had: $packages" >&2
  exit 1
fi
for package in "$work"/*.deb; do dpkg-deb -x "$package" "$folder" || exit 1; done
# OpenBLAS holds BLAS and LAPACK; their own names are copies.
find "$folder" \( -name '*.a' -o -name 'libblas.so*' -o -name 'liblapack.so*' \) -delete
rm -rf "$folder/usr/share/doc" "$folder/usr/share/man" "$folder/usr/share/doctest" "$folder/etc"
# What distributions that have no /lib beside /usr/lib unpack there.
if [ -d "$folder/lib" ]; then
  cp -a "$folder/lib" "$folder/usr/" && rm -rf "$folder/lib"
fi
bytes=$(du -sb "$folder" | cut -f 1)
if [ "$bytes" -gt $((64 << 20)) ]; then
  echo "gpu_prefix: $bytes bytes are more than the 64 MB that travel" >&2
  exit 1
fi
echo "gpu_prefix: $folder, $((bytes >> 20)) MB"
