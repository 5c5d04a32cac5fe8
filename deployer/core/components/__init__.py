"""Components turn a Spec into the parts of a Stack; `build` puts them together."""

from __future__ import annotations

from deployer.core.assigned import Assigned
from deployer.core.components import server
from deployer.core.platform import Platform
from deployer.core.spec import Spec
from deployer.core.stack import Exposure, Network, Stack

MANAGED_BY = "mlflow-deployer"


def build(spec: Spec, platform: Platform, assigned: Assigned) -> Stack:
    """Return the Stack of `spec` on `platform`.

    Total: any spec that `require_supported` lets through. Without an assigned port or host there are no workloads
    yet, because the server's allowed hosts depend on them: only what makes the place assign them.
    """
    exposure = _exposure(spec, platform, assigned)
    known = "http" in assigned.ports and (exposure.kind == "none" or exposure.host is not None)
    wanted = spec.spec.network_policy.ingress_namespace
    namespace = {"kubernetes.io/metadata.name": wanted} if wanted else platform.router_namespace
    return Stack(
        name=spec.name,
        labels=labels_of(spec),
        workloads=(server.workload(spec, assigned, exposure),) if known else (),
        volumes=(server.volume(spec, platform, assigned),),
        exposure=exposure,
        network=Network(from_namespace={} if exposure.kind == "none" else dict(namespace)),
        run_as=platform.run_as,
    )


def labels_of(spec: Spec) -> dict[str, str]:
    """Return the labels of every object of a server (kubernetes.io/docs, Recommended Labels)."""
    return {
        **spec.metadata.labels,
        "app.kubernetes.io/name": "mlflow",
        "app.kubernetes.io/instance": spec.name,
        "app.kubernetes.io/managed-by": MANAGED_BY,
    }


def _exposure(spec: Spec, platform: Platform, assigned: Assigned) -> Exposure:
    wanted = spec.spec.exposure
    kind = wanted.type if wanted else platform.exposures[0]
    return Exposure(
        kind=kind,
        host=None if kind == "none" else getattr(wanted, "host", None) or assigned.host,
        requested_host=getattr(wanted, "host", None),
        ingress_class=getattr(wanted, "ingress_class", None),
        tls_secret=getattr(wanted, "tls_secret", None),
        annotations=dict(platform.exposure_annotations),
    )
