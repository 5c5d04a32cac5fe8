"""The types of the fields of a spec, and the checks of their values."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, StringConstraints, ValidationInfo

from deployer.core import address
from deployer.core.spec import bypass, images, networks, patches

# key of the validation context for a spec that an earlier release accepted and stored
STORED: Final = "stored"

# The name must be valid for a Service (RFC 1035 label); Helm's limit leaves room for suffixes.
MAX_NAME: Final = 53
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)+")
_LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_DNS = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_LABEL_KEY = re.compile(rf"(?:(?=[^/]{{1,253}}/){_DNS}(\.{_DNS})*/)?" + _LABEL.pattern)

Quantity = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,5}(Mi|Gi|Ti)$")]
_BYTES: Final = {"Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}
_MOST_REQUEST_BODY: Final = 1 << 30  # bytes: MLflow keeps the body in memory, in several copies


def in_bytes(quantity: str) -> int:
    """Return a size such as `32Mi` (Quantity) in bytes."""
    return int(quantity[:-2]) * _BYTES[quantity[-2:]]


def _request_body(value: str) -> str:
    if in_bytes(value) > _MOST_REQUEST_BODY:
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


def checked(problem: str | None) -> None:
    """Raise ValueError if there is a problem."""
    if problem:
        raise ValueError(problem)


def _labels_or_raise(value: dict[str, str]) -> dict[str, str]:
    checked("; ".join(filter(None, (_label_problem(key, text) for key, text in value.items()))))
    return value


def _annotations(value: dict[str, str]) -> dict[str, str]:
    wrong = [key for key in value if not _LABEL_KEY.fullmatch(key) or key.startswith("mlflow-deployer.github.io/")]
    checked("; ".join(f"{key!r} cannot be the key of an annotation" for key in wrong))
    checked("; ".join(patches.allow_lists(value)))
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
    checked("; ".join(patches.problems(value)))
    return value


def _is_stored(info: ValidationInfo) -> bool:
    """Tell whether the value is stored. Earlier releases accepted any text, and their servers must stay manageable."""
    return bool(info.context and info.context.get(STORED))


def _image(value: str, info: ValidationInfo) -> str:
    if not _is_stored(info):
        checked(images.image_problem(value))
    return value


def _mirrors(value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
    if not _is_stored(info):
        found = ((prefix, images.mirror_problem(prefix, mirror)) for prefix, mirror in value.items())
        checked("; ".join(f"{prefix!r}: {problem}" for prefix, problem in found if problem))
    return value


def _no_proxy(value: str, info: ValidationInfo) -> str:
    if not _is_stored(info):
        checked(bypass.bypass_problem(value))
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
    checked(endpoint_problem(value))
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
Gateway = Annotated[str, AfterValidator(_gateway)]
StrategicPatch = Annotated[dict[str, Any], AfterValidator(_patch)]
Annotations = Annotated[dict[str, Plain], AfterValidator(_annotations)]
RenderedKind = Literal[
    "ServiceAccount", "PersistentVolumeClaim", "NetworkPolicy", "ConfigMap", "Service", "Deployment",
    "Ingress", "HTTPRoute", "Route",
]  # fmt: skip
Labels = Annotated[dict[str, str], AfterValidator(_labels_or_raise)]
ProxyUrl = Annotated[str, AfterValidator(_proxy_url)]
Image = Annotated[Word, AfterValidator(_image)]
Mirrors = Annotated[dict[Word, Word], AfterValidator(_mirrors)]
NoProxy = Annotated[Plain, AfterValidator(_no_proxy)]
