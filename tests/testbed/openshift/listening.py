"""The addresses and ports of HAProxy, and the places of its files."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Listening:
    """Addresses and ports, the folder of all files, and the certificate, whose key is in the file NAME.key."""

    folder: str
    certificate: str
    addresses: tuple[str, ...] = ("",)
    plain: int = 80
    secure: int = 443
    health: int = 1936

    def bind(self, port: int) -> str:
        return ",".join(f"{address}:{port}" for address in self.addresses)


IN_POD = Listening("/tmp/router", "/certificate/wildcard.pem")
