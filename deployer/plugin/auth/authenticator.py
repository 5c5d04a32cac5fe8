"""The interface through which the gate and the login checks look up users and check passwords."""

from __future__ import annotations

from typing import Any, Protocol

from .verified_passwords import Verified


class Authenticator(Protocol):
    """Looks up users and checks passwords; see `logins.Logins` and `passthrough.PassthroughAuthenticator`."""

    @property
    def passwords(self) -> Verified:
        """The checked passwords."""

    def look_up(self, username: str) -> Any | None:
        """Return a user or None."""

    def pair(self, user: Any | None, username: str, password: str) -> bytes:
        """Return a digest of a password hash and a password."""

    def known(self, user: Any | None, username: str, password: str) -> bool | None:
        """Return whether the password is right, or None if that is unknown; runs no check."""

    def check(self, user: Any | None, username: str, password: str) -> bool:
        """Check whether the password is right, which is slow."""

    def begin_anew(self) -> None:
        """Forget the login of the previous request; the login of the new request is not known yet."""

    def record(self, user: Any | None, username: str, password: str, accepted: bool) -> None:
        """Record the result of a login check until the end of the request."""

    def defer(self, username: str, password: str) -> None:
        """Leave the look-up of the login to the thread that serves the request."""

    def is_authenticated(self) -> bool:
        """Tell whether the login was accepted; False while the look-up is deferred."""
