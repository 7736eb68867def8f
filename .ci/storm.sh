#!/usr/bin/env bash
# slurmctld killed at the boundaries of every effect, on real Slurm: .ci/storm.sh KILLS [SEED]
set -euo pipefail
cd "$(dirname "$0")/.."
.ci/faults.sh
exec "${CARGO_TARGET_DIR:-target}/release/burst-storm" "$@"
