#!/usr/bin/env bash
# Tests of every crate but the whole clusters, with the artifacts the checks on the built .so files look at.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo test --release --workspace --locked --exclude burst-e2e
cargo test --release --locked -p burst-e2e --lib --test checker --test house
