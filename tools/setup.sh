# shellcheck shell=sh
# Shared by demo.sh, test.sh and .ci/run (sourced, not run): the packages that Basin needs, and the
# steps to get and use them. As root on Debian or Ubuntu the missing ones are installed; otherwise
# they are named in one line and the script stops with exit code 5.

basin_packages="libopenblas-dev zlib1g-dev libhdf5-dev libstb-dev libnanoflann-dev
  libcli11-dev libtomlplusplus-dev nlohmann-json3-dev doctest-dev"

basin_missing() {
  command -v c++ >/dev/null 2>&1 || printf 'g++ '
  command -v cmake >/dev/null 2>&1 || printf 'cmake '
  command -v ninja >/dev/null 2>&1 || printf 'ninja-build '
  for package in $basin_packages; do
    status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) || status=absent
    [ "$status" = installed ] || printf '%s ' "$package"
  done
}

basin_setup() {
  missing=$(basin_missing)
  if [ -n "$missing" ]; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
      echo "missing packages: ${missing% }" >&2
      exit 5
    fi
    echo "installing: ${missing% }" >&2
    export DEBIAN_FRONTEND=noninteractive
    # Word splitting is meant: $missing is a list.
    if ! apt-get -qq update >&2 ||
        ! apt-get -qq install -y --no-install-recommends $missing >&2; then
      echo "could not install: ${missing% }" >&2
      exit 5
    fi
  fi
  version=$(cmake --version | sed -n 's/^cmake version \([0-9.]*\).*/\1/p')
  oldest=$(printf '3.25\n%s\n' "$version" | sort -V | head -n 1)
  if [ "$oldest" != 3.25 ]; then
    echo "cmake: 3.25 or newer is needed, found $version" >&2
    exit 5
  fi
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
