"""The Authenticator of an unsupported MLflow version, which checks passwords itself."""

from __future__ import annotations

from typing import Any

from .verified_passwords import Verified


class PassthroughAuthenticator:
    """The Authenticator of an unsupported MLflow; tells the gate which logins may be guesses.

    It makes no decision and only classifies requests for throttling. MLflow checks the login of every request. The
    cache `passwords` must not keep wrong passwords, because a wrong password may be right later. The cache also needs a
    password hash, which is unknown here. This class passes the user name instead.
    """

    def __init__(self, passwords: Verified) -> None:
        self.passwords = passwords

    def look_up(self, username: str) -> None:
        """Return None: how this MLflow stores users is unknown."""

    def pair(self, user: Any | None, username: str, password: str) -> bytes:
        """Return a digest of a user name and a password."""
        return self.passwords.digest(username, password)

    def known(self, user: Any | None, username: str, password: str) -> bool | None:
        """Return True if this was once the user's password, else None; runs no check."""
        return self.passwords.known(username, username, password)

    def check(self, user: Any | None, username: str, password: str) -> bool:
        """Check whether this is the user's password, by MLflow's own function."""
        return self.passwords.matches(username, username, password)

    def begin_anew(self) -> None:
        """Do nothing: nothing was recorded for the previous request."""

    def record(self, user: Any | None, username: str, password: str, accepted: bool) -> None:
        """Do nothing: MLflow checks the login itself."""

    def defer(self, username: str, password: str) -> None:
        """Do nothing: MLflow checks the login itself."""

    def is_authenticated(self) -> bool:
        """Return True: only the status of the response tells whether MLflow accepted the login."""
        return True
