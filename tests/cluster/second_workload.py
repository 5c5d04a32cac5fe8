"""Runs `deployer` with a changed Stack: servers need a second workload, named `store`.

Run it as a program: the kind and the command of the workload as JSON, then the arguments of `deployer`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from deployer.core.spec.platform import Platform
from deployer.core.spec.schema import Spec
from deployer.core.stack import components
from deployer.core.stack.assigned import Assigned
from deployer.core.stack.model import SERVER, Address, Probe, Resources, Stack

NAME = "store"
PORT = 8080
READY, ALIVE = "/ready", "/alive"
IMAGE = "localhost/base:1"  # tests/testbed/images.py

Build = Callable[[Spec, Platform, Assigned], Stack]


def with_store(build: Build, kind: str, command: Sequence[str]) -> Build:
    """Return a `build` that adds the second workload to every Stack that has a workload."""

    def plural(spec: Spec, platform: Platform, assigned: Assigned) -> Stack:
        stack = build(spec, platform, assigned)
        if not stack.workloads:
            return stack
        main = stack.workload(SERVER)
        store = replace(
            main,
            name=NAME,
            image=IMAGE,
            command=tuple((word,) for word in command),
            env={},
            files={},
            port=PORT,
            volumes=(),
            probe=Probe(ready=READY, alive=ALIVE, host="localhost"),
            resources=Resources(cpu_request=10, cpu_limit=500, memory_request=32, memory_limit=128),
            scratch=None,
            keys=None,
            kind=kind,  # type: ignore[arg-type]
        )
        # no program reads this variable: it shows that a pod gets the address of another workload
        needing = replace(main, needs=(NAME,), env={**main.env, "STORE_ADDRESS": (Address(NAME),)})
        return replace(stack, workloads=(needing, store))

    return plural


if __name__ == "__main__":
    components.build = with_store(components.build, *json.loads(sys.argv.pop(1)))
    from deployer.cli.app import main  # imports `build`: import it only after the replacement above

    main()
