"""A create advances by one step for each observation, as in a program that reacts to changes and never waits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from deployer.core.errors import Conflict, NotReady
from deployer.core.outcome import Done, Outcome, Waiting
from deployer.core.secrets.values import Secrets
from deployer.core.spec.platform import LOCAL
from deployer.core.spec.schema import Spec
from deployer.core.stack.assigned import Assigned
from deployer.core.stack.model import SERVER, Stack, Workload
from deployer.operations import create_steps
from deployer.operations.create_steps import Creation
from deployer.operations.steps import Advance, Step, advance, run
from deployer.targets import Capabilities, Deadline, Live, Observed, Target
from deployer.targets.local.store import LocalStore
from deployer.tracking.client import Endpoint
from deployer.tracking.report import Check, Report

PROVEN = Report((Check("a check", True, "passed"),))
NOWHERE = Capabilities(
    exposes=False, pins_images=False, shares_network=True, shared_by_machines=False, stored_here=True
)


@dataclass
class Place:
    """A target in memory. The test decides when its server is ready."""

    installed: set[str] = field(default_factory=set)
    running: Stack | None = None
    ready: bool = False
    starts: int = 0

    def platform(self, *_: object) -> Any:
        return LOCAL

    def predict_assignment(self, _: Spec, before: Assigned) -> Assigned:
        return replace(before, ports={"http": 5000})

    def assigned(self, _: Spec, before: Assigned) -> bool:
        return bool(before.ports)

    @contextmanager
    def assign(self, spec: Spec, before: Assigned, _: Deadline) -> Iterator[Assigned]:
        yield self.predict_assignment(spec, before)

    def prepared(self, workloads: tuple[Workload, ...]) -> Outcome:
        missing = {workload.name for workload in workloads} - self.installed
        return Waiting("not installed") if missing or not workloads else Done()

    def prepare(self, workloads: tuple[Workload, ...], _: Deadline) -> None:
        self.installed |= {workload.name for workload in workloads}

    def pending(self, stack: Stack, _: Live) -> tuple[str, ...]:
        return () if stack == self.running else ("different",)

    def apply(self, stack: Stack, _secrets: Secrets, _: Deadline) -> None:
        self.running, self.ready = stack, False
        self.starts += 1

    def observe(self) -> Live:
        if self.running is None:
            return Live("stopped", "never started", ready=False)
        return Live("running", "here", f"start {self.starts}", ready=self.ready)

    def wait(self, *_: object) -> None:
        raise AssertionError("advance never waits")

    def endpoint(self, assigned: Assigned) -> Endpoint:
        return Endpoint(f"http://127.0.0.1:{assigned.ports['http']}")

    @contextmanager
    def open(self, assigned: Assigned, _: Deadline) -> Iterator[Endpoint]:
        yield self.endpoint(assigned)


class Heard:
    """The progress of an operation, as a list."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, name: str, number: int, count: int) -> None:
        self.steps.append(f"{number}/{count} {name}")

    def done(self, *_: object) -> None:
        pass

    def note(self, text: str) -> None:
        raise AssertionError(text)


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.fixture
def target(tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch) -> Target:
    """Return a server in that place, with a real store for record and secrets; only its proof is a fake."""
    (tmp_path / "servers").mkdir()
    monkeypatch.setattr(create_steps, "verify", lambda *_: PROVEN)
    store: Any = LocalStore(tmp_path, "mlflow")
    parts: Any = place
    return Target("mlflow", "local", "memory", None, None, NOWHERE, store, parts, parts, parts, parts)


def once(creation: Creation, target: Target, observed: Observed | None = None) -> Advance:
    return advance(creation.steps(), target, observed or target.observe(), Deadline.after(60), Heard())


def test_a_whole_create_advances_by_one_action_for_each_observation(target: Target, place: Place) -> None:
    creation, made = Creation(target, Spec(), None, {}), []
    while (last := once(creation, target)).step is not None:
        made.append((last.step.name, last.acted))
        if made[-3:] == [("ready", False)] * 3:  # no step acts while the server is not ready
            place.ready = True
        assert len(made) < 20
    names = ["environment", "record", "credentials", "address", "start"]
    assert made == [*((name, True) for name in names), *[("ready", False)] * 3, ("verify", True)]
    record = target.store.load()
    assert record is not None
    assert record.proof == "start 1"
    assert creation.report is PROVEN
    assert place.running is not None
    assert [workload.name for workload in place.running.workloads] == [SERVER]


def test_a_waiting_step_reports_its_reason(target: Target) -> None:
    creation = Creation(target, Spec(), None, {})
    while (last := once(creation, target)).acted:
        pass
    assert last.step is not None
    assert (last.step.name, last.reason, last.number) == ("ready", "the server is not ready", 5)


def test_a_new_create_continues_and_restarts_a_stopped_server(target: Target, place: Place) -> None:
    for _ in range(5):
        once(Creation(target, Spec(), None, {}), target)
    place.running = None
    last = once(Creation(target, Spec(), None, {}), target)
    assert last.step is not None
    assert (last.step.name, last.acted, place.starts) == ("start", True, 2)


def test_a_stale_observation_does_not_overwrite_the_record(target: Target) -> None:
    creation = Creation(target, Spec(), None, {})
    once(creation, target)
    old = target.observe()
    once(creation, target, old)
    stored = target.store.load()
    with pytest.raises(Conflict, match="changed in the meantime"):
        once(creation, target, old)
    assert target.store.load() == stored


def test_run_repeats_advance_and_checks_each_action(target: Target) -> None:
    done: set[str] = set()

    def step(name: str, *, works: bool = True) -> Step:
        def act(*_: object) -> None:
            if works:
                done.add(name)

        return Step(name, lambda _: Done() if name in done else Waiting(f"no {name}"), act, changes=name != "b")

    heard = Heard()
    assert run([step("a"), step("b"), step("c")], target, Deadline.after(60), heard) is True
    assert heard.steps == ["1/3 a", "2/3 b", "3/3 c"]
    assert run([step("a"), step("b"), step("c")], target, Deadline.after(60), Heard()) is False
    with pytest.raises(NotReady, match="d: no d"):
        run([step("a"), step("d", works=False), step("e")], target, Deadline.after(60), Heard())
    assert done == {"a", "b", "c"}
