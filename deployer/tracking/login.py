"""Checks a login before it is stored; sends a password only to a server that asks for one."""

from __future__ import annotations

from dataclasses import dataclass

from deployer.core.errors import DeployerError, Forbidden, NotFound, StateError
from deployer.tracking.client import API, Endpoint, Login, Refused, Unreachable, connect
from deployer.tracking.refusals import Meaning, meaning


@dataclass(frozen=True)
class User:
    """The user that a login belongs to."""

    username: str
    admin: bool


class Unauthenticated(Forbidden):
    """The server rejects a user name or password."""


def check(endpoint: Endpoint, login: Login) -> User:
    """Return the user of a login.

    Raises:
        Unauthenticated: the server rejects the login.
        Forbidden: a proxy or router rejects the request.
        NotFound: no server answers there, or no MLflow server with logins.
        StateError: the server responds with another error.
    """
    try:
        with connect(endpoint) as stranger:
            status, body = stranger.status(f"{API}/users/current")
            if status == 404 and stranger.status(f"{API}/experiments/get?experiment_id=0")[0] == 200:
                status = 200
        if status == 200:
            raise NotFound(
                f"{endpoint.url} asks nobody for a login: authentication is off there, so there is none to keep",
                hint="set MLFLOW_TRACKING_URI to this address; and tell the server's administrator that everybody "
                "can use the server",
            )
        if status != 401:
            raise _error(endpoint, Refused(status, body.strip()[:300]))
        with connect(endpoint, login) as client:
            user = client.get(f"{API}/users/current").get("user")
    except Unreachable as error:
        raise NotFound(
            str(error), hint="is the address right, and can this machine reach it (VPN, proxy, `ssh -L`)?"
        ) from None
    except Refused as error:
        raise _error(endpoint, error) from None
    if not isinstance(user, dict) or user.get("username") != login.username:
        raise NotFound(
            f"what answers at {endpoint.url} is not an MLflow server with logins",
            hint="check the address, and the path in it",
        )
    return User(login.username, bool(user.get("is_admin")))


def exists(endpoint: Endpoint, admin: Login, username: str) -> bool:
    """Tell whether the server has a user; `admin` is the login for the request.

    Raises:
        Unreachable: no server answers.
        Unauthenticated: the server rejects `admin`.
        DeployerError: the server responds with another error.
    """
    try:
        with connect(endpoint, admin) as client:
            client.get(f"{API}/users/get", username=username)
    except Refused as error:
        if error.code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise _error(endpoint, error) from None
    return True


def _error(endpoint: Endpoint, refused: Refused) -> DeployerError:
    said: Meaning = meaning(refused)
    kinds: dict[int, type[DeployerError]] = {401: Unauthenticated, 403: Forbidden, 404: NotFound, 407: Forbidden}
    kind = kinds.get(refused.status, StateError)
    return kind(f"{endpoint.url}: {said.message}", hint=said.hint)
