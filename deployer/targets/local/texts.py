"""The strings of a Stack on this machine: commands, environment variables and configuration files of workloads."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Final

from deployer.catalogue import catalogue
from deployer.core.address import LOOPBACK
from deployer.core.errors import StateError
from deployer.core.rendering import Renderer, Unrepresentable
from deployer.core.secrets import Secrets
from deployer.core.stack import SERVER, Address, FilePath, Piece, SecretRef, Stack, Text, VolumePath, Workload
from deployer.targets.local.environment import Environment
from deployer.targets.local.store import LocalStore

_INHERITED: Final = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ",
    "LD_LIBRARY_PATH",  # a Python from an environment module may need it
    "SSL_CERT_FILE", "SSL_CERT_DIR", "AWS_CA_BUNDLE",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip


class Texts:
    """Joins the pieces of one Stack's texts."""

    def __init__(self, store: LocalStore, stack: Stack) -> None:
        self._store = store
        self._stack = stack
        data = catalogue()
        self._renderer = Renderer(data.templates, data.plugins)

    def command(self, workload: Workload, environment: Environment, secrets: Secrets) -> list[str]:
        """Return the command line; the program is one of the environment."""
        python, *arguments = (self._joined(workload, text, secrets) for text in workload.command)
        return [str(environment.folder / "bin" / python), *arguments]

    def variables(self, workload: Workload, secrets: Secrets) -> dict[str, str]:
        """Return the environment variables, including secrets."""
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        own = {name: self._joined(workload, text, secrets) for name, text in workload.env.items()}
        # private: MLflow uses known names in TMPDIR, which other users could otherwise create or replace
        return inherited | own | {"TMPDIR": str(self._store.workload(workload.name).temporary)}

    def files(self, workload: Workload) -> dict[str, str]:
        """Return the contents of the workload's files by path in the folder of files.

        Raises:
            StateError: a file cannot hold a value.
        """

        def join(text: Text) -> str:
            return "".join(self._place(workload, piece) for piece in text)

        try:
            return self._renderer.files(workload, join)
        except Unrepresentable as error:
            raise StateError(f"the server's configuration cannot be written: {error}") from error

    def fingerprint(self, workload: Workload, environment: Environment) -> str:
        """Return a hash of command, environment and files, with references instead of secrets.

        Records of earlier releases contain this hash: another way to compute it would restart every server.
        """

        def shown(text: Text) -> list[str]:
            return [
                f"${{{piece.secret}/{piece.key}}}" if isinstance(piece, SecretRef) else self._place(workload, piece)
                for piece in text
            ]

        parts: list[object] = [
            str(environment.folder),
            [shown(text) for text in workload.command],
            {name: shown(text) for name, text in workload.env.items()},
            self.files(workload),
            workload.keys,
        ]
        if workload.name != SERVER:  # the environment of the server contains its port
            parts.append(workload.port)
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _joined(self, workload: Workload, text: Text, secrets: Secrets) -> str:
        return "".join(
            secrets[piece] if isinstance(piece, SecretRef) else self._place(workload, piece) for piece in text
        )

    def _place(self, workload: Workload, piece: Piece) -> str:
        match piece:
            case VolumePath(volume, path):
                return str(self._store.volume(volume) / path)
            case FilePath(name):
                return str(self._store.workload(workload.name).files / name)
            case Address(other):
                return f"{LOOPBACK}:{self._stack.workload(other).port}"
            case str():
                return piece
            case SecretRef(secret, key):
                raise Unrepresentable(f"secret {secret}/{key} in a file")
