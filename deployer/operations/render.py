"""Render: the manifests of a spec for a kind of cluster, without contacting a cluster."""

from __future__ import annotations

import json
import secrets as token_source
from collections.abc import Mapping

from deployer.catalogue import catalogue
from deployer.core.manifests.rendering import Renderer, secret_manifests
from deployer.core.secrets.references import ADMIN_USERNAME, SecretRef
from deployer.core.secrets.values import GENERATED, add_missing
from deployer.core.spec.platform import Platform
from deployer.core.spec.routes import require_host_label
from deployer.core.spec.schema import Spec
from deployer.core.stack.assigned import Assigned
from deployer.core.stack.components import build, labels_of

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
    made = add_missing(None, GENERATED, token_source.token_bytes, given)
    return "---\n".join(
        json.dumps(manifest, indent=2) + "\n" for manifest in secret_manifests(spec.name, labels_of(spec), made.values)
    )
