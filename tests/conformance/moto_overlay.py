"""moto's server with what its EC2 part lacks and a gang needs. Everything here is ours, not moto's:

  placement groups         CreatePlacementGroup, DescribePlacementGroups, DeletePlacementGroup
  CreateFleet ClientToken  the same token answers the same fleet; with other parameters IdempotentParameterMismatch
  CreateFleet capacity     types of $OVERLAY_EMPTY have none: nothing is launched, and Errors says so

Whatever moto does not know stays its own HTML 500. Usage: moto_overlay.py PORT
"""

import json
import os
import sys

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.responses import EC2Response
from moto.server import main

GROUPS = {}
FLEETS = {}
EMPTY = set(os.environ.get("OVERLAY_EMPTY", "").split(","))


def tags_of(self, kind):
    specs = self._get_param("TagSpecifications", [])
    return [t for s in specs if s.get("ResourceType") == kind for t in s.get("Tags", [])]


def create_placement_group(self):
    name = self._get_param("GroupName")
    if name in GROUPS:
        raise EC2ClientError("InvalidPlacementGroup.Duplicate", f"The placement group '{name}' already exists.")
    GROUPS[name] = {"GroupName": name, "State": "available", "Strategy": self._get_param("Strategy"),
                    "GroupId": f"pg-{len(GROUPS):017x}", "Tags": tags_of(self, "placement-group")}
    return ActionResult({"PlacementGroup": GROUPS[name]})


def describe_placement_groups(self):
    found = list(GROUPS.values())
    for f in self._get_param("Filters", []):
        name, values = f["Name"], f.get("Values", [])
        if not name.startswith("tag:"):
            raise EC2ClientError("InvalidParameterValue", f"The filter '{name}' is invalid")
        found = [g for g in found if any(t["Key"] == name[4:] and t["Value"] in values for t in g["Tags"])]
    return ActionResult({"PlacementGroups": found})


def delete_placement_group(self):
    if GROUPS.pop(self._get_param("GroupName"), None) is None:
        raise EC2ClientError("InvalidPlacementGroup.Unknown", "The Placement Group is unknown.")
    return ActionResult({})


moto_create_fleet = EC2Response.create_fleet


def create_fleet(self):
    token = self._get_param("ClientToken")
    asked = {k: self._get_param(k) for k in ("LaunchTemplateConfigs", "TargetCapacitySpecification", "OnDemandOptions",
                                             "SpotOptions", "Type")}
    asked = json.dumps(asked, sort_keys=True, default=str)
    if token in FLEETS:
        before, result = FLEETS[token]
        if before != asked:
            raise EC2ClientError("IdempotentParameterMismatch", "The client token was used with other parameters.")
        return ActionResult(result)
    overrides = [o for c in self._get_param("LaunchTemplateConfigs", []) for o in c.get("Overrides", [])]
    if overrides and all(o.get("InstanceType") in EMPTY for o in overrides):
        errors = [{"LaunchTemplateAndOverrides": {"Overrides": o}, "Lifecycle": "on-demand",
                   "ErrorCode": "InsufficientInstanceCapacity",
                   "ErrorMessage": "We currently do not have sufficient capacity."} for o in overrides]
        result = {"FleetId": f"fleet-{len(FLEETS):08x}", "Instances": [], "Errors": errors}
    else:
        result = moto_create_fleet(self).result
    if token:
        FLEETS[token] = (asked, result)
    return ActionResult(result)


for name in ("create_placement_group", "describe_placement_groups", "delete_placement_group", "create_fleet"):
    setattr(EC2Response, name, globals()[name])

if __name__ == "__main__":
    main(["-H", "127.0.0.1", "-p", sys.argv[1]])
