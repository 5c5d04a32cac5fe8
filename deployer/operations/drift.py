"""Drift: compares a server with its spec; changes nothing."""

from __future__ import annotations

from deployer.core.errors import NotFound
from deployer.core.manifests.changes import Change, spec_changes
from deployer.core.remedies import Remedy
from deployer.core.secrets.values import modified_secrets
from deployer.core.spec.schema import Spec
from deployer.core.spec.support import require_supported
from deployer.operations.records import require_record
from deployer.targets import Target


def drift(target: Target, spec: Spec | None) -> tuple[Change, ...]:
    """Return the changes that `create` would make to run `spec`, by default the stored spec.

    Raises:
        NotFound: the server does not exist, or has no address yet.
    """
    record = require_record(target)
    wanted = spec or record.spec
    platform = target.platform(wanted, record.assigned)
    require_supported(wanted, platform, "the spec")
    if not record.assigned.ports:
        hint = Remedy.GO_ON.of(name=target.name)
        raise NotFound(f"server {target.name!r} was never finished: it has no address yet", hint=hint)
    stack = target.stack(wanted, target.placement.predict_assignment(wanted, record.assigned))
    edited = modified_secrets(record.fingerprints, target.store.secrets())
    return (
        *spec_changes(record.spec, wanted),
        *(Change(target.store.secret_name(name), "as last proven", "something else") for name in edited),
        *target.runtime.drift(stack, target.runtime.observe()),
    )
