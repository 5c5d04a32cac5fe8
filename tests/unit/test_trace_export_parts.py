"""Counting the parts of an export of traces, with messages of a small schema."""

from __future__ import annotations

import math

import pytest

from deployer.plugin.bodies import trace_export_parts
from deployer.plugin.bodies.decoded import MOST_QUERY, MOST_VALIDATED, MOST_VALUES, bounds
from deployer.plugin.bodies.trace_export_parts import LIGHT, MOST_COMMAS, Schema, has_too_many, weight

VALUE: Schema = {}
VALUE[1] = (1, VALUE)  # of values
ROOT: Schema = {2: (20, {9: (1, VALUE)})}


def delimited(number: int, content: bytes) -> bytes:
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content


SPAN = delimited(2, b"")


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        pytest.param(b"", 0, id="nothing"),
        pytest.param(SPAN * 3, 60, id="messages of some weight"),
        pytest.param(delimited(2, delimited(9, b"") * 2), 22, id="messages in a message"),
        pytest.param(delimited(2, delimited(9, delimited(1, delimited(1, b"")))), 23, id="a message in itself"),
        pytest.param(delimited(7, b"\xff\xff"), 1, id="a text, which is not looked into"),
        pytest.param(b"\x08\xff\x01" + b"\x09" + bytes(8) + b"\x0d" + bytes(4) + SPAN, 20, id="numbers"),
        pytest.param(b"\x12\x80\x01" + bytes([8 << 3 | 2, 126]) + bytes(126), 21, id="a length of two bytes"),
    ],
)
def test_each_part_counts(content: bytes, wanted: int) -> None:
    assert weight(content, ROOT, 1000) == wanted


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\x12\x05", id="shorter than it says"),
        pytest.param(b"\x12", id="no length"),
        pytest.param(b"\x08" + b"\xff" * 100, id="an endless number"),
        pytest.param(b"\x13", id="a group"),
        pytest.param(b"\x09\x00", id="half a number"),
        pytest.param(SPAN * 5 + b"\xff", id="complete parts before"),
        pytest.param(delimited(2, bytes([9 << 3 | 2, 1])) + SPAN, id="longer than its message"),
    ],
)
def test_an_incomplete_message_is_an_error(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"encoding|longer|without"):
        weight(content, ROOT, 1000)


def test_counting_ends_above_the_limit() -> None:
    assert weight(SPAN * 100 + b"\xff", ROOT, 50) == 60


def test_only_large_contents_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not has_too_many(b"\xff" * LIGHT, "application/x-protobuf", ROOT)
    monkeypatch.setattr(trace_export_parts, "MOST_PARTS", 1000)
    assert has_too_many(SPAN * LIGHT, "application/x-protobuf", ROOT)
    assert not has_too_many(b"," * MOST_COMMAS, "application/json", ROOT)
    assert has_too_many(b"," * (MOST_COMMAS + 1), "application/json", ROOT)


@pytest.mark.parametrize(
    ("path", "length", "wanted"),
    [
        ("/graphql", MOST_VALUES, (math.inf, math.inf)),
        ("/graphql", MOST_QUERY + 1, (MOST_QUERY, math.inf)),
        ("/prefix/graphql", math.inf, (MOST_QUERY, math.inf)),
        ("/validated", math.inf, (MOST_VALIDATED, MOST_VALUES)),
        ("/validated", MOST_VALUES, (math.inf, math.inf)),
        ("/other", math.inf, (math.inf, math.inf)),
    ],
)
def test_bodies_have_bounds_by_route(path: str, length: float, wanted: tuple[float, float]) -> None:
    assert bounds({"path": path}, length, lambda scope: scope["path"] == "/validated") == wanted
