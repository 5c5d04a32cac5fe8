"""The environment variables and the configuration of an MLflow server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from deployer.core import bypass, databases, secrets, sizing
from deployer.core.spec import Proxy, S3Artifacts
from deployer.core.stack import FilePath, Text, VolumePath

DATA_VOLUME: Final = "data"
AUTH_INI: Final = "basic_auth.ini"
TRUSTED_CA: Final = "trusted-ca.crt"
DEFAULT_REGION: Final = "us-east-1"  # S3 clients sign with this region if the service has no regions
DIRECT_TRANSFERS: Final = ("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD")
# read by launch.py
TRANSFER: Final = "DEPLOYER_ARTIFACT_TRANSFER"
FORWARDED: Final = "DEPLOYER_FORWARDED"
THREADS: Final = "DEPLOYER_THREADS"
AUTH_CONNECTIONS: Final = "DEPLOYER_AUTH_CONNECTIONS"
ACCESS_LOG: Final = "DEPLOYER_ACCESS_LOG"
MAX_REQUEST_BODY: Final = "DEPLOYER_MAX_REQUEST_BODY"
AUTH_DATABASE: Final = "DEPLOYER_AUTH_DATABASE_URI"

# MLflow's own cache may keep accepting an old password if the password changes during a login check, and always does so
# with several workers. The plugin works without this cache.
AUTH_CACHE_SECONDS: Final = 0


def server_environment(hosts: Sequence[str], origins: Sequence[str], threads: int, port: int) -> dict[str, Text]:
    """Return the environment of a server with SQLite databases and artifacts on its volume.

    - `hosts`: the accepted values of the Host header; a port counts, `*` matches any text
    - `origins`: the values of the Origin header that browsers send on the public pages; without them, the web page
      cannot send POST requests to its own server
    - `threads`: the number of threads that serve requests, in each process
    """
    pool = sizing.pool(threads)
    return {
        "MLFLOW_BACKEND_STORE_URI": ("sqlite:///", VolumePath(DATA_VOLUME, "tracking.db")),
        "MLFLOW_ARTIFACTS_DESTINATION": (VolumePath(DATA_VOLUME, "artifacts"),),
        "MLFLOW_AUTH_CONFIG_PATH": (FilePath(AUTH_INI),),
        "MLFLOW_AUTH_ADMIN_USERNAME": (secrets.ADMIN_USERNAME,),
        "MLFLOW_AUTH_ADMIN_PASSWORD": (secrets.ADMIN_PASSWORD,),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": (secrets.FLASK_KEY,),
        "MLFLOW_CRYPTO_KEK_PASSPHRASE": (secrets.KEK_PASSPHRASE,),
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": (secrets.WEBHOOK_KEY,),
        "MLFLOW_SERVER_ALLOWED_HOSTS": (",".join(hosts),),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": (",".join(origins),),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": ("false",),
        "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": (str(pool.size),),
        "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": (str(pool.overflow),),
        THREADS: (str(threads),),
        AUTH_CONNECTIONS: (str(sizing.AUTH_CONNECTIONS),),
        # otherwise MLflow's assistant runs commands as the server's user, for any client on the same machine
        "MLFLOW_ENABLE_ASSISTANT_SANDBOX": ("true",),
        "MLFLOW_DISABLE_TELEMETRY": ("true",),
        # empty: use the list of language models in the package; MLflow would wait for a download of the list
        "MLFLOW_MODEL_CATALOG_URI": ("",),
        "MLFLOW_PORT": (str(port),),
        "PYTHONUNBUFFERED": ("1",),
    }


def external_environment() -> dict[str, Text]:
    """Return the variables of a server that keeps its data in external databases.

    MLflow has no variable for the second database. launch.py adds its URL to the configuration that MLflow reads.
    """
    return {
        "MLFLOW_BACKEND_STORE_URI": (databases.TRACKING_DATABASE,),
        AUTH_DATABASE: (databases.AUTH_DATABASE,),
    }


def s3_environment(artifacts: S3Artifacts) -> dict[str, Text]:
    """Return the variables of a server that keeps its artifacts in S3; they also hide all other S3 credentials.

    Requests address buckets by path, not by host name. They have checksums only where S3 itself requires them:
    Ceph-like services refuse the checksums that boto3 adds since 1.36, or store them inside the object.
    """
    environment: dict[str, Text] = {
        "MLFLOW_ARTIFACTS_DESTINATION": ("/".join(filter(None, (f"s3://{artifacts.bucket}", artifacts.prefix))),),
        "MLFLOW_S3_ENDPOINT_URL": (artifacts.endpoint,),
        "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE": ("path",),
        "AWS_ACCESS_KEY_ID": (secrets.S3_ACCESS_KEY,),
        "AWS_SECRET_ACCESS_KEY": (secrets.S3_SECRET_KEY,),
        "AWS_DEFAULT_REGION": (artifacts.region or DEFAULT_REGION,),
        "AWS_REQUEST_CHECKSUM_CALCULATION": ("when_required",),
        "AWS_RESPONSE_CHECKSUM_VALIDATION": ("when_required",),
        "AWS_EC2_METADATA_DISABLED": ("true",),
        "AWS_CONFIG_FILE": ("/dev/null",),
        "AWS_SHARED_CREDENTIALS_FILE": ("/dev/null",),
        TRANSFER: (artifacts.transfer,),
    }
    if artifacts.transfer == "direct":
        # from 3.18 on, MLflow signs URLs for clients only if these are set (mlflow/server/handlers.py
        # `build_server_info_payload`); in 3.17, only clients read them
        environment |= dict.fromkeys(DIRECT_TRANSFERS, ("true",))
    return environment


def outbound_environment(proxy: Proxy, *, trusted_ca: bool) -> dict[str, Text]:
    """Return the variables for requests that the server itself sends: webhooks, S3, model registries."""
    proxies = {
        "HTTP_PROXY": proxy.http,
        "HTTPS_PROXY": proxy.https,
        "NO_PROXY": proxy.no_proxy and bypass.written(proxy.no_proxy),
    }
    environment: dict[str, Text] = {
        spelling: (value,) for name, value in proxies.items() if value for spelling in (name, name.lower())
    }
    if trusted_ca:
        path: Text = (FilePath(TRUSTED_CA),)
        environment |= dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"), path)
    return environment


def auth_settings(default_permission: str, *, external: bool = False) -> Mapping[str, Text]:
    """Return the values of basic_auth.ini (mlflow/server/auth/config.py); none of them is a secret."""
    own: Text = ("sqlite:///", VolumePath(DATA_VOLUME, "auth.db"))
    return {
        "default_permission": (default_permission,),
        # MLflow requires a value here when it is imported
        "database_uri": (f"as {AUTH_DATABASE} says",) if external else own,
        "auth_cache_ttl_seconds": (str(AUTH_CACHE_SECONDS),),
    }
