"""Pin: make a server's pods run the proven image by its digest, or stop doing so."""

from __future__ import annotations

from dataclasses import replace

from deployer.core.errors import NotReady, UsageError
from deployer.core.remedies import Remedy
from deployer.core.stack.assigned import Pin
from deployer.core.stack.components import server
from deployer.core.stack.record import Record
from deployer.operations.create import Created, create
from deployer.operations.steps import Progress
from deployer.targets import Deadline, Target


def require_pods(target: Target) -> None:
    """Check that the server runs in pods.

    Raises:
        UsageError: the server runs on this machine and has no image.
    """
    if not target.capabilities.pins_images:
        raise UsageError(
            "a server on this machine has no image to pin; its packages have the tested versions anyway",
            hint=Remedy.LEAVE_PIN_OUT,
        )


def pin(target: Target, created: Created, deadline: Deadline, progress: Progress) -> Created:
    """Store the digest of the proven image, then prove the server again with a new pod that uses the digest.

    Raises:
        NotReady: the node does not report the digest that it pulled.
    """
    record = created.record
    image, found = (
        server.image(record.spec),
        target.installation.software(target.stack(record.spec, record.assigned).workloads),
    )
    if found.digest is None:
        raise NotReady(
            f"the server is proven, but not pinned: its node does not say by which digest it pulled {image}",
            hint=Remedy.LEAVE_PIN_OUT_OR_PULL,
        )
    wanted = Pin(image, found.digest)
    if record.assigned.pin == wanted:
        return created
    stored = _store(target, wanted, deadline, progress)
    return create(target, stored.spec, stored, None, deadline, progress)


def unpin(target: Target, record: Record, deadline: Deadline, progress: Progress) -> Record:
    """Remove the stored digest; the next `create` makes the pods use the image's name without a digest."""
    return _store(target, None, deadline, progress) if record.assigned.pin else record


def _store(target: Target, wanted: Pin | None, deadline: Deadline, progress: Progress) -> Record:
    with target.store.lock("pin", deadline, lambda holder: progress.note(f"waiting for {holder}")):
        record = target.store.load()
        if record is None or record.deleted:
            raise NotReady("the server was deleted in the meantime", hint="try again")
        return target.store.save(replace(record, assigned=replace(record.assigned, pin=wanted)))
