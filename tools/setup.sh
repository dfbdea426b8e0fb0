# shellcheck shell=sh
# Shared by demo.sh, test.sh and .ci/run (sourced in the root of the checkout, not run): what Basin
# needs, and the steps to get and use it. As root on Debian or Ubuntu the missing packages are
# installed; otherwise they are named in one line and the script stops with exit code 5. A CMake that
# is new enough comes from the distribution or, where that one is too old, as a Python wheel into
# build/venv, which needs no root.

basin_packages="libopenblas-dev zlib1g-dev libhdf5-dev libstb-dev libnanoflann-dev
  libcli11-dev libtomlplusplus-dev nlohmann-json3-dev doctest-dev
  libopenmpi-dev openmpi-bin"
basin_oldest_gcc=11   # the first whose library reads and writes floating-point numbers by <charconv>
basin_oldest_cmake=3.25

# at_least WANTED FOUND: of two versions.
basin_at_least() {
  oldest=$(printf '%s\n%s\n' "$1" "$2" | sort -t. -k1,1n -k2,2n | head -n 1)
  [ "$oldest" = "$1" ] || [ "$1" = "$2" ]
}

# The arguments that are not installed; on a system without dpkg CMake is left to say what is missing.
basin_absent() {
  command -v dpkg-query >/dev/null 2>&1 || return 0
  for package in "$@"; do
    status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) || status=absent
    [ "$status" = installed ] || printf '%s ' "$package"
  done
}

basin_can_install() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1
}

# Installs the packages, or names them and stops.
basin_install() {
  [ $# -gt 0 ] || return 0
  if ! basin_can_install; then
    echo "missing packages: $*" >&2
    exit 5
  fi
  echo "installing: $*" >&2
  export DEBIAN_FRONTEND=noninteractive
  if [ -z "${basin_updated:-}" ]; then
    apt-get -qq update >&2 || true  # an install from old lists may still succeed
    basin_updated=1
  fi
  apt-get -qq install -y --no-install-recommends "$@" >&2 || {
    echo "could not install: $*" >&2
    exit 5
  }
}

# c++, or the newest g++-N beside one that is too old, as CXX. Clang is taken as it is.
basin_compiler() {
  [ -z "${CXX:-}" ] || return 0
  if ! command -v c++ >/dev/null 2>&1; then
    basin_can_install || return 0  # named with the rest
    basin_install g++
  fi
  c++ --version | grep -qi clang && return
  found=$(c++ -dumpversion)
  basin_at_least "$basin_oldest_gcc" "$found" && return
  for number in 16 15 14 13 12 11; do
    if command -v "g++-$number" >/dev/null 2>&1; then
      CXX=g++-$number
      export CXX
      return
    fi
  done
  echo "g++ $found is too old: the oldest that works is g++ $basin_oldest_gcc" \
       "(Ubuntu 22.04, Debian 12)" >&2
  exit 5
}

basin_cmake_version() {
  cmake --version 2>/dev/null | sed -n 's/^cmake version \([0-9.]*\).*/\1/p'
}

# cmake on the PATH: there already, of the distribution, or in a virtual environment of its own.
basin_cmake() {
  [ ! -x build/venv/bin/cmake ] || PATH=$PWD/build/venv/bin:$PATH
  version=$(basin_cmake_version)
  if [ -z "$version" ] && basin_can_install; then
    basin_install cmake
    version=$(basin_cmake_version)
  fi
  basin_at_least "$basin_oldest_cmake" "${version:-0}" && return
  echo "cmake: $basin_oldest_cmake or newer is needed, found ${version:-none};" \
       "installing one into build/venv" >&2
  if ! python3 -c 'import ensurepip, venv' >/dev/null 2>&1; then
    basin_install python3-venv
  fi
  if ! python3 -m venv build/venv >&2 ||
      ! build/venv/bin/python -m pip install -q "cmake>=$basin_oldest_cmake" >&2; then
    rm -rf build/venv
    echo "cmake: could not install one; put $basin_oldest_cmake or newer on the PATH" >&2
    exit 5
  fi
  PATH=$PWD/build/venv/bin:$PATH
}

basin_setup() {
  basin_compiler  # before the packages: a distribution whose compiler is too old lacks some of them
  missing=
  command -v c++ >/dev/null 2>&1 || missing="g++ "
  command -v ninja >/dev/null 2>&1 || missing="${missing}ninja-build "
  # Word splitting is meant: lists of packages.
  basin_install $missing $(basin_absent $basin_packages)
  basin_cmake
}

# What single tests use and are skipped without: valgrind, which counts instructions (label perf).
basin_setup_tests() {
  # Word splitting is meant: a list of packages.
  if basin_can_install; then basin_install $(basin_absent valgrind); fi
}

# basin_build PRESET [TARGET...]: configures build/PRESET and builds the targets, or everything. As a
# unity build, half the compile time of a cold one; whoever changes one source often is better off
# with -DCMAKE_UNITY_BUILD=OFF, which gives the same bits.
basin_build() {
  preset=$1
  shift
  launcher=
  if command -v ccache >/dev/null 2>&1; then
    launcher=-DCMAKE_CXX_COMPILER_LAUNCHER=ccache
  fi
  cmake --preset "$preset" -DCMAKE_UNITY_BUILD=ON -DCMAKE_UNITY_BUILD_BATCH_SIZE=6 $launcher >&2 ||
    return 1
  if [ $# -gt 0 ]; then
    cmake --build --preset "$preset" --parallel "$(nproc)" --target "$@" >&2
  else
    cmake --build --preset "$preset" --parallel "$(nproc)" >&2
  fi
}
