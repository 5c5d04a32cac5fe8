"""The cluster's command line: python -m tests.testbed up|down|images|status|openshift|kubectl|run|enter."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.testbed import images, packages, services, testbed
from tests.testbed.testbed import Testbed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.testbed", description=__doc__)
    parser.add_argument("--directory", type=Path, default=testbed.DIRECTORY, help="run directory (%(default)s)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start the cluster, building what is missing")
    commands.add_parser("down", help="end the cluster and discard its state")
    commands.add_parser("images", help="build all programs and images, start nothing")
    commands.add_parser("status", help="show what runs")
    shown = commands.add_parser("openshift", help="add OpenShift's Routes, projects and restricted-v2")
    shown.add_argument("--hide", action="store_true", help="remove the APIs of Routes and projects again")
    for name, meaning in {
        "kubectl": "kubectl as the cluster's admin",
        "run": "a command of the host that can resolve and reach *.apps.test and *.routes.test",
        "enter": "a command inside the node's namespaces",
    }.items():
        commands.add_parser(name, help=meaning).add_argument("arguments", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    given.directory = given.directory.resolve()  # the node's processes have another working directory
    try:
        return COMMANDS[given.command](given)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _up(given: argparse.Namespace) -> int:
    began = time.monotonic()
    found = testbed.up(given.directory)
    print(f"{found.api_server} is up after {time.monotonic() - began:.1f} s; KUBECONFIG={found.admin_kubeconfig}")
    return 0


def _down(given: argparse.Namespace) -> int:
    found = testbed.find(given.directory)
    if found:
        found.down()
    print("the cluster is down")
    return 0


def _images(_: argparse.Namespace) -> int:
    packages.ensure()
    for image in images.build():
        size = sum(layer.tar.stat().st_size for layer in image.layers) // 2**20
        print(f"{size:6} MiB  {image.name}")
    return 0


def _status(given: argparse.Namespace) -> int:
    found = testbed.find(given.directory)
    if not (found and found.node.alive()):
        print("no cluster runs")
        return 1
    print(f"cluster {found.node.place.number}: {found.api_server}, first process {found.node.pid}")
    for name in services.NAMES:
        print(f"  {name:20}{'running' if services.running(found.node, name) else 'NOT running'}")
    return subprocess.run([*found.kubectl(), "get", "nodes,pods", "--all-namespaces"], check=False).returncode


def _openshift(given: argparse.Namespace) -> int:
    began = time.monotonic()
    installation = _running(given).openshift()
    if given.hide:
        installation.hide()
        return 0
    installation.show()
    print(f"Routes are served at *.{installation.routes_domain} after {time.monotonic() - began:.1f} s")
    return 0


def _running(given: argparse.Namespace) -> Testbed:
    found = testbed.find(given.directory)
    if not (found and found.node.alive()):
        raise SystemExit("no cluster runs. Next: python -m tests.testbed up")
    return found


def _replace(command: list[str]) -> int:
    os.execvp(command[0], command)


def _arguments(given: argparse.Namespace) -> list[str]:
    words: list[str] = given.arguments
    return words[1:] if words[:1] == ["--"] else words


COMMANDS = {
    "up": _up,
    "down": _down,
    "images": _images,
    "status": _status,
    "openshift": _openshift,
    "kubectl": lambda given: _replace([*_running(given).kubectl(), *_arguments(given)]),
    "run": lambda given: _replace(_running(given).in_network(_arguments(given))),
    "enter": lambda given: _replace(_running(given).in_node(_arguments(given))),
}

if __name__ == "__main__":
    sys.exit(main())
