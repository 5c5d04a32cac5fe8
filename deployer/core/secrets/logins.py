"""Which user names and passwords a server accepts."""

from __future__ import annotations

from typing import Final

from deployer.core.secrets.references import member_refs

MIN_PASSWORD: Final = 12  # mlflow/utils/validation.py _validate_password
MAX_PASSWORD: Final = 1024  # MLflow has no limit, but HTTP servers limit the header that carries the password


def username_problem(username: str) -> str | None:
    """Return why `username` could not log in by HTTP basic authentication, or None."""
    if not username or username != username.strip():
        return "must not be empty, nor begin or end with a space"
    if len(username) > 128:
        return "must not be longer than 128 characters"
    if ":" in username:
        return "must not contain ':', which ends the user name in HTTP basic authentication"
    if not all(" " <= character <= "~" for character in username):
        return "must be printable ASCII"
    return None


def password_problem(password: str) -> str | None:
    """Return why MLflow would not accept `password` on every route, or None. Never quotes the password."""
    if not password:
        return f"the password is empty, MLflow needs at least {MIN_PASSWORD} characters"
    if len(password) < MIN_PASSWORD:
        return f"the password has {len(password)} characters, MLflow needs at least {MIN_PASSWORD}"
    if len(password) > MAX_PASSWORD:
        return f"the password is too long: it must have at most {MAX_PASSWORD} characters"
    if not all(" " <= character <= "~" for character in password):
        return "the password has characters outside printable ASCII, which MLflow refuses on artifact routes"
    if password != password.strip():
        return "the password begins or ends with a space"
    if password == "password1234":
        return "MLflow refuses this password: older versions shipped it as their default"
    return None


def member_problem(user: str) -> str | None:
    """Return why a password of `user` could not be stored, or None."""
    too_long = "has too many characters that are no letters or digits"
    return username_problem(user) or (too_long if len(member_refs(user)[0].key) > 253 else None)
