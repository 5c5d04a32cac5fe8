"""What a kind of target can do. Code asks for a capability, and never for the kind of target."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Capabilities:
    """The differences between targets that operations and commands must know.

    `exposes`: can publish the server under a host name, through an Ingress, a Gateway or a Route. Otherwise clients
    connect to the server's own port.

    `pins_images`: runs images, and can pin them by digest.

    `shares_network`: the server connects to other services from this machine, so a trial from here is valid for the
    server too.

    `shared_by_machines`: several machines can share the server's folder, and the server runs on one of them.

    `stored_here`: the record is in this user's state directory, so other shells find the server by its name alone.
    """

    exposes: bool
    pins_images: bool
    shares_network: bool
    shared_by_machines: bool
    stored_here: bool
