"""Finds what a cluster leaves on the machine: processes, links, routes, rules, mounts, loop devices, cgroups."""

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
    """Identities of a node's resources, recorded while it runs: a later cluster may get the same number and names."""

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
        """Return a text for each of these resources that exists now."""
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
        """Return the command lines of all processes in one of the node's namespaces."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if self.namespaces & {(process / "ns" / kind).readlink().name for kind in KINDS}:
                    found.append((process / "cmdline").read_text())
            except OSError:
                continue  # the process has just ended
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
    """Return the identities of the files behind all loop devices; file names differ between mount namespaces."""
    listed = run("losetup", "--list", "--noheadings", "--output=BACK-MAJ:MIN,BACK-INO")
    return {" ".join(line.split()) for line in listed.splitlines()}
