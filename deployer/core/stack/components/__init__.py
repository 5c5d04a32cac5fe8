"""Components turn a Spec into the parts of a Stack; `build` combines the parts."""

from __future__ import annotations

from dataclasses import replace

from deployer.core.spec import networks
from deployer.core.spec.exposure import GatewayExposure, IngressExposure, NoExposure, RouteExposure
from deployer.core.spec.platform import Platform
from deployer.core.spec.routes import ALLOW_LISTS
from deployer.core.spec.schema import Spec
from deployer.core.stack.assigned import Assigned
from deployer.core.stack.components import server
from deployer.core.stack.model import Exposure, Network, Patch, PodSettings, Stack

MANAGED_BY = "mlflow-deployer"


def build(spec: Spec, platform: Platform, assigned: Assigned) -> Stack:
    """Return the Stack of `spec` on `platform`.

    Works for every spec that `require_supported` accepts. The server's allowed hosts depend on its port and host. Until
    these are assigned, the Stack has no workloads, only the parts that make the target assign them.
    """
    exposure = _exposure(spec, platform, assigned)
    known = "http" in assigned.ports and (exposure.kind == "none" or exposure.host is not None)
    return Stack(
        name=spec.name,
        labels={**platform.console_labels, **labels_of(spec)},
        workloads=(server.workload(spec, assigned, exposure),) if known else (),
        volumes=server.volumes(spec, platform, assigned),
        exposure=exposure,
        network=_network(spec, platform, exposure),
        pod=_pod(spec, platform),
        patches=tuple(Patch(patch.kind, patch.name, patch.patch) for patch in spec.spec.patches),
    )


def labels_of(spec: Spec) -> dict[str, str]:
    """Return the labels of every object of a server (kubernetes.io/docs, Recommended Labels)."""
    return {
        **spec.metadata.labels,
        "app.kubernetes.io/name": "mlflow",
        "app.kubernetes.io/instance": spec.name,
        "app.kubernetes.io/part-of": spec.name,
        "app.kubernetes.io/version": spec.spec.mlflow.version,
        "app.kubernetes.io/managed-by": MANAGED_BY,
    }


def _exposure(spec: Spec, platform: Platform, assigned: Assigned) -> Exposure:
    wanted = spec.spec.exposure
    kind = wanted.type if wanted else platform.exposures[0]
    if isinstance(wanted, NoExposure) or kind == "none":
        # without pods, clients connect to the server itself, under the name assigned to it
        host = None if platform.pods else assigned.host
        return Exposure(kind="none", host=host, requested_host=None, annotations={})
    requested = wanted.host if wanted else None
    exposure = Exposure(
        kind=kind,
        host=requested or assigned.host,
        requested_host=requested,
        annotations=dict(platform.exposure_annotations),
    )
    match wanted:
        case IngressExposure():
            return replace(
                exposure,
                annotations={**platform.exposure_annotations, **_issuer(wanted), **wanted.annotations},
                ingress_class=wanted.ingress_class,
                tls_secret=wanted.tls_secret or (f"{spec.name}-tls" if _issuer(wanted) else None),
            )
        case GatewayExposure():
            namespace, _, name = wanted.gateway.partition("/")
            # a Gateway does not read the annotations of an Ingress controller
            return replace(
                exposure, annotations=wanted.annotations, gateway=(namespace, name), listener=wanted.listener
            )
        case RouteExposure():
            annotations = {**platform.exposure_annotations, **wanted.annotations}
            if wanted.allow_from and platform.allow_lists:
                # both keys: each router reads the one that it knows
                annotations |= dict.fromkeys(ALLOW_LISTS, networks.written(wanted.allow_from))
            return replace(exposure, annotations=annotations)
    return exposure


def _issuer(wanted: IngressExposure) -> dict[str, str]:
    """Return the annotation that makes cert-manager fill the TLS secret (cert-manager.io/docs/usage/ingress)."""
    issuers = {"cert-manager.io/issuer": wanted.issuer, "cert-manager.io/cluster-issuer": wanted.cluster_issuer}
    return {key: value for key, value in issuers.items() if value}


def _network(spec: Spec, platform: Platform, exposure: Exposure) -> Network:
    wanted = spec.spec.network_policy.ingress_namespace
    if exposure.kind == "none" and not wanted:
        return Network({})
    if wanted or exposure.gateway:
        # the data plane of a Gateway most often runs in the namespace of the Gateway
        return Network({"kubernetes.io/metadata.name": wanted or (exposure.gateway or ("", ""))[0]})
    return Network(dict(platform.router_namespace))


def _pod(spec: Spec, platform: Platform) -> PodSettings:
    wanted = spec.spec.pod
    trusted = wanted.trusted_ca
    return PodSettings(
        run_as=platform.run_as,
        image_pull_secrets=tuple(wanted.image_pull_secrets),
        node_selector=wanted.node_selector,
        trusted_ca=(trusted.config_map, trusted.key) if trusted else None,
    )
