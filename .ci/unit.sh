#!/usr/bin/env bash
# Tests of every crate but the whole clusters, with the artifacts the checks on the built .so files look at.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo test --release --workspace --locked --exclude burst-e2e
# The EFA check, against devices of a made-up /sys.
cargo test --release --locked -p burst-node --features test-sysfs --target-dir "${CARGO_TARGET_DIR:-target}/trial"
cargo test --release --locked -p burst-e2e --lib --test checker --test house
