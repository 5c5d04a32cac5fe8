"""Keeps the secrets of a server in two Secrets of its namespace."""

from __future__ import annotations

import base64
import binascii
import itertools
from collections.abc import Mapping
from typing import Final

from deployer.core.errors import Conflict, StateError
from deployer.core.manifests.manifest import SECRET, Manifest
from deployer.core.manifests.rendering import secret_manifests
from deployer.core.secrets.references import ADMIN_PASSWORD, ADMIN_USERNAME, SecretRef
from deployer.core.secrets.values import Secrets
from deployer.kube import objects
from deployer.kube.session import Session
from deployer.targets.kubernetes.labels import all_labels, is_own

_TRIES: Final = 5


class KubernetesSecrets:
    """The two Secrets of one server: `NAME-admin` and `NAME-server`."""

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self._name = name

    def secrets(self) -> Secrets | None:
        """Return the stored secrets, None without user name and password; other values may be missing."""
        values: dict[SecretRef, str] = {}
        for part in ("admin", "server"):
            stored = self._secret(part)
            for key, text in ((stored or {}).get("data") or {}).items():
                try:
                    values[SecretRef(part, key)] = base64.b64decode(text, validate=True).decode("utf-8")
                except (binascii.Error, UnicodeDecodeError):
                    raise StateError(f"{self.secret_name(part)}: the value of {key!r} is not text") from None
        return Secrets(values) if {ADMIN_USERNAME, ADMIN_PASSWORD} <= values.keys() else None

    def create_if_absent(self, secrets: Secrets) -> Secrets:
        """Store `secrets` unless some exist already; return the stored ones."""
        for wanted in secret_manifests(self._name, all_labels(self._name), secrets.values):
            if not wanted["stringData"]:
                continue
            while objects.create(self._session, wanted) is None:
                live = objects.get(self._session, SECRET, wanted["metadata"]["name"])
                if live is None:
                    continue  # deleted meanwhile
                if not is_own(live, self._name):
                    raise Conflict(
                        f"Secret {wanted['metadata']['name']!r} exists already and is not deployer's",
                        hint="choose another name for the server, or remove that Secret",
                    )
                missing = {k: v for k, v in wanted["stringData"].items() if k not in (live.get("data") or {})}
                if missing:
                    objects.replace(self._session, {**live, "stringData": missing})
                break
        stored = self.secrets()
        if stored is None:
            raise StateError(f"the Secrets of server {self._name!r} vanished while they were being written")
        return stored

    def patch_secrets(self, values: Mapping[SecretRef, str | None]) -> None:
        """Store these values and remove the keys whose value is None; keep all others."""
        for part in sorted({ref.secret for ref in values}):
            changed = {ref.key: text for ref, text in values.items() if ref.secret == part}
            for tries in itertools.count(1):
                live = self._secret(part)
                if live is None:
                    raise Conflict(f"{self.secret_name(part)} is not there any more", hint="try again")
                data = {key: text for key, text in (live.get("data") or {}).items() if key not in changed}
                new = {key: text for key, text in changed.items() if text is not None}
                try:
                    objects.replace(self._session, {**live, "data": data, "stringData": new})
                    break
                except Conflict:  # the Secret was changed since it was read
                    if tries == _TRIES:
                        raise

    def existing_secrets(self) -> frozenset[str]:
        """Return which of the two Secrets exist."""
        return frozenset(part for part in ("admin", "server") if self._secret(part) is not None)

    def secret_name(self, secret: str) -> str:
        """Return the Secret's name, and the last field manager other than deployer."""
        name = f"Secret {self._session.namespace}/{self._name}-{secret}"
        live = self._secret(secret)
        if live is None:
            return f"{name} (deleted)"
        others = [
            entry for entry in live["metadata"].get("managedFields") or () if entry["manager"] != objects.FIELD_MANAGER
        ]
        if not others:
            return name
        last = max(others, key=lambda entry: str(entry.get("time", "")))
        return f"{name} (changed by {last['manager']} at {last.get('time', 'an unknown time')})"

    def require_names(self) -> None:
        """Check that the names of the server's Secrets are free.

        Raises:
            Conflict: a Secret of that name exists and does not belong to deployer.
        """
        for part in ("admin", "server"):
            live = objects.get(self._session, SECRET, f"{self._name}-{part}")
            if live and not is_own(live, self._name):
                raise Conflict(
                    f"Secret {self._name}-{part} exists already and is not deployer's",
                    hint="choose another name for the server, or remove that Secret",
                )

    def _secret(self, part: str) -> Manifest | None:
        live = objects.get(self._session, SECRET, f"{self._name}-{part}")
        return live if live and is_own(live, self._name) else None
