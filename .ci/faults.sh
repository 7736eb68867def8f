#!/usr/bin/env bash
# The plugin with fault points, for crash storms: built beside the usual one, never over it, so that nothing that is
# installed or tested elsewhere can be this one. What other crates became is taken from the usual build (as links); where
# that does not fit, cargo builds it again.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --workspace --locked
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
there=$target/faults/release
mkdir -p "$there"
ours=$(sed -n 's/^name = "\(burst-[a-z0-9]*\|slurm-burst\)"$/\1/p' Cargo.lock)
if [ ! -e "$there/.taken" ]; then
  cp -al "$target/release/deps" "$target/release/build" "$there/" || cp -a "$target/release/deps" "$target/release/build" "$there/"
  # A link must not be written through: our own crates' files go, and cargo's notes are copies.
  for crate in $ours job-submit-burst; do
    name=${crate//-/_}
    find "$there/deps" -maxdepth 1 \( -name "$name-*" -o -name "lib$name-*" -o -name "lib$name.so" -o -name "$crate-*" \) -delete
    find "$there/build" -maxdepth 1 -name "$crate-*" -exec rm -rf {} +
  done
  cp -a "$target/release/.fingerprint" "$there/"
  for crate in $ours; do rm -rf "$there/.fingerprint/$crate"-*; done
  touch "$there/.taken"
fi
cargo build --release --workspace --locked --features slurm-burst/faults --target-dir "$target/faults"
install -m 0644 "$there/libjob_submit_burst.so" "$target/release/libjob_submit_burst_faults.so"
