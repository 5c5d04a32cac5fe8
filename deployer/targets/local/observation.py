"""The state of a server from the states of its workloads. Decides only."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping

from deployer.core.stack import SERVER
from deployer.targets import Live


def together(lives: Mapping[str, Live]) -> Live:
    """Return the state of a server: it runs if all of its workloads run.

    Otherwise `workload` and `detail` name one that does not run. If some workloads run and others were never started or
    were stopped, a command was interrupted, and the state is `crashed`. A server of one workload has the state of that.
    """
    if len(lives) == 1:
        return lives[SERVER]
    if all(live.state == "stopped" for live in lives.values()):
        return lives[SERVER]
    identity = written({name: live.identity for name, live in lives.items()})
    if all(live.state == "running" for live in lives.values()):
        detail = ", ".join(f"{name}: {live.detail}" for name, live in lives.items())
        return Live("running", detail, identity, combined({name: live.fingerprint for name, live in lives.items()}))
    name = next((name for name, live in lives.items() if live.state == "elsewhere"), None) or min(
        lives, key=lambda name: (lives[name].state == "running", lives[name].state == "stopped")
    )
    live = lives[name]
    detail = f"workload {name!r} does not run: {live.detail}"
    if live.state == "elsewhere":
        return dataclasses.replace(live, detail=f"workload {name!r}: {live.detail}", workload=name)
    return Live("crashed" if live.state == "stopped" else live.state, detail, workload=name)


def combined(fingerprints: Mapping[str, str | None]) -> str | None:
    """Return the fingerprint of a server from those of its workloads; that of a single workload stays as it is."""
    if None in fingerprints.values():
        return None
    if fingerprints.keys() == {SERVER}:
        return fingerprints[SERVER]
    return hashlib.sha256(json.dumps(dict(fingerprints), sort_keys=True).encode()).hexdigest()


def written(identities: Mapping[str, str | None]) -> str | None:
    """Return the identity of this start of a server: a new one as soon as one workload is started again."""
    if None in identities.values():
        return None
    if identities.keys() == {SERVER}:
        return identities[SERVER]
    return " ".join(f"{name}={identity}" for name, identity in sorted(identities.items()))
