"""Access to the API server from a pod: single requests, and current collections. Standard library only."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import threading
import time
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
WATCH_SECONDS = 300

Object = dict[str, Any]


class Refused(Exception):
    """The API server refused a request; `status` is its Status object."""

    def __init__(self, status: Object) -> None:
        super().__init__(status.get("message"))
        self.status = status
        self.code: int = status.get("code", 500)


def ask(method: str, path: str, body: Object | None = None, kind: str = "application/json") -> Any:
    connection, answer = _send(method, path, body, kind)
    with connection:
        return json.load(answer)


class Collection:
    """The current objects of one kind in all namespaces; none as long as the kind does not exist."""

    def __init__(self, path: str, changed: threading.Event) -> None:
        self._path = path
        self._changed = changed
        self._objects: dict[str, Object] = {}
        self._listed = threading.Event()
        threading.Thread(target=self._follow, daemon=True).start()

    def current(self) -> list[Object]:
        self._listed.wait()
        return list(self._objects.values())

    def _follow(self) -> None:
        while True:
            try:
                self._list_and_watch()
            except Refused as refused:
                if refused.code == 404:
                    self._replace([])
                else:
                    print(self._path, refused, flush=True)
                time.sleep(1)
            except (OSError, http.client.HTTPException, ValueError) as error:
                print(self._path, "watch ends:", error, flush=True)
                time.sleep(0.5)

    def _replace(self, items: list[Object]) -> None:
        self._objects = {item["metadata"]["uid"]: item for item in items}
        self._listed.set()
        self._changed.set()

    def _list_and_watch(self) -> None:
        listed = ask("GET", self._path)
        self._replace(listed["items"])
        version = listed["metadata"]["resourceVersion"]
        query = f"?watch=1&timeoutSeconds={WATCH_SECONDS}&resourceVersion={version}"
        connection, events = _send("GET", self._path + query, timeout=WATCH_SECONDS + 30)
        with connection:
            for line in events:
                event = json.loads(line)
                item = event["object"]
                if event["type"] == "ERROR":
                    raise Refused(item)
                if event["type"] == "DELETED":
                    self._objects.pop(item["metadata"]["uid"], None)
                else:
                    self._objects[item["metadata"]["uid"]] = item
                self._changed.set()


class _Connection(http.client.HTTPSConnection):
    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _send(
    method: str, path: str, body: Object | None = None, kind: str = "application/json", timeout: float = 20
) -> tuple[_Connection, http.client.HTTPResponse]:
    trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ["KUBERNETES_SERVICE_PORT"])
    connection = _Connection(host, port, context=trust, timeout=timeout)
    # the token is renewed in its file
    headers = {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}", "Content-Type": kind}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    if answer.status >= 300:
        with connection:
            text = answer.read().decode()
        # for an unknown path, the API server's answer is plain text
        said = json.loads(text) if text.startswith("{") else {"message": text}
        raise Refused({"code": answer.status, **said})
    return connection, answer
