#!/usr/bin/env bash
# Whole clusters. Three at a time: each mostly waits, and more would wait for each other on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo test --release --locked -p burst-e2e --test e2e -- --test-threads="${E2E_THREADS:-3}"
