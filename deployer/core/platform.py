"""What each kind of place offers, as data. Nothing else in the project asks which platform it is on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, Literal
from urllib.parse import urlsplit

from deployer.core.routes import FORWARDED_HEADERS

ExposureKind = Literal["none", "ingress", "route", "gateway"]


@dataclass(frozen=True)
class Platform:
    """A kind of place.

    `exposures` lists what it can do, the first being its default; `pods` tells whether servers run in pods there.
    `run_as` is the numeric user that pods run as, None where the platform assigns one and rejects any other.
    `host_template` predicts a host from `{name}` and `{namespace}`; it serves `render` alone, the real host is read
    from the object's status.
    `exposure_annotations` go to an Ingress or Route.
    `router_namespace` holds the labels of the namespace that traffic from outside comes through.
    `allow_lists` tells whether a Route can say who may connect. `console_labels` make its console show the server as
    what it is. `custom_host_target` is what a host name of one's own must be a CNAME of. `api_hosts` are the API
    servers known to be of this kind, `api_group` one that only this kind of cluster has, `context_prefix` how its
    tools name contexts.
    """

    name: str
    description: str
    exposures: tuple[ExposureKind, ...]
    pods: bool = True
    run_as: int | None = None
    storage_class: str | None = None
    host_template: str | None = None
    router_namespace: Mapping[str, str] = field(default_factory=dict)
    exposure_annotations: Mapping[str, str] = field(default_factory=dict)
    allow_lists: bool = False
    console_labels: Mapping[str, str] = field(default_factory=dict)
    custom_host_target: str | None = None
    api_hosts: tuple[str, ...] = ()
    api_group: str | None = None
    context_prefix: str | None = None


LOCAL: Final = Platform(
    name="local",
    description="processes on this machine, reachable at 127.0.0.1",
    exposures=("none",),
    pods=False,
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
    context_prefix="kind-",
)
OPENSHIFT: Final = Platform(
    name="openshift",
    description="OpenShift and OKD: Routes, restricted-v2",
    exposures=("route", "ingress", "none"),
    host_template="{name}-{namespace}.apps.example.org",
    # the label that OpenShift puts on its router's namespace
    router_namespace=MappingProxyType({"network.openshift.io/policy-group": "ingress"}),
    # the cluster's own default may be one that lets clients choose their address
    exposure_annotations=MappingProxyType(
        {"haproxy.router.openshift.io/timeout": "3600s", FORWARDED_HEADERS: "append"}
    ),
    allow_lists=True,
    console_labels=MappingProxyType({"app.openshift.io/runtime": "python"}),
    api_group="route.openshift.io",
)
RAHTI: Final = replace(
    OPENSHIFT,
    name="rahti",
    description="CSC Rahti (OKD): Routes, restricted-v2, storage class standard-csi",
    exposures=("route", "none"),
    storage_class="standard-csi",
    host_template="{name}-{namespace}.2.rahtiapp.fi",
    custom_host_target="router-default.apps.2.rahti.csc.fi",
    api_hosts=("api.2.rahti.csc.fi",),
    api_group=None,
)
LUMI_K: Final = replace(
    OPENSHIFT,
    name="lumi-k",
    description="LUMI-K (OKD): Routes, restricted-v2",
    exposures=("route", "none"),
    host_template="{name}-{namespace}.apps.lumi-k.eu",
    api_hosts=("api.v1.lumi-k.eu",),
    api_group=None,
)
PROFILES: Final[Mapping[str, Platform]] = MappingProxyType(
    {platform.name: platform for platform in (KUBERNETES, KIND, OPENSHIFT, RAHTI, LUMI_K)}
)
DEFAULT_PROFILE: Final = KUBERNETES.name


def profile_of(wanted: str | None, given: str | None) -> Platform:
    """Return the kind of cluster: the one a spec asks for, else the one that was found before, else the general one."""
    return PROFILES[wanted or given or DEFAULT_PROFILE]


def recognised(api_server: str, context: str, groups: Collection[str]) -> Platform:
    """Return the kind of a cluster from its API server's address, the name of the context, and its API groups."""
    host = urlsplit(api_server).hostname
    candidates = PROFILES.values()
    tests: tuple[Callable[[Platform], bool], ...] = (
        lambda platform: host in platform.api_hosts,
        lambda platform: platform.context_prefix is not None and context.startswith(platform.context_prefix),
        lambda platform: platform.api_group in groups,
    )
    found = (platform for test in tests for platform in candidates if test(platform))
    return next(found, KUBERNETES)
