#!/usr/bin/env bash
# The AWS half against EC2 endpoints, ours and others': .ci/conformance.sh. The others are Python packages, pinned with
# hashes, in environments of their own; they are fetched once. Without a network and without having been fetched before,
# it fails and says so.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
cargo build --release --workspace --locked --examples --bins
out=$target/conformance
rm -rf "$out" && mkdir -p "$out"

venv() { # folder, list of packages
  if ! cmp -s "$1/ready" "$2"; then
    # Three times: a mirror may be away for a moment.
    local try
    for try in 1 2 3 none; do
      if [ "$try" = none ]; then
        echo "conformance: the packages of $2 could not be fetched (is there a network?); nothing was checked" >&2
        exit 1
      fi
      rm -rf "$1"
      python3 -m venv "$1" && "$1/bin/python" -m pip install -q --disable-pip-version-check --retries 10 --timeout 60 \
        --no-deps --require-hashes -r "$2" && break
    done
    cp "$2" "$1/ready"
  fi
}
venv "$target/venv-moto" tests/e2e/fixtures/moto/requirements.txt
venv "$target/venv-endpoints" tests/conformance/endpoints.txt
venv "$target/venv" tests/conformance/requirements.txt
exec python3 -B tests/conformance/run.py "$target/release/examples/conformance" "$target/release/burst-ec2sim" \
  "$target/venv-moto/bin/python" "$target/venv-endpoints/bin/python" "$target/venv/bin/python" "$out"
