"""Databases as a first start leaves them, for servers that tests start by hand: to make them costs a second of CPU.

The first server of each MLflow makes its own; later servers of this process get copies, and start as if once more.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

NAMES = ("tracking.db", "auth.db")

_made: dict[str, dict[str, bytes]] = {}


def copy(python: str, folder: Path) -> None:
    """Put databases for the MLflow of this Python into an empty folder, if they have been kept."""
    for name, kept in _made.get(python, {}).items():
        (folder / name).write_bytes(kept)


def keep(python: str, folder: Path) -> None:
    """Keep the databases of a server that is ready and that nobody has asked for anything."""
    if python not in _made:
        _made[python] = {name: content(folder / name) for name in NAMES}


def content(database: Path) -> bytes:
    """Return a database as it is now, also while a server uses it."""
    with closing(sqlite3.connect(database)) as connection:
        return connection.serialize()
