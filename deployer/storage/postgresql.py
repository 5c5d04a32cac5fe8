"""Tries the login to a PostgreSQL database from this machine, without the driver that the server uses.

Reports only certain problems. The start of the server finds the rest, such as TLS settings that pg8000 lacks.
"""

from __future__ import annotations

import socket
import ssl
import struct
from typing import Any, Final

import pg8000.native

from deployer.core.databases import Database
from deployer.core.errors import one_line

_SECONDS: Final = 15  # a host without a response for this time counts as unreachable; as in plugin/programs/trial.py
# PostgreSQL's manual, "Message Formats": the response to SSLRequest is one byte, S or N, or an ErrorResponse, E
_SSL_REQUEST: Final = struct.pack("!ii", 8, 80877103)
_ANSWERS: Final = (b"S", b"N", b"E")
# PostgreSQL's manual, appendix A: wrong password, no such user or no entry in pg_hba.conf, no such database, no
# privilege CONNECT
_FINAL: Final = frozenset({"28P01", "28000", "3D000", "42501"})
# options of libpq that affect the login and that pg8000 lacks
_NOT_KNOWN: Final = frozenset({"sslcert", "sslkey", "sslnegotiation", "gssencmode", "krbsrvname", "hostaddr"})


def login_problem(database: Database) -> str | None:
    """Return one line that says why the login fails; None if the login works, or if a failure is not certain."""
    if _NOT_KNOWN & database.options.keys():
        return None
    timeout = _timeout(database)
    if problem := _greeting_problem(database, timeout):
        return problem
    problem = None
    for encryption in _encryptions(database.options.get("sslmode", "prefer")):
        problem = _attempt(database, encryption, timeout)
        if problem is None:
            return None
    return problem


def _timeout(database: Database) -> int:
    asked = database.options.get("connect_timeout", "")
    return int(asked) if asked.isdecimal() and int(asked) else _SECONDS


def _greeting_problem(database: Database, timeout: int) -> str | None:
    """Return why no PostgreSQL server answers, else None."""
    where = f"{database.host} port {database.port}"
    try:
        with socket.create_connection((database.host, database.port), timeout) as connection:
            connection.sendall(_SSL_REQUEST)
            answer = connection.recv(1)
    except TimeoutError:
        return f"{where} does not answer within {timeout} s"
    except (OSError, UnicodeError) as error:
        return f"{where} cannot be reached: {getattr(error, 'strerror', None) or error}"
    return None if answer in _ANSWERS else f"what listens at {where} is no PostgreSQL"


def _encryptions(mode: str) -> tuple[Any, ...]:
    """Return the `ssl_context` values to try, in the order of libpq's `sslmode`; empty for modes left to libpq.

    In pg8000, False means no TLS, None means TLS if the server supports it, and a context requires TLS.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # libpq checks no certificates in these modes either
    ways = {"disable": (False,), "allow": (False, None), "prefer": (None, False), "require": (context,)}
    return ways.get(mode, ())


def _attempt(database: Database, encryption: Any, timeout: int) -> str | None:
    """Log in once; return PostgreSQL's message if its refusal is final, else None."""
    try:
        pg8000.native.Connection(
            database.user,
            host=database.host,
            port=database.port,
            database=database.name,
            password=database.password,
            timeout=timeout,
            ssl_context=encryption,
        ).close()
    except pg8000.native.DatabaseError as error:
        said = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
        return one_line(str(said.get("M"))) if said.get("C") in _FINAL else None
    except Exception:  # noqa: BLE001  # any other error of pg8000 may not affect the server's driver
        return None
    return None
