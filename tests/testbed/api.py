"""Requests to the API server as the cluster's administrator, over one connection: a kubectl costs 0.1 s of CPU."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import urllib3
from kubernetes.client import Configuration
from kubernetes.config import load_kube_config

# the API paths of the initial objects of a test's namespace
_PLURALS = {
    "Namespace": "api/v1/namespaces",
    "LimitRange": "api/v1/namespaces/{namespace}/limitranges",
    "ResourceQuota": "api/v1/namespaces/{namespace}/resourcequotas",
    "Role": "apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles",
    "RoleBinding": "apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings",
}


class Away(RuntimeError):
    """The API server does not answer."""


class Api:
    """The API server of one kubeconfig; a request with status 429, 500 or 503 is repeated for up to six seconds."""

    def __init__(self, kubeconfig: Path) -> None:
        found = Configuration()
        load_kube_config(str(kubeconfig), client_configuration=found)
        self._server = found.host
        self._pool = urllib3.PoolManager(
            cert_file=found.cert_file,
            key_file=found.key_file,
            ca_certs=found.ssl_ca_cert,
            timeout=30,
            maxsize=4,
            retries=urllib3.Retry(6, backoff_factor=0.1, status_forcelist=(429, 500, 503), allowed_methods=None),
        )

    def get(self, path: str) -> bytes | None:
        """Return the response, or None for 404 (a missing object, namespace or API)."""
        return self._ask("GET", path)

    def delete(self, path: str) -> None:
        """Delete an object or all objects of a kind, do not wait for their end, and ignore a missing object."""
        self._ask("DELETE", path)

    def apply(self, item: Mapping[str, Any]) -> None:
        """Apply an object of a kind in _PLURALS by server-side apply."""
        metadata = item["metadata"]
        folder = _PLURALS[item["kind"]].format(namespace=metadata.get("namespace"))
        path = f"{folder}/{metadata['name']}?fieldManager=tests&force=true"
        if self._ask("PATCH", path, json.dumps(item), "application/apply-patch+yaml") is None:
            raise RuntimeError(f"cannot apply {path}: the namespace or the API does not exist")

    def _ask(self, method: str, path: str, body: str | None = None, kind: str = "application/json") -> bytes | None:
        try:
            answer = self._pool.request(method, f"{self._server}/{path}", body=body, headers={"Content-Type": kind})
        except urllib3.exceptions.HTTPError as error:
            raise Away(path) from error
        if answer.status == 404:
            return None
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.data.decode(errors='replace')[:2000]}")
        return bytes(answer.data)


def api_at(kubeconfig: Path) -> Api:
    """Return the API of a cluster's kubeconfig; a later cluster at the same path has a new file and a new Api."""
    return _api_at(kubeconfig, kubeconfig.stat().st_mtime_ns)


@functools.cache
def _api_at(kubeconfig: Path, _written: int) -> Api:
    return Api(kubeconfig)
