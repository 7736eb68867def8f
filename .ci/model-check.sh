#!/usr/bin/env bash
# Checks the requests that e2e runs recorded against botocore's service model, in an environment of its own.
set -euo pipefail
cd "$(dirname "$0")/.."
audits="${BURST_AUDIT_DIR:-${CARGO_TARGET_DIR:-target}/e2e-audit}"
shopt -s nullglob
logs=("$audits"/*.jsonl)
if [ ${#logs[@]} -eq 0 ]; then
  echo "model-check: no audit logs in $audits; run make e2e with BURST_AUDIT_DIR=$audits first" >&2
  exit 1
fi
venv="${CARGO_TARGET_DIR:-target}/venv"
if [ ! -x "$venv/bin/python" ]; then
  python3 -m venv "$venv"
fi
"$venv/bin/python" -m pip install -q --disable-pip-version-check --retries 10 --timeout 60 --no-deps --require-hashes -r tests/conformance/requirements.txt
# First that it bites; then every action the engine cannot do without must be among the requests.
"$venv/bin/python" tests/conformance/model_check.py --self-test | grep -v '^ok '
expected=(CreateFleet DescribeInstances TerminateInstances CreateLaunchTemplate CreatePlacementGroup
  DescribePlacementGroups DescribeInstanceTypes DescribeSubnets)
exec "$venv/bin/python" tests/conformance/model_check.py "${expected[@]/#/--expect=}" "${logs[@]}"
