#!/usr/bin/env bash
# Installs the Debian packages that are missing, without letting them start services, now or at the next boot. Rust is
# not among them (Debian's is too old): it is looked for, and where it is missing the script says how to get it.
set -euo pipefail
# What each is for: Slurm and munge to run; headers, libclang and compilers to build (g++ for the fuzzers' runtime);
# iproute2 for instances with networks of their own; Python for the check of requests against AWS's service model.
packages=(munge slurmctld slurmd slurm-client libslurm-dev libclang-dev clang gcc g++ libc6-dev make pkg-config iproute2
  hostname util-linux python3-venv ca-certificates)
rust_least=$(sed -n 's/^rust-version = "\([0-9.]*\)".*/\1/p' "$(dirname "$0")/../Cargo.toml" | head -n 1)

rust() {
  local have
  have=$("${CARGO:-cargo}" --version 2>/dev/null | sed -n 's/^cargo \([0-9]*\.[0-9]*\).*/\1/p') || true
  if [ -n "$have" ] && [ "$(printf '%s\n' "$rust_least" "$have" | sort -V | head -n 1)" = "$rust_least" ]; then return 0; fi
  echo "deps: Rust $rust_least or newer is needed, ${have:-none} was found. Install it with rustup (https://rustup.rs):" >&2
  echo "deps:   curl https://sh.rustup.rs -sSf | sh -s -- -y --profile minimal -c clippy -c rustfmt; . ~/.cargo/env" >&2
  return 1
}

missing=()
if ! command -v dpkg-query >/dev/null; then
  for program in munged slurmctld slurmd sbatch clang pkg-config ip gcc g++ make hostname setpriv python3; do
    command -v "$program" >/dev/null || [ -x "/usr/sbin/$program" ] || missing+=("$program")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    echo "deps: not a Debian system; please install what provides: ${missing[*]}" >&2
    exit 1
  fi
  rust
  exit
fi
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
  case $status in *" ok installed") ;; *) missing+=("$package") ;; esac
done
if [ ${#missing[@]} -eq 0 ]; then
  rust
  exit
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "deps: these packages are missing: ${missing[*]}" >&2
  echo "deps: run as root: apt-get install --no-install-recommends ${missing[*]}" >&2
  exit 1
fi

# Debian asks policy-rc.d before a package starts its service; 101 forbids it. A site's own file is put aside and comes
# back, however this ends; one that an earlier run could not take away (kill -9) is known by its mark.
policy=/usr/sbin/policy-rc.d
aside=$policy.before-slurm-burst
mark="# put here by slurm-burst's deps.sh while it installs packages"
restore() {
  if grep -qsF "$mark" "$policy"; then rm -f "$policy"; fi
  if [ -e "$aside" ] || [ -L "$aside" ]; then mv -f "$aside" "$policy"; fi
}
restore
trap restore EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
if [ -e "$policy" ] || [ -L "$policy" ]; then mv "$policy" "$aside"; fi
printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy"
chmod 0755 "$policy"

echo "deps: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get -q -o DPkg::Lock::Timeout=120 update ||
  echo "deps: the package lists could not be refreshed (above); going on with those that are here" >&2
apt-get -q -y -o DPkg::Lock::Timeout=120 install --no-install-recommends "${missing[@]}"
# Only the services that came with this run: what was there before stays as the site has it.
if command -v systemctl >/dev/null; then
  for service in munge slurmctld slurmd; do
    for package in "${missing[@]}"; do
      if [ "$package" = "$service" ]; then systemctl --quiet disable "$service" || true; fi
    done
  done
fi
rust
