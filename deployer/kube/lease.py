"""A Lease that one deployer holds while it changes a server: renewed while it lives, taken over when it does not."""

from __future__ import annotations

import datetime
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from deployer.core.errors import Conflict, DeployerError, Forbidden
from deployer.core.manifest import LEASE, Manifest
from deployer.kube import objects
from deployer.kube.session import Session

SECONDS: Final = 15
_RENEW_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 1.0
_RELEASE_SECONDS: Final = 3.0
_MARGIN_SECONDS: Final = 3.0  # for the request that is just being sent
_REASON: Final = "mlflow-deployer.github.io/reason"
_TIME: Final = "%Y-%m-%dT%H:%M:%S.%fZ"


@contextmanager
def held(
    session: Session,
    name: str,
    labels: dict[str, str],
    reason: str,
    left: Callable[[], float],
    waiting: Callable[[str], None],
) -> Iterator[None]:
    """Hold the Lease `name`; while it is held, a write of the session fails once the Lease is lost.

    `left` says how many seconds one may still wait for it, `waiting` is told who has it meanwhile.

    Raises:
        Conflict: somebody else still had it when the time was over.
    """
    patience = session.patience
    lease = _Held(session, *_acquire(session, _wanted(session, name, labels, reason), left, waiting))
    session.before_write = lease.require
    try:
        lease.renew()  # that it may be renewed should not turn out in the middle of the work
        lease.start()
        yield
    except BaseException:
        with suppress(DeployerError):  # it runs out by itself, and what has happened is worth more than this
            lease.release()
        raise
    else:
        lease.release()
    finally:
        session.before_write = lambda: None
        session.patience = patience


class _Held:
    """The Lease as it was last written, and when the request for that was begun: it may have counted from then."""

    def __init__(self, session: Session, lease: Manifest, begun: float) -> None:
        self._session = session
        self.lease = lease
        self.lost = False
        self._renewed = begun
        self._renewing: int | None = None  # the thread that is just doing it
        self._one_at_a_time = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def release(self) -> None:
        """Let go of it.

        Raises:
            Forbidden: it may not be deleted; it runs out.
        """
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(_RELEASE_SECONDS)  # it may wait for a server that is gone; it cannot bring the Lease back
        self._session.before_write = lambda: None
        self._session.patience = _RELEASE_SECONDS
        try:
            if not self.lost:
                objects.delete(self._session, self.lease, exactly=True)
        except Forbidden:
            raise
        except DeployerError:
            return  # whoever changed it has it; what cannot be reached runs out

    def require(self) -> None:
        """Raise Conflict where somebody may have taken the Lease over."""
        if threading.get_ident() == self._renewing:
            return
        if not self.lost and _clock() - self._renewed > SECONDS - _MARGIN_SECONDS:
            # the API server was away, or this process slept: whoever can still replace the Lease has it still
            with suppress(Conflict):
                self.renew()
                return
            self.lost = True
        if self.lost:
            raise Conflict(
                "lost the lock of this server: it could not be renewed in time",
                hint="try again: the same command goes on from here",
            )

    def renew(self) -> None:
        """Write that it is still held; Conflict when somebody else has it."""
        with self._one_at_a_time:
            self._renewing = threading.get_ident()
            try:
                self.lease["spec"]["renewTime"] = _now()
                begun = _clock()
                self.lease = self._replaced()
                self._renewed = begun
            finally:
                self._renewing = None

    def _renew(self) -> None:
        while not self._over.wait(_RENEW_SECONDS):
            try:
                self.renew()
            except Conflict:
                self.lost = True  # somebody else has it, for good
                return
            except DeployerError:
                continue  # as long as it has not run out there is another try

    def _replaced(self) -> Manifest:
        try:
            return objects.replace(self._session, self.lease)
        except Conflict:
            # perhaps with ourselves: a request whose answer was lost has been sent again
            there = objects.get(self._session, LEASE, self.lease["metadata"]["name"])
            if there is None or _holder(there) != _holder(self.lease):
                raise
            return there


def held_by_another(session: Session, name: str) -> bool:
    """Tell whether there is a Lease of that name that this process does not hold."""
    there = objects.get(session, LEASE, name)
    return there is not None and _holder(there) != _identity()


def _holder(lease: Manifest) -> str:
    return str((lease.get("spec") or {}).get("holderIdentity") or "")


def _acquire(
    session: Session, wanted: Manifest, left: Callable[[], float], waiting: Callable[[str], None]
) -> tuple[Manifest, float]:
    """Return the Lease, and when the request that got it was begun."""
    name, labels = wanted["metadata"]["name"], wanted["metadata"]["labels"]
    seen: tuple[str, float] | None = None  # a version of the Lease, and when it was first seen, by our own clock
    told = False
    while True:
        begun = _clock()
        made = objects.create(session, wanted)
        if made is not None:
            return made, begun
        there = objects.get(session, LEASE, name)
        if there is None:
            continue  # just released
        _require_ours(there, labels)
        holder = _holder(there)
        if holder == _holder(wanted):
            return there, begun  # made by a request of ours whose answer was lost
        version = there["metadata"]["resourceVersion"]
        if seen is None or seen[0] != version:
            seen = (version, _clock())
        run_out = _clock() - seen[1] > float((there.get("spec") or {}).get("leaseDurationSeconds") or SECONDS)
        if run_out or not holder or _dead_here(holder):
            begun = _clock()
            try:
                taken = {**wanted, "metadata": {**wanted["metadata"], "resourceVersion": version}}
                return objects.replace(session, taken), begun
            except Conflict:
                continue  # somebody was first
        doing = (there["metadata"].get("annotations") or {}).get(_REASON, "work")
        who = f"{doing} by {holder.partition(' ')[0]}"
        if not told:
            waiting(who)
            told = True
        if not left():
            raise Conflict(f"{who} is still going on", hint="try again when it has ended")
        time.sleep(min(_POLL_SECONDS, left()))


def _require_ours(there: Manifest, labels: Mapping[str, str]) -> None:
    if not labels.items() <= (there["metadata"].get("labels") or {}).items():
        raise Conflict(
            f"Lease {there['metadata']['name']!r} is there already and is not deployer's",
            hint="choose another name for the server, or remove that Lease",
        )


def _wanted(session: Session, name: str, labels: dict[str, str], reason: str) -> Manifest:
    now = _now()
    return {
        "apiVersion": LEASE.api_version,
        "kind": LEASE.name,
        "metadata": {
            "name": name,
            "namespace": session.namespace,
            "labels": labels,
            "annotations": {_REASON: reason},
        },
        "spec": {
            "holderIdentity": _identity(),
            "leaseDurationSeconds": SECONDS,
            "acquireTime": now,
            "renewTime": now,
        },
    }


def _clock() -> float:
    """Return seconds that go on while the machine sleeps: a Lease does too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime(_TIME)


def _identity() -> str:
    """Return `HOST BOOT:PID:START`: a process, told apart from any other at any time on any machine."""
    pid = os.getpid()
    return f"{socket.gethostname()} {_boot_id()}:{pid}:{_start_of(pid)}"


def _dead_here(holder: str) -> bool:
    """Tell whether the holder was a process of this machine, in this boot, that is no more."""
    _, _, process = holder.partition(" ")
    boot, _, rest = process.partition(":")
    pid, _, start = rest.partition(":")
    if boot != _boot_id() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False  # alive, and somebody else's, about whom /proc may say nothing
    return str(_start_of(int(pid))) != start


def _boot_id() -> str:
    """Return the id of this boot and of the pid namespace in it: a pid means nothing in another container."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid').strip('pid:[]')}"
    return "unknown"


def _start_of(pid: int) -> int | None:
    """Return field 22 of /proc/PID/stat, clock ticks since boot (proc_pid_stat(5)); None when there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] == b"Z" else int(fields[19])
