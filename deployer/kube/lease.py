"""A Lease that one deployer process holds while it changes a server. Others take it over once it expires."""

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
from deployer.core.manifests.manifest import LEASE, Manifest
from deployer.kube import objects
from deployer.kube.session import Session

SECONDS: Final = 15
_RENEW_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 1.0
_RELEASE_SECONDS: Final = 3.0
_MARGIN_SECONDS: Final = 3.0  # time for a request that is being sent
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
    """Hold the Lease `name`. A write of the session fails once the Lease is lost.

    `left` returns how many seconds may still be spent waiting for the Lease. `waiting` receives a description of the
    current holder.

    Raises:
        Conflict: another process still had the Lease at the end of that time.
    """
    patience = session.patience
    lease = _Held(session, *_acquire(session, _wanted(session, name, labels, reason), left, waiting))
    session.before_write = lease.require
    try:
        lease.renew()  # if the Lease cannot be renewed, fail now and not in the middle of the work
        lease.start()
        yield
    except BaseException:
        with suppress(DeployerError):  # the Lease expires by itself, and the first error matters more
            lease.release()
        raise
    else:
        lease.release()
    finally:
        session.before_write = lambda: None
        session.patience = patience


class _Held:
    """The Lease as it was last written, and when that request began: the Lease may count its seconds from then."""

    def __init__(self, session: Session, lease: Manifest, begun: float) -> None:
        self._session = session
        self.lease = lease
        self.lost = False
        self._renewed = begun
        self._renewing: int | None = None  # the thread that renews the Lease right now
        self._one_at_a_time = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def release(self) -> None:
        """Stop the renewal and delete the Lease.

        Raises:
            Forbidden: the Lease may not be deleted; it expires.
        """
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(_RELEASE_SECONDS)  # the server may be gone; the thread cannot bring the Lease back
        self._session.before_write = lambda: None
        self._session.patience = _RELEASE_SECONDS
        try:
            if not self.lost:
                objects.delete(self._session, self.lease, exactly=True)
        except Forbidden:
            raise
        except DeployerError:
            return  # another holder took the Lease, or it will expire

    def require(self) -> None:
        """Raise Conflict if another process may have taken the Lease over."""
        if threading.get_ident() == self._renewing:
            return
        if not self.lost and _clock() - self._renewed > SECONDS - _MARGIN_SECONDS:
            # the API server was away or this process was suspended; a Lease that can still be replaced is still ours
            with suppress(Conflict):
                self.renew()
                return
            self.lost = True
        if self.lost:
            raise Conflict(
                "lost the lock of this server: it could not be renewed in time",
                hint="try again: the same command continues from here",
            )

    def renew(self) -> None:
        """Write that the Lease is still held.

        Raises:
            Conflict: another process has the Lease.
        """
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
                self.lost = True  # another holder has the Lease for good
                return
            except DeployerError:
                continue  # try again until the Lease expires

    def _replaced(self) -> Manifest:
        try:
            return objects.replace(self._session, self.lease)
        except Conflict:
            # the conflict may be with ourselves: the response was lost, and the request was sent again
            there = objects.get(self._session, LEASE, self.lease["metadata"]["name"])
            if there is None or _holder(there) != _holder(self.lease):
                raise
            return there


def held_by_another(session: Session, name: str) -> bool:
    """Tell whether there is a Lease `name` that this process does not hold."""
    there = objects.get(session, LEASE, name)
    return there is not None and _holder(there) != _identity()


def _holder(lease: Manifest) -> str:
    return str((lease.get("spec") or {}).get("holderIdentity") or "")


def _acquire(
    session: Session, wanted: Manifest, left: Callable[[], float], waiting: Callable[[str], None]
) -> tuple[Manifest, float]:
    """Return the Lease, and the time at which the request that acquired it began."""
    name, labels = wanted["metadata"]["name"], wanted["metadata"]["labels"]
    seen: tuple[str, float] | None = None  # a version of the Lease, and when our own clock first saw it
    told = False
    while True:
        begun = _clock()
        made = objects.create(session, wanted)
        if made is not None:
            return made, begun
        there = objects.get(session, LEASE, name)
        if there is None:
            continue  # released in between
        _require_ours(there, labels)
        holder = _holder(there)
        if holder == _holder(wanted):
            return there, begun  # created by our own request, whose response was lost
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
                continue  # another process was faster
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
            f"Lease {there['metadata']['name']!r} exists already and is not deployer's",
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
    """Return seconds that continue to count while the machine is suspended, as those of a Lease do."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime(_TIME)


def _identity() -> str:
    """Return `HOST BOOT:PID:START`, which identifies a process among those of all machines and times."""
    pid = os.getpid()
    return f"{socket.gethostname()} {_boot_id()}:{pid}:{_start_of(pid)}"


def _dead_here(holder: str) -> bool:
    """Tell whether the holder was a process of this machine and this boot, and no longer exists."""
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
        return False  # the process is alive and belongs to another user; /proc may hide its details
    return str(_start_of(int(pid))) != start


def _boot_id() -> str:
    """Return the ID of this boot and of its PID namespace: a PID has no meaning in another container."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid').strip('pid:[]')}"
    return "unknown"


def _start_of(pid: int) -> int | None:
    """Return field 22 of /proc/PID/stat, in clock ticks since boot (proc_pid_stat(5)).

    Returns None for a zombie, and if there is no such process.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] == b"Z" else int(fields[19])
