#!/usr/bin/env bash
# Compiles the C shims against the Slurm headers of other Debian suites (24.11, 26.05), taken from their libslurm-dev
# without touching the machine's own packages. Where a suite cannot be fetched it says so; a shim that does not compile
# fails.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || { echo "headers: not a Debian system, not checked"; exit 0; }
out="${CARGO_TARGET_DIR:-target}/headers"
out=$(mkdir -p "$out" && cd "$out" && pwd)
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
for suite in trixie sid; do
  dir="$out/$suite"
  if [ ! -e "$dir/x/usr/include/slurm/slurm.h" ]; then
    mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$dir/sources.list"
    options=(-o "Dir::Etc::sourcelist=$dir/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$dir/lists"
      -o "Dir::Cache=$dir/cache" -o APT::Sandbox::User=root -o Acquire::Languages=none)
    if ! { timeout 120 apt-get "${options[@]}" update && (cd "$dir" && timeout 60 apt-get "${options[@]}" download libslurm-dev); } >"$dir/apt.log" 2>&1; then
      echo "headers: $suite could not be fetched, not checked ($(tail -n 1 "$dir/apt.log"))"
      continue
    fi
    dpkg-deb -x "$dir"/libslurm-dev_*.deb "$dir/x"
  fi
  for file in c-shim/*.c; do
    ${CC:-cc} -std=gnu11 -isystem "$dir/x/usr/include" -Iinclude -Ic-shim -Wall -Wextra -Werror -c "$file" -o "$dir/$(basename "$file").o"
  done
  version=$(sed -n 's/^#define SLURM_VERSION_NUMBER *0x\(..\)\(..\)\(..\).*/\1 \2 \3/p' "$dir/x/usr/include/slurm/slurm_version.h")
  read -r major minor micro <<<"$version"
  printf 'headers: the shims compile against Slurm %d.%02d.%d (%s)\n' "0x$major" "0x$minor" "0x$micro" "$suite"
done
