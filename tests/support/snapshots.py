"""Copies of the databases of a first start, for servers that tests start by hand: a copy saves a second of CPU.

The first server of each MLflow creates its databases; later servers of this process get copies, as after a restart.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

NAMES = ("tracking.db", "auth.db")

_made: dict[str, dict[str, bytes]] = {}


def copy(python: str, folder: Path) -> None:
    """Copy databases for the MLflow of this Python into an empty folder, if `keep` has saved some."""
    for name, kept in _made.get(python, {}).items():
        (folder / name).write_bytes(kept)


def keep(python: str, folder: Path) -> None:
    """Save the databases of a server that is ready and has not had a request yet."""
    if python not in _made:
        _made[python] = {name: content(folder / name) for name in NAMES}


def content(database: Path) -> bytes:
    """Return the present content of a database, even while a server uses it."""
    with closing(sqlite3.connect(database)) as connection:
        return connection.serialize()
