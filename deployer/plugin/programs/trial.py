"""Tests database URLs where the server runs, before the server gets them; changes nothing.

Runs with the server's Python and does not import deployer. Reads {name: URL} as a line of JSON from standard input.
"""

from __future__ import annotations

import json
import sys

SECONDS = 15  # after which a host that does not respond counts as unreachable


def main() -> None:
    """Connect to each database; exit with the driver's message for the first one that fails."""
    for name, url in json.loads(sys.stdin.readline()).items():
        if problem := tried(url):
            raise SystemExit(f"{name}: {problem}")


def tried(url: str) -> str | None:
    """Return, on one line, why the database at this URL cannot be used; None if it can be used."""
    import sqlalchemy

    limit = {} if "connect_timeout" in url else {"connect_timeout": SECONDS}
    try:
        engine = sqlalchemy.create_engine(url, connect_args=limit, poolclass=sqlalchemy.pool.NullPool)
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("SELECT 1"))
    except Exception as error:  # noqa: BLE001  # any error of a driver means: not usable
        said = error if isinstance(error, ImportError) else getattr(error, "orig", None) or type(error).__name__
        return " ".join(str(said).split())
    return None


if __name__ == "__main__":
    main()
