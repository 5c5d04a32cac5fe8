"""The stored data about a server: the spec, the assigned values and the last proof."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deployer.core.spec import document
from deployer.core.spec.schema import Spec
from deployer.core.stack.assigned import Assigned, Pin


@dataclass(frozen=True)
class Record:
    """The record of one server.

    - `version`: the number of saves; a save names the version that it replaces
    - `proof`: the identity of the running server that was last proven; None before the first proof
    - `deleted`: only data, credentials and ports are kept
    - `fingerprints`: show whether a stored secret is still the one that deployer made (see `secrets.fingerprints`)
    """

    spec: Spec
    assigned: Assigned = field(default_factory=Assigned)
    proof: str | None = None
    deleted: bool = False
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    version: int = 0

    def document(self) -> dict[str, Any]:
        """Return the record as JSON-compatible data."""
        return {
            "spec": self.spec.document(),
            "assigned": {
                "host": self.assigned.host,
                "namespace": self.assigned.namespace,
                "storageClass": self.assigned.storage_class,
                "profile": self.assigned.profile,
                "exposure": self.assigned.exposure,
                "ownHost": self.assigned.own_host,
                "keys": self.assigned.keys,
                "pin": {"image": pin.image, "digest": pin.digest} if (pin := self.assigned.pin) else None,
                "ports": dict(self.assigned.ports),
            },
            "proof": self.proof,
            "deleted": self.deleted,
            "seals": dict(self.fingerprints),  # the key that records of all releases have
            "version": self.version,
        }


def record_from(data: Mapping[str, Any], source: str) -> Record:
    """Return the record in `data`.

    Raises:
        InvalidSpec: the spec in the record is not valid in this release.
        KeyError, TypeError, AttributeError: `data` is not a record.
    """
    given = data["assigned"]
    return Record(
        spec=document.validate(data["spec"], source, stored=True),
        assigned=Assigned(
            host=given["host"],
            namespace=given["namespace"],
            storage_class=given["storageClass"],
            profile=given.get("profile"),
            exposure=given.get("exposure"),
            own_host=bool(given.get("ownHost")),
            keys=given.get("keys"),
            pin=Pin(str(pin["image"]), str(pin["digest"])) if (pin := given.get("pin")) else None,
            ports={str(name): int(port) for name, port in given["ports"].items()},
        ),
        proof=data["proof"],
        deleted=bool(data["deleted"]),
        fingerprints={str(name): str(fingerprint) for name, fingerprint in (data.get("seals") or {}).items()},
        version=int(data["version"]),
    )
