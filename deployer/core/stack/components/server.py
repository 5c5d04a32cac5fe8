"""The MLflow server, which serves web pages, API and artifacts."""

from __future__ import annotations

from typing import Final

from deployer.core.address import url, written
from deployer.core.secrets.databases import DATABASES
from deployer.core.secrets.references import ADMIN_USERNAME, S3_ACCESS_KEY, S3_SECRET_KEY, SecretRef
from deployer.core.secrets.values import GENERATED
from deployer.core.spec.fields import in_bytes
from deployer.core.spec.platform import Platform
from deployer.core.spec.schema import ExternalDatabase, S3Artifacts, Spec
from deployer.core.spec.versions import constraints_file
from deployer.core.stack import settings, sizing
from deployer.core.stack.assigned import Assigned, Pin
from deployer.core.stack.model import Exposure, FilePath, Package, PluginFolder, Probe, TemplateFile, Volume, Workload

SERVER: Final = "server"
LAUNCH: Final = "launch.py"  # in the plugin
_S3_CLIENT: Final = "boto3>=1.36,<2"
_POSTGRESQL_DRIVER: Final = "psycopg2-binary>=2.9,<3"
IMAGE: Final = "ghcr.io/mlflow/mlflow:v{version}-full"  # only the -full image has the auth extra
READY_PATH: Final = "/health/stores"
ALIVE_PATH: Final = "/health"
# all names of the loopback, with any port: tunnels (kubectl port-forward, ssh -L) end at a port of their own
LOOPBACK: Final = ("localhost", "localhost:*", "127.0.0.1", "127.0.0.1:*")


def needs(spec: Spec) -> tuple[SecretRef, ...]:
    """Return every secret value that the server reads."""
    keys = (S3_ACCESS_KEY, S3_SECRET_KEY) if isinstance(spec.spec.artifacts, S3Artifacts) else ()
    urls = DATABASES.values() if _external(spec) else ()
    return (ADMIN_USERNAME, *(need.ref for need in GENERATED), *keys, *urls)


def _external(spec: Spec) -> bool:
    return isinstance(spec.spec.database, ExternalDatabase)


def package(spec: Spec) -> Package:
    """Return the Python distribution of the server."""
    beside = (_S3_CLIENT, _POSTGRESQL_DRIVER) if _external(spec) else (_S3_CLIENT,)
    version = spec.spec.mlflow.version
    return Package("mlflow", version, ("auth",), beside, constraints_file(version))


def image(spec: Spec) -> str:
    """Return the server's image; the mirror with the longest matching prefix replaces that prefix."""
    wanted = spec.spec.mlflow.image or IMAGE.format(version=spec.spec.mlflow.version)
    for prefix, mirror in sorted(spec.spec.pod.image_mirrors.items(), key=lambda item: -len(item[0])):
        whole = prefix.rstrip("/")
        rest = wanted.removeprefix(whole)
        # after a registry without a path, a colon begins a port: that is another registry
        if wanted.startswith(whole) and (not rest or rest[0] in ("/:@" if "/" in whole else "/")):
            return mirror.rstrip("/") + rest
    return wanted


def pod_image(spec: Spec, pin: Pin | None) -> str:
    """Return the image that pods run: the server's image, by digest if it is pinned."""
    wanted = image(spec)
    if pin is None or pin.image != wanted:
        return wanted
    repository = wanted.partition("@")[0]
    name, colon, tag = repository.rpartition(":")
    # a colon before the last slash begins a port. CRI-O accepts no tag beside a digest, so the tag is dropped
    return f"{name if colon and '/' not in tag else repository}@{pin.digest}"


def volumes(spec: Spec, platform: Platform, assigned: Assigned) -> tuple[Volume, ...]:
    """Return the server's volume for databases and artifacts; empty if both are in external services."""
    if not _on_volume(spec):
        return ()
    wanted = spec.spec.volume
    storage_class = wanted.storage_class or assigned.storage_class or platform.storage_class
    return (Volume(settings.DATA_VOLUME, wanted.size, storage_class),)


def _on_volume(spec: Spec) -> bool:
    return not (_external(spec) and isinstance(spec.spec.artifacts, S3Artifacts))


def allowed_hosts(name: str, assigned: Assigned, exposure: Exposure) -> list[str]:
    """Return the Host header values that the server accepts: public, inside the cluster, and loopback."""
    hosts = []
    if exposure.host:
        public = written(exposure.host)
        # MLflow matches patterns with fnmatch, where brackets are special (mlflow/server/security_utils.py)
        hosts = [public, f"{public.replace('[', '[[]')}:*"]
    if assigned.namespace:
        inside = (name, f"{name}.{assigned.namespace}", f"{name}.{assigned.namespace}.svc")
        for host in (*inside, f"{inside[-1]}.cluster.local"):
            hosts += [host, f"{host}:*"]  # never `svc*`, which would also match svc.evil.example
    return [*hosts, *LOOPBACK]


def workload(spec: Spec, assigned: Assigned, exposure: Exposure) -> Workload:
    """Return the workload of the server."""
    port, artifacts, external = assigned.ports["http"], spec.spec.artifacts, _external(spec)
    threads = sizing.threads(spec.spec.workers, shared=external)
    direct = exposure.host if exposure.kind == "none" else None  # no proxy in front of the server terminates TLS
    # a page on the address in the Host header of the request needs no entry (plugin/auth/origins.py)
    origins = [url(direct, port) if direct else f"https://{exposure.host}"] if exposure.host else []
    return Workload(
        name=SERVER,
        package=package(spec),
        image=pod_image(spec, assigned.pin),
        command=(("python",), (FilePath(LAUNCH),)),
        env={
            **settings.server_environment(allowed_hosts(spec.name, assigned, exposure), origins, threads, port),
            "MLFLOW_WORKERS": (str(spec.spec.workers),),
            settings.MAX_REQUEST_BODY: (str(in_bytes(spec.spec.max_request_body)),),
            **({settings.FORWARDED: ("true",)} if exposure.kind != "none" else {}),
            **({settings.ACCESS_LOG: ("true",)} if spec.spec.access_log else {}),
            **({"MLFLOW_HOST": (spec.spec.local.host or direct,)} if direct else {}),
            **(settings.external_environment() if external else {}),
            **(settings.s3_environment(artifacts) if isinstance(artifacts, S3Artifacts) else {}),
            **settings.outbound_environment(spec.spec.proxy, trusted_ca=spec.spec.pod.trusted_ca is not None),
        },
        files={
            "": PluginFolder(),
            settings.AUTH_INI: TemplateFile(
                "basic_auth.ini.j2",
                settings.auth_settings(spec.spec.auth.default_permission, external=external),
            ),
        },
        port=port,
        volumes=(settings.DATA_VOLUME,) if _on_volume(spec) else (),
        probe=Probe(ready=READY_PATH, alive=ALIVE_PATH, host="localhost"),
        resources=sizing.server_resources(spec.spec.workers),
        # MLflow stores whole files there on their way to and from S3
        scratch=artifacts.scratch if isinstance(artifacts, S3Artifacts) else None,
        keys=assigned.keys if external or isinstance(artifacts, S3Artifacts) else None,
        # a cluster ignores both
        interpreter=None if assigned.namespace else spec.spec.local.python,
        listen=None if assigned.namespace else spec.spec.local.host,
    )
