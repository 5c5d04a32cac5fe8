"""Tries the login to a PostgreSQL database from this machine, without the driver that the server will have.

Says only what is certain. The rest, such as TLS settings that pg8000 does not know, is left to the server's own start.
"""

from __future__ import annotations

import socket
import ssl
import struct
from typing import Any, Final

import pg8000.native

from deployer.core.databases import Database
from deployer.core.errors import one_line

_SECONDS: Final = 15  # until a host that does not answer counts as unreachable; as in plugin/trial.py
# PostgreSQL's manual, "Message Formats": SSLRequest is answered by one byte, S or N, or an ErrorResponse, E
_SSL_REQUEST: Final = struct.pack("!ii", 8, 80877103)
_ANSWERS: Final = (b"S", b"N", b"E")
# PostgreSQL's manual, appendix A: wrong password, no such user or no entry in pg_hba.conf, no such database, no
# privilege CONNECT
_FINAL: Final = frozenset({"28P01", "28000", "3D000", "42501"})
# options of libpq that decide who logs in and that pg8000 does not have
_NOT_KNOWN: Final = frozenset({"sslcert", "sslkey", "sslnegotiation", "gssencmode", "krbsrvname", "hostaddr"})


def login_problem(database: Database) -> str | None:
    """Return why nobody gets into `database`, on one line; None where the login works, or where that is not certain."""
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
    """Return why no PostgreSQL answers there, or None."""
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
    """Return what pg8000 is to try, in the order of libpq's `sslmode`; nothing for a mode that is left to libpq.

    To pg8000, False is no TLS, and None is TLS where the server has it; a context demands TLS.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # libpq checks no certificate either in these modes
    ways = {"disable": (False,), "allow": (False, None), "prefer": (None, False), "require": (context,)}
    return ways.get(mode, ())


def _attempt(database: Database, encryption: Any, timeout: int) -> str | None:
    """Log in once; return PostgreSQL's own words where it refuses for good, or None."""
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
    except Exception:  # noqa: BLE001  # whatever else pg8000 meets is not certain to stop the server's own driver
        return None
    return None
