"""Strategies of the property tests: valid and hostile values that a user may type."""

import copy

from hypothesis import strategies as st

from deployer.core.spec import document
from deployer.core.spec.schema import API_VERSION, KIND

HEADER = {"apiVersion": API_VERSION, "kind": KIND}

# each of these texts has broken a deployment tool that pasted it into YAML, an ini file or a shell
HAZARDS = (
    *("", " ", "  ", " a", "a ", "\t", "a\tb", "\u00a0a", "a\u3000"),
    *("\n", "a\n", "\na", "a\nb", "a\r\nb", "a\rb", "a\n\n", "a\n b\n", "a\n\tb\n", " a\nb\n", "a\n \n"),
    *("\x00", "\x07", "a\x0bb", "a\x0cb", "\x1b[31m", "a\x1cb", "\x1f", "\x7f", "\x80", "\x85", "a\x85b", "\x9f"),
    *("\u2028", "a\u2029b", "\ufeff", "a\ufeffb", "\ufffe", "\uffff", "\ufffd", "\ufdd0", "\u202e", "\ue000"),
    *("\U0001f600", "\U0001fffe", "\U0010ffff", "e\u0301", "\u00e9", "\uff12", "\u0663"),
    *("%", "%%", "100%", "%s", "%(here)s", "%(default_permission)s", "a%\n"),
    *("$", "$$", "$$$", "a$", "$(", "$()", "$(HOME)", "$$(HOME)", "$(MLFLOW_HOST)x", "${HOME}", "`id`", "$(a$(b))"),
    *("'", '"', "''", '""', "it's", '"a"', "\\", "\\n", "\\u0041", "a\\"),
    *("{{ 7 * 7 }}", "{{ stack }}", "{% raw %}", "{% endif %}", "{# a #}", "}}", "{", "}", "[", "]", ","),
    *("#", "a #b", "# a", ":", "a: b", ": a", "- a", "-", "?", "? a", "<<", "=", "*a", "&a", "!a", "!!int 1", "@a"),
    *("|", "|-", ">", ">+2", "---", "--- a", "...", "%YAML 1.1", "[mlflow]", "; a", "key = value", "//", "a/../b"),
    *("yes", "no", "on", "off", "y", "n", "true", "False", "null", "Null", "~", "NaN", ".nan", ".inf", "-.INF"),
    *("1", "-1", "1e3", "1.5", "1_000", "0x1f", "012", "0o17", "0b1", "1:30", "1:30.5", "2001-01-01", "+1", "1."),
    *("a" * 5000, "a " * 600, "\u00e9" * 1025, "a" * 129, "a" * 254),
)

_inserted = st.builds(
    lambda before, hazard, after: before + hazard + after,
    st.text(max_size=6),
    st.sampled_from(HAZARDS),
    st.text(max_size=6),
)
_long = st.builds(lambda piece, times: piece * times, st.text(min_size=1, max_size=3), st.integers(100, 2000))
hostile = st.one_of(st.sampled_from(HAZARDS), st.text(), _inserted, _long)


def around(regex):
    """Return matching values, hostile values, and matching values with an inserted hostile text."""
    valid = st.from_regex(regex, fullmatch=True)
    spoilt = st.builds(
        lambda text, hazard, at: text[: at % (len(text) + 1)] + hazard + text[at % (len(text) + 1) :],
        valid,
        st.sampled_from(HAZARDS),
        st.integers(0, 50),
    )
    return st.one_of(valid, spoilt, hostile)


names = st.from_regex(r"[a-z](?:[-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
hosts = st.from_regex(r"[a-z][a-z0-9]{0,9}(?:\.[a-z][a-z0-9]{0,9}){1,3}", fullmatch=True)
sizes = st.from_regex(r"[1-9][0-9]{0,5}(?:Mi|Gi|Ti)", fullmatch=True)
usernames = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=":"), min_size=1, max_size=128
)
_label_text = st.from_regex(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,20}[A-Za-z0-9])?", fullmatch=True)
_label_keys = st.one_of(_label_text, _label_text.map(lambda text: f"example.org/{text}"))
images = st.builds("{}/{}:{}".format, hosts, names, names)
labels = st.dictionaries(_label_keys, st.one_of(st.just(""), _label_text), max_size=3)
_mirrors = st.dictionaries(st.one_of(hosts, images), st.one_of(hosts, hosts.map("{}/mirror/".format)), max_size=3)
_around_proxy = st.one_of(hosts, hosts.map(".{}".format), hosts.map("*.{}:8080".format), st.ip_addresses().map(str))
bypasses = st.one_of(st.just("*"), st.lists(_around_proxy, min_size=1, max_size=4).map(",".join))
annotations = st.dictionaries(_label_keys, st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1))
proxies = st.builds("{}://{}:{}".format, st.sampled_from(["http", "https"]), hosts, st.integers(1, 65535))
RENDERED_KINDS = (
    *("ServiceAccount", "PersistentVolumeClaim", "NetworkPolicy", "ConfigMap", "Service", "Deployment"),
    *("Ingress", "HTTPRoute", "Route"),
)

_keys = st.one_of(
    st.sampled_from(["spec", "name", "env", "ports", "port", "containers", "mountPath", "volumeMounts", "args"]),
    st.text(max_size=5).filter(lambda key: key.isprintable() and not key.startswith("$")),
)
_leaves = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), hostile)
# values of a patch; `metadata` has its own rules
patch_values = st.recursive(
    _leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_keys, inner, max_size=3)),
    max_leaves=8,
)
patches = st.builds(
    lambda spec, note: {"spec": spec, **({"metadata": {"annotations": {"example.org/note": note}}} if note else {})},
    st.dictionaries(_keys, patch_values, max_size=3),
    st.one_of(st.none(), hostile),
)


def _maybe(**fields):
    """Return a mapping with any of these keys; the value None stands for `key:` without a value."""
    return st.fixed_dictionaries({}, optional={key: st.one_of(st.none(), value) for key, value in fields.items()})


_transfer = st.sampled_from(["proxied", "direct"])
_typed = {
    "sqlite": st.just({}),
    "postgres": _maybe(size=sizes),
    "external": st.just({}),
    "volume": st.just({}),
    "s3": st.fixed_dictionaries(
        {"bucket": names.map(lambda name: f"b-{name}")},
        optional={"prefix": names, "region": names, "transfer": _transfer, "scratch": sizes},
    ),
    "objectstore": _maybe(size=sizes, transfer=_transfer),
    "none": st.just({}),
    "ingress": st.one_of(
        _maybe(host=hosts, ingressClass=names, tlsSecret=names, annotations=annotations, **issuer)
        for issuer in ({"issuer": names}, {"clusterIssuer": names})
    ),
    "route": _maybe(
        host=hosts,
        annotations=annotations,
        allowFrom=st.lists(st.sampled_from(["roihu", "10.0.0.0/8", "2001:db8::/32"]), max_size=3),
    ),
    "gateway": st.fixed_dictionaries(
        {"gateway": st.builds("{}/{}".format, names, names)},
        optional={"host": st.one_of(st.none(), hosts), "listener": names, "annotations": annotations},
    ),
}


def one_of_types(*types):
    """Return a part of a spec with one of these types."""
    return st.one_of(*(_typed[kind].map(lambda fields, kind=kind: {"type": kind, **fields}) for kind in types))


listening = st.one_of(st.sampled_from(["0.0.0.0", "::", "127.0.0.1", "localhost"]), st.ip_addresses().map(str), hosts)


def documents(
    databases=("sqlite", "postgres", "external"),
    artifacts=("volume", "s3", "objectstore"),
    exposures=("none", "ingress", "route", "gateway"),
):
    """Spec files without a mistake, as data."""
    spec = _maybe(
        mlflow=_maybe(version=st.sampled_from(["3.17.0", "3.17.2", "3.18.0"]), image=images),
        auth=_maybe(
            adminUsername=usernames,
            defaultPermission=st.sampled_from(["NO_PERMISSIONS", "READ", "EDIT", "MANAGE"]),
        ),
        database=one_of_types(*databases),
        artifacts=one_of_types(*artifacts),
        volume=_maybe(size=sizes, storageClass=names),
        exposure=one_of_types(*exposures),
        networkPolicy=_maybe(ingressNamespace=names),
        profile=st.sampled_from(["kubernetes", "kind", "openshift", "rahti", "lumi-k"]),
        proxy=_maybe(http=proxies, https=proxies, noProxy=bypasses),
        pod=_maybe(
            imagePullSecrets=st.lists(names, max_size=3),
            imageMirrors=_mirrors,
            nodeSelector=labels,
            trustedCa=st.fixed_dictionaries({"configMap": names}, optional={"key": names}),
        ),
        patches=st.lists(
            st.fixed_dictionaries(
                {"kind": st.sampled_from(RENDERED_KINDS), "patch": patches},
                optional={"name": st.one_of(st.none(), names)},
            ),
            max_size=2,
        ),
        local=_maybe(port=st.integers(1024, 65535), host=listening, python=names.map(lambda name: f"/usr/bin/{name}")),
    )
    return st.fixed_dictionaries(
        {"apiVersion": st.just(API_VERSION), "kind": st.just(KIND)},
        optional={"metadata": _maybe(name=names, labels=labels), "spec": spec},
    )


def specs(**kinds):
    """Valid specs."""
    return documents(**kinds).map(lambda data: document.validate(data, "file"))


def spec_file(path, value, base=None):
    """A spec file's data with one dotted path set."""
    data = copy.deepcopy({**HEADER, **(base or {})})
    *parents, last = path.split(".")
    part = data
    for key in parents:
        part = part.setdefault(key, {})
    part[last] = value
    return data
