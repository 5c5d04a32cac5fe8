"""Warns about data that MLflow has written without deployer: deployer's servers do not use it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from deployer.targets.local.store import FOLDER, LocalStore, state_home

# MLflow's default places for runs and artifacts: mlflow.db in new releases, mlruns in old ones
_NAMES: Final = ("mlflow.db", "mlruns", "mlartifacts")


def unused_data(name: str, where: Path | None) -> Iterator[str]:
    """Yield a warning for MLflow data in the folder `where`, and for MLflow data beside the server's own.

    `where` is the current folder when a server is created for the first time, else None.
    """
    store = LocalStore(state_home() / FOLDER, name)
    if where is not None and (found := _found(where)):
        yield (
            f"Warning: {_listed(found)} in {where} {_are(found)} not used: server {name!r} has its own data in "
            f"{store.data}, and "
            f"starts without these runs. MLflow still reads them without a server, in that folder"
        )
    for folder in (store.data, store.folder):
        if found := _found(folder):
            yield (
                f"Warning: {_listed(found)} in {folder} {_are(found)} not used: "
                "the server reads tracking.db and artifacts there"
            )


def _found(folder: Path) -> list[str]:
    return [name for name in _NAMES if (folder / name).exists()]


def _are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
