"""Sets a new password for an administrator in the server's own database; run by hand if nobody knows the old one.

Runs with the server's Python and settings, and does not import deployer. Reads {"username", "password"} as a line of
JSON from standard input. It does not wait for the end of the input, because some ways to run a command in a pod do not
transmit that end. A deleted account is created again. An account that is no longer an administrator becomes one again.
"""

from __future__ import annotations

import json
import os
import sys

AUTH_DATABASE = "DEPLOYER_AUTH_DATABASE_URI"  # see storage/databases.py
KEPT = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "MLFLOW_AUTH_CONFIG_PATH")


def main() -> None:
    """Read the user name and the password, and store them as MLflow itself does."""
    wanted = json.loads(sys.stdin.readline())
    uri = os.environ.get(AUTH_DATABASE)
    for name in [name for name in os.environ if name not in KEPT]:
        del os.environ[name]  # importing MLflow starts a program, `uname`, which must not see the server's secrets
    try:
        store_login(wanted["username"], wanted["password"], uri)
    except Exception as error:  # noqa: BLE001  # any error: one line, without the statement's parameters
        raise SystemExit(reason(error)) from None


def store_login(username: str, password: str, uri: str | None) -> None:
    """Store the administrator's login in the database at `uri`, or in the one that the configuration file names."""
    from mlflow.server.auth.config import read_auth_config
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore()
    store.init_db(uri or read_auth_config().database_uri)
    if store.has_user(username, use_primary=True):
        store.update_user(username, password=password, is_admin=True)
    else:
        store.create_user(username, password, is_admin=True)


def reason(error: BaseException) -> str:
    """Return the message of the database driver, or the type of the error."""
    seen: BaseException | None = error
    while seen is not None:
        if (said := getattr(seen, "orig", None)) is not None:
            return " ".join(f"{type(said).__name__}: {said}".split())
        seen = seen.__cause__ or seen.__context__
    return type(error).__name__


if __name__ == "__main__":
    main()
