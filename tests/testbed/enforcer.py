"""Enforces NetworkPolicies on the node: watches policies, pods and namespaces, and loads the table of policy.py."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kubernetes import client, config
from urllib3.exceptions import HTTPError

from tests.testbed.policy import Object, ruleset

SETTLE_SECONDS = 0.05


class Collection:
    """The current objects of one kind, from a list and a watch."""

    def __init__(self, listing: Callable[..., Any], changed: threading.Event) -> None:
        self.objects: dict[str, Object] = {}
        self._listing = listing
        self._changed = changed
        self._listed = threading.Event()
        threading.Thread(target=self._follow, daemon=True).start()

    def current(self) -> list[Object]:
        self._listed.wait()
        return list(self.objects.values())

    def _follow(self) -> None:
        while True:
            try:
                self._list_and_watch()
            except (client.ApiException, HTTPError, OSError) as error:
                print("watch ends:", error, flush=True)
                time.sleep(0.5)

    def _list_and_watch(self) -> None:
        answer = json.loads(self._listing(_preload_content=False).data)
        self.objects = {item["metadata"]["uid"]: item for item in answer["items"]}
        self._listed.set()
        self._changed.set()
        version = answer["metadata"]["resourceVersion"]
        # parse the text here: the client library would create an object for every field of every pod
        lines = self._listing(watch=True, resource_version=version, timeout_seconds=300, _preload_content=False)
        for event in map(json.loads, lines):
            item = event["object"]
            if event["type"] == "ERROR":
                raise OSError(item.get("message"))
            if event["type"] == "DELETED":
                self.objects.pop(item["metadata"]["uid"], None)
            else:
                self.objects[item["metadata"]["uid"]] = item
            self._changed.set()


def main(kubeconfig: Path) -> None:
    config.load_kube_config(str(kubeconfig))
    core, networking = client.CoreV1Api(), client.NetworkingV1Api()
    changed = threading.Event()
    pods = Collection(core.list_pod_for_all_namespaces, changed)
    namespaces = Collection(core.list_namespace, changed)
    policies = Collection(networking.list_network_policy_for_all_namespaces, changed)
    loaded = None
    while changed.wait():
        time.sleep(SETTLE_SECONDS)
        changed.clear()
        wanted = ruleset(pods.current(), namespaces.current(), policies.current())
        if wanted == loaded:
            continue
        done = subprocess.run(["nft", "-f", "-"], input=wanted, text=True, capture_output=True, check=False)
        if done.returncode:
            print(done.stderr, wanted, sep="\n", flush=True)
            changed.set()  # once more, after a moment
            time.sleep(1)
        else:
            loaded = wanted


if __name__ == "__main__":
    main(Path(sys.argv[1]))
