"""This folder's own cluster as a Provider: up, down, and all operations on the node itself."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import requests

from tests.testbed import cache, configuration, images, node, packages, programs, progress, services
from tests.testbed.certificates import Authority, kubeconfig
from tests.testbed.command import run, wait_until
from tests.testbed.node import Node
from tests.testbed.openshift.installation import Installation
from tests.testbed.progress import Task

MANIFESTS = Path(__file__).with_name("manifests")
CHECKOUT = Path(__file__).resolve().parents[2]
DIRECTORY = CHECKOUT / ".cluster"
MIB = 1024


@dataclass(frozen=True)
class Testbed:
    """A running node; a Provider."""

    __test__ = False  # not a test class, despite its name

    node: Node

    @property
    def directory(self) -> Path:
        return self.node.directory

    @property
    def programs(self) -> Path:
        return self.directory / "programs"

    @property
    def admin_kubeconfig(self) -> Path:
        return self.directory / "admin.kubeconfig"

    @property
    def users(self) -> Path:
        return self.directory / "users"

    @property
    def api_server(self) -> str:
        return self.node.place.api_server

    @property
    def node_address(self) -> str:
        return self.node.place.node_address

    @property
    def ca_file(self) -> Path:
        return self.directory / "pki/ca.crt"

    @property
    def audit_log(self) -> Path:
        return self.directory / "audit.log"

    @property
    def client_addresses(self) -> tuple[str, str]:
        return self.node.place.host_address, self.node.place.other_host_address

    def kubectl(self) -> list[str]:
        return [str(self.programs / programs.NODE.name), "kubectl", f"--kubeconfig={self.admin_kubeconfig}"]

    def user_kubeconfig(self, name: str, namespace: str, seconds: float) -> str:
        authority = Authority(self.directory / "pki")
        # OpenShift's group of logged-in users; no effect on other clusters
        subject = f"/O=system:authenticated:oauth/CN={name}"
        pair = authority.issue(f"{namespace}-{name}", subject, seconds=seconds, folder=self.users)
        return kubeconfig(self.api_server, authority.certificate, pair, namespace)

    def in_network(self, command: list[str]) -> list[str]:
        # no fork: the command keeps the pid that the caller knows, and gets the caller's signals
        bind = f'mount --bind {shlex.quote(str(self.directory / "host-resolv.conf"))} /etc/resolv.conf && exec "$@"'
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", bind, "sh", *command]

    def in_node(self, command: list[str]) -> list[str]:
        return self.node.enter(*command)

    def kill(self, service: str, signal: int) -> None:
        services.signal(self.node, service, signal)

    def start(self, service: str) -> None:
        services.start(self.node, service)
        if service == "apiserver" and (self.directory / "ready").exists():
            # these would retry only after up to a minute
            wait_until(_api_ready(self), "the API server", 120)
            for name in ("controller-manager", "scheduler"):
                self._restart(name)

    def _restart(self, service: str) -> None:
        services.signal(self.node, service)
        wait_until(lambda: not services.running(self.node, service), f"the end of {service}", 30)
        services.start(self.node, service)

    def registry_fault(self, fault: dict[str, Any] | None) -> None:
        file = self.directory / "registry/fault.json"
        if fault is None:
            file.unlink(missing_ok=True)
        else:
            fresh = file.with_suffix(".new")
            fresh.write_text(json.dumps(fault))
            fresh.rename(file)

    def openshift(self) -> Installation:
        pki, router = self.directory / "pki", self.node.place.router_address
        return Installation(
            self.kubectl(), pki, (self.programs / "route").resolve(), router, configuration.ROUTES_DOMAIN
        )

    def pss_mib(self, uid: str) -> float:
        folders = self.node.place.cgroup_folders()
        memory = next((folder for folder in folders if folder.parent.name == "memory"), folders[-1])
        pids = {
            pid
            for pod in memory.rglob(f"pod{uid}")
            for processes in pod.rglob("cgroup.procs")
            for pid in processes.read_text().split()
        }
        return sum(_pss_kib(pid) for pid in pids) / MIB

    def down(self) -> None:
        with cache.locked(lock_file(self.directory, "up")):
            node.destroy(self.node)


def up(directory: Path = DIRECTORY) -> Testbed:
    """Return the cluster of a run directory; if it does not run, discard earlier state and start it."""
    with cache.locked(lock_file(directory, "up"), f"waiting for another process that uses {directory}"):
        found = node.find(directory)
        if found and is_up(directory):
            return Testbed(found)
        packages.ensure()
        built = images.build()
        if found:
            node.destroy(found)
        with progress.task("starting the cluster") as task:
            testbed = _start(directory, task)
        images_ready = [image.name for image in built]
        (directory / "ready").write_text("\n".join(images_ready) + "\n")
        return testbed


def is_up(directory: Path) -> bool:
    """Tell whether a completely started cluster runs."""
    found = node.find(directory)
    return found is not None and found.alive() and (directory / "ready").exists()


def _start(directory: Path, task: Task) -> Testbed:
    testbed = Testbed(node.create(directory))
    try:
        for step in STEPS:
            task.how_far = step.__name__.strip("_").replace("_", " ")
            step(testbed)
    except KeyboardInterrupt:
        node.destroy(testbed.node)
        raise
    return testbed


def find(directory: Path = DIRECTORY) -> Testbed | None:
    found = node.find(directory)
    return Testbed(found) if found else None


def _configure(testbed: Testbed) -> None:
    there, directory = testbed.node.place, testbed.directory
    programs.link(testbed.programs)
    configuration.write(there, directory)
    images.lay_out(images.build(), directory / "registry")
    # the cluster refuses other names, and the resolver continues with the machine's own servers
    own = Path("/etc/resolv.conf").read_text()
    (directory / "host-resolv.conf").write_text(f"nameserver {there.dns_for_host}\n{own}")


def _start_control_plane(testbed: Testbed) -> None:
    for name in (*services.CONTROL_PLANE, *services.RUNTIME):
        testbed.start(name)
    wait_until(_api_ready(testbed), f"the API server, see {testbed.directory}/log/apiserver.log", 60)


def _start_controllers(testbed: Testbed) -> None:
    for name in services.CONTROLLERS:
        testbed.start(name)


def _apply_core(testbed: Testbed) -> None:
    _apply(testbed, _manifest(testbed, "core.yaml"))
    _apply(testbed, "\n---\n".join(file.read_text() for file in sorted((testbed.programs / "gateway").iterdir())))


def _apply_ingress(testbed: Testbed) -> None:
    run(*testbed.kubectl(), "wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    pki = testbed.directory / "pki"
    run(*testbed.kubectl(), "create", "namespace", "ingress")
    run(*testbed.kubectl(), "create", "secret", "tls", "wildcard", "--namespace=ingress",
        f"--cert={pki}/wildcard.crt", f"--key={pki}/wildcard.key")  # fmt: skip
    _apply(testbed, _manifest(testbed, "ingress.yaml"))


def _wait(testbed: Testbed) -> None:
    ask = testbed.kubectl()
    wait_until(lambda: "node" in run(*ask, "get", "nodes", "-o", "name"), "the node's registration", 60)
    run(*ask, "wait", "--for=condition=Ready", "nodes", "--all", "--timeout=60s")
    run(*ask, "wait", "--for=condition=Available", "deployments", "--all", "--all-namespaces", "--timeout=120s")
    run(*ask, "wait", "--for=condition=Programmed", "gateway/shared", "--namespace=ingress", "--timeout=60s")
    wait_until(lambda: "loop.csi.test" in run(*ask, "get", "csinodes", "-o", "yaml"), "the storage driver", 60)


STEPS: tuple[Callable[[Testbed], None], ...] = (
    _configure,
    _start_control_plane,
    _start_controllers,
    _apply_core,
    _apply_ingress,
    _wait,
)


def _api_ready(testbed: Testbed) -> Callable[[], bool]:
    """Return a function that tells whether the API server responds and is ready."""
    pki = testbed.directory / "pki"

    def ready() -> bool:
        try:
            answer = requests.get(
                f"{testbed.api_server}/readyz",
                cert=(str(pki / "admin.crt"), str(pki / "admin.key")),
                verify=str(pki / "ca.crt"),
                timeout=5,
            )
        except requests.RequestException:
            return False
        return answer.status_code == 200

    return ready


def _manifest(testbed: Testbed, name: str) -> str:
    there = testbed.node.place
    return Template((MANIFESTS / name).read_text()).substitute(
        apps_domain=configuration.APPS_DOMAIN,
        routes_domain=configuration.ROUTES_DOMAIN,
        node_address=there.node_address,
        router_address=there.router_address,
        dns_service=there.dns_service,
        dns_for_host=there.dns_for_host,
        dns_image=images.DNS,
        ingress_image=images.INGRESS,
    )


def _apply(testbed: Testbed, manifests: str) -> None:
    run(*testbed.kubectl(), "apply", "--server-side", "--filename=-", stdin=manifests)


def _pss_kib(pid: str) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0  # the process has just ended
    found = re.search(r"(?m)^Pss:\s+(\d+) kB", text)
    return int(found[1]) if found else 0


def lock_file(directory: Path, purpose: str) -> Path:
    """Return the lock file of a run directory; it is in the cache, because `down` removes the directory."""
    file = cache.root() / "locks" / f"{purpose}{str(directory.resolve()).replace('/', '-')}"
    file.parent.mkdir(parents=True, exist_ok=True)
    return file
