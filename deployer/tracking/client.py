"""A small HTTP client for the MLflow REST API, and the meaning of its errors."""

from __future__ import annotations

import json
import os
import ssl
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import requests
from requests.auth import HTTPBasicAuth

API: Final = "api/2.0/mlflow"
ARTIFACTS: Final = "api/2.0/mlflow-artifacts/artifacts"
HOST_REFUSED: Final = "Invalid Host header"  # mlflow/server/security_utils.py INVALID_HOST_MSG
CONNECT_SECONDS: Final = 5.0
# the variables in which requests looks for a private certificate authority
_CA_VARIABLES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
# the variables that name a private certificate authority, in the order of MLflow's own client
_CA_NAMED: Final = ("MLFLOW_TRACKING_SERVER_CERT_PATH", *_CA_VARIABLES, "SSL_CERT_FILE")
READ_SECONDS: Final = 60.0
# the server may throttle this user name and address because of somebody else's wrong passwords
_PATIENCE: Final = 3
_LONGEST_WAIT_SECONDS: Final = 10


def _asked_to_wait(response: requests.Response) -> int | None:
    """Return the seconds in Retry-After; None if the caller is not throttled, or if the wait is too long."""
    told = response.headers.get("Retry-After", "")
    if response.status_code != 429 or not told.isascii() or not told.isdigit():
        return None
    return int(told) if int(told) <= _LONGEST_WAIT_SECONDS else None


@dataclass(frozen=True)
class Endpoint:
    """The address of a server: a base URL without a trailing slash, and the CA file of a private certificate.

    `direct` bypasses all proxies, regardless of the environment.
    """

    url: str
    ca_file: str | None = None
    direct: bool = False


def private_authority() -> str | None:
    """Return the CA file of a private certificate authority that the environment names, None without one."""
    variable = _authority_variable()
    return os.environ[variable] if variable else None


def _authority_variable() -> str | None:
    """Return the variable that names the CA file: the first one that is set, as in MLflow's own client."""
    return next((name for name in _CA_NAMED if os.environ.get(name)), None)


def authority_hint() -> str:
    """Return a hint on how to trust a private certificate authority; it names the variable in use."""
    variable = _authority_variable()
    if variable is None:
        return "for a private authority set SSL_CERT_FILE to its certificate"
    later = _CA_NAMED[_CA_NAMED.index(variable) + 1 :]
    wins = f", which wins over {' and '.join(later)}" if later else ""
    return f"for a private authority add its certificate to {os.environ[variable]}: {variable} names that file{wins}"


@dataclass(frozen=True)
class Login:
    """A user name and password; `repr` never shows the password."""

    username: str
    password: str = field(repr=False)


class Unreachable(Exception):
    """No HTTP response arrived."""


class Closed(Unreachable):
    """The peer accepted the connection and closed it without a response."""


class Untrusted(Unreachable):
    """The server's certificate is not trusted, or the CA file cannot be read."""


class Refused(Exception):
    """An HTTP response that means an error: the status, MLflow's error code and a short reason."""

    def __init__(self, status: int, reason: str, code: str = "") -> None:
        super().__init__(f"HTTP {status}: {reason}" if reason else f"HTTP {status}")
        self.status = status
        self.reason = reason
        self.code = code


class Client:
    """A client of one server, anonymous without a login. It never follows redirects and never reads ~/.netrc."""

    def __init__(self, endpoint: Endpoint, login: Login | None = None, *, seconds: float = READ_SECONDS) -> None:
        self._timeout = (min(seconds, CONNECT_SECONDS), seconds)
        self._base = endpoint.url.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False  # with ~/.netrc, anonymous calls would carry a login
        if not endpoint.direct and not self._base.startswith(("http://127.0.0.1", "http://localhost")):
            self._session.proxies.update(requests.utils.get_environ_proxies(self._base))
        if endpoint.ca_file:
            self._session.verify = endpoint.ca_file
        if login:
            self._session.auth = HTTPBasicAuth(login.username.encode(), login.password.encode())

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def status(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Return the status and the first 2,000 characters of the body of any response."""
        response = self._send(method, path)
        return response.status_code, response.text[:2000]

    def get(self, path: str, **params: str) -> dict[str, Any]:
        """GET a JSON object."""
        return self._json(self._send("GET", path, params=params))

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST a JSON object and return the JSON object of the response."""
        return self._json(self._send("POST", path, json=body))

    def patch(self, path: str, body: Mapping[str, Any]) -> None:
        """PATCH a resource with a JSON object."""
        self._accept(self._send("PATCH", path, json=body))

    def put_bytes(self, path: str, content: bytes) -> None:
        """PUT raw bytes."""
        self._accept(self._send("PUT", path, data=content))

    def get_bytes(self, path: str) -> bytes:
        """GET raw bytes."""
        return self._accept(self._send("GET", path)).content

    def delete(self, path: str) -> None:
        """DELETE a resource."""
        self._accept(self._send("DELETE", path))

    def _send(self, method: str, path: str, **options: Any) -> requests.Response:
        url = f"{self._base}/{path}"
        for _ in range(_PATIENCE):
            response = self._ask(method, url, options)
            seconds = _asked_to_wait(response)
            if seconds is None:
                return response
            time.sleep(seconds)  # as Retry-After says
        return self._ask(method, url, options)

    def _ask(self, method: str, url: str, options: Mapping[str, Any]) -> requests.Response:
        try:
            return self._session.request(method, url, timeout=self._timeout, allow_redirects=False, **options)
        except requests.exceptions.RequestException as error:
            raise self._silence(error) from error
        except OSError as error:  # requests raises OSError for a missing CA file
            raise Untrusted(
                f"the certificate of {self._base} cannot be checked ({self._trusted()}: {error})"
            ) from error
        except ValueError as error:  # urllib3 raises ValueError for an invalid host name
            raise Unreachable(f"{self._base} is not an address ({error})") from error

    def _silence(self, error: requests.exceptions.RequestException) -> Unreachable:
        if isinstance(_inner(error), ConnectionResetError | BrokenPipeError | ssl.SSLEOFError):
            return Closed(f"{self._base} closes the connection without an answer")
        if isinstance(_inner(error), ssl.SSLCertVerificationError):
            return Untrusted(f"the certificate of {self._base} is not trusted ({_innermost(error)}; {self._trusted()})")
        if isinstance(error, requests.exceptions.SSLError):
            return Unreachable(f"TLS with {self._base} fails ({_innermost(error)}; {self._trusted()})")
        if isinstance(error, requests.exceptions.ReadTimeout):
            return Unreachable(f"{self._base} takes connections, but did not answer in time")
        if isinstance(error, requests.exceptions.Timeout):
            return Unreachable(f"{self._base} did not answer in time")
        return Unreachable(f"{self._base} cannot be reached ({_innermost(error)})")

    def _trusted(self) -> str:
        """Return a description of the trusted authorities and the variable that names them."""
        named = self._session.verify
        if not isinstance(named, str):
            return "trusted are the usual authorities"
        variable = next((name for name in _CA_NAMED if os.environ.get(name) == named), None)
        return f"trusted is {named}, which {variable} names" if variable else f"trusted is {named}"

    def _json(self, response: requests.Response) -> dict[str, Any]:
        self._accept(response)
        try:
            data = response.json()
        except ValueError:
            raise Refused(response.status_code, "the answer is not JSON, so not from MLflow's API") from None
        if not isinstance(data, dict):
            raise Refused(response.status_code, "the answer is not a JSON object, so not from MLflow's API")
        return data

    @staticmethod
    def _accept(response: requests.Response) -> requests.Response:
        if response.status_code < 300:
            return response
        try:
            body = json.loads(response.content)
            reason, code = str(body.get("message", "")), str(body.get("error_code", ""))
        except (ValueError, AttributeError):
            reason, code = response.text, ""
        first_line = next(iter(reason.strip().splitlines()), "")
        raise Refused(response.status_code, first_line[:300], code)


def exchange(method: str, url: str, headers: Mapping[str, str], content: bytes | None = None) -> requests.Response:
    """Send a request to a presigned URL without a login, and return the successful response.

    Raises:
        Unreachable: no response arrived, or the certificate is not trusted. The message names only the host, because
            the URL is a secret.
        Refused: the response is an error.
    """
    host = urllib.parse.urlsplit(url).netloc.rpartition("@")[2]
    try:
        with requests.Session() as session:
            session.trust_env = False
            session.proxies.update(requests.utils.get_environ_proxies(url))
            session.verify = next(filter(None, map(os.environ.get, _CA_VARIABLES)), True)
            answer = session.request(
                method, url, headers=dict(headers), data=content, timeout=(CONNECT_SECONDS, READ_SECONDS)
            )
    except requests.exceptions.RequestException as error:
        raise Unreachable(f"{host} cannot be reached from here ({_innermost(error)})") from None
    if answer.status_code >= 300:
        raise Refused(answer.status_code, f"{host} refuses the presigned URL")
    return answer


@contextmanager
def connect(endpoint: Endpoint, login: Login | None = None) -> Iterator[Client]:
    """Yield a client and close it afterwards."""
    client = Client(endpoint, login)
    try:
        yield client
    finally:
        client.close()


def _inner(error: BaseException) -> BaseException:
    """Return the innermost cause of a chain of exceptions."""
    seen: BaseException = error
    while True:
        inner = seen.__cause__ or seen.__context__ or next((a for a in seen.args if isinstance(a, BaseException)), None)
        inner = inner or getattr(seen, "reason", None)
        if not isinstance(inner, BaseException):
            return seen
        seen = inner


def _innermost(error: BaseException) -> str:
    """Return the operating system's message."""
    inner = _inner(error)
    return getattr(inner, "strerror", None) or type(inner).__name__
