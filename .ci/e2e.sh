#!/usr/bin/env bash
# Whole clusters. Two at a time: more would only wait for each other on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo test --release --locked -p burst-e2e --test e2e -- --test-threads="${E2E_THREADS:-2}"
