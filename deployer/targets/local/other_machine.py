"""A server of this user that runs on another machine, which shares the folder of the server."""

from __future__ import annotations

import dataclasses

from deployer.core.address import at_loopback, forwarding, url
from deployer.core.errors import Conflict
from deployer.core.remedies import Remedy
from deployer.targets import Live
from deployer.targets.local.access import LocalAccess, user_name
from deployer.targets.local.store import LocalStore


class OtherMachine:
    """The other machine of one server. `take_over` is the user's statement that the other machine is gone."""

    def __init__(self, store: LocalStore, *, take_over: bool) -> None:
        self._store = store
        self._take_over = take_over

    def require_gone(self, live: Live) -> None:
        """Check that the other machine is gone: the user must say so, and nothing may contradict it.

        Raises:
            Conflict: the server's lock is held, `take_over` is False, or the server answers.
        """
        name, record = self._store.folder.name, self._store.load()
        message = f"the server is on another machine: {live.detail}"
        stop_there = Remedy.STOP_THERE.of(name=name, host=live.host)
        if live.identity is not None:  # the other machine holds the lock
            raise Conflict(message, hint=stop_there)
        if not self._take_over:
            raise Conflict(message, hint=Remedy.STOP_THERE_OR_TAKE_OVER.of(name=name, host=live.host))
        public = record is not None and record.assigned.ports and not at_loopback(record.assigned.host)
        if record and public and LocalAccess().ready(record.assigned):
            raise Conflict(f"{message}, and answers there", hint=stop_there)

    def with_way(self, live: Live) -> Live:
        """Add to the detail how to reach the server from here."""
        record = self._store.load()
        if live.host is None or record is None or not record.assigned.ports:
            return live
        host, port = record.assigned.host, record.assigned.ports["http"]
        if at_loopback(host):
            way = f"from here: {forwarding(host, port, live.host, user_name())}"
        else:
            way = f"its address is {url(host, port)}"
        return dataclasses.replace(live, detail=f"{live.detail}; {way}")
