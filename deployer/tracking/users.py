"""The accounts of an MLflow server (mlflow/server/auth/routes.py): who is let in, and a changed password."""

from __future__ import annotations

from typing import Final

from deployer.tracking.client import API, Endpoint, Login, Refused, Unreachable, connect

_CURRENT: Final = f"{API}/users/current"
_GATEWAY_ERRORS: Final = frozenset({502, 503, 504})
_REFUSED: Final = frozenset({400, 401, 431})  # 400 and 431: the header with the login is too large
_LONGEST_SENT: Final = 16 << 10  # uvicorn refuses headers of more than 64 KiB, routers smaller ones


def accepts(endpoint: Endpoint, login: Login) -> bool:
    """Tell whether the server lets this login in. A password that no header can carry is not sent.

    Raises:
        Unreachable: nobody answers, or a router alone does.
        Refused: the answer is neither yes nor no.
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
    """Give `user` a new password: an administrator anybody's, everybody else one's own.

    Raises:
        Unreachable: nobody answers, or a router alone does; it may be changed nonetheless.
        Refused: the server does not do it.
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
    """Return a refusal, or that nobody answers, where only what stands in front of the server did."""
    return Unreachable(f"{endpoint.url} answers {refused.status}") if refused.status in _GATEWAY_ERRORS else refused
