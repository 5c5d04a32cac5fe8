"""Render: the manifests of a spec for a kind of cluster, without contacting a cluster."""

from __future__ import annotations

import json
import secrets as token_source
from collections.abc import Mapping

from deployer.catalogue import catalogue
from deployer.core import secrets
from deployer.core.assigned import Assigned
from deployer.core.components import build, labels_of
from deployer.core.platform import Platform
from deployer.core.rendering import Renderer, secret_manifests
from deployer.core.routes import require_host_label
from deployer.core.secrets import ADMIN_USERNAME, GENERATED
from deployer.core.spec import Spec
from deployer.core.stack import SecretRef

PORT = 5000
PLACEHOLDER = "{name}.example.org"


def manifests(spec: Spec, platform: Platform, namespace: str) -> tuple[dict[str, str], str | None]:
    """Return YAML documents by `Kind/name`, and the host if it was guessed.

    Raises:
        UsageError: the cluster would assign a host name that it then rejects.
    """
    wanted = getattr(spec.spec.exposure, "host", None)
    guess = (platform.host_template or PLACEHOLDER).format(name=spec.name, namespace=namespace)
    assigned = Assigned(host=wanted or guess, namespace=namespace, ports={"http": PORT})
    stack = build(spec, platform, assigned)
    data = catalogue()
    documents = Renderer(data.templates, data.plugins).manifests(stack)
    guessed = stack.exposure.kind != "none" and not wanted
    if guessed and platform.host_template:
        require_host_label(spec.name, namespace)
    return documents, guess if guessed else None


def credentials(spec: Spec, keys: Mapping[SecretRef, str]) -> str:
    """Return the Secrets that the manifests refer to, with new values, as a YAML stream of JSON documents.

    `keys` are the credentials of external services.
    """
    given = {ADMIN_USERNAME: spec.spec.auth.admin_username, **keys}
    made = secrets.complete(None, GENERATED, token_source.token_bytes, given)
    return "---\n".join(
        json.dumps(manifest, indent=2) + "\n" for manifest in secret_manifests(spec.name, labels_of(spec), made.values)
    )
