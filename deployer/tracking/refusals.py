"""Explains a 401, a 403 and similar responses: who refuses, why, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from deployer.core.remedies import Hint, Remedy
from deployer.tracking.client import HOST_REFUSED, Refused

CORS_REFUSED: Final = "Cross-origin request blocked"  # mlflow/server/security_utils.py CORS_BLOCKED_MSG
PERMISSION_DENIED: Final = "Permission denied"  # mlflow/server/auth make_forbidden_response
HOST_UNKNOWN: Final = "the server refuses this host name: it is missing in MLFLOW_SERVER_ALLOWED_HOSTS"


@dataclass(frozen=True)
class Meaning:
    """The explanation of an error response, and what to do next."""

    message: str
    hint: Hint


def meaning(refused: Refused) -> Meaning:
    """Return the explanation of an error response; unknown errors are quoted from the server."""
    if refused.status == 401:
        return Meaning(
            "the server does not accept this user name or password (401)",
            "check both; an administrator of the server can look up your user name and set a new password",
        )
    if refused.status == 403:
        return _forbidden(refused)
    if refused.status == 429:
        return Meaning(
            "too many wrong passwords for this user came from your address (429)",
            "wait a minute; those who are logged in already are not affected",
        )
    if refused.status == 407:
        return Meaning(
            "the proxy between here and the server wants a login of its own (407)",
            "put it into HTTPS_PROXY, or name the server's host in NO_PROXY to go around the proxy",
        )
    if 300 <= refused.status < 400:
        return Meaning(
            f"the address leads on to another one ({refused.status}): a login page, or https instead of http",
            "give the address at which MLflow itself answers",
        )
    if refused.status == 404:
        return Meaning("there is no MLflow with a login at this address (404)", "check the address, and the path in it")
    return Meaning(str(refused), Remedy.LOOK_CLOSER)


def _forbidden(refused: Refused) -> Meaning:
    if HOST_REFUSED in refused.reason:
        return Meaning(HOST_UNKNOWN, Remedy.NAME_SERVED_HOST)
    if CORS_REFUSED in refused.reason:
        return Meaning(
            "the server refuses calls from this web page (403): it is missing in MLFLOW_SERVER_CORS_ALLOWED_ORIGINS",
            "ask an administrator of the server to add the page's address there",
        )
    if refused.code == "PERMISSION_DENIED" or PERMISSION_DENIED in refused.reason:
        return Meaning(
            "the login is right, but this user may not do that (403: permission denied)",
            "ask an administrator of the server, or the owner of the experiment, for the permission",
        )
    return Meaning(
        "something in front of the server refuses the call, not MLflow itself (403): a proxy, a router or a firewall",
        "is this machine in a network that may connect? does a proxy stand between, that NO_PROXY should go around?",
    )
