"""Counts the parts of a trace export before it is decoded; does not import deployer.

Decoded, an empty message of 2 bytes takes 60 bytes (google.protobuf), a JSON value takes 100 bytes, and a span takes an
MLflow object of some KB. 32 MB of the smallest spans would take gigabytes.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

LIGHT = 1 << 18  # bytes; a smaller export is not counted, because it cannot have too many parts
MOST_PARTS = 1 << 20  # an attribute has four; the largest usual batches have 8,192 spans (OpenTelemetry's collector)
MOST_COMMAS = 300_000  # in JSON; an attribute has two or three
WEIGHTS = {"Span": 20, "Event": 4, "Link": 4}  # of messages whose objects are large
VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5  # https://protobuf.dev/programming-guides/encoding/
LONGEST_VARINT = 10  # bytes

Schema = MutableMapping[int, tuple[int, "Schema"]]  # field number -> weight and fields of its message


def schema(message: Any, known: dict[str, Schema] | None = None) -> Schema:
    """Return those fields of a message type whose values are messages; `message` is the descriptor of the type."""
    known = {} if known is None else known
    if message.full_name not in known:
        fields = known[message.full_name] = {}
        for field in message.fields:
            if inner := field.message_type:
                fields[field.number] = (WEIGHTS.get(inner.name, 1), schema(inner, known))
    return known[message.full_name]


def has_too_many(content: bytes, kind: str, root: Schema) -> bool:
    """Tell whether an export has too many parts; `kind` is its media type.

    Raises:
        ValueError: the export does not match `root`, the schema of its message type.
    """
    if len(content) <= LIGHT:
        return False
    if kind == "application/json":
        return content.count(b",") > MOST_COMMAS
    return weight(content, root, MOST_PARTS) > MOST_PARTS


def weight(content: bytes, root: Schema, most: int) -> int:
    """Count the length-delimited parts of a message; stop soon after `most`.

    A part counts several times if its decoded object is large (WEIGHTS).

    Raises:
        ValueError: the message is not complete, or has parts that its schema cannot have.
    """
    total, left = 0, [(root, 0, len(content))]
    while left and total <= most:
        fields, at, end = left.pop()
        while at < end and total <= most:
            tag, at = varint(content, at)
            encoding = tag & 7
            if encoding == VARINT:
                _, at = varint(content, at)
            elif encoding == FIXED64:
                at += 8
            elif encoding == FIXED32:
                at += 4
            elif encoding == DELIMITED:
                length, at = varint(content, at)
                of_field, inner = fields.get(tag >> 3, (1, None))
                total += of_field
                if inner is not None and length and at + length <= end:
                    left.append((inner, at, at + length))
                at += length
            else:
                raise ValueError(f"an encoding that is not used: {encoding}")
        if at > end:
            raise ValueError("a part that is longer than what it is a part of")
    return total


def varint(content: bytes, at: int) -> tuple[int, int]:
    """Return the number at an offset and the offset after it.

    Raises:
        ValueError: there is no complete number.
    """
    if at < len(content) and (first := content[at]) < 128:  # nearly always
        return first, at + 1
    value = 0
    for shift, byte in enumerate(content[at : at + LONGEST_VARINT]):
        value |= (byte & 127) << (7 * shift)
        if byte < 128:
            return value, at + shift + 1
    raise ValueError("a number without an end")
