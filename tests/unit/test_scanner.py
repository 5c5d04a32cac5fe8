"""The scanner of the suite finds a secret in every form and at every place, and nothing else."""

import base64
import html
import json
import random
import re
import shlex
import urllib.parse

import pytest
import yaml

from tests.support.secrecy import Scanner

GENERATED = "q7-Zt_0aXw3mK9vB2nR5yL8cJ4hT6gDs"
FERNET = "n3Qv-8yJkLm2PzXw5RtB7cHd9fGs1AaEeUuIiOo4_6Y="
HOSTILE = "p%w$ \"q'`\\; #:=&{{x}}<é>/+?"
SECRETS = {"generated": GENERATED, "fernet": FERNET, "hostile": HOSTILE}
NAMES = {value: name for name, value in SECRETS.items()}

WRITERS = {
    "raw": str,
    "repr": repr,
    "json": json.dumps,
    "json, letters kept": lambda text: json.dumps(text, ensure_ascii=False),
    "json in json": lambda text: json.dumps(json.dumps({"password": text})),
    "json by go": lambda text: json.dumps(text).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"),
    "json by php": lambda text: json.dumps(text).replace("/", "\\/"),
    "url": lambda text: f"http://admin:{urllib.parse.quote(text, safe='')}@host/",
    "url, lower": lambda text: re.sub("%..", lambda code: code[0].lower(), urllib.parse.quote(text, safe="")),
    "path": urllib.parse.quote,
    "form": lambda text: urllib.parse.urlencode({"password": text}),
    "html": html.escape,
    "shell": shlex.quote,
    "yaml": lambda text: yaml.safe_dump({"password": text}, allow_unicode=True),
    "yaml, double": lambda text: yaml.safe_dump({"password": text}, default_style='"', width=20, allow_unicode=True),
    "shell, backslashes": lambda text: re.sub(r"(\W)", r"\\\1", text),
    "shell, double quotes": lambda text: '"' + re.sub(r'(["$`\\])', r"\\\1", text) + '"',
    "ini": lambda text: text.replace("%", "%%"),
    "bytes": lambda text: repr(text.encode()),
    "base64 in lines": lambda text: base64.encodebytes(f"{'x' * 50}{text}".encode()).decode(),
    "wrapped": lambda text: f"Error: {text[:7]}\n    {text[7:]}",
}


def names(findings):
    return {finding.secret for finding in findings}


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("writer", WRITERS)
def test_every_form_is_found_and_named_and_not_shown(writer, name):
    written = WRITERS[writer](SECRETS[name])
    found = Scanner(NAMES).scan(f"before {written} after", "a log")
    assert names(found) == {name}
    told = " ".join(map(str, found)) + repr(found)
    assert SECRETS[name] not in told
    assert "a log" in told


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("before", range(7))
@pytest.mark.parametrize("after", range(4))
def test_base64_is_found_at_any_alignment(name, encode, padded, before, after):
    written = encode(b"user:pw"[:before] + SECRETS[name].encode() + b"\nxy"[:after]).decode()
    header = f"Authorization: Basic {written if padded else written.rstrip('=')}"
    assert names(Scanner(NAMES).scan(header, "a header")) == {name}


def test_the_password_in_a_basic_header_is_found_for_any_user_name():
    for user in ("a", "al", "ann", "admin", "a b%c@d"):
        login = base64.b64encode(f"{user}:{GENERATED}".encode())
        assert names(Scanner(NAMES).scan(b"Basic " + login, "a header")) == {"generated"}


@pytest.mark.parametrize("place", [0, 1, 2, 3, 4, 5, 6, 7, 4_000_000, 7_999_999])
def test_a_canary_among_megabytes_is_found_at_its_place(place):
    noise = random.Random(place).randbytes(8_000_000).translate(None, b" \t\r\n\\")
    (found,) = Scanner(NAMES).scan(noise[:place] + GENERATED.encode() + noise[place:], "noise")
    assert (found.secret, found.form, found.offset) == ("generated", "raw", min(place, len(noise)))


@pytest.mark.parametrize(
    "near",
    [
        GENERATED[:-1],
        GENERATED[1:],
        GENERATED.swapcase(),
        GENERATED[::-1],
        GENERATED[:15] + "-" + GENERATED[15:],
        GENERATED[:10] + "x" + GENERATED[11:],
        base64.b64encode(GENERATED[:-1].encode()).decode()[:40],
        base64.b64encode(("x" + GENERATED[1:]).encode()).decode(),
        json.dumps(HOSTILE[:-1]),
        "password",
        "",
    ],
)
def test_a_text_similar_to_a_secret_is_not_reported(near):
    assert Scanner(NAMES).scan(f"before {near} after" * 3, "a log") == []


def test_every_form_in_one_text_is_reported_once():
    text = f"{GENERATED} {GENERATED} {base64.b64encode(GENERATED.encode()).decode()} {FERNET}"
    assert [(found.secret, found.form) for found in Scanner(NAMES).scan(text, "a log")] == [
        ("fernet", "raw"),
        ("generated", "base64 after 0 bytes"),
        ("generated", "raw"),
    ]


def test_many_secrets_are_found_in_one_pass():
    chance = random.Random(1)
    secrets = {f"s{i}": base64.urlsafe_b64encode(chance.randbytes(24)).decode() for i in range(2000)}
    text = "\n".join(secrets[f"s{i}"] for i in range(0, 2000, 500))
    assert names(Scanner({value: name for name, value in secrets.items()}).scan(text, "a log")) == {
        "s0",
        "s500",
        "s1000",
        "s1500",
    }


def test_every_form_of_a_secret_is_redacted():
    text = f"raw {GENERATED}, json {json.dumps(HOSTILE)}, header {base64.b64encode(f'a:{FERNET}'.encode()).decode()}"
    redacted = Scanner(NAMES).redact(text)
    assert Scanner(NAMES).scan(redacted, "") == []
    assert redacted.startswith("raw <generated>, json ")
    assert "header" not in Scanner(NAMES).redact(f"header {GENERATED[:9]}\n  {GENERATED[9:]}")


def test_the_place_of_a_finding_does_not_show_the_secret():
    (found,) = Scanner(NAMES).scan(GENERATED, f"the output of `echo {GENERATED}`")
    assert found.where == "the output of `echo <generated>`"


@pytest.mark.parametrize("short", ["", "password", "elevenchars", "a b c d e f g", "\\" * 20])
def test_a_secret_that_is_too_short_is_refused(short):
    with pytest.raises(ValueError, match="too short"):
        Scanner({short: "short"})
