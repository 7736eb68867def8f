#!/usr/bin/env bash
# burst-node for trials without EFA hardware: the build that takes $BURST_TEST_SYSFS for /sys. Never installed.
set -euo pipefail
cd "$(dirname "$0")/.."
target="${CARGO_TARGET_DIR:-target}"
cargo build --release --locked -p burst-node --features test-sysfs --target-dir "$target/trial"
install -m 0755 "$target/trial/release/burst-node" "$target/release/burst-node-trial"
