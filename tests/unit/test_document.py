import sys
from contextlib import contextmanager

import pytest

from deployer.core.errors import InvalidSpec
from deployer.core.remedies import Remedy
from deployer.core.spec import document
from deployer.core.spec.document import MAX_BYTES, MAX_DEPTH, parse, validate

from .strategies import HEADER, spec_file

# twice as many as the slowest file needs; quadratic growth would need thousands
CALLS_PER_BYTE, CALLS = 150, 10_000


@contextmanager
def few_calls(raw):
    """Limit the number of function calls for a file: unlike a time, this number is the same on every machine."""
    calls = 0

    def count(_frame, event, _function):
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(None)
        assert calls < CALLS_PER_BYTE * len(raw) + CALLS


def filled(head, unit, tail=b""):
    """Return a file of the largest size that a spec may have."""
    return head + unit * ((MAX_BYTES - len(head) - len(tail)) // len(unit)) + tail


def numbered(template):
    """Return the largest number of different lines that a spec may have."""
    count = MAX_BYTES // len(template % 10**6)
    return b"".join(template % number for number in range(10**6, 10**6 + count))


def bomb(levels):
    lines = [b"a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [b"a%d: &a%d [%s]" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, levels)]
    return b"\n".join(lines)


UNUSABLE = {
    "nothing": (b"", "empty"),
    "blank": (b" \n\n", "empty"),
    "comments only": (b"# a\n# b\n", "empty"),
    "null": (b"null", "empty"),
    "byte order mark only": (b"\xef\xbb\xbf", "empty"),
    "not UTF-8": (b"kind: \xff", "not UTF-8 text (byte 6)"),
    "UTF-16": ("kind: MLflowServer".encode("utf-16"), "not UTF-8 text (byte 0)"),
    "an archive": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", "not UTF-8 text"),
    "a surrogate": (b"kind: \xed\xa0\x80", "not UTF-8 text"),
    "10 MB": (b"a" * 10_000_000, "so not a spec"),
    "one byte too many": (b"a" * (MAX_BYTES + 1), "so not a spec"),
    "NUL": (b"kind: \x00", "#x0000"),
    "escape": (b"kind: \x1b[31m", "#x001b"),
    "a list": (b"- kind: MLflowServer\n", "must be a mapping"),
    "text": (b"kind", "must be a mapping"),
    "a number": (b"42", "must be a mapping"),
    "a set": (b"!!set {a: }", ""),
    "several documents": (b"a: 1\n---\nb: 2\n", "a second document begins here"),
    "a tab": (b"spec:\n\tmlflow: {}\n", "has a tab"),
    "a bomb": (bomb(9), "line 2: anchors and aliases are not allowed"),
    "an alias of itself": (b"a: &a [*a]", "anchors and aliases are not allowed"),
    "an alias of nothing": (b"a: *b", "anchors and aliases are not allowed"),
    "a merge key": (b"<<: {a: 1}", "line 1: a key must be plain text"),
    "deep brackets": (filled(b"a: ", b"["), f"nested deeper than {MAX_DEPTH} levels"),
    "deep braces": (filled(b"a: ", b"{a: "), f"nested deeper than {MAX_DEPTH} levels"),
    "deep lists": (filled(b"", b"- "), f"nested deeper than {MAX_DEPTH} levels"),
    "deep lines": (b"".join(b" " * n + b"a:\n" for n in range(300)), f"nested deeper than {MAX_DEPTH} levels"),
    "a key twice": (b"kind: a\nkind: b\n", "line 2: key 'kind' stands here twice"),
    "a key twice inside": (b"spec:\n  mlflow: {version: a, version: b}\n", "line 2: key 'version' stands here twice"),
    "the same key quoted": (b"a: 1\n'a': 2\n", "line 2: key 'a' stands here twice"),
    "an integer key": (b"spec:\n  1: a\n", "line 2: a key must be plain text"),
    "a boolean key": (b"on: a\n", "line 1: a key must be plain text"),
    "a null key": (b"~: a\n", "line 1: a key must be plain text"),
    "a list as key": (b"? [a]\n: b\n", "line 1: a key must be plain text"),
    "an unclosed quote": (b"kind: 'a", "line 1: "),
    "an unclosed bracket": (b"kind: [a", "line 1: "),
    "a Python object": (b"a: !!python/object/apply:os.system [id]", "has a tag"),
    "an unknown tag": (b"a: !secret b", "has a tag"),
    "bad base64": (b"a: !!binary x", "line 1: "),
    "a word as number": (b"a: !!int b", ""),
    "nothing as number": (b"a: !!int ''", ""),
    "nothing as fraction": (b"a: !!float ''", ""),
    "a word as boolean": (b"a: !!bool b", ""),
    "a word as time": (b"a: !!timestamp b", ""),
    "no such day": (b"a: 2026-02-30", ""),
    "a word as mapping": (b"a: !!map b", ""),
    "a list as mapping": (b"a: !!map [b]", ""),
    "a list as mapping at the top": (b"!!map [a]", ""),
    "a list as set": (b"a: !!set [b]", ""),
    "a mapping as pairs": (b"a: !!pairs {b: c}", "line 1: "),
    "a mapping as text": (b"a: !!str {b: c}", "line 1: "),
    "a character beyond Unicode": (b'a: "\\UFFFFFFFF"', ""),
    "another one": (b'a: "\\U00110000"', ""),
    "a number too long to read": (b"a: " + b"9" * 5000, ""),
    "a sum of sixties": (b"a: 1" + b":00" * 400 + b".0", ""),
    "a future YAML": (b"%YAML 2.0\n---\na: 1\n", "line 1: "),
    "a directive": (b"%YAML " + b"9" * 5000 + b".1\n---\na: 1\n", ""),
}
LARGE = {
    "a long list": filled(b"a: [", b"0,", b"]"),
    "many keys": numbered(b"k%d:\n"),
    "many labels": b"metadata:\n  labels:\n" + numbered(b"    k%d: a b\n")[: -(1 << 10)].rpartition(b"\n")[0],
    "a long key": filled(b"? ", b"a", b"\n: 1"),
    "a long text": filled(b'a: "', b"x", b'"'),
    "a long block": filled(b"a: |\n", b" x\n"),
    "a long number": filled(b"a: 1", b":59"),
    "line ends": filled(b"", b"\n"),
    "blanks": filled(b"", b" "),
    "dashes of a tag": filled(b"", b"!"),
    "questions": filled(b"", b"? "),
    "colons": filled(b"", b": "),
    "quotes": filled(b"a: ", b"'"),
    "comments": filled(b"", b"#\n"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_a_file_that_is_no_spec_is_refused_with_the_reason(case):
    raw, reason = UNUSABLE[case]
    with pytest.raises(InvalidSpec) as refusal, few_calls(raw):
        parse(raw, "my.yaml")
    message = str(refusal.value)
    assert message.startswith("my.yaml: 1 mistake\n  ")
    assert reason in message
    assert refusal.value.hint is Remedy.SEE_EXAMPLE


@pytest.mark.parametrize("case", LARGE)
def test_the_largest_file_is_checked_in_a_linear_number_of_steps(case):
    with pytest.raises(InvalidSpec), few_calls(LARGE[case]):
        validate(parse(LARGE[case], "my.yaml"), "my.yaml")


@pytest.mark.parametrize(
    ("raw", "data"),
    [
        (b"a: 1", {"a": 1}),
        (b"\xef\xbb\xbfa: 1", {"a": 1}),
        (b"a: 1\r\nb: x\r\n", {"a": 1, "b": "x"}),
        (b"---\na: 'b'\n...\n", {"a": "b"}),
        (b'{"a": {"b": [1, null]}}', {"a": {"b": [1, None]}}),
        ("ä: 'ö\U0001f600'".encode(), {"ä": "ö\U0001f600"}),
        (b"a: &x 1", {"a": 1}),
        (b"'1': a\n\"on\": b", {"1": "a", "on": "b"}),
        (b"a: |\n  b\n  c\n", {"a": "b\nc\n"}),
        (b"[" * 0 + b"a: " + b"[" * (MAX_DEPTH - 2) + b"b" + b"]" * (MAX_DEPTH - 2), None),
    ],
)
def test_plain_yaml_is_read(raw, data):
    read = parse(raw, "file")
    assert read == data if data else list(read) == ["a"]


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("apiversion", "apiversion: unknown key; did you mean 'apiVersion'?"),
        ("metdata", "metdata: unknown key; did you mean 'metadata'?"),
        ("metadata.nmae", "metadata.nmae: unknown key; did you mean 'name'?"),
        ("metadata.annotations", "metadata.annotations: unknown key; known here: name, labels"),
        ("spec.mlfow", "spec.mlfow: unknown key; did you mean 'mlflow'?"),
        ("spec.network_policy", "spec.network_policy: unknown key; did you mean 'networkPolicy'?"),
        (
            "spec.zzz",
            "unknown key; known here: profile, mlflow, workers, accessLog, auth, database, artifacts, volume, ",
        ),
        ("spec.mlflow.Version", "spec.mlflow.Version: unknown key; did you mean 'version'?"),
        ("spec.auth.adminUserName", "spec.auth.adminUserName: unknown key; did you mean 'adminUsername'?"),
        ("spec.auth.password", "spec.auth.password: unknown key; known here: adminUsername, defaultPermission"),
        ("spec.volume.storageclass", "spec.volume.storageclass: unknown key; did you mean 'storageClass'?"),
        ("spec.local.prot", "spec.local.prot: unknown key; did you mean 'port'?"),
        ("spec.networkPolicy.namespace", "did you mean 'ingressNamespace'?"),
    ],
)
def test_an_unknown_key_is_refused_and_the_nearest_key_is_named(path, problem):
    with pytest.raises(InvalidSpec) as refusal:
        validate(spec_file(path, "a"), "file")
    assert len(refusal.value.problems) == 1
    assert problem in str(refusal.value)


@pytest.mark.parametrize(
    ("part", "fields", "problem"),
    [
        ("database", {"type": "sqlite", "size": "1Gi"}, "spec.database.size: unknown key; known here: type"),
        ("database", {"type": "postgres", "sise": "1Gi"}, "spec.database.sise: unknown key; did you mean 'size'?"),
        ("database", {"type": "postgres", "size": "1"}, "spec.database.size: must be a size such as 8Gi"),
        ("database", {"type": "external", "url": "a"}, "spec.database.url: unknown key; known here: type"),
        ("database", {"type": "mysql"}, "spec.database.type: must be sqlite or external"),
        ("database", {"size": "1Gi"}, "spec.database: needs `type: ...` to say which kind it is"),
        ("database", "sqlite", "spec.database: must be a mapping (key: value lines below it)"),
        ("artifacts", {"type": "s3"}, "spec.artifacts.bucket: is missing"),
        (
            "artifacts",
            {"type": "s3", "bucket": "abc", "transfer": "x"},
            "spec.artifacts.transfer: must be proxied or direct",
        ),
        ("exposure", {"type": "ingress", "ingressclass": "a"}, "did you mean 'ingressClass'?"),
        ("exposure", {"type": "none", "host": "a.b"}, "spec.exposure.host: unknown key; known here: type"),
        ("exposure", {"type": "gateway"}, "spec.exposure.gateway: is missing"),
        ("exposure", {"type": "gateway", "gateway": 1}, "spec.exposure.gateway: must be text (put it in quotes)"),
        ("exposure", 5, "spec.exposure: must be a mapping (key: value lines below it)"),
        ("mlflow", [], "spec.mlflow: must be a mapping (key: value lines below it)"),
        ("mlflow", {"version": 3.17}, "spec.mlflow.version: must be text (put it in quotes)"),
        ("mlflow", {"image": "a\nb"}, "spec.mlflow.image: must be printable ASCII without blanks"),
        ("pod", {"imagePullSecrets": "a"}, "spec.pod.imagePullSecrets: must be a list (lines that begin with -)"),
        ("pod", {"imagePullSecrets": ["a", "A"]}, "spec.pod.imagePullSecrets.1: must be the name of a Kubernetes obj"),
        ("pod", {"imageMirrors": {"a b": "c"}}, "must be printable ASCII without blanks"),
        (
            "pod",
            {"trustedCa": {"configmap": "a", "configMap": "a"}},
            "configmap: unknown key; did you mean 'configMap'",
        ),
        ("patches", {"kind": "Service"}, "spec.patches: must be a list (lines that begin with -)"),
        ("patches", ["a"], "spec.patches.0: must be a mapping (key: value lines below it)"),
        ("patches", [{"kind": "Service"}], "spec.patches.0.patch: is missing"),
        ("patches", [{"kind": "Pod", "patch": {}}], "spec.patches.0.kind: must be ServiceAccount, "),
        (
            "patches",
            [{"kind": "Service", "patch": {}, "nmae": "a"}],
            "spec.patches.0.nmae: unknown key; did you mean 'na",
        ),
        (
            "exposure",
            {"type": "ingress", "issuer": "a", "clusterIssuer": "b"},
            "spec.exposure: has both issuer and clu",
        ),
        ("exposure", {"type": "gateway", "gateway": "a"}, "spec.exposure.gateway: must be NAMESPACE/NAME of a Gateway"),
        ("proxy", {"http": "proxy:3128"}, "spec.proxy.http: must be the URL of a proxy, such as http://squid.example"),
        ("local", {"port": "5000"}, "spec.local.port: must be a whole number"),
    ],
)
def test_a_mistake_in_a_part_is_named_by_its_path_in_the_file(part, fields, problem):
    with pytest.raises(InvalidSpec) as refusal:
        validate({**HEADER, "spec": {part: fields}}, "file")
    assert len(refusal.value.problems) == 1
    assert problem in str(refusal.value)


def test_all_mistakes_are_reported_at_once_each_with_its_path_first():
    data = {
        "kind": "Server",
        "metadata": {"name": "A b", "labels": {"a": 1, "b": 2}, "extra": {}},
        "spec": {
            "mlflow": {"version": "latest"},
            "auth": {"adminUsername": "a:b", "defaultPermission": "ALL"},
            "database": {"type": "postgres", "size": 5},
            "volume": {"size": "8gb"},
            "exposure": {"type": "route", "host": "HTTPS://x"},
            "local": {"port": 80},
            "unknown": 1,
        },
    }
    with pytest.raises(InvalidSpec) as refusal:
        validate(data, "my.yaml")
    lines = str(refusal.value).splitlines()
    assert lines[0] == "my.yaml: 14 mistakes"
    assert {line.strip().split(": ")[0] for line in lines[1:]} == {
        *("apiVersion", "kind", "metadata.name", "metadata.labels.a", "metadata.labels.b", "metadata.extra"),
        *("spec.mlflow.version", "spec.auth.adminUsername", "spec.auth.defaultPermission", "spec.database.size"),
        *("spec.volume.size", "spec.exposure.host", "spec.local.port", "spec.unknown"),
    }


def test_every_bad_label_is_reported():
    with pytest.raises(InvalidSpec) as refusal:
        validate({**HEADER, "metadata": {"labels": {"a b": "c", "good": "x", "d e": "f"}}}, "file")
    assert "a b" in str(refusal.value)
    assert "d e" in str(refusal.value)


@pytest.mark.parametrize("missing", [("apiVersion",), ("kind",), ("apiVersion", "kind")])
@pytest.mark.parametrize("absent", [True, False], ids=["absent", "nothing behind it"])
def test_a_file_must_name_its_api_version_and_kind(missing, absent):
    data = {key: value for key, value in HEADER.items() if key not in missing}
    with pytest.raises(InvalidSpec) as refusal:
        validate(data if absent else {**data, **dict.fromkeys(missing)}, "file")
    assert [problem.path for problem in refusal.value.problems] == list(missing)
    assert all("must be" in problem.message for problem in refusal.value.problems)


@pytest.mark.parametrize("key", ["a\nb", "a\x1b[2Jb", "a\u2028b", "a\rb", "\ud800", "a\u202eb"], ids=ascii)
@pytest.mark.parametrize("parents", ["", "spec.", "metadata.labels."])
def test_a_mistake_is_one_printable_line(parents, key):
    with pytest.raises(InvalidSpec) as refusal:
        validate(spec_file(parents.rstrip(".") or key, {key: 1} if parents else 1), "file")
    lines = str(refusal.value).splitlines()
    assert len(lines) == 1 + len(refusal.value.problems)
    assert all(line.isprintable() for line in lines)


def test_no_message_quotes_a_value_that_might_be_a_password():
    data = {**HEADER, "spec": {"auth": {"password": "hunter2hunter2", "defaultPermission": "hunter2hunter2"}}}
    with pytest.raises(InvalidSpec) as refusal:
        document.validate(data, "file")
    assert "hunter2" not in str(refusal.value)
