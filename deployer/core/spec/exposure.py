"""The part of a spec that says how clients outside the cluster reach a server."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from deployer.core.spec import networks
from deployer.core.spec.fields import Annotations, Gateway, HostName, Networks, ObjectName
from deployer.core.spec.section import Section


class NoExposure(Section):
    """No Ingress, Route or HTTPRoute exposes the server."""

    type: Literal["none"]


class IngressExposure(Section):
    """A Kubernetes Ingress."""

    type: Literal["ingress"]
    host: HostName | None = Field(None, description="public host name")
    ingress_class: ObjectName | None = Field(None, description="ingressClassName, where the cluster has no default")
    tls_secret: ObjectName | None = Field(None, description="Secret with the certificate for the host")
    issuer: ObjectName | None = Field(None, description="cert-manager Issuer that is to make the certificate")
    cluster_issuer: ObjectName | None = Field(
        None, description="cert-manager ClusterIssuer that is to make the certificate"
    )
    annotations: Annotations = Field(default_factory=dict, description="extra annotations")

    @model_validator(mode="after")
    def _one_issuer(self) -> IngressExposure:
        if self.issuer and self.cluster_issuer:
            raise ValueError("has both issuer and clusterIssuer; leave one out")
        return self


class RouteExposure(Section):
    """An OpenShift Route with TLS at the router."""

    type: Literal["route"]
    host: HostName | None = Field(None, description="public host name; without one OpenShift assigns it")
    allow_from: list[Networks] = Field(
        default_factory=list,
        description=f"networks that may connect, such as 192.0.2.0/24 or {', '.join(networks.KNOWN)}; all if empty",
    )
    allow_everyone: bool = Field(False, description="consent to a network in allowFrom that is the whole internet")
    annotations: Annotations = Field(default_factory=dict, description="extra annotations")

    @model_validator(mode="after")
    def _everyone_is_said(self) -> RouteExposure:
        whole = networks.everyone(self.allow_from)
        if whole and not self.allow_everyone:
            raise ValueError(f"allowFrom is {whole}: that is everybody; narrow it, or say allowEveryone: true")
        return self


class GatewayExposure(Section):
    """An HTTPRoute of the Gateway API."""

    type: Literal["gateway"]
    host: HostName | None = Field(None, description="public host name")
    gateway: Gateway = Field(description="NAMESPACE/NAME of the Gateway")
    listener: ObjectName | None = Field(None, description="name of the Gateway's listener, where it has several")
    annotations: Annotations = Field(default_factory=dict, description="extra annotations")


EXPOSURES: Final[Mapping[str, type[Section]]] = MappingProxyType(
    {"none": NoExposure, "ingress": IngressExposure, "route": RouteExposure, "gateway": GatewayExposure}
)
Exposure = Annotated[NoExposure | IngressExposure | RouteExposure | GatewayExposure, Field(discriminator="type")]
