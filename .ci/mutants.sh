#!/usr/bin/env bash
# Proves that the tests of DESIGN's laws bite: removes one guard at a time (tests/mutants/*.patch, each names its law, its
# guard and its test) from a pristine copy of HEAD, and wants the named test to fail by running, not by not compiling.
# Usage: .ci/mutants.sh [PATCH ...]
set -euo pipefail
cd "$(dirname "$0")/.."
patches=("$@")
[ ${#patches[@]} -gt 0 ] || patches=(tests/mutants/*.patch)
for i in "${!patches[@]}"; do patches[i]=$(realpath "${patches[i]}"); done
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")/mutants
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git clone -q . "$copy/tree"
cd "$copy/tree"
export CARGO_TARGET_DIR=$target BURST_AUDIT_DIR=$copy/audit
mkdir -p "$target"

# A soak needs the engine only; the e2e tests need every program.
build() { # its own command or nothing
  case $1 in
    *burst-soak*) cargo build --release --locked -p burst-soak ;;
    *) cargo build --release --workspace --locked && .ci/trial.sh && cargo test --release --locked -p burst-e2e --no-run ;;
  esac
}
# A patch says in its head how to run its test where that is not the usual way: `Run: cargo test …`.
run() { # test, its own command or nothing
  if [ -n "$2" ]; then bash -c "$2"; else
    cargo test --release --locked -p burst-e2e --test e2e -- --test-threads=2 "$1"
  fi
}
noticed=0 missed=0
for patch in "${patches[@]}"; do
  name=$(basename "$patch" .patch)
  test=$(sed -n 's/^Test: //p' "$patch") own=$(sed -n 's/^Run: //p' "$patch")
  git checkout -q . && git apply "$patch" || { echo "mutant $name: the patch does not apply any more"; exit 1; }
  log=$target/$name.log
  build "$own" >"$log" 2>&1 || { echo "mutant $name: does not compile ($log)"; exit 1; }
  if run "$test" "$own" >>"$log" 2>&1; then
    missed=$((missed + 1))
    echo "mutant $name: NOT NOTICED by $test ($log)"
  elif grep -q -e '^test result: FAILED' -e '^soak: .* [1-9][0-9]* broken$' "$log"; then
    noticed=$((noticed + 1))
    what=$(sed -n -e 's/^test \(.*\) \.\.\. FAILED$/\1/p' -e '/^soak: /p' "$log" | tr '\n' ' ')
    echo "mutant $name: noticed by $what"
  else
    echo "mutant $name: the test did not run ($log)"
    exit 1
  fi
done
echo "mutants: $noticed noticed, $missed not noticed"
[ "$missed" -eq 0 ]
