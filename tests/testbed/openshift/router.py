"""Runs HAProxy in the router's pod: watches Routes and endpoints, writes statuses, and loads the files of haproxy.py.

It writes a status at once. The reload may follow seconds later, as on OpenShift.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.testbed.openshift import admission, haproxy
from tests.testbed.openshift.api import Collection, Refused, ask
from tests.testbed.openshift.listening import IN_POD
from tests.testbed.openshift.reloads import Reloads


class Proxy:
    """HAProxy: its process, and earlier processes that still have connections. Files with errors have no effect."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, str] = {}
        self._processes: list[subprocess.Popen[bytes]] = []

    def differs(self, files: dict[str, str]) -> bool:
        """Tell whether these files differ from the last ones, which were loaded or refused."""
        return files != self._files

    def load(self, files: dict[str, str]) -> None:
        """Start a process that takes over the listening sockets: a signal to the present process can get lost."""
        self._files = files
        self._folder.mkdir(exist_ok=True)
        for name, text in files.items():
            (self._folder / name).write_text(text, newline="")
        command = ["haproxy", "-db", "-f", str(self._folder / "haproxy.cfg")]
        judged = subprocess.run([*command, "-c"], capture_output=True, text=True, check=False)
        if judged.returncode:
            print("refused:", judged.stderr, flush=True)
            return
        self._processes = [process for process in self._processes if process.poll() is None]
        if self._processes:
            # all of them, because a process that has just started may not have told its predecessor yet
            socket = str(self._folder / "haproxy.sock")
            command += ["-x", socket, "-sf", *(str(process.pid) for process in self._processes)]
        self._processes.append(subprocess.Popen(command))


def main(domain: str) -> None:
    changed = threading.Event()
    routes = Collection("/apis/route.openshift.io/v1/routes", changed)
    slices = Collection("/apis/discovery.k8s.io/v1/endpointslices", changed)
    proxy, reloads = Proxy(Path(IN_POD.folder)), Reloads()
    waiting: float | None = None
    while True:
        changed.wait(waiting)
        changed.clear()
        plan = haproxy.plan(routes.current(), slices.current(), domain)
        for verdict in plan.verdicts:
            if not _say(verdict, domain):
                changed.set()
        if proxy.differs(plan.files) and not reloads.seconds_left(time.monotonic()):
            reloads = Reloads(started=time.monotonic())
            print("reload", flush=True)
            proxy.load(plan.files)
        waiting = reloads.seconds_left(time.monotonic()) if proxy.differs(plan.files) else None


def _say(verdict: admission.Verdict, domain: str) -> bool:
    """Write a Route's status if it differs; return False if the write failed and must be repeated."""
    wanted = admission.status(verdict, domain, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
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
