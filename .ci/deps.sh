#!/usr/bin/env bash
# Installs the Debian packages that are missing, without letting them start services.
set -euo pipefail
packages=(munge slurmctld slurmd slurm-client libslurm-dev libclang-dev clang pkg-config iproute2 make gcc python3-venv)
missing=()
if ! command -v dpkg-query >/dev/null; then
  for program in munged slurmctld slurmd sbatch clang pkg-config ip gcc; do
    command -v "$program" >/dev/null || [ -x "/usr/sbin/$program" ] || missing+=("$program")
  done
  [ ${#missing[@]} -eq 0 ] && exit 0
  echo "deps: not a Debian system; please install what provides: ${missing[*]}" >&2
  exit 1
fi
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
  [ "$status" = "install ok installed" ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ]; then
  echo "deps: these packages are missing: ${missing[*]}" >&2
  echo "deps: run as root: apt-get install --no-install-recommends ${missing[*]}" >&2
  exit 1
fi
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 0755 "$policy"
fi
echo "deps: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y --no-install-recommends "${missing[@]}"
