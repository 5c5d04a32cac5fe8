"""What each kind of place offers, as data. Nothing else in the project asks which platform it is on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

ExposureKind = Literal["none", "ingress", "route", "gateway"]


@dataclass(frozen=True)
class Platform:
    """A kind of place.

    `exposures` lists what it can do, the first being its default. `run_as` is the numeric user that pods run as,
    None where the platform assigns one and rejects any other. `host_template` predicts a host from `{name}` and
    `{namespace}`; it serves `render` alone, the real host is read from the object's status.
    `exposure_annotations` go to an Ingress or Route.
    `router_namespace` holds the labels of the namespace that traffic from outside comes through.
    """

    name: str
    description: str
    exposures: tuple[ExposureKind, ...]
    run_as: int | None = None
    storage_class: str | None = None
    host_template: str | None = None
    router_namespace: Mapping[str, str] = field(default_factory=dict)
    exposure_annotations: Mapping[str, str] = field(default_factory=dict)


LOCAL: Final = Platform(
    name="local",
    description="processes on this machine, reachable at 127.0.0.1",
    exposures=("none",),
)
KUBERNETES: Final = Platform(
    name="kubernetes",
    description="any Kubernetes with an Ingress or Gateway controller",
    exposures=("ingress", "gateway", "none"),
    run_as=10001,
    router_namespace=MappingProxyType({"kubernetes.io/metadata.name": "ingress-nginx"}),
    # ingress-nginx: artifacts are larger than its 1 MB body limit and slower than its 60 s
    exposure_annotations=MappingProxyType(
        {
            "nginx.ingress.kubernetes.io/proxy-body-size": "0",
            "nginx.ingress.kubernetes.io/proxy-read-timeout": "3600",
            "nginx.ingress.kubernetes.io/proxy-send-timeout": "3600",
        }
    ),
)
KIND: Final = Platform(
    name="kind",
    description="a rehearsal on kind: no address from outside unless asked for, reached by a tunnel",
    exposures=("none", "ingress", "gateway"),
    run_as=10001,
    router_namespace=KUBERNETES.router_namespace,
    exposure_annotations=KUBERNETES.exposure_annotations,
)
RAHTI: Final = Platform(
    name="rahti",
    description="CSC Rahti (OKD): Routes, restricted-v2, storage class standard-csi",
    exposures=("route", "none"),
    storage_class="standard-csi",
    host_template="{name}-{namespace}.2.rahtiapp.fi",
    # the label that OpenShift puts on its router's namespace
    router_namespace=MappingProxyType({"network.openshift.io/policy-group": "ingress"}),
    exposure_annotations=MappingProxyType({"haproxy.router.openshift.io/timeout": "3600s"}),
)
PROFILES: Final[Mapping[str, Platform]] = MappingProxyType({p.name: p for p in (KUBERNETES, KIND, RAHTI)})
DEFAULT_PROFILE: Final = KUBERNETES.name


def profile_of(wanted: str | None, given: str | None) -> Platform:
    """Return the kind of cluster: the one a spec asks for, else the one that was found before, else the general one."""
    return PROFILES[wanted or given or DEFAULT_PROFILE]
