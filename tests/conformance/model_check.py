#!/usr/bin/env python3
"""Checks recorded EC2 requests against AWS's own description of the API.

Input: audit logs of burst-ec2sim, one JSON object a line; lines with "action" and "params" are requests, their
parameters verbatim as they came over the wire. Oracle: ec2/2016-11-15/service-2.json of the pinned botocore, which
neither the Rust SDK nor the simulator has a part in. Exit 0: at least one request and no violation; 1: violations,
or nothing to check; 2: usage.
"""

import argparse
import base64
import binascii
import copy
import datetime
import gzip
import importlib.metadata
import importlib.util
import json
import pathlib
import re
import sys

API_VERSION = "2016-11-15"
HERE = pathlib.Path(__file__).resolve().parent


def pinned_version():
    text = (HERE / "requirements.txt").read_text(encoding="utf-8")
    return re.search(r"^botocore==(\S+)", text, re.MULTILINE).group(1)


def load_model():
    """The service model as botocore ships it; botocore itself is not imported."""
    spec = importlib.util.find_spec("botocore")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("model-check: botocore is missing: pip install --no-deps --require-hashes -r "
                 f"{HERE / 'requirements.txt'}")
    found, wanted = importlib.metadata.version("botocore"), pinned_version()
    if found != wanted:
        sys.exit(f"model-check: botocore {found} is installed, requirements.txt pins {wanted}")
    folder = pathlib.Path(spec.submodule_search_locations[0]) / "data" / "ec2" / API_VERSION
    packed = folder / "service-2.json.gz"
    if packed.exists():
        return json.loads(gzip.decompress(packed.read_bytes()))
    return json.loads((folder / "service-2.json").read_text(encoding="utf-8"))


class Checker:
    """Validates one request at a time; `problems` are texts."""

    def __init__(self, model):
        self.operations = model["operations"]
        self.shapes = model["shapes"]

    def check(self, action, pairs):
        problems = []
        seen = {}
        for key, value in pairs:
            if key in seen:
                problems.append(f"{key}: given twice")
            seen[key] = value
        if not isinstance(action, str) or action not in self.operations:
            return problems + [f"Action {action!r} is not an EC2 action"]
        if seen.pop("Action", action) != action:
            problems.append("parameter Action differs from the recorded action")
        version = seen.pop("Version", None)
        if version != API_VERSION:
            problems.append(f"Version is {version!r}, not {API_VERSION!r}")
        tree = {}
        for key, value in seen.items():
            if not isinstance(value, str):
                problems.append(f"{key}: recorded value is {type(value).__name__}, not text")
                continue
            self._plant(tree, key, value, problems)
        shape = self.operations[action].get("input", {}).get("shape")
        if shape is None:
            problems += [f"{key}: {action} takes no parameters" for key in tree]
        else:
            self._value(self.shapes[shape], tree, "", problems)
        return problems

    @staticmethod
    def _plant(tree, key, value, problems):
        parts = key.split(".")
        node = tree
        for part in parts[:-1]:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                problems.append(f"{key}: {part!r} is a value and a structure")
                return
        if parts[-1] in node:
            problems.append(f"{key}: is a value and a structure")
            return
        node[parts[-1]] = value

    @staticmethod
    def wire_name(member, spec):
        if "queryName" in spec:
            return spec["queryName"]
        name = spec.get("locationName")
        return name[:1].upper() + name[1:] if name else member

    def _value(self, shape, node, path, problems):
        kind = shape["type"]
        if kind == "structure":
            self._structure(shape, node, path, problems)
        elif kind == "list":
            self._list(shape, node, path, problems)
        elif kind == "map":
            problems.append(f"{path}: maps are not part of the EC2 query protocol")
        elif isinstance(node, dict):
            inner = ", ".join(sorted(node))
            problems.append(f"{path}: is a {kind}, but has members {inner}")
        else:
            self._scalar(kind, shape, node, path, problems)

    def _structure(self, shape, node, path, problems):
        if not isinstance(node, dict):
            problems.append(f"{path}: is a structure, but has the value {node!r}")
            return
        dot = f"{path}." if path else ""
        members = shape.get("members", {})
        names = {self.wire_name(m, s): (m, s) for m, s in members.items()}
        for name, child in node.items():
            if name not in names:
                near = [n for n in names if n.lower().rstrip("s") == name.lower().rstrip("s")]
                hint = f" (the API calls it {near[0]})" if near else ""
                problems.append(f"{dot}{name}: no such parameter{hint}")
                continue
            self._value(self.shapes[names[name][1]["shape"]], child, dot + name, problems)
        for member in shape.get("required", []):
            name = self.wire_name(member, members[member])
            if name not in node:
                problems.append(f"{dot}{name}: required, but missing")

    def _list(self, shape, node, path, problems):
        if not isinstance(node, dict):
            problems.append(f"{path}: is a list, but has the value {node!r} (write {path}.1)")
            return
        indices = [k for k in node if re.fullmatch(r"[1-9][0-9]*", k)]
        for key in node:
            if key not in indices:
                problems.append(f"{path}.{key}: not a list index")
        numbers = sorted(int(i) for i in indices)
        if numbers != list(range(1, len(numbers) + 1)):
            problems.append(f"{path}: indices {numbers} are not 1, 2, 3, …")
        low, high = shape.get("min"), shape.get("max")
        if low is not None and len(numbers) < low or high is not None and len(numbers) > high:
            problems.append(f"{path}: {len(numbers)} entries, allowed are {low} to {high}")
        member = self.shapes[shape["member"]["shape"]]
        for i in indices:
            self._value(member, node[i], f"{path}.{i}", problems)

    @staticmethod
    def _scalar(kind, shape, text, path, problems):
        def bad(why):
            problems.append(f"{path}: {text!r} {why}")

        number = None
        if kind in ("integer", "long"):
            if not re.fullmatch(r"[+-]?[0-9]+", text):
                return bad(f"is not of type {kind}")
            number = int(text)
            bits = 31 if kind == "integer" else 63
            if not -(2**bits) <= number < 2**bits:
                bad(f"does not fit into {kind}")
        elif kind in ("float", "double"):
            try:
                number = float(text)
            except ValueError:
                return bad(f"is not of type {kind}")
        elif kind == "boolean":
            if text not in ("true", "false"):
                bad("is not of type boolean (true or false)")
        elif kind == "timestamp":
            try:
                datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
            except ValueError:
                bad("is not an ISO 8601 time")
        elif kind == "blob":
            try:
                base64.b64decode(text, validate=True)
            except binascii.Error:
                bad("is not base64")
        elif kind == "string":
            if "enum" in shape and text not in shape["enum"]:
                bad(f"is not one of {', '.join(shape['enum'][:12])}{' …' if len(shape['enum']) > 12 else ''}")
            number = len(text)
        else:
            bad(f"has the unknown type {kind}")
        if number is not None:
            low, high = shape.get("min"), shape.get("max")
            if low is not None and number < low or high is not None and number > high:
                what = "length" if kind == "string" else "value"
                bad(f"has a {what} outside {low} to {high}")
        return None


class Recorded(dict):
    """A JSON object that remembers keys given twice."""

    def __init__(self, pairs):
        super().__init__(pairs)
        self.pairs = pairs


def pairs_of(params):
    """Parameters as recorded: an object, or a list of [key, value]."""
    if isinstance(params, Recorded):
        return params.pairs
    if isinstance(params, list) and all(isinstance(p, list) and len(p) == 2 for p in params):
        return [(p[0], p[1]) for p in params]
    raise ValueError("params is neither an object nor a list of pairs")


def requests_of(lines, source):
    """(place, action, pairs or an error text) of each request."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{source}:{number}"
        try:
            record = json.loads(line, object_pairs_hook=Recorded)
        except ValueError as error:
            # A writer that was killed leaves half a last line; anywhere else it is a broken log.
            yield place, None, f"not JSON: {error}"
            continue
        if isinstance(record, dict) and "action" in record and "params" in record:
            try:
                yield place, record["action"], pairs_of(record["params"])
            except ValueError as error:
                yield place, record["action"], str(error)


def run(checker, files, expected):
    requests = violations = 0
    actions = set()
    for source in files:
        with open(source, encoding="utf-8") as lines:
            for place, action, pairs in requests_of(lines, source):
                requests += 1
                actions.add(action)
                problems = [pairs] if isinstance(pairs, str) else checker.check(action, pairs)
                for problem in problems:
                    violations += 1
                    print(f"{place}: {action}: {problem}")
    for action in expected:
        if action not in actions:
            violations += 1
            print(f"expected at least one {action}, found none")
    print(f"model-check: {requests} requests, {violations} violations")
    if requests == 0:
        print("model-check: nothing was checked; is this the right log?")
    return 1 if violations or not requests else 0


GOOD = {
    "CreateFleet": {
        "Action": "CreateFleet", "Version": API_VERSION, "Type": "instant", "ClientToken": "t",
        "TargetCapacitySpecification.TotalTargetCapacity": "16",
        "TargetCapacitySpecification.DefaultTargetCapacityType": "on-demand",
        "OnDemandOptions.MinTargetCapacity": "16", "OnDemandOptions.SingleAvailabilityZone": "true",
        "LaunchTemplateConfigs.1.LaunchTemplateSpecification.LaunchTemplateId": "lt-1",
        "LaunchTemplateConfigs.1.LaunchTemplateSpecification.Version": "1",
        "LaunchTemplateConfigs.1.Overrides.1.InstanceType": "hpc7a.96xlarge",
        "LaunchTemplateConfigs.1.Overrides.1.SubnetId": "subnet-1",
        "TagSpecification.1.ResourceType": "fleet", "TagSpecification.1.Tag.1.Key": "k",
        "TagSpecification.1.Tag.1.Value": "",
    },
    "CreateLaunchTemplate": {
        "Action": "CreateLaunchTemplate", "Version": API_VERSION, "LaunchTemplateName": "burst-efa-1",
        "LaunchTemplateData.NetworkInterface.1.NetworkCardIndex": "0",
        "LaunchTemplateData.NetworkInterface.1.SecurityGroupId.1": "sg-1",
        "LaunchTemplateData.BlockDeviceMapping.1.Ebs.Encrypted": "true",
        "LaunchTemplateData.MetadataOptions.HttpTokens": "required",
    },
    "DescribeInstances": {
        "Action": "DescribeInstances", "Version": API_VERSION, "Filter.1.Name": "instance-id",
        "Filter.1.Value.1": "i-1", "MaxResults": "1000",
    },
    "DescribeInstanceTypes": {"Action": "DescribeInstanceTypes", "Version": API_VERSION, "InstanceType.1": "c5.large"},
    "TerminateInstances": {"Action": "TerminateInstances", "Version": API_VERSION, "InstanceId.1": "i-1"},
}

# (what, action, parameters to drop, parameters to add, what the complaint must contain)
PLANTED = [
    ("misspelt", "CreateFleet", [], {"ClientTokn": "t"}, "no such parameter"),
    ("misspelt inside", "CreateFleet", [], {"OnDemandOptions.MinTargetCapasity": "1"}, "no such parameter"),
    ("member name instead of wire name", "CreateFleet", [],
     {"TagSpecifications.1.ResourceType": "fleet"}, "no such parameter"),
    ("lower-case locationName", "DescribeInstances", [], {"maxResults": "5"}, "no such parameter"),
    ("wrong type, number", "CreateFleet", [],
     {"TargetCapacitySpecification.TotalTargetCapacity": "many"}, "not of type integer"),
    ("wrong type, boolean", "CreateFleet", [],
     {"OnDemandOptions.SingleAvailabilityZone": "True"}, "not of type boolean"),
    ("wrong type, time", "CreateFleet", [], {"ValidUntil": "tomorrow"}, "ISO 8601"),
    ("too large", "CreateFleet", [], {"OnDemandOptions.MinTargetCapacity": str(2**31)}, "does not fit"),
    ("structure given a value", "CreateFleet", [], {"SpotOptions": "x"}, "is a structure"),
    ("list given a value", "TerminateInstances", ["InstanceId.1"], {"InstanceId": "i-1"}, "is a list"),
    ("scalar given members", "CreateFleet", ["ClientToken"], {"ClientToken.1": "t"}, "has members"),
    ("list from 0", "TerminateInstances", ["InstanceId.1"], {"InstanceId.0": "i-1"}, "not a list index"),
    ("list with a hole", "TerminateInstances", [], {"InstanceId.3": "i-3"}, "are not 1, 2, 3"),
    ("list of wrapped members", "TerminateInstances", ["InstanceId.1"],
     {"InstanceId.member.1": "i-1"}, "not a list index"),
    ("missing, top level", "TerminateInstances", ["InstanceId.1"], {}, "required, but missing"),
    ("missing, inside", "CreateFleet", ["TargetCapacitySpecification.TotalTargetCapacity"], {},
     "TargetCapacitySpecification.TotalTargetCapacity: required"),
    ("bad enum", "CreateFleet", [], {"Type": "at-once"}, "is not one of"),
    ("bad enum inside", "CreateFleet", [], {"TagSpecification.1.ResourceType": "Fleet"}, "is not one of"),
    ("bad enum of a list's structure", "CreateFleet", [],
     {"LaunchTemplateConfigs.1.Overrides.1.InstanceType": "hpc7a.2xlarge"}, "is not one of"),
    ("too many", "DescribeInstanceTypes", [], {f"InstanceType.{i}": "c5.large" for i in range(1, 102)},
     "entries, allowed are 0 to 100"),
    ("too small", "DescribeInstanceTypes", [], {"MaxResults": "4"}, "value outside 5 to 100"),
    ("unknown action", "CreateFleets", [], {}, "not an EC2 action"),
    ("wrong version", "DescribeInstances", [], {"Version": "2015-10-01"}, "Version is"),
    ("no version", "DescribeInstances", ["Version"], {}, "Version is"),
]


def self_test(checker):
    failed = 0

    def expect(ok, text):
        nonlocal failed
        failed += not ok
        print(f"{'ok  ' if ok else 'FAIL'} {text}")

    for action, params in GOOD.items():
        problems = checker.check(action, list(params.items()))
        expect(not problems, f"good {action} passes {problems or ''}")
    for what, action, drop, add, complaint in PLANTED:
        params = copy.deepcopy(GOOD.get(action, GOOD["CreateFleet"]))
        if action not in GOOD:
            params["Action"] = action
        for key in drop:
            del params[key]
        params.update(add)
        problems = checker.check(action, list(params.items()))
        expect(len(problems) >= 1 and any(complaint in p for p in problems), f"{what}: caught ({problems})")
    twice = checker.check("TerminateInstances", list(GOOD["TerminateInstances"].items()) + [("InstanceId.1", "i-2")])
    expect(any("given twice" in p for p in twice), f"the same key twice: caught ({twice})")
    log = ['{"event":"instance-running","at_ms":1}', "", '{"action":"X","params":{}}', '{"action":"Y","params":{"a":"b","a":"c"}}',
           '{"action":']
    found = list(requests_of(log, "log"))
    expect(found[1][2] == [("a", "b"), ("a", "c")], "a key recorded twice stays visible")
    expect([f[1] for f in found] == ["X", "Y", None], "requests are told from other lines, half a line is a violation")
    print(f"model-check: self-test {'passed' if not failed else 'failed'}, {failed} failures")
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("audit", nargs="*", help="audit log of burst-ec2sim (JSON lines)")
    parser.add_argument("--expect", action="append", default=[], metavar="ACTION",
                        help="fail unless this action was asked for at least once")
    parser.add_argument("--self-test", action="store_true", help="plant violations and see them caught")
    args = parser.parse_args()
    if args.self_test == bool(args.audit):
        parser.error("give either --self-test or at least one audit log")
    checker = Checker(load_model())
    if args.self_test:
        return self_test(checker)
    for source in args.audit:
        if not pathlib.Path(source).is_file():
            print(f"model-check: {source} does not exist")
            return 1
    return run(checker, args.audit, args.expect)


if __name__ == "__main__":
    sys.exit(main())
