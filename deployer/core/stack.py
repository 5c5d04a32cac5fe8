"""The parts of a server, independent of the target. The local target runs them; Kubernetes renders them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import TopologicalSorter
from typing import Any, Final, Literal

from deployer.core.platform import ExposureKind

SERVER: Final = "server"
"""The name of the workload that serves MLflow. Its objects carry the name of the whole server."""


@dataclass(frozen=True)
class SecretRef:
    """A reference to a value in one of the server's two secrets; only the target reads the value."""

    secret: Literal["admin", "server"]
    key: str


@dataclass(frozen=True)
class VolumePath:
    """A path inside a volume; the target knows where the volume is mounted."""

    volume: str
    path: str = ""


@dataclass(frozen=True)
class FilePath:
    """The path of a file of the workload."""

    name: str


@dataclass(frozen=True)
class Address:
    """`HOST:PORT` of another workload of the same server, as programs of the server reach that workload."""

    workload: str


Piece = str | SecretRef | VolumePath | FilePath | Address
Text = tuple[Piece, ...]
"""Pieces that the place joins into one string."""


@dataclass(frozen=True)
class Package:
    """A Python distribution with extras: an image on a cluster, a virtual environment on the local target.

    `beside` lists requirements that its image has but its extras do not name. `constraints` names the file in
    `deployer/constraints/` with the tested versions of all dependencies.
    """

    name: str
    version: str
    extras: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    constraints: str | None = None

    @property
    def requirement(self) -> str:
        """The requirement in the form of pip, e.g. `mlflow[auth]==3.17.2`."""
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        return f"{self.name}{extras}=={self.version}"

    @property
    def title(self) -> str:
        """Name and version for people, e.g. `MLflow 3.17.2`."""
        return f"{'MLflow' if self.name == 'mlflow' else self.name} {self.version}"


@dataclass(frozen=True)
class TemplateFile:
    """A configuration file, rendered from a template; the target joins its values first."""

    template: str
    values: Mapping[str, Text]


@dataclass(frozen=True)
class PluginFolder:
    """The delivered files of `deployer/plugin/`, unchanged; its name is "", or a folder with a slash at the end."""


@dataclass(frozen=True)
class Probe:
    """The HTTP paths that tell whether a workload is ready and alive, and the Host header of readiness requests."""

    ready: str
    alive: str
    host: str


@dataclass(frozen=True)
class Resources:
    """CPU in millicores and memory in MiB: requests and limits."""

    cpu_request: int
    cpu_limit: int
    memory_request: int
    memory_limit: int


@dataclass(frozen=True)
class Volume:
    """Durable storage; `size` is a Kubernetes quantity such as `8Gi`."""

    name: str
    size: str
    storage_class: str | None


@dataclass(frozen=True)
class Workload:
    """One long-running program. It starts when the workloads that it `needs` are ready.

    A StatefulSet keeps at most one pod of each name, also while a node does not answer: databases need that.

    Only the local target reads the last two fields. `interpreter` is the Python that makes the virtual environment;
    None means deployer's own. `listen` is the host name or address to listen at; None means the loopback interface.
    """

    name: str
    package: Package
    image: str
    command: tuple[Text, ...]
    env: Mapping[str, Text]
    files: Mapping[str, TemplateFile | PluginFolder]
    port: int
    volumes: tuple[str, ...]
    probe: Probe
    resources: Resources
    scratch: str | None = None  # size limit of /tmp, a Kubernetes quantity
    keys: str | None = None  # changes with credentials that are read only at the start
    kind: Literal["Deployment", "StatefulSet"] = "Deployment"
    needs: tuple[str, ...] = ()
    interpreter: str | None = None
    listen: str | None = None


@dataclass(frozen=True)
class Exposure:
    """How the server is reached from outside the target.

    `host` is the host for clients. `requested_host` is the host in the spec; None if the target assigns one.
    """

    kind: ExposureKind
    host: str | None
    requested_host: str | None
    annotations: Mapping[str, str]
    ingress_class: str | None = None
    tls_secret: str | None = None
    gateway: tuple[str, str] | None = None  # namespace and name
    listener: str | None = None
    workload: str = SERVER  # the one that clients outside the place reach


@dataclass(frozen=True)
class Network:
    """Who may connect: the server's own pods, and to the exposed workload also the namespace with these labels.

    Without labels, no other namespace may connect.
    """

    from_namespace: Mapping[str, str]


@dataclass(frozen=True)
class PodSettings:
    """Where pods run and where their images come from; the same for all pods of a server."""

    run_as: int | None = None
    image_pull_secrets: tuple[str, ...] = ()
    node_selector: Mapping[str, str] = field(default_factory=dict)
    trusted_ca: tuple[str, str] | None = None  # ConfigMap and key


@dataclass(frozen=True)
class Patch:
    """A user's change to the rendered manifests of one kind, or of one object."""

    kind: str
    name: str | None
    patch: Mapping[str, Any]


@dataclass(frozen=True)
class Stack:
    """All parts of one server."""

    name: str
    labels: Mapping[str, str]
    workloads: tuple[Workload, ...]
    volumes: tuple[Volume, ...]
    exposure: Exposure
    network: Network
    pod: PodSettings = PodSettings()
    patches: tuple[Patch, ...] = ()

    @cached_property
    def start_order(self) -> tuple[Workload, ...]:
        """The workloads in the order in which they start: each after the workloads that it needs.

        Raises:
            ValueError: two have one name, one needs a workload that is not there, or they need each other in a circle.
        """
        by_name = {workload.name: workload for workload in self.workloads}
        if len(by_name) < len(self.workloads):
            raise ValueError(f"two workloads of {self.name} have the same name")
        if unknown := {need for workload in self.workloads for need in workload.needs} - by_name.keys():
            raise ValueError(f"a workload of {self.name} needs {', '.join(sorted(unknown))}, which is not there")
        order = TopologicalSorter({workload.name: workload.needs for workload in self.workloads}).static_order()
        return tuple(by_name[name] for name in order)

    def workload(self, name: str) -> Workload:
        """Return the workload of that name."""
        return next(workload for workload in self.workloads if workload.name == name)

    def object_name(self, workload: str) -> str:
        """Return the name of a workload's objects: that of the server, or `SERVER-WORKLOAD`."""
        return self.name if workload == SERVER else f"{self.name}-{workload}"
