"""The server on the command line: a name, an address in one spelling, or a mistake with a message."""

from __future__ import annotations

import pytest

from deployer.cli.login_options import address_in
from deployer.core.errors import UsageError


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("mlflow", None),
        ("https://mlflow.example.org", "https://mlflow.example.org"),
        ("HTTPS://mlflow.example.org/", "https://mlflow.example.org"),
        ("https://example.org:8443/mlflow//", "https://example.org:8443/mlflow"),
        ("http://[::1]:5000", "http://[::1]:5000"),
    ],
)
def test_an_address_is_distinguished_from_a_name(typed: str, address: str | None) -> None:
    assert address_in(typed) == address


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("mlflow.example.org", "neither a name nor an address"),
        ("ftp://example.org", "neither a name nor an address"),
        ("https://alice:canary@example.org", "does not belong into the address"),
        ("https://", "not a server's address"),
        ("http://$(id)", "not a server's address"),
        ("http://a b", "not a server's address"),
        ("http://example.org:99999", "not a server's address"),
        ("http://example.org/?canary=1", "not a server's address"),
        ("http://example.org\n", "not a server's address"),
    ],
)
def test_a_mistake_is_named_and_no_secret_is_quoted(typed: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        address_in(typed)
    assert refused.value.hint
    assert "canary" not in refused.value.message
