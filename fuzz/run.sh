#!/usr/bin/env bash
# Coverage-guided fuzzing on a stable compiler: fuzz/run.sh [SECONDS] [TARGET…]; 30 seconds and all targets by default.
# Builds once, runs as many targets at a time as there are processors, fails on a crash, a hang, a memory bomb, or a
# target that was built without coverage. What it finds stays in target/fuzz: new inputs in corpus/, crashes in crashes/.
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd .. && pwd)
seconds=${1:-30}
shift || true
case $seconds in '' | *[!0-9]* | 0) echo "fuzz: usage: fuzz/run.sh SECONDS [TARGET…]" >&2; exit 2 ;; esac
mapfile -t known < <(cd targets && ls -- *.rs | sed 's/\.rs$//')
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=("${known[@]}")
for target in "${targets[@]}"; do
  [ -e "targets/$target.rs" ] || { echo "fuzz: no target $target; there are: ${known[*]}" >&2; exit 2; }
done

case ${CARGO_TARGET_DIR:-} in
  '') out=$root/target/fuzz ;;
  /*) out=$CARGO_TARGET_DIR/fuzz ;;
  *) out=$root/$CARGO_TARGET_DIR/fuzz ;;
esac
mkdir -p "$out"
# libFuzzer itself is C++.
if [ -z "${CXX:-}" ] && ! command -v c++ >/dev/null; then export CXX=clang++; fi
host=$(rustc -vV | sed -n 's/^host: //p')
# The flags cargo-fuzz would give, without it: SanitizerCoverage as an LLVM pass is available on every channel. With
# --target, build scripts and procedural macros stay as they are.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Clink-args=-Wl,-z,nostart-stop-gc"
CARGO_TARGET_DIR=$out ${CARGO:-cargo} build --release --locked --target "$host" "${targets[@]/#/--bin=}"

run() {
  local target=$1 log=$out/$1.log status=0
  mkdir -p "$out/corpus/$target" "$out/crashes/$target" "corpus/$target"
  touch "$out/$target.failed.begun"
  local dict=()
  [ ! -e "dict/$target.dict" ] || dict=("-dict=dict/$target.dict")
  RUST_BACKTRACE=0 "$out/$host/release/$target" "$out/corpus/$target" "corpus/$target" -max_total_time="$seconds" -timeout=25 \
    -max_len=4096 -rss_limit_mb=1024 -malloc_limit_mb=256 -print_final_stats=1 -artifact_prefix="$out/crashes/$target/" \
    ${dict[@]+"${dict[@]}"} >"$log" 2>&1 || status=$?
  local first last execs
  first=$(sed -n 's/.*INITED cov: \([0-9]*\).*/\1/p' "$log" | head -1)
  last=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
  execs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  if [ "$status" -ne 0 ]; then
    echo "fuzz: $target FAILED (exit $status); the input is in $out/crashes/$target" >&2
    grep -v '^#' "$log" | tail -25 >&2
    touch "$out/$target.failed"
    return 1
  fi
  if [ "${last:-0}" -lt 20 ] || [ "${execs:-0}" -eq 0 ]; then
    echo "fuzz: $target ran without coverage (${last:-0} edges, ${execs:-0} runs)" >&2
    return 1
  fi
  printf 'fuzz: %-15s ok  %9d runs in %d s, coverage %d -> %d edges\n' "$target" "$execs" "$seconds" "${first:-0}" "$last"
}

failed=0 running=0
rm -f "$out"/*.failed
for target in "${targets[@]}"; do
  if [ "$running" -ge "$(nproc)" ]; then
    wait -n || failed=1
    running=$((running - 1))
  fi
  run "$target" &
  running=$((running + 1))
done
while [ "$running" -gt 0 ]; do
  wait -n || failed=1
  running=$((running - 1))
done
# What a record of CI may keep is the end: what was wrong, and the input itself.
for mark in "$out"/*.failed; do
  [ -e "$mark" ] || continue
  target=$(basename "$mark" .failed)
  echo "fuzz: $target FAILED: $(grep -A1 -m1 'panicked at\|ERROR: libFuzzer' "$out/$target.log" | tr '\n' ' ' | cut -c 1-200)" >&2
  found=$(find "$out/crashes/$target" -type f -newer "$mark.begun" | head -n 1)
  [ -z "$found" ] || echo "fuzz: base64 -d >crash <<<$(base64 -w0 "$found" | cut -c 1-4000)" >&2
done
exit "$failed"
