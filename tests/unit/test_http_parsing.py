"""Replacements for parsers with quadratic time or unbounded memory give the same results."""

import gzip
import http.cookies
import re
import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.core.secrets.logins import MAX_PASSWORD
from deployer.plugin.auth.credentials_header import LONGEST
from deployer.plugin.bodies.compressed import TooLarge, decompressed
from deployer.plugin.serving.http_parsing import LARGEST_HEAD, LINEAR, MOST_LINES, is_too_large, linear, unquoted

HEADER, CHUNK = LINEAR
BLANKS = b" " * 30_000
SECONDS = 1.0  # of CPU time; the quadratic parsers take at least 3


def of_h11(pattern):
    return re.compile(pattern)


@given(st.sampled_from([HEADER, CHUNK]), st.text("a1;: \t\r\n\x0b\x00\xe9", max_size=12))
def test_the_linear_expression_matches_the_same_lines_with_the_same_groups(pattern, text):
    for prefix in ("", "A:", "1", "1;"):
        for end in ("", "\r\n"):
            line = (prefix + text + end).encode("latin-1")
            before, after = of_h11(pattern).fullmatch(line), linear(of_h11(pattern)).fullmatch(line)
            assert (before and before.groupdict()) == (after and after.groupdict())


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        (HEADER, b"A:" + BLANKS + b"\x0b"),
        (HEADER, b"A:" + BLANKS + b"a\x0b"),
        (HEADER, b"A:a" + BLANKS + b"\x0b"),
        (HEADER, b"A:" + b"a " * 15_000 + b"\x0b"),
        (CHUNK, b"1;" + BLANKS + b"\n\r\n"),
        (CHUNK, b"1" + BLANKS + b"\n\r\n"),
    ],
)
def test_no_line_takes_quadratic_time(pattern, line):
    begun = time.process_time()
    assert linear(of_h11(pattern)).fullmatch(line) is None
    assert time.process_time() - begun < SECONDS


def test_other_expressions_are_not_replaced():
    other = re.compile(HEADER + b" ?")
    assert linear(other) is other


@given(st.text('"\\01238a\xe9', max_size=12))
def test_a_cookie_is_read_as_python_reads_it(value):
    for one in (value, f'"{value}"'):
        if not one.endswith('\\"'):  # older Pythons leave a backslash before the end
            assert unquoted(one) == http.cookies._unquote(one)


def test_no_cookie_takes_quadratic_time():
    begun = time.process_time()
    assert unquoted('"' + '\\"' * 15_000 + '"') == '"' * 15_000
    assert time.process_time() - begun < SECONDS


@pytest.mark.parametrize(
    ("size", "lines", "refused"),
    [(LARGEST_HEAD, MOST_LINES, False), (LARGEST_HEAD + 1, 2, True), (1000, MOST_LINES + 1, True)],
)
def test_a_head_has_a_limit_of_bytes_and_of_lines(size, lines, refused):
    assert is_too_large(size, lines) is refused


def test_the_longest_password_of_any_characters_fits_into_a_login_header():
    assert len("Basic ") + 4 * (255 * 4 + 1 + MAX_PASSWORD * 4) / 3 + 4 < LONGEST


def raw(content):
    packed = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packed.compress(content) + packed.flush()


PACKED = [("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", raw)]


@pytest.mark.parametrize(("encoding", "pack"), PACKED)
@pytest.mark.parametrize("size", [0, 1, 1000])
def test_a_body_is_decompressed_up_to_its_bound(encoding, pack, size):
    content = bytes(size)
    assert decompressed(pack(content), encoding, 1000) == content
    with pytest.raises(TooLarge):
        decompressed(pack(bytes(1001)), encoding, 1000)


@pytest.mark.parametrize(("encoding", "pack"), PACKED)
def test_a_body_that_is_not_one_stream_is_refused(encoding, pack):
    packed = pack(b"content")
    for wrong in (b"", packed[:-1], packed + b"x", packed + packed, b"content"):
        with pytest.raises(ValueError, match=encoding):
            decompressed(wrong, encoding, 1000)


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "identity"])
def test_an_unknown_encoding_is_refused(encoding):
    with pytest.raises(ValueError, match=encoding):
        decompressed(gzip.compress(b"content"), encoding, 1000)
