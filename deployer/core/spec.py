"""The spec: what the user wants. Spec files, the JSON Schema and the reference are all made from this schema."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from deployer.core import address, bypass, images, networks, patches, sizing
from deployer.core.secrets import username_problem
from deployer.core.versions import DEFAULT_MLFLOW, unsupported_reason

API_VERSION: Final = "mlflow-deployer.github.io/v1alpha1"
KIND: Final = "MLflowServer"
# key of the validation context for a spec that an earlier release accepted and stored
STORED: Final = "stored"
# types of database and artifacts that the schema has and this release refuses (support.py)
NOT_BUILT: Final = frozenset({"postgres", "objectstore"})

# The name must be valid for a Service (RFC 1035 label); Helm's limit leaves room for suffixes.
MAX_NAME: Final = 53
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)+")
_LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_DNS = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_LABEL_KEY = re.compile(rf"(?:(?=[^/]{{1,253}}/){_DNS}(\.{_DNS})*/)?" + _LABEL.pattern)

Quantity = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,5}(Mi|Gi|Ti)$")]
_MOST_REQUEST_BODY: Final = 1 << 30  # bytes: MLflow keeps the body in memory, in several copies


def _request_body(value: str) -> str:
    if sizing.in_bytes(value) > _MOST_REQUEST_BODY:
        raise ValueError("must be at most 1Gi: MLflow keeps the body in memory")
    return value


# name of a Kubernetes object: DNS subdomain (RFC 1123)
ObjectName = Annotated[
    str, StringConstraints(max_length=253, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
]
NamespaceName = Annotated[str, StringConstraints(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
Word = Annotated[str, StringConstraints(max_length=1024, pattern=r"^[!-~]+$")]
Plain = Annotated[
    str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+$")
]


def name_problem(name: str) -> str | None:
    """Return why `name` cannot be the name of a server, or None."""
    if len(name) > MAX_NAME:
        return f"must not be longer than {MAX_NAME} characters, has {len(name)}"
    if not _NAME.fullmatch(name):
        return "must be a DNS label: lower-case letters, digits and '-', beginning with a letter"
    return None


def _label_problem(key: str, text: str) -> str | None:
    if not _LABEL_KEY.fullmatch(key) or (text and not _LABEL.fullmatch(text)):
        return f"{key!r}: {text!r} is not a Kubernetes label"
    if key.startswith(("app.kubernetes.io/", "mlflow-deployer.github.io/")):
        return f"{key!r} is set by deployer itself"
    return None


def _checked(problem: str | None) -> None:
    if problem:
        raise ValueError(problem)


def _labels_or_raise(value: dict[str, str]) -> dict[str, str]:
    _checked("; ".join(filter(None, (_label_problem(key, text) for key, text in value.items()))))
    return value


def _annotations(value: dict[str, str]) -> dict[str, str]:
    wrong = [key for key in value if not _LABEL_KEY.fullmatch(key) or key.startswith("mlflow-deployer.github.io/")]
    _checked("; ".join(f"{key!r} cannot be the key of an annotation" for key in wrong))
    _checked("; ".join(patches.allow_lists(value)))
    return value


def _gateway(value: str) -> str:
    namespace, _, name = value.partition("/")
    if not re.fullmatch(_DNS, namespace) or not re.fullmatch(rf"{_DNS}(\.{_DNS})*", name) or len(value) > 300:
        raise ValueError("must be NAMESPACE/NAME of a Gateway")
    return value


def _proxy_url(value: str) -> str:
    if not re.fullmatch(r"https?://[!-~]+", value):
        raise ValueError("must be the URL of a proxy, such as http://squid.example.org:3128")
    if "@" in value:
        raise ValueError("must not hold a user name or password: this file and the pod's manifest are no secrets")
    return value


def _patch(value: dict[str, Any]) -> dict[str, Any]:
    _checked("; ".join(patches.problems(value)))
    return value


def _is_stored(info: ValidationInfo) -> bool:
    """Tell whether the value is stored. Earlier releases accepted any text, and their servers must stay manageable."""
    return bool(info.context and info.context.get(STORED))


def _image(value: str, info: ValidationInfo) -> str:
    if not _is_stored(info):
        _checked(images.image_problem(value))
    return value


def _mirrors(value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
    if not _is_stored(info):
        found = ((prefix, images.mirror_problem(prefix, mirror)) for prefix, mirror in value.items())
        _checked("; ".join(f"{prefix!r}: {problem}" for prefix, problem in found if problem))
    return value


def _no_proxy(value: str, info: ValidationInfo) -> str:
    if not _is_stored(info):
        _checked(bypass.bypass_problem(value))
    return value


def _host_name(value: str) -> str:
    if not _HOST.fullmatch(value):
        raise ValueError("must be a host name such as mlflow.example.org, in lower case, without scheme or port")
    return value


def endpoint_problem(endpoint: str) -> str | None:
    """Return why `endpoint` cannot be the URL of an S3 service, or None. Quotes nothing of the URL."""
    try:
        parts = urlsplit(endpoint)
        sound = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return "is not a URL"
    if not sound or parts.scheme not in {"http", "https"} or not re.fullmatch("[!-~]+", endpoint):
        return "must be a URL such as https://a3s.fi"
    if parts.username is not None or parts.password is not None:
        return "must not hold keys"
    if parts.path.strip("/") or parts.query or parts.fragment:
        return "must be scheme, host and port alone, without bucket or path"
    return None


def _s3_endpoint(value: str) -> str:
    _checked(endpoint_problem(value))
    return value.rstrip("/")


def _prefix(value: str) -> str:
    if value != value.strip("/") or "//" in value or {".", ".."} & set(value.split("/")):
        raise ValueError("must be a path such as team/mlflow, without slashes at its ends")
    return value


# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
BucketName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
Prefix = Annotated[str, StringConstraints(max_length=256, pattern=r"^[A-Za-z0-9!_.*'()/-]+$"), AfterValidator(_prefix)]
S3Endpoint = Annotated[str, StringConstraints(max_length=1024), AfterValidator(_s3_endpoint)]
Region = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][-A-Za-z0-9_]{0,63}$")]


def _network(value: str) -> str:
    networks.network(value)
    return value


RequestBody = Annotated[Quantity, AfterValidator(_request_body)]
ListenAddress = Annotated[str, StringConstraints(max_length=253), AfterValidator(address.canonical)]
Networks = Annotated[str, StringConstraints(max_length=64), AfterValidator(_network)]
HostName = Annotated[str, AfterValidator(_host_name)]
Annotations = Annotated[dict[str, Plain], AfterValidator(_annotations)]
DrawnKind = Literal[
    "ServiceAccount", "PersistentVolumeClaim", "NetworkPolicy", "ConfigMap", "Service", "Deployment",
    "Ingress", "HTTPRoute", "Route",
]  # fmt: skip
Labels = Annotated[dict[str, str], AfterValidator(_labels_or_raise)]
ProxyUrl = Annotated[str, AfterValidator(_proxy_url)]
Image = Annotated[Word, AfterValidator(_image)]
Mirrors = Annotated[dict[Word, Word], AfterValidator(_mirrors)]
NoProxy = Annotated[Plain, AfterValidator(_no_proxy)]


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        alias_generator=to_camel,
        validate_by_name=True,
        hide_input_in_errors=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_unset(cls, data: Any) -> Any:
        """Treat `key:` without a value as an absent key, as the Kubernetes API does."""
        if not isinstance(data, dict):
            return data
        known = {field.alias for field in cls.model_fields.values()}
        return {key: value for key, value in data.items() if value is not None or key not in known}


class Metadata(_Part):
    """Name and labels."""

    name: str = Field("mlflow", description="name of the server: a DNS label", max_length=MAX_NAME)
    labels: Labels = Field(default_factory=dict, description="extra Kubernetes labels on all rendered objects")

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        _checked(name_problem(value))
        return value


class Mlflow(_Part):
    """The MLflow release."""

    version: str = Field(DEFAULT_MLFLOW, description="MLflow version, MAJOR.MINOR.PATCH")
    image: Image | None = Field(None, description="container image instead of the official one of that version")

    @field_validator("version")
    @classmethod
    def _version(cls, value: str) -> str:
        _checked(unsupported_reason(value))
        return value


class Auth(_Part):
    """The administrator's user name, and the default permission of other users."""

    admin_username: str = Field("admin", description="user name of the administrator; fixed once the server exists")
    default_permission: Literal["NO_PERMISSIONS", "READ", "EDIT", "MANAGE"] = Field(
        "NO_PERMISSIONS", description="what a user may do with experiments and models of others"
    )

    @field_validator("admin_username")
    @classmethod
    def _username(cls, value: str) -> str:
        _checked(username_problem(value))
        return value


class SqliteDatabase(_Part):
    """SQLite files on the server's volume, for the use of one group."""

    type: Literal["sqlite"] = "sqlite"


class PostgresDatabase(_Part):
    """A PostgreSQL that deployer runs beside the server."""

    type: Literal["postgres"]
    size: Quantity = Field("10Gi", description="size of its volume")


class ExternalDatabase(_Part):
    """An external PostgreSQL, such as CSC Pukki. Its URLs are secrets and therefore not part of a spec."""

    type: Literal["external"]


class VolumeArtifacts(_Part):
    """Files on the server's volume."""

    type: Literal["volume"] = "volume"


class S3Artifacts(_Part):
    """A bucket in Allas, LUMI-O or any S3 service."""

    type: Literal["s3"]
    bucket: BucketName = Field(description="name of the bucket")
    prefix: Prefix | None = Field(None, description="path inside the bucket")
    endpoint: S3Endpoint = Field("https://a3s.fi", description="URL of the S3 service")
    region: Region | None = Field(None, description="region, where the service wants one")
    transfer: Literal["proxied", "direct"] = Field("proxied", description="through the server, or from client to S3")
    scratch: Quantity = Field(
        "20Gi", description="room for artifacts on their way through the server: the largest must fit; clusters only"
    )


class ObjectstoreArtifacts(_Part):
    """An S3 service (SeaweedFS) that deployer runs beside the server."""

    type: Literal["objectstore"]
    size: Quantity = Field("50Gi", description="size of its volume")
    transfer: Literal["proxied", "direct"] = Field("proxied", description="through the server, or from client to S3")


class NoExposure(_Part):
    """No Ingress, Route or HTTPRoute exposes the server."""

    type: Literal["none"]


class IngressExposure(_Part):
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


class RouteExposure(_Part):
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


class GatewayExposure(_Part):
    """An HTTPRoute of the Gateway API."""

    type: Literal["gateway"]
    host: HostName | None = Field(None, description="public host name")
    gateway: Annotated[str, AfterValidator(_gateway)] = Field(description="NAMESPACE/NAME of the Gateway")
    listener: ObjectName | None = Field(None, description="name of the Gateway's listener, where it has several")
    annotations: Annotations = Field(default_factory=dict, description="extra annotations")


EXPOSURES: Final[Mapping[str, type[BaseModel]]] = MappingProxyType(
    {"none": NoExposure, "ingress": IngressExposure, "route": RouteExposure, "gateway": GatewayExposure}
)
Database = Annotated[SqliteDatabase | PostgresDatabase | ExternalDatabase, Field(discriminator="type")]
Artifacts = Annotated[VolumeArtifacts | S3Artifacts | ObjectstoreArtifacts, Field(discriminator="type")]
Exposure = Annotated[NoExposure | IngressExposure | RouteExposure | GatewayExposure, Field(discriminator="type")]


class Volume(_Part):
    """The server's own volume, for the SQLite databases and for artifacts; absent if both are in external services."""

    size: Quantity = Field("10Gi", description="size of the volume; clusters only")
    storage_class: ObjectName | None = Field(
        None, description="storage class, where the platform's default is not right"
    )


class NetworkPolicy(_Part):
    """Who may connect to the server's pods."""

    ingress_namespace: NamespaceName | None = Field(
        None, description="namespace that traffic from outside comes through, where the platform's default is not right"
    )


class TrustedCa(_Part):
    """Certificates that the server trusts for its own outgoing requests; they replace those of the image."""

    config_map: ObjectName = Field(description="ConfigMap in the server's namespace")
    key: Word = Field(
        "ca.crt", description="its key with PEM certificates, including the public ones that the server needs"
    )


class Proxy(_Part):
    """The proxy for the server's own outgoing requests."""

    http: ProxyUrl | None = Field(None, description="proxy for http addresses")
    https: ProxyUrl | None = Field(None, description="proxy for https addresses")
    no_proxy: NoProxy | None = Field(
        None, description="hosts to reach without it, separated by commas: names, .domains, addresses, networks"
    )


class Patch(_Part):
    """A change to a rendered manifest, merged like `kubectl patch --type strategic`."""

    kind: DrawnKind = Field(description="kind of the object")
    name: ObjectName | None = Field(None, description="its name, where there are several of the kind")
    patch: Annotated[dict[str, Any], AfterValidator(_patch)] = Field(description="what to change; null removes a field")


class Pod(_Part):
    """Where the server's pods run, and where their images come from."""

    image_pull_secrets: list[ObjectName] = Field(default_factory=list, description="Secrets for private registries")
    image_mirrors: Mirrors = Field(default_factory=dict, description="the mirror for each registry or image prefix")
    node_selector: Labels = Field(default_factory=dict, description="labels a node must have")
    trusted_ca: TrustedCa | None = Field(None, description="certificates to trust")


class Local(_Part):
    """Settings of the local target only."""

    port: int | None = Field(
        None, ge=1024, le=65535, description="TCP port; default: a free port, chosen at the first start"
    )
    host: ListenAddress | None = Field(
        None, description="address to listen on, also the host in the server's URL; 0.0.0.0: all; default 127.0.0.1"
    )
    python: Plain | None = Field(None, description="interpreter for the server; without one deployer's own")


class ServerSpec(_Part):
    """All settings of a server."""

    profile: Literal["kubernetes", "kind", "openshift", "rahti", "lumi-k"] | None = Field(
        None, description="kind of cluster; clusters only"
    )
    mlflow: Mlflow = Field(default_factory=Mlflow, description="the MLflow release")
    workers: int = Field(
        1, ge=1, le=16, description="processes that serve; each takes its own share of memory and connections"
    )
    access_log: bool = Field(False, description="log every request with the name of who made it")
    auth: Auth = Field(default_factory=Auth, description="who may log in")
    database: Database = Field(default_factory=SqliteDatabase, description="where runs and models are recorded")
    artifacts: Artifacts = Field(default_factory=VolumeArtifacts, description="where files are kept")
    volume: Volume = Field(default_factory=Volume, description="the server's own volume")
    exposure: Exposure | None = Field(
        None, description="how clients reach the server; default: the usual way of the platform"
    )
    network_policy: NetworkPolicy = Field(default_factory=NetworkPolicy, description="who may connect")
    max_request_body: RequestBody = Field(
        "32Mi", description="largest body of a request, at most 1Gi; uploads of artifacts have no limit"
    )
    proxy: Proxy = Field(default_factory=Proxy, description="the proxy for the server's outgoing requests")
    pod: Pod = Field(default_factory=Pod, description="nodes and image sources of the pods; clusters only")
    patches: list[Patch] = Field(default_factory=list, description="changes to rendered manifests; clusters only")
    local: Local = Field(default_factory=Local, description="the local target only")


class Spec(_Part):
    """A server, as in a spec file: `apiVersion`, `kind`, `metadata`, `spec`."""

    api_version: Literal["mlflow-deployer.github.io/v1alpha1"] = Field(
        API_VERSION, description="version of this schema"
    )
    kind: Literal["MLflowServer"] = Field(KIND, description="always MLflowServer")
    metadata: Metadata = Field(default_factory=Metadata, description="name and labels")
    spec: ServerSpec = Field(default_factory=ServerSpec, description="what is wanted")

    @property
    def name(self) -> str:
        """The server's name."""
        return self.metadata.name

    def document(self) -> dict[str, Any]:
        """Return the spec as JSON-compatible data, with every field and with keys as in a file."""
        return self.model_dump(mode="json", by_alias=True)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a spec file."""
    schema = Spec.model_json_schema(by_alias=True, mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
