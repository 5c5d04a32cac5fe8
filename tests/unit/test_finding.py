"""S3 keys as allas-conf, the AWS tools, s3cmd and rclone write them, and other content of the same files."""

import os
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployer.core.errors import NotFound
from deployer.core.remedies import Remedy
from deployer.storage.finding import find, summary

from .strategies import hostile

ALLAS = "https://a3s.fi"
ACCESS, SECRET = "0123456789abcdef0123456789abcdef", "canary-fedcba9876543210fedcba9876543210"
CREDENTIALS = f"[default]\nAWS_ACCESS_KEY_ID={ACCESS}\nAWS_SECRET_ACCESS_KEY={SECRET}\n"  # as allas-conf writes it
CONFIG = f"[default]\nendpoint_url = {ALLAS}\nregion = regionOne\n"
S3CFG = f"[default]\naccess_key = {ACCESS}\nsecret_key = {SECRET}\nhost_base = a3s.fi\nuse_https = True\n"
RCLONE = f"""[allas]
type = swift
env_auth = true

[s3allas]
type = s3
provider = Other
env_auth = false
access_key_id = {ACCESS}
secret_access_key = {SECRET}
endpoint = a3s.fi
acl = private
"""
FILES = {
    ".aws/credentials": CREDENTIALS,
    ".aws/config": CONFIG,
    ".s3cfg": S3CFG,
    ".config/rclone/rclone.conf": RCLONE,
}


def write(home, files):
    for name, text in files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())


def found(home, files, environment=None):
    write(home, files)
    return find(environment or {}, home)


@pytest.mark.parametrize(
    ("files", "source", "region"),
    [
        ([".aws/credentials", ".aws/config"], "~/.aws/credentials [default]", "regionOne"),
        ([".s3cfg"], "~/.s3cfg", None),
        ([".config/rclone/rclone.conf"], "~/.config/rclone/rclone.conf [s3allas]", None),
        (list(FILES), "~/.aws/credentials [default]", "regionOne"),
    ],
)
def test_keys_are_found_where_allas_conf_puts_them(tmp_path, files, source, region):
    keys = found(tmp_path, {name: FILES[name] for name in files}).for_endpoint(ALLAS)
    assert (keys.source, keys.endpoint, keys.region) == (source, ALLAS, region)
    assert (keys.access_key, keys.secret_key) == (ACCESS, SECRET)


PAIR = {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET}


@pytest.mark.parametrize("name", ["MLFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])
def test_the_environment_comes_first_with_the_endpoint_it_names(tmp_path, name):
    keys = found(tmp_path, FILES, {**PAIR, name: f"{ALLAS}/", "AWS_DEFAULT_REGION": "us"}).for_endpoint(ALLAS)
    assert (keys.source, keys.endpoint, keys.region) == ("the environment", ALLAS, "us")


def test_keys_for_this_service_precede_keys_without_a_service_and_other_keys_are_never_sent(tmp_path):
    files = {".aws/credentials": CREDENTIALS, ".s3cfg": S3CFG.replace("a3s.fi", "lumidata.eu")}
    findings = found(tmp_path, files)
    assert findings.for_endpoint("https://lumidata.eu").source == "~/.s3cfg"
    assert findings.for_endpoint(ALLAS).source == "~/.aws/credentials [default]"
    with pytest.raises(NotFound, match=r"~/\.s3cfg: keys for https://lumidata\.eu") as refused:
        found(tmp_path / "other", {".s3cfg": files[".s3cfg"]}).for_endpoint(ALLAS)
    assert refused.value.hint is Remedy.FIND_S3_KEYS


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://a3s.fi", "https://A3S.fi:443/", True),
        ("http://a3s.fi", "https://a3s.fi", False),
        ("https://a3s.fi", "https://a3s.fi:8443", False),
        ("https://a3s.fi", "https://a3s.fi.example.org", False),
    ],
)
def test_scheme_host_and_port_identify_a_service(tmp_path, one, other, same):
    findings = found(tmp_path, {}, {**PAIR, "AWS_ENDPOINT_URL": one})
    assert bool([keys for keys in findings.keys if keys.endpoint]) is True
    if same:
        assert findings.for_endpoint(other).access_key == ACCESS
    else:
        with pytest.raises(NotFound):
            findings.for_endpoint(other)


def test_a_profile_and_files_named_by_the_environment_are_read(tmp_path):
    other = f"[lab]\naws_access_key_id={ACCESS}\naws_secret_access_key={SECRET}\n"
    config = f"[profile lab]\nservices = store\n[services store]\ns3 =\n  endpoint_url = {ALLAS}\n"
    write(tmp_path, {"mine": other, "settings": config, "rclone": RCLONE})
    environment = {
        "AWS_PROFILE": "lab",
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "mine"),
        "AWS_CONFIG_FILE": str(tmp_path / "settings"),
        "RCLONE_CONFIG": str(tmp_path / "rclone"),
    }
    assert [(keys.source, keys.endpoint) for keys in find(environment, tmp_path).keys] == [
        ("~/mine [lab]", ALLAS),
        ("~/rclone [s3allas]", ALLAS),
    ]


UNUSABLE = {
    "a token in the environment": ({}, {**PAIR, "AWS_SESSION_TOKEN": SECRET}, "AWS_SESSION_TOKEN"),
    "half a pair in the environment": ({}, {"AWS_ACCESS_KEY_ID": ACCESS}, "one half"),
    "a token": ({".aws/credentials": f"{CREDENTIALS}aws_session_token={SECRET}\n"}, {}, "aws_session_token"),
    "a role": ({".aws/credentials": f"{CREDENTIALS}role_arn={SECRET}\n"}, {}, "role_arn"),
    "a program": ({".aws/credentials": f"[default]\ncredential_process={SECRET}\n"}, {}, "credential_process"),
    "half a pair": ({".aws/credentials": f"[default]\naws_secret_access_key={SECRET}\n"}, {}, "one half"),
    "no section": ({".aws/credentials": f"aws_secret_access_key={SECRET}\n"}, {}, "no configuration file (line 1)"),
    "no assignment": ({".aws/credentials": f"[default]\n{SECRET}\n"}, {}, "no configuration file (line 2)"),
    "not UTF-8": ({".aws/credentials": b"[default]\n\xff\xfe"}, {}, "not UTF-8"),
    "too large": ({".aws/credentials": "#" * (1 << 20) + "\n" + CREDENTIALS}, {}, "larger than 1 MiB"),
    "a key of two lines": ({".s3cfg": S3CFG.replace(SECRET, f"{SECRET}\n  {SECRET}")}, {}, "cannot be sent"),
    "a key with blanks": ({".s3cfg": S3CFG.replace(SECRET, f"{SECRET} {SECRET}")}, {}, "cannot be sent"),
    "a key that is not ASCII": ({".s3cfg": S3CFG.replace(SECRET, f"{SECRET}ä")}, {}, "cannot be sent"),
    "an endless key": ({".s3cfg": S3CFG.replace(SECRET, SECRET * 20)}, {}, "cannot be sent"),
    "a password in the endpoint": (
        {".s3cfg": S3CFG.replace("a3s.fi", f"me:{SECRET}@a3s.fi")}, {}, "must not hold keys",
    ),
    "a bucket in the endpoint": ({".s3cfg": S3CFG.replace("a3s.fi", f"a3s.fi/{SECRET}")}, {}, "without bucket"),
    "a template of s3cmd": ({".s3cfg": S3CFG.replace("= a3s.fi", f"= %(x)s.{SECRET} y")}, {}, "must be a URL"),
    "a region that is none": ({".s3cfg": f"{S3CFG}bucket_location = a b {SECRET}\n"}, {}, "its region is none"),
    "a token of s3cmd": ({".s3cfg": f"{S3CFG}access_token = {SECRET}\n"}, {}, "access_token"),
    "a token of rclone": ({".config/rclone/rclone.conf": f"{RCLONE}session_token = {SECRET}\n"}, {}, "session_token"),
    "an encrypted file": (
        {".config/rclone/rclone.conf": f"# Encrypted rclone configuration File\n\nRCLONE_ENCRYPT_V0:\n{SECRET}"},
        {}, "is encrypted",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", UNUSABLE)
def test_unusable_keys_are_named_with_the_reason_and_never_quoted(tmp_path, case):
    files, environment, reason = UNUSABLE[case]
    findings = found(tmp_path, files, environment)
    assert findings.keys == ()
    assert [passed for passed in findings.passed if reason in passed.reason], findings.passed
    with pytest.raises(NotFound) as refused:
        findings.for_endpoint(ALLAS)
    assert "canary" not in f"{refused.value.message} {refused.value.hint} {findings!r}"


def test_an_unreadable_file_is_named_without_waiting(tmp_path):
    (tmp_path / ".aws" / "credentials").mkdir(parents=True)
    os.mkfifo(tmp_path / ".s3cfg")
    with socket.socket(socket.AF_UNIX) as listener:
        (tmp_path / ".config" / "rclone").mkdir(parents=True)
        listener.bind(str(tmp_path / ".config" / "rclone" / "rclone.conf"))
        reasons = {passed.source: passed.reason for passed in find({}, tmp_path).passed}
    assert reasons["~/.aws/credentials [default]"] == "is not a file"
    assert reasons["~/.s3cfg"] == "is not a file"
    assert "cannot be read" in reasons["~/.config/rclone/rclone.conf"]


def test_values_are_read_verbatim(tmp_path):
    odd = "a%b%(c)s;d#e/f+g=="
    text = CREDENTIALS.replace(SECRET, odd)
    assert found(tmp_path, {".aws/credentials": f"\ufeff{text}"}).keys[0].secret_key == odd


def test_the_summary_names_sources_and_shows_no_key(tmp_path):
    findings = found(tmp_path, {**FILES, ".s3cfg": S3CFG.replace("a3s.fi", "lumidata.eu")})
    lines = summary(findings, findings.for_endpoint(ALLAS))
    assert lines[0] == "S3 keys from ~/.aws/credentials [default]"
    assert "not used: ~/.s3cfg (for https://lumidata.eu)" in lines
    assert not [line for line in lines if ACCESS in line or SECRET in line]
    assert SECRET not in repr(findings)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.one_of(hostile, st.binary(max_size=200), hostile.map(lambda part: CREDENTIALS + part)), name=hostile)
def test_no_content_of_a_file_ends_the_search_or_is_shown(tmp_path, text, name):
    section = f"[{name}]\ntype = s3\naccess_key_id = {ACCESS}\nsecret_access_key = {SECRET}\n"
    content = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    write(
        tmp_path, {".aws/credentials": content, ".config/rclone/rclone.conf": section.encode("utf-8", "surrogatepass")}
    )
    findings = find(PAIR, tmp_path)
    assert findings.for_endpoint(ALLAS).source == "the environment"
    shown = "\n".join(summary(findings, findings.keys[0]))
    assert SECRET not in shown
    assert all(character.isprintable() or character == "\n" for character in shown)


def write_text(home, path, text):
    (home / path).parent.mkdir(parents=True, exist_ok=True)
    (home / path).write_text(text)


UNNAMED_S3CMD = "[default]\naccess_key = TEAM\nsecret_key = word\n"
UNNAMED_RCLONE = "[far]\ntype = s3\nprovider = AWS\naccess_key_id = TEAM\nsecret_access_key = word\n"


@pytest.mark.parametrize(("path", "text"), [(".s3cfg", UNNAMED_S3CMD), (".config/rclone/rclone.conf", UNNAMED_RCLONE)])
def test_keys_without_a_service_are_for_amazon_if_their_program_says_so(tmp_path, path, text):
    write_text(tmp_path, path, text)
    with pytest.raises(NotFound, match=r"keys for https://s3\.amazonaws\.com"):
        find({}, tmp_path).for_endpoint("https://a3s.fi")
    assert find({}, tmp_path).for_endpoint("https://s3.amazonaws.com").access_key == "TEAM"


def test_keys_of_amazon_s_form_are_sent_to_other_services_only_from_the_environment(tmp_path):
    pair = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "word"}
    lines = "".join(f"{key} = {value}\n" for key, value in pair.items())
    write_text(tmp_path, ".aws/credentials", f"[default]\n{lines}")
    with pytest.raises(NotFound, match=r"keys for https://s3\.amazonaws\.com"):
        find({}, tmp_path).for_endpoint("https://a3s.fi")
    assert find(pair, tmp_path).for_endpoint("https://a3s.fi").source == "the environment"


def test_keys_in_the_environment_win_over_files_that_name_the_service(tmp_path):
    write_text(tmp_path, ".s3cfg", f"{UNNAMED_S3CMD}host_base = a3s.fi\n")
    environment = {"AWS_ACCESS_KEY_ID": "MINE", "AWS_SECRET_ACCESS_KEY": "word"}
    assert find(environment, tmp_path).for_endpoint("https://a3s.fi").access_key == "MINE"
    elsewhere = {**environment, "AWS_ENDPOINT_URL": "https://lumidata.eu"}
    assert find(elsewhere, tmp_path).for_endpoint("https://a3s.fi").access_key == "TEAM"


@pytest.mark.parametrize("named", ["~/here", "$HOME/here", "${PLACE}/here"])
def test_a_file_named_by_the_environment_is_found_as_the_aws_tools_find_it(tmp_path, named):
    write_text(tmp_path, "here", "[default]\naws_access_key_id = TEAM\naws_secret_access_key = word\n")
    environment = {"AWS_SHARED_CREDENTIALS_FILE": named, "PLACE": str(tmp_path)}
    assert find(environment, tmp_path).for_endpoint("https://a3s.fi").access_key == "TEAM"
