#!/usr/bin/env python3
"""The same scenarios of src/aws/examples/conformance.rs over every EC2 endpoint there is, as one table.

Each endpoint is behind microburst (which throttles, resets, delays and loses answers on order) and a recorder. What EC2
documents is what a scenario wants; where an endpoint is known to differ, KNOWN says so and why, and an endpoint that no
longer differs is as wrong as one that newly does. Every request is checked against botocore's service model, and a web page
(moto's answer to what it does not know) fails the run.

run.py PROGRAM EC2SIM MOTO_PYTHON ENDPOINTS_PYTHON MODEL_PYTHON OUT
"""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import recorder

HERE = pathlib.Path(__file__).resolve().parent

# (endpoint, scenario) → why it differs from what EC2 documents.
KNOWN = {
    ("ministack", "types"): "has no data of most types: 8 vCPUs and no EFA for c5n.18xlarge",
    ("ministack", "whole"): "launches in its first zone whatever the subnet's zone is",
    ("ministack", "describe-unknown"): "does not know the filter instance-id and shows everything",
    ("ministack", "replay"): "does not look at ClientToken",
    ("ministack", "replay-changed"): "does not look at ClientToken",
    ("ministack", "commit-then-lost"): "does not look at ClientToken",
    ("ministack", "no-capacity"): "has capacity without end",
    ("ministack", "group-of-fleet"): "does not take the group of a fleet's override",
    ("moto", "group-of-fleet"): "does not take the group of a fleet's override",
}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def ask(port, action):
    auth = ("AWS4-HMAC-SHA256 Credential=test/20260101/us-east-2/ec2/aws4_request, SignedHeaders=host, Signature=x")
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", f"Version=2016-11-15&Action={action}".encode(),
                                     {"Authorization": auth, "Content-Type": "application/x-www-form-urlencoded"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read().decode()


# Image, subnet, zone and security group of the simulator (src/sim/config.rs); others are asked for theirs.
SIMULATED = ("ami-0burst00000000001", "subnet-0aa11", "us-east-2b", "sg-0burst0000000001")


def knock(port):
    socket.create_connection(("127.0.0.1", port), 5).close()
    return True


def find_place(port):
    subnet, zone = None, None
    for item in ask(port, "DescribeSubnets").split("<item>"):
        found = re.search(r"<subnetId>([^<]+)", item), re.search(r"<availabilityZone>([^<]+)", item)
        if all(found) and (zone is None or found[1].group(1) == "us-east-2b"):
            subnet, zone = found[0].group(1), found[1].group(1)

    def first(action, tag):
        return re.search(f"<{tag}>([^<]+)", ask(port, action)).group(1)

    return first("DescribeImages", "imageId"), subnet, zone, first("DescribeSecurityGroups", "groupId")


class Programs:
    """What was started; ends with the run."""

    def __init__(self, out):
        self.out, self.all = out, []

    def start(self, name, command, env=()):
        keep = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG")}
        home = self.out / f"{name}.home"
        home.mkdir(exist_ok=True)
        log = open(self.out / f"{name}.log", "ab")
        self.all.append(subprocess.Popen([str(c) for c in command], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                         cwd=home, env={**keep, "HOME": str(home), **dict(env)}))

    def stop(self):
        for p in self.all:
            p.send_signal(signal.SIGTERM)
        for p in self.all:
            try:
                p.wait(10)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()


def wait_for(what, look, limit=120):
    end = time.monotonic() + limit
    while True:
        try:
            return look()
        except OSError as e:
            if time.monotonic() > end:
                sys.exit(f"conformance: {what} does not answer: {e}")
            time.sleep(0.2)


def endpoint(name, paths, programs, out):
    """One endpoint's outcomes: scenario → (outcome, said)."""
    real, proxy, front = free_port(), free_port(), free_port()
    if name == "ec2sim":
        conf = out / "sim.json"
        conf.write_text(json.dumps({"capacity": [{"type": "hpc6a.48xlarge", "count": 0}],
                                    "offerings": {"hpc6a.48xlarge": ["us-east-2a", "us-east-2b"]}}))
        programs.start(name, [paths["sim"], f"--listen=127.0.0.1:{real}", "--config", conf, "--state-dir", out])
    elif name == "moto":
        programs.start(name, [paths["moto"], HERE / "moto_overlay.py", real], {"OVERLAY_EMPTY": "hpc6a.48xlarge"}.items())
    else:
        env = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(real), "MINISTACK_REGION": "us-east-2", "SERVICES": "ec2"}
        programs.start(name, [paths["endpoints"].parent / "ministack"], env.items())
    programs.start(f"microburst-{name}", [paths["endpoints"].parent / "microburst", "--upstream",
                                          f"http://127.0.0.1:{real}", "--port", proxy])
    # At once: whoever looks for a free port meanwhile does not find this one.
    log = out / f"{name}.jsonl"
    front_server = recorder.serve(front, ("127.0.0.1", proxy), log)
    place = wait_for(name, lambda: SIMULATED if name == "ec2sim" and knock(real) else find_place(real))
    wait_for("microburst", lambda: urllib.request.urlopen(f"http://127.0.0.1:{proxy}/_microburst/health", timeout=5))
    env = {"PATH": os.environ["PATH"], "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
           "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
    run = subprocess.run([paths["program"], f"http://127.0.0.1:{front}", f"http://127.0.0.1:{proxy}", *place], env=env, capture_output=True, text=True, timeout=240, check=False)
    outcomes = {}
    for line in run.stdout.splitlines():
        record = json.loads(line)
        outcomes[record["scenario"]] = (record["outcome"], record["said"])
    if run.returncode or not outcomes:
        outcomes["the program itself"] = ("differs", f"exit {run.returncode}: {run.stderr.strip()[-400:]}")
    if front_server.pages:
        outcomes["no web page"] = ("differs", f"a web page in answer to {', '.join(sorted(set(front_server.pages)))}")
    return outcomes, log


def main():
    program, sim, moto, endpoints, model, out = (pathlib.Path(p).absolute() for p in sys.argv[1:])
    paths = {"program": program, "sim": sim, "moto": moto, "endpoints": endpoints}
    programs, names = Programs(out), ["ec2sim", "moto", "ministack"]
    try:
        found = {name: endpoint(name, paths, programs, out) for name in names}
    finally:
        programs.stop()
    wrong, rows = [], []
    scenarios = list(dict.fromkeys(s for name in names for s in found[name][0]))
    for scenario in scenarios:
        cells = []
        for name in names:
            outcome, said = found[name][0].get(scenario, ("differs", "the scenario did not run"))
            known = KNOWN.get((name, scenario))
            if scenario == "no web page" and scenario not in found[name][0]:
                outcome = "ok"
            if outcome != "ok" and known is None:
                wrong.append(f"{name}: {scenario}: {said}")
            if outcome == "ok" and known is not None:
                wrong.append(f"{name}: {scenario}: does not differ any more from what EC2 documents ({known})")
            cells.append(outcome if outcome == "ok" or known is None else "known")
        rows.append((scenario, cells))
    width = max(len(s) for s in scenarios)
    print(f"{'scenario':{width}}  " + "  ".join(f"{n:9}" for n in names))
    for scenario, cells in rows:
        print(f"{scenario:{width}}  " + "  ".join(f"{c:9}" for c in cells))
    for (name, scenario), why in KNOWN.items():
        print(f"known: {name}, {scenario}: {why}; it said: {found[name][0].get(scenario, ('', '?'))[1]:.200}")
    checked = subprocess.run([model, HERE / "model_check.py", "--expect=CreateFleet", "--expect=TerminateInstances",
                              "--expect=CreatePlacementGroup", *(found[n][1] for n in names)], check=False)
    for line in wrong:
        print(f"WRONG {line}")
    bad = len(wrong) + (checked.returncode != 0)
    print(f"conformance: {len(scenarios)} scenarios over {len(names)} endpoints, {len(KNOWN)} known differences, {bad} wrong")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
