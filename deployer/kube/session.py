"""A session with one API server: who asks, where, and single requests with those retries that are safe."""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import itertools
import json
import os
import random
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import urllib3
from kubernetes.client import ApiClient, Configuration
from kubernetes.config import ConfigException, load_incluster_config, load_kube_config

from deployer.core.errors import UsageError, one_line
from deployer.core.remedies import Remedy
from deployer.kube.contexts import SERVICE_ACCOUNT, in_a_pod, kubeconfigs, read_contexts
from deployer.kube.refusals import Call, ClusterUnreachable, is_final, refusal

CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 30.0
# If the first contact fails, the address is most likely wrong. Later, a control plane most likely restarts.
FIRST_PATIENCE: Final = 3.0
PATIENCE: Final = 60.0
_AGAIN: Final = frozenset({429, 500, 502, 503, 504})
_SHORTEST_PAUSE: Final = 0.2
_SETTLING_SECONDS: Final = 15.0


@dataclass(frozen=True)
class Context:
    """The cluster and namespace that a kubeconfig, or the pod of this process, points to."""

    name: str
    namespace: str
    server: str
    in_cluster: bool = False


class Session:
    """Requests to one API server, in one namespace.

    Every write can be sent twice. An apply is idempotent. A delete names the uid of the object. After a conflict of a
    create or replace, callers read the object and check whether it is their own. So a request is repeated if the server
    answers 429 or 5xx, or if the connection breaks: for up to `patience` seconds, or FIRST_PATIENCE before the first
    answer.
    """

    def __init__(self, context: Context, configuration: Configuration) -> None:
        self.context = context
        self.configuration = configuration
        self.client = ApiClient(configuration)
        self._pool = self.client.rest_client.pool_manager
        self._answered = False
        self._broken = -_SETTLING_SECONDS  # when the connection last broke
        self._groups: frozenset[str] | None = None
        self.patience = PATIENCE
        self.before_write: Callable[[], None] = lambda: None

    @property
    def namespace(self) -> str:
        """The namespace of this session."""
        return self.context.namespace

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def request(
        self,
        method: str,
        path: str,
        call: Call,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """Send one request and return the JSON object of the response.

        Raises:
            DeployerError: the meaning of the refusal, or of a missing response.
        """
        data = None if body is None else json.dumps(body).encode()
        writes = method != "GET" and "dryRun" not in (query or {})

        def send() -> urllib3.BaseHTTPResponse:
            if writes:  # before each try: a write that was allowed a minute ago may not be any more
                self.before_write()
            return self._send(method, path, query, data, content_type)

        try:
            answer = json.loads(self._answer(call, send).data)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise ClusterUnreachable(
                f"what answers at {self.context.server} is not a Kubernetes API server",
                hint=Remedy.CHECK_ADDRESS,
            )
        return answer

    def api_groups(self) -> frozenset[str]:
        """Return the API groups of the cluster; requested only once."""
        if self._groups is None:
            answer = self.request("GET", "/apis", Call("get", "API groups", "", self.namespace))
            self._groups = frozenset(str(group.get("name")) for group in answer.get("groups") or ())
        return self._groups

    def authorization(self) -> str | None:
        """Return the value of the Authorization header; an expired exec plugin token or mounted token is renewed.

        Raises:
            UsageError: the token cannot stand in a header; the message never quotes it.
        """
        token = str(self.configuration.get_api_key_with_prefix("BearerToken") or "").strip()
        if not token.isascii() or not token.isprintable():
            raise UsageError(
                f"the token of context {self.context.name!r} is not one line of ASCII", hint="log in again"
            )
        return token or None

    @contextlib.contextmanager
    def stream(
        self, path: str, call: Call, query: Mapping[str, str], *, seconds: float | None
    ) -> Iterator[Iterator[bytes]]:
        """Yield the chunks of a long response, such as a watch or a log; silence of `seconds`, if given, ends them."""
        answer = self._answer(call, lambda: self._send("GET", path, query, None, "", read=seconds, preload=False))
        try:
            yield _chunks(answer)
        finally:
            answer.close()
            answer.release_conn()

    def _answer(self, call: Call, send: Callable[[], urllib3.BaseHTTPResponse]) -> urllib3.BaseHTTPResponse:
        """Send until the response is good, or another try would not change it, or the patience is over."""
        begun = time.monotonic()
        for attempt in itertools.count():
            left = begun + (self.patience if self._answered else FIRST_PATIENCE) - time.monotonic()
            try:
                answer = send()
            except urllib3.exceptions.HTTPError as error:
                seconds = pause(attempt, None)
                if left < seconds or _hopeless(error):
                    raise self._silence(error) from error
                self.broke()
                time.sleep(seconds)
                continue
            self._answered = True
            if answer.status < 300:
                return answer
            seconds = pause(attempt, answer.headers.get("Retry-After"))
            if left < seconds or not self._may_pass(answer.status) or is_final(answer.status, answer.data):
                raise refusal(answer.status, answer.data, call)
            time.sleep(seconds)
        raise AssertionError("the count has no end")

    def broke(self) -> None:
        """Record that a connection broke just now."""
        self._broken = time.monotonic()

    @property
    def settling(self) -> bool:
        """Whether a 403 may be temporary: an API server answers 403 after its start until it has read the roles."""
        return time.monotonic() - self._broken < _SETTLING_SECONDS

    def _may_pass(self, status: int) -> bool:
        return status in _AGAIN or (status == 403 and self.settling)

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        data: bytes | None,
        content_type: str,
        *,
        read: float | None = READ_SECONDS,
        preload: bool = True,
    ) -> urllib3.BaseHTTPResponse:
        headers = {"Accept": "application/json", "User-Agent": "mlflow-deployer"}
        if data is not None:
            headers["Content-Type"] = content_type
        if token := self.authorization():
            headers["Authorization"] = token
        url = self.configuration.host + path + (f"?{urllib.parse.urlencode(query)}" if query else "")
        answer: urllib3.BaseHTTPResponse = self._pool.request(
            method,
            url,
            body=data,
            headers=headers,
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=read),
            retries=False,
            preload_content=preload,
        )
        return answer

    def _silence(self, error: urllib3.exceptions.HTTPError) -> ClusterUnreachable:
        where = f"the cluster of context {self.context.name!r} at {self.context.server}"
        hint = Remedy.CHECK_ADDRESS_AND_NETWORK
        if isinstance(error, urllib3.exceptions.SSLError):
            return ClusterUnreachable(f"{where} has a certificate that is not trusted: {_words(error)}", hint=hint)
        return ClusterUnreachable(f"{where} does not answer: {_words(error)}", hint=hint)


def _chunks(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    try:
        while chunk := answer.read1():
            yield chunk
    except urllib3.exceptions.HTTPError:
        return  # cut off, or silent for too long: the reader decides what that means


def pause(attempt: int, retry_after: str | None) -> float:
    """Return the seconds to wait before the next try: what the server asks for (RFC 9110), else more each time."""
    asked = _asked(retry_after)
    if asked is not None:
        return max(asked, _SHORTEST_PAUSE) + random.random() / 4  # noqa: S311  # spreads the retries of many clients
    return float(min(_SHORTEST_PAUSE * 2**attempt, 5.0))


def _asked(retry_after: str | None) -> float | None:
    if not retry_after:
        return None
    if retry_after.strip().isdigit():
        return float(retry_after)
    with contextlib.suppress(ValueError):
        when = email.utils.parsedate_to_datetime(retry_after)
        return (when - datetime.datetime.now(when.tzinfo)).total_seconds()
    return None


def _hopeless(error: urllib3.exceptions.HTTPError) -> bool:
    return isinstance(error, urllib3.exceptions.SSLError | urllib3.exceptions.NameResolutionError)


def _words(error: BaseException) -> str:
    inner: BaseException = error
    while isinstance(inner.__cause__ or inner.__context__, BaseException):
        inner = inner.__cause__ or inner.__context__ or inner
    return getattr(inner, "strerror", None) or str(inner).rpartition(": ")[2] or type(inner).__name__


def connect(context: str | None, namespace: str | None) -> Session:
    """Return a session for a context of the kubeconfig, or for the pod of this process. Sends no request.

    Raises:
        UsageError: there is neither, or the kubeconfig does not have the context, or the context cannot be used.
    """
    found = read_contexts()
    name = context or found.current
    if name is None and in_a_pod():
        return _in_cluster(namespace)
    if name is None:
        raise UsageError(
            f"no kubeconfig names a cluster ({', '.join(map(str, kubeconfigs()))})",
            hint=Remedy.LOG_IN,
        )
    if name not in found.contexts:
        known = ", ".join(sorted(found.contexts)) or "none"
        raise UsageError(
            f"the kubeconfig has no context {name!r}; it knows: {known}",
            hint=Remedy.CHOOSE_CONTEXT,
        )
    configuration = Configuration()
    try:
        files = os.pathsep.join(map(str, kubeconfigs()))
        load_kube_config(config_file=files, context=name, client_configuration=configuration)
        where = namespace or found.contexts[name].namespace
        return Session(Context(name, where, configuration.host), configuration)
    except Exception as error:  # noqa: BLE001  # for a malformed file, the client may raise any error
        raise UsageError(
            f"context {name!r} of the kubeconfig cannot be used: {_why(error)}",
            hint=Remedy.LOG_IN_AGAIN,
        ) from None


def _why(error: Exception) -> str:
    """Return what is wrong with a configuration, without the texts of Python's errors."""
    if isinstance(error, ConfigException):
        return one_line(str(error))
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return "it is not as a kubeconfig should be"


def _in_cluster(namespace: str | None) -> Session:
    configuration = Configuration()
    try:
        load_incluster_config(client_configuration=configuration)
        own = (SERVICE_ACCOUNT / "namespace").read_text("utf-8").strip()
    except (ConfigException, OSError) as error:
        raise UsageError(f"this pod's service account cannot be used: {_why(error)}") from None
    return Session(Context("in-cluster", namespace or own, configuration.host, in_cluster=True), configuration)
