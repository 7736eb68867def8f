#!/usr/bin/env bash
# The plugin with fault points, for crash storms: built beside the usual one, never over it, so that nothing that is
# installed or tested elsewhere can be this one. What other people's crates became is taken from the usual build (as links);
# where that does not fit, cargo builds it again.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --workspace --locked
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
there=$target/faults/release
if [ ! -e "$there/.taken" ]; then
  rm -rf "$there" && mkdir -p "$there"
  cp -al "$target/release/deps" "$target/release/build" "$there/" || cp -a "$target/release/deps" "$target/release/build" "$there/"
  cp -a "$target/release/.fingerprint" "$there/"
  # A link must not be written through: what is ours goes.
  find "$there/deps" "$there/build" "$there/.fingerprint" -maxdepth 1 -name '*burst*' -exec rm -rf {} +
  touch "$there/.taken"
fi
cargo build --release --workspace --locked --lib --features slurm-burst/faults --target-dir "$target/faults"
install -m 0644 "$there/libjob_submit_burst.so" "$target/release/libjob_submit_burst_faults.so"
