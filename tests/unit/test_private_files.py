"""Only the owner can read files with passwords, and these files overwrite no other file."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from deployer.cli.spec_options import write_private
from deployer.clients import credentials_file
from deployer.core.errors import UsageError
from deployer.core.secrets.references import SecretRef
from deployer.core.secrets.values import Secrets
from deployer.core.spec.schema import Spec
from deployer.core.stack.record import Record
from deployer.targets.local.store import LocalStore, state_directory

LOGIN = Secrets({SecretRef("admin", "username"): "admin", SecretRef("admin", "current"): "x" * 12})


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


def test_a_state_directory_is_made_private(home: Path) -> None:
    state = state_directory()
    assert [mode(path) for path in (state, state / "servers", state / "environments")] == [0o700] * 3
    state.chmod(0o755)
    assert mode(state_directory()) == 0o700


def test_only_the_owner_can_read_records_and_secrets(home: Path) -> None:
    first, second = (LocalStore(state_directory(), name) for name in ("first", "second"))
    first.create_if_absent(LOGIN)
    first.save(Record(Spec()))
    second.save(Record(Spec()))
    second.create_if_absent(LOGIN)
    second.patch_secrets({SecretRef("admin", "current"): "y" * 12})
    for store in (first, second):
        assert mode(store.folder) == 0o700
        assert {path.name: mode(path) for path in store.folder.iterdir()} == {
            "record.json": 0o600,
            "secrets.json": 0o600,
        }


def test_only_the_owner_can_read_rendered_credentials_and_no_file_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "secrets.yaml"
    write_private(path, "first")
    assert mode(path) == 0o600
    with pytest.raises(UsageError, match="never overwritten"):
        write_private(path, "second")
    assert path.read_text() == "first"


def test_only_the_owner_can_read_a_stored_login(home: Path) -> None:
    change = credentials_file.change(lambda _: "[mlflow]\n", private=True)
    assert (mode(change.path), mode(change.path.parent)) == (0o600, 0o700)
    change.path.chmod(0o644)
    assert credentials_file.change(lambda text: text, private=True).changed is False
    assert mode(change.path) == 0o600
