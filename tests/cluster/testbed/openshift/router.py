"""Runs HAProxy in the router's pod: watches Routes and endpoints, loads what haproxy.py decides, writes statuses."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.cluster.testbed.openshift import haproxy
from tests.cluster.testbed.openshift.api import Collection, Refused, ask

SETTLE_SECONDS = 0.05


class Proxy:
    """HAProxy: its process, and earlier ones that still have connections. Files that it refuses change nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, str] = {}
        self._processes: list[subprocess.Popen[bytes]] = []

    def load(self, files: dict[str, str]) -> None:
        """Start a process that takes the listening sockets over: a signal to the present one can get lost."""
        if files == self._files:
            return
        self._folder.mkdir(exist_ok=True)
        for name, text in files.items():
            (self._folder / name).write_text(text, newline="")
        command = ["haproxy", "-db", "-f", str(self._folder / "haproxy.cfg")]
        judged = subprocess.run([*command, "-c"], capture_output=True, text=True, check=False)
        if judged.returncode:
            print("refused:", judged.stderr, flush=True)
            return
        self._files = files
        self._processes = [process for process in self._processes if process.poll() is None]
        if self._processes:
            # all of them, for one that has only just started may not have told its predecessor yet
            command += ["-x", haproxy.SOCKET, "-sf", *(str(process.pid) for process in self._processes)]
        self._processes.append(subprocess.Popen(command))


def main(domain: str) -> None:
    changed = threading.Event()
    routes = Collection("/apis/route.openshift.io/v1/routes", changed)
    slices = Collection("/apis/discovery.k8s.io/v1/endpointslices", changed)
    proxy = Proxy(Path(haproxy.FOLDER))
    while changed.wait():
        time.sleep(SETTLE_SECONDS)
        changed.clear()
        plan = haproxy.plan(routes.current(), slices.current(), domain)
        proxy.load(plan.files)
        for verdict in plan.verdicts:
            if not _say(verdict, domain):
                changed.set()


def _say(verdict: haproxy.Verdict, domain: str) -> bool:
    """Write a Route's status where it differs; False if that failed and is to be tried again."""
    wanted = haproxy.status(verdict, domain, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    if wanted is None:
        return True
    metadata = verdict.route["metadata"]
    path = f"/apis/route.openshift.io/v1/namespaces/{metadata['namespace']}/routes/{metadata['name']}/status"
    try:
        ask("PATCH", path, {"status": wanted}, "application/merge-patch+json")
    except Refused as refused:
        if refused.code == 404:
            return True
        print(path, refused, flush=True)
    except OSError as error:
        print(path, error, flush=True)
    else:
        return True
    time.sleep(0.5)
    return False


if __name__ == "__main__":
    main(sys.argv[1])
