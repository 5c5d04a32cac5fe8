"""The accounts of an MLflow server (mlflow/server/auth/routes.py): checks logins and changes passwords."""

from __future__ import annotations

from typing import Final

from deployer.tracking.client import API, Endpoint, Login, Refused, Unreachable, connect

_CURRENT: Final = f"{API}/users/current"
_GATEWAY_ERRORS: Final = frozenset({502, 503, 504})
_REFUSED: Final = frozenset({400, 401, 431})  # 400 and 431: the header with the login is too large
_LONGEST_SENT: Final = 16 << 10  # uvicorn refuses headers of more than 64 KiB, routers smaller ones


def accepts(endpoint: Endpoint, login: Login) -> bool:
    """Tell whether the server accepts a login. A password too long for a header is not sent.

    Raises:
        Unreachable: no server answers, or only a router does.
        Refused: the response is neither yes nor no.
    """
    if len(login.password) > _LONGEST_SENT:
        return False
    try:
        with connect(endpoint, login) as client:
            client.get(_CURRENT)
    except Refused as error:
        if error.status in _REFUSED:
            return False
        raise _by_a_router(endpoint, error) from error
    return True


def change_password(endpoint: Endpoint, sender: Login, user: str, new: str) -> None:
    """Change the password of `user`. An administrator may change all passwords, other users only their own.

    Raises:
        Unreachable: no server answers, or only a router does; the password may have been changed nonetheless.
        Refused: the server refuses the change.
    """
    body = {"username": user, "password": new}
    if user == sender.username:
        body["current_password"] = sender.password
    try:
        with connect(endpoint, sender) as client:
            client.patch(f"{API}/users/update-password", body)
    except Refused as error:
        raise _by_a_router(endpoint, error) from error


def _by_a_router(endpoint: Endpoint, refused: Refused) -> Refused | Unreachable:
    """Return Unreachable for the error of a router in front of the server, else the refusal itself."""
    return Unreachable(f"{endpoint.url} answers {refused.status}") if refused.status in _GATEWAY_ERRORS else refused
