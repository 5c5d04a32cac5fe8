"""Valid lists for NO_PROXY, and how Python's own clients read the written list."""

import urllib.request

import pytest
from hypothesis import given

from deployer.core.spec.bypass import bypass_problem, written

from .strategies import bypasses


@pytest.mark.parametrize(
    "text",
    [
        *("*", "localhost", "a.example.org", ".example.org", "*.example.org", ".svc", "a_b.example.org", "EXAMPLE.org"),
        *(
            "10.0.0.1",
            "10.0.0.0/8",
            "::1",
            "fd00::/8",
            "[::1]:8080",
            "10.0.0.1:80",
            "a.org:443",
            ".org:80",
            "*.a.org:80",
        ),
        *("a,b", "a, b , c", ".svc,.cluster.local,10.0.0.0/8,127.0.0.1,localhost"),
    ],
)
def test_a_list_of_hosts_is_accepted(text):
    assert bypass_problem(text) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        *(
            (text, "must be a host such as")
            for text in ("a b", "-a", "a*", "*a", "*.", ".", "..a", "a..b", "é", "a;b", "a@b")
        ),
        *(
            (text, "must be a host such as")
            for text in ("1.2", "1.2.3.4.5", "10.0.0.0/33", "a/8", "10.0.0.0/255.0.0.0")
        ),
        *((text, "must be a host such as") for text in ("fe80::1%eth0", "[a]:80", "a:b", "a:80:90")),
        *((text, "is empty") for text in ("", ",", "a,", "a,,b", " ")),
        ("a,*", "item 2 is *, which must be the only one"),
        ("http://a.org", "has a scheme"),
        ("a,b:0", "item 2 (b:0) has a wrong port"),
        ("a:65536", "has a wrong port"),
    ],
)
def test_an_invalid_list_is_refused_with_the_reason(text, words):
    assert words in bypass_problem(text)


@given(bypasses)
def test_a_written_list_is_valid_and_stays_the_same_if_written_again(text):
    assert bypass_problem(text) is None
    assert bypass_problem(written(text)) is None
    assert written(written(text)) == written(text)


@pytest.mark.parametrize("text", ["*", "*.example.org", ".example.org", "a.org , *.example.org"])
def test_python_recognizes_the_hosts_of_a_written_list(text):
    assert urllib.request.proxy_bypass_environment("s3.example.org", {"no": written(text)})
