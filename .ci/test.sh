#!/usr/bin/env bash
# Everything, cheap checks first; one profile, so that nothing is built twice. Ends with the e2e runner's summary.
set -euo pipefail
cd "$(dirname "$0")/.."
step() { printf '\n== %s (%s)\n' "$1" "$(date -u +%H:%M:%S)"; }
step "formatting"
cargo fmt --all --check
step "build"
cargo build --release --workspace --all-targets --locked
.ci/trial.sh
step "headers of other Slurms"
.ci/headers.sh
step "licences"
if cargo deny --version >/dev/null 2>&1; then
  # Advisories change from day to day: `make deny` looks at them.
  cargo deny --locked check licenses bans sources
else
  echo "licences: cargo-deny is not installed, not checked"
fi
# Both wait most of their time: beside what needs the processors. The plugin with fault points is built first.
step "crash storm and conformance begin"
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
.ci/faults.sh
"$target/release/burst-storm" "${KILLS:-20}" >"$target/storm.out" 2>&1 &
storm=$!
.ci/conformance.sh >"$target/conformance.out" 2>&1 &
conformance=$!
# Whatever fails meanwhile: they end what they have started themselves.
trap 'wait "$storm" "$conformance" || true' EXIT
step "unit tests"
.ci/unit.sh
step "installation"
.ci/install.sh
# What failed from here on is told once more at the end: a record of CI may keep no more than that.
failed=()
if [ -x fuzz/run.sh ]; then
  step "fuzzing"
  fuzz/run.sh "${FUZZ_SECONDS:-30}" 2>&1 | tee "$target/fuzz.out" || failed+=(fuzz)
fi
for beside in conformance storm; do
  step "$beside"
  wait "${!beside}" || failed+=("$beside")
  cat "$target/$beside.out"
done
trap - EXIT
step "end to end"
# Absolute: cargo runs the tests in their crate's own folder.
export BURST_AUDIT_DIR="$target/e2e-audit"
rm -rf "$BURST_AUDIT_DIR" "$target/e2e.out"
# The e2e summary comes last, also when something after it finds something.
.ci/e2e.sh >"$target/e2e.out" 2>&1 &
e2e=$!
trap 'wait "$e2e" || true' EXIT
# Whole clusters mostly wait: clippy takes what they leave, once cargo has let go of the build directory.
until grep -q '^running ' "$target/e2e.out" 2>/dev/null || ! kill -0 "$e2e" 2>/dev/null; do sleep 1; done
step "clippy, beside it"
nice -n 19 cargo clippy --release --workspace --all-targets --locked -- -D warnings 2>&1 | tee "$target/clippy.out" ||
  failed+=(clippy)
wait "$e2e" || failed+=(e2e)
trap - EXIT
step "what it said"
grep -v '^test result' "$target/e2e.out" || true
step "requests against AWS's service model"
.ci/model-check.sh 2>&1 | tee "$target/model-check.out" || failed+=(model-check)
for what in ${failed[@]+"${failed[@]}"}; do
  printf '\n== FAILED: %s; the last it said:\n' "$what"
  grep -A 1 'panicked at' "$target/$what.out" | tail -n 12 | cut -c 1-400 || true
  grep -vE '^test result|^ *[0-9]+ kills |^pending with' "$target/$what.out" | tail -n 8 | cut -c 1-6000 || true
done
grep '^test result' "$target/e2e.out" || true
exit "$((${#failed[@]} > 0))"
