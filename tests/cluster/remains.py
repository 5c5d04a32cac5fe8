"""What a cluster leaves on the machine: processes, links, routes, rules, mounts, loop devices, cgroups."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from tests.testbed.command import run
from tests.testbed.node import Node

KINDS = ("mnt", "net", "pid", "uts", "ipc")


@dataclass(frozen=True)
class Traces:
    """What to look for, noted while the node runs. Another cluster may get the same number as soon as this one ends."""

    node: Node
    namespaces: frozenset[str]
    links: frozenset[int]
    cgroups: frozenset[tuple[str, int]]
    loop_files: frozenset[str]

    @classmethod
    def of(cls, node: Node) -> Traces:
        names = {Path(f"/proc/{node.pid}/ns/{kind}").readlink().name for kind in KINDS if node.alive()}
        links = {index for name, index in _links().items() if name == node.place.link}
        files = {_identity(file) for file in node.directory.rglob("*.img")}
        return cls(node, frozenset(names), frozenset(links), _cgroups(node), frozenset(files))

    def found(self) -> list[str]:
        """All that is on the machine now, one text for each thing."""
        there, directory = self.node.place, self.node.directory
        found = self._processes()
        if _links().get(there.link) in self.links:
            networks = {there.network, there.pods, there.services}
            found.append(there.link)
            found += [route["dst"] for route in json.loads(run("ip", "-j", "route")) if route["dst"] in networks]
        found += [folder for folder, _ in self.cgroups & _cgroups(self.node)]
        found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(directory) in line]
        found += [line for line in run("nft", "list", "ruleset").splitlines() if f".{there.number}." in line]
        found += [f"loop device of {file}" for file in self.loop_files & _loop_files()]
        found += [str(directory)] if directory.exists() else []
        return found

    def _processes(self) -> list[str]:
        """Commands of the processes of this machine that are in one of the namespaces."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if self.namespaces & {(process / "ns" / kind).readlink().name for kind in KINDS}:
                    found.append((process / "cmdline").read_text())
            except OSError:
                continue  # it ended while others were read
        return found


def _links() -> dict[str, int]:
    return {link["ifname"]: link["ifindex"] for link in json.loads(run("ip", "-j", "link"))}


def _cgroups(node: Node) -> frozenset[tuple[str, int]]:
    found = set()
    for folder in node.place.cgroup_folders():
        try:
            found.add((str(folder), folder.stat().st_ino))
        except FileNotFoundError:
            continue
    return frozenset(found)


def _identity(file: Path) -> str:
    status = file.stat()
    return f"{os.major(status.st_dev)}:{os.minor(status.st_dev)} {status.st_ino}"


def _loop_files() -> set[str]:
    """The identities of the files behind all loop devices; their names are those of other mount namespaces."""
    listed = run("losetup", "--list", "--noheadings", "--output=BACK-MAJ:MIN,BACK-INO")
    return {" ".join(line.split()) for line in listed.splitlines()}
