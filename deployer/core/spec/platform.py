"""What each platform offers, as data. No other code asks which platform it runs on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, Literal
from urllib.parse import urlsplit

from deployer.core.spec.routes import FORWARDED_HEADERS

ExposureKind = Literal["none", "ingress", "route", "gateway"]


@dataclass(frozen=True)
class Platform:
    """A kind of cluster, or this machine.

    - `exposures`: the supported kinds; the first is the default
    - `pods`: whether servers run in pods
    - `run_as`: the numeric user of pods; None if the platform assigns one and rejects any other
    - `host_template`: predicts a host from `{name}` and `{namespace}`, for `render` only; all other code reads the host
      from the object's status
    - `router_namespace`: the labels of the namespace that outside traffic comes through
    - `exposure_annotations`: set on an Ingress or Route
    - `allow_lists`: whether a Route can restrict the networks that may connect
    - `console_labels`: make the web console recognise the server
    - `custom_host_target`: a custom host name must be a CNAME of this name
    - `api_hosts`: known API servers of this platform
    - `api_group`: an API group that only this platform has
    - `context_prefix`: the prefix that the platform's tools give to context names
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
    # ingress-nginx: artifacts exceed its body limit of 1 MB and its timeout of 60 s
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
    # OpenShift sets this label on the namespace of its router
    router_namespace=MappingProxyType({"network.openshift.io/policy-group": "ingress"}),
    # the default of a cluster may let clients choose their address
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
    """Return the platform that a spec asks for, else the one that was detected earlier, else the general one."""
    return PROFILES[wanted or given or DEFAULT_PROFILE]


def recognised(api_server: str, context: str, groups: Collection[str]) -> Platform:
    """Return the platform of a cluster, given the address of its API server, the context name and its API groups."""
    host = urlsplit(api_server).hostname
    candidates = PROFILES.values()
    tests: tuple[Callable[[Platform], bool], ...] = (
        lambda platform: host in platform.api_hosts,
        lambda platform: platform.context_prefix is not None and context.startswith(platform.context_prefix),
        lambda platform: platform.api_group in groups,
    )
    found = (platform for test in tests for platform in candidates if test(platform))
    return next(found, KUBERNETES)
