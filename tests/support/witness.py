"""Collects every secret that a server ever had, and every output; no output may contain a secret.

Each machine has a witness. SESSION collects the secrets and outputs of all witnesses of a pytest process.
"""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from tests.support.secrecy import SHORTEST, Finding, Scanner

# user names and key ids are no secrets
PUBLIC = frozenset({"username", "s3-access-key-id"})


class Witness:
    """Collects secrets and outputs; `above` gets all of them too."""

    def __init__(self, above: Witness | None = None) -> None:
        self._above = above
        self._names: dict[str, str] = {}
        self._scanner: Scanner | None = None
        self._heard: list[tuple[str, bytearray]] = []
        self._found: list[Finding] = []
        self._examined = [0, 0]

    @property
    def secrets(self) -> dict[str, str]:
        """Return the names of all secrets, by value."""
        return dict(self._names)

    def learn(self, name: str, value: str) -> None:
        """Add a secret, unless it is too short for a search."""
        if value not in self._names and len(value) >= SHORTEST:
            self._names[value] = name
            self._scanner = None
            if self._above:
                self._above.learn(name, value)

    def learn_all(self, name: str, document: Any) -> None:
        """Add all texts in a document of secrets."""
        for key, value in leaves(document):
            if key[-1] not in PUBLIC:
                self.learn(f"{'/'.join(key)} of {name}", value)

    def listen(self, where: str) -> Callable[[bytes], None]:
        """Return a function that takes an output piece by piece; `findings` searches the whole output."""
        heard = bytearray()
        self._hear(where, heard)
        return heard.extend

    def _hear(self, where: str, heard: bytearray) -> None:
        self._heard.append((where, heard))
        if self._above:
            self._above._hear(where, heard)  # also a Witness

    def examine(self, content: bytes | str, where: str) -> None:
        """Search a text now, because it will not exist later or is too large to store."""
        self._found += self.scanner.scan(content, where)
        witness: Witness | None = self
        while witness:
            witness._count(len(content))
            witness = witness._above

    def _count(self, size: int) -> None:
        self._examined[0] += 1
        self._examined[1] += size

    @property
    def scanner(self) -> Scanner:
        """Return a scanner for all secrets that are known by now."""
        if self._scanner is None:
            self._scanner = Scanner(self._names)
        return self._scanner

    def findings(self) -> list[Finding]:
        """Return every secret in the wrong place."""
        heard = [finding for where, content in list(self._heard) for finding in self.scanner.scan(content, where)]
        return list(dict.fromkeys([*self._found, *heard]))

    def figures(self) -> tuple[int, int, int]:
        """Return the number of known secrets, the number of searched texts, and their bytes."""
        heard = [content for _, content in self._heard if content]
        return len(self._names), len(heard) + self._examined[0], sum(map(len, heard)) + self._examined[1]


SESSION = Witness()


def leaves(document: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield every text of nested mappings and lists, with the keys that lead to it."""
    if isinstance(document, str) and path:
        yield path, document
    elif isinstance(document, list):
        for index, item in enumerate(document):
            yield from leaves(item, (*path, str(index)))
    elif isinstance(document, dict):
        for key, item in document.items():
            yield from leaves(item, (*path, key))


def parsed(content: bytes) -> Any:
    """Return a JSON document, or None if the content is not JSON."""
    try:
        return json.loads(content)
    except ValueError:
        return None


def fail_if_any(findings: Iterable[Finding]) -> None:
    """Fail the test with a list of the findings, if there are any."""
    if told := "\n".join(map(str, findings)):
        pytest.fail(f"secrets in the wrong place:\n{told}", pytrace=False)


class HeardProcess(subprocess.Popen[str]):
    """A process that passes a copy of its outputs to functions, whatever way the outputs are read."""

    def __init__(self, *args: Any, hear: tuple[Callable[[bytes], None], Callable[[bytes], None]], **options: Any):
        super().__init__(*args, text=True, **options)
        self._hear = hear
        self.stdout, self.stderr = (
            _tapped(stream, to) if stream else None for stream, to in zip((self.stdout, self.stderr), hear, strict=True)
        )

    def communicate(self, *args: Any, **options: Any) -> tuple[str, str]:
        both = super().communicate(*args, **options)  # may bypass the wrapped streams
        for output, hear in zip(both, self._hear, strict=True):
            hear((output or "").encode(errors="surrogateescape"))
        return both


class _Tap(io.RawIOBase):
    """Reads another stream, and passes a copy of the bytes to a function."""

    def __init__(self, raw: io.RawIOBase, hear: Callable[[bytes], None]) -> None:
        self._raw, self._hear = raw, hear

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def readinto(self, buffer: Any) -> int | None:
        count = self._raw.readinto(buffer)
        self._hear(bytes(memoryview(buffer)[: count or 0]))
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


def _tapped(stream: Any, hear: Callable[[bytes], None]) -> io.TextIOWrapper:
    encoding, errors = stream.encoding, stream.errors
    return io.TextIOWrapper(io.BufferedReader(_Tap(stream.detach().detach(), hear)), encoding, errors)
