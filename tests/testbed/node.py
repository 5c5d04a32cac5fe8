"""Creates, enters and removes the node's mount, network, process, host name and IPC namespaces."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.testbed import cache, place
from tests.testbed.command import CommandFailed, run, wait_until
from tests.testbed.place import Place

NAMESPACES = ("--mount", "--net", "--pid", "--uts", "--ipc")
CLAIMS = Path("/run/lock/mlflow-deployer-testbed")


@dataclass(frozen=True)
class Node:
    """A running node; pid and `started` (clock ticks) identify its first process, because a pid may be used again."""

    place: Place
    directory: Path
    pid: int
    started: int

    def alive(self) -> bool:
        return _start_time(self.pid) == self.started

    def enter(self, *command: str) -> list[str]:
        """Return the command line that runs `command` inside the node."""
        return ["nsenter", "--target", str(self.pid), *NAMESPACES, "--", *command]

    def run(self, *command: str) -> str:
        return run(*self.enter(*command))


def find(directory: Path) -> Node | None:
    """Return the node of a run directory: running, dead, or incomplete because its creator was killed."""
    try:
        state = json.loads((directory / "node.json").read_text())
    except FileNotFoundError:
        return None
    return Node(Place(state["number"]), directory, state["pid"], state["started"])


def create(directory: Path) -> Node:
    """Start a node whose run directory is `directory`, which must be absent or empty."""
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise FileExistsError(f"{directory} has other files. Next: choose another run directory")
    with cache.locked(CLAIMS):
        chosen = place.free()
        # record the node before anything exists, so that `destroy` finds all of it if this process is killed
        _record(Node(chosen, directory, 0, 0))
        for folder in chosen.cgroup_folders():
            folder.mkdir()  # reserves the number
    try:
        _share_controllers(chosen)
        node = _launch(chosen, directory)
        _connect(node)
    except BaseException as error:
        if (directory / "init.log").exists():
            error.add_note((directory / "init.log").read_text())
        destroy(find(directory) or Node(chosen, directory, 0, 0))
        raise
    return node


def _record(node: Node) -> None:
    state = {"number": node.place.number, "pid": node.pid, "started": node.started}
    fresh = node.directory / "node.json.new"
    fresh.write_text(json.dumps(state))
    fresh.rename(node.directory / "node.json")


def _launch(chosen: Place, directory: Path) -> Node:
    init = shlex.join(["bash", str(Path(__file__).with_name("init.sh")), str(directory)])
    unshare = shlex.join(["unshare", "--fork", "--mount-proc", "--propagation=private", "--kill-child", *NAMESPACES])
    # `unshare` takes over the shell's pid; its only child is the node's first process
    launch = f'cd "$0" && echo $$ > unshare.pid && exec {unshare} {init} > init.log 2>&1 < /dev/null'
    run("setsid", "--fork", "sh", "-c", launch, directory)
    parent_file = directory / "unshare.pid"
    wait_until(lambda: parent_file.exists() and parent_file.read_text() != "", "the node's parent", 10)
    parent = int(parent_file.read_text())
    children = Path(f"/proc/{parent}/task/{parent}/children")
    wait_until(lambda: children.read_text() != "", "the node's first process", 10)
    pid = int(children.read_text())
    node = Node(chosen, directory, pid, _start_time(pid) or 0)
    _record(node)
    wait_until((directory / "mounted").exists, "the node's mounts", 20)
    return node


def _share_controllers(chosen: Place) -> None:
    """Let the kubelet create cgroups below ours: v1 needs cpusets with values, v2 needs delegated controllers."""
    for folder in chosen.cgroup_folders():
        for name in ("cpuset.cpus", "cpuset.mems"):
            if (folder / name).exists() and not (folder / "cgroup.controllers").exists():
                (folder / name).write_text((folder.parent / name).read_text())
        if folder.parent == place.CGROUPS:
            controllers = (folder.parent / "cgroup.controllers").read_text().split()
            wanted = " ".join(f"+{name}" for name in controllers)
            for parent in (folder.parent, folder):
                (parent / "cgroup.subtree_control").write_text(wanted)


def _connect(node: Node) -> None:
    """Create a pair of links between host and node, through which the host reaches pods and Services."""
    there = node.place
    run("ip", "link", "add", there.link, "type", "veth", "peer", "name", "eth0", "netns", str(node.pid))
    for address in (there.host_address, there.other_host_address):
        run("ip", "address", "add", f"{address}/29", "dev", there.link)
    run("ip", "link", "set", there.link, "up")
    inside = (
        "ip link set lo up",
        f"ip address add {there.node_address}/29 dev eth0",
        f"ip address add {there.router_address}/29 dev eth0",
        "ip link set eth0 up",
        f"ip route add default via {there.host_address}",
        "ip link add cni0 type bridge",
        f"ip address add {there.pods_gateway}/24 dev cni0",
        "ip link set cni0 up",
        "sysctl -qw net.ipv4.ip_forward=1",
        # otherwise pods of one bridge bypass iptables, and with it NetworkPolicies and Services
        "sysctl -qw net.bridge.bridge-nf-call-iptables=1",
    )
    node.run("sh", "-ec", "\n".join(inside))
    for network in (there.pods, there.services):
        run("ip", "route", "add", network, "via", there.node_address)


def destroy(node: Node) -> None:
    """End the first process, which ends all others, mounts, links, rules and loop devices; then remove the rest."""
    if node.alive():
        with suppress(ProcessLookupError):
            os.kill(node.pid, signal.SIGKILL)
    wait_until(lambda: not node.alive(), "end of the node's processes", 30)
    wait_until(lambda: not _end_parent(node.directory), "end of the node's parent process", 30)
    with suppress(CommandFailed):  # the link disappears a moment after its other end
        run("ip", "link", "delete", node.place.link)
    for folder in node.place.cgroup_folders():
        wait_until(lambda folder=folder: _removed(folder), f"removal of {folder}", 10)
    shutil.rmtree(node.directory)


def _end_parent(directory: Path) -> bool:
    """Kill `unshare` and thus its child, even if the child is not recorded yet; return whether `unshare` ran."""
    try:
        parent = int((directory / "unshare.pid").read_text())
        ours = str(directory).encode() in Path(f"/proc/{parent}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return False
    if ours:
        with suppress(ProcessLookupError):
            os.kill(parent, signal.SIGKILL)
    return ours


def _removed(folder: Path) -> bool:
    """Remove a tree of cgroups; its files cannot be removed, and it is busy until its last process is reaped."""
    for inner, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):
            Path(inner).rmdir()
    return not folder.exists()


def _start_time(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])
