"""The spec: what the user wants. Spec files, the JSON Schema and the reference are all made from this schema."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import (
    Field,
    field_validator,
)

from deployer.core.secrets.logins import username_problem
from deployer.core.spec.exposure import Exposure
from deployer.core.spec.fields import (
    MAX_NAME,
    BucketName,
    Image,
    Labels,
    ListenAddress,
    Mirrors,
    NamespaceName,
    NoProxy,
    ObjectName,
    Plain,
    Prefix,
    ProxyUrl,
    Quantity,
    Region,
    RenderedKind,
    RequestBody,
    S3Endpoint,
    StrategicPatch,
    Word,
    checked,
    name_problem,
)
from deployer.core.spec.section import Section
from deployer.core.spec.versions import DEFAULT_MLFLOW, unsupported_reason

API_VERSION: Final = "mlflow-deployer.github.io/v1alpha1"
KIND: Final = "MLflowServer"
# types of database and artifacts that the schema has and this release refuses (support.py)
NOT_BUILT: Final = frozenset({"postgres", "objectstore"})


class Metadata(Section):
    """Name and labels."""

    name: str = Field("mlflow", description="name of the server: a DNS label", max_length=MAX_NAME)
    labels: Labels = Field(default_factory=dict, description="extra Kubernetes labels on all rendered objects")

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        checked(name_problem(value))
        return value


class Mlflow(Section):
    """The MLflow release."""

    version: str = Field(DEFAULT_MLFLOW, description="MLflow version, MAJOR.MINOR.PATCH")
    image: Image | None = Field(None, description="container image instead of the official one of that version")

    @field_validator("version")
    @classmethod
    def _version(cls, value: str) -> str:
        checked(unsupported_reason(value))
        return value


class Auth(Section):
    """The administrator's user name, and the default permission of other users."""

    admin_username: str = Field("admin", description="user name of the administrator; fixed once the server exists")
    default_permission: Literal["NO_PERMISSIONS", "READ", "EDIT", "MANAGE"] = Field(
        "NO_PERMISSIONS", description="what a user may do with experiments and models of others"
    )

    @field_validator("admin_username")
    @classmethod
    def _username(cls, value: str) -> str:
        checked(username_problem(value))
        return value


class SqliteDatabase(Section):
    """SQLite files on the server's volume, for the use of one group."""

    type: Literal["sqlite"] = "sqlite"


class PostgresDatabase(Section):
    """A PostgreSQL that deployer runs beside the server."""

    type: Literal["postgres"]
    size: Quantity = Field("10Gi", description="size of its volume")


class ExternalDatabase(Section):
    """An external PostgreSQL, such as CSC Pukki. Its URLs are secrets and therefore not part of a spec."""

    type: Literal["external"]


class VolumeArtifacts(Section):
    """Files on the server's volume."""

    type: Literal["volume"] = "volume"


class S3Artifacts(Section):
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


class ObjectstoreArtifacts(Section):
    """An S3 service (SeaweedFS) that deployer runs beside the server."""

    type: Literal["objectstore"]
    size: Quantity = Field("50Gi", description="size of its volume")
    transfer: Literal["proxied", "direct"] = Field("proxied", description="through the server, or from client to S3")


Database = Annotated[SqliteDatabase | PostgresDatabase | ExternalDatabase, Field(discriminator="type")]
Artifacts = Annotated[VolumeArtifacts | S3Artifacts | ObjectstoreArtifacts, Field(discriminator="type")]


class Volume(Section):
    """The server's own volume, for the SQLite databases and for artifacts; absent if both are in external services."""

    size: Quantity = Field("10Gi", description="size of the volume; clusters only")
    storage_class: ObjectName | None = Field(
        None, description="storage class, where the platform's default is not right"
    )


class NetworkPolicy(Section):
    """Who may connect to the server's pods."""

    ingress_namespace: NamespaceName | None = Field(
        None, description="namespace that traffic from outside comes through, where the platform's default is not right"
    )


class TrustedCa(Section):
    """Certificates that the server trusts for its own outgoing requests; they replace those of the image."""

    config_map: ObjectName = Field(description="ConfigMap in the server's namespace")
    key: Word = Field(
        "ca.crt", description="its key with PEM certificates, including the public ones that the server needs"
    )


class Proxy(Section):
    """The proxy for the server's own outgoing requests."""

    http: ProxyUrl | None = Field(None, description="proxy for http addresses")
    https: ProxyUrl | None = Field(None, description="proxy for https addresses")
    no_proxy: NoProxy | None = Field(
        None, description="hosts to reach without it, separated by commas: names, .domains, addresses, networks"
    )


class Patch(Section):
    """A change to a rendered manifest, merged like `kubectl patch --type strategic`."""

    kind: RenderedKind = Field(description="kind of the object")
    name: ObjectName | None = Field(None, description="its name, where there are several of the kind")
    patch: StrategicPatch = Field(description="what to change; null removes a field")


class Pod(Section):
    """Where the server's pods run, and where their images come from."""

    image_pull_secrets: list[ObjectName] = Field(default_factory=list, description="Secrets for private registries")
    image_mirrors: Mirrors = Field(default_factory=dict, description="the mirror for each registry or image prefix")
    node_selector: Labels = Field(default_factory=dict, description="labels a node must have")
    trusted_ca: TrustedCa | None = Field(None, description="certificates to trust")


class Local(Section):
    """Settings of the local target only."""

    port: int | None = Field(
        None, ge=1024, le=65535, description="TCP port; default: a free port, chosen at the first start"
    )
    host: ListenAddress | None = Field(
        None, description="address to listen on, also the host in the server's URL; 0.0.0.0: all; default 127.0.0.1"
    )
    python: Plain | None = Field(None, description="interpreter for the server; without one deployer's own")


class ServerSpec(Section):
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


class Spec(Section):
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
