import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.catalogue import catalogue
from deployer.core.file_formats import Unrepresentable, ini_value, yaml_block, yaml_lines, yaml_value
from deployer.core.manifests.rendering import FILES, MOUNTS, Renderer, secret_manifests
from deployer.core.secrets.references import ADMIN_PASSWORD, ADMIN_USERNAME, FLASK_KEY, SecretRef
from deployer.core.spec.platform import KUBERNETES
from deployer.core.spec.schema import Spec
from deployer.core.stack.assigned import Assigned
from deployer.core.stack.components import build
from deployer.core.stack.model import FilePath, PluginFolder, TemplateFile, VolumePath

from .readers import expand, read_ini, read_yaml
from .strategies import HAZARDS, hostile

# the programs have one line each: tests/golden compares the real texts, which would take most of the time here
RENDERER = Renderer(catalogue().templates, dict.fromkeys(catalogue().plugins, "# a program\n"))
STACK = build(Spec(), KUBERNETES, Assigned(host="mlflow.example.org", namespace="team-a", ports={"http": 5000}))
WORKLOAD = STACK.workloads[0]
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), hostile),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=50), inner, max_size=3)),
    max_leaves=6,
)


def plain_join(text):
    return "".join(text)


def rendered(kind, **changes):
    """Return the manifest of `kind` with these changes to the workload."""
    documents = RENDERER.manifests(replace(STACK, workloads=(replace(WORKLOAD, **changes),)))
    (text,) = [text for key, text in documents.items() if key.startswith(f"{kind}/")]
    return read_yaml(text)


def container(**changes):
    return rendered("Deployment", **changes)["spec"]["template"]["spec"]["containers"][0]


@pytest.mark.parametrize("value", HAZARDS, ids=ascii)
def test_every_known_hazard_survives_yaml(value):
    assert read_yaml(f"a: {yaml_value(value)}\nb: 1\n") == {"a": value, "b": 1}


@given(st.dictionaries(hostile.filter(lambda key: len(key) <= 100), JSON, min_size=1, max_size=4))
def test_any_mapping_survives_line_by_line(value):
    assert read_yaml("".join(f"{line}\n" for line in yaml_lines(value, 0))) == value


def test_a_mapping_is_written_for_people_to_read():
    lines = yaml_lines({"data": {"a.ini": "[a]\nb = c\n"}, "list": [{"name": "x", "empty": []}, ["y", {"no": 1}]]}, 0)
    assert "\n".join(lines).splitlines() == [
        "data:",
        "  a.ini: |",
        "    [a]",
        "    b = c",
        "list:",
        '  - name: "x"',
        "    empty: []",
        '  - - "y"',
        '    - "no": 1',
    ]


@given(JSON)
def test_any_data_survives_yaml_and_json(value):
    text = yaml_value(value)
    assert "\n" not in text
    assert read_yaml(f"a:\n  - {text}\nb: 1\n") == {"a": [value], "b": 1}
    assert json.loads(text) == value


@pytest.mark.parametrize("number", [0, -1, 10**30, 0.5, -2.25, 1e3, 1e22, 1e-7, float("inf")])
def test_a_number_survives_yaml_or_is_refused(number):
    try:
        text = yaml_value(number)
    except ValueError:
        return
    assert read_yaml(f"a: {text}\n") == {"a": number}


@pytest.mark.parametrize("value", HAZARDS, ids=ascii)
def test_every_known_hazard_survives_a_block(value):
    assert read_yaml(f"a:\n  b: {yaml_block(value, 4)}\nc: 1\n") == {"a": {"b": value}, "c": 1}


lines = st.lists(st.one_of(hostile, st.sampled_from(["", " ", "a", " a", "a ", "\t", "#", "- a"])), max_size=6)


@given(st.one_of(hostile, lines.map("\n".join), lines.map("\n".join).map(lambda text: f"{text}\n")))
def test_any_text_survives_a_block(text):
    assert read_yaml(f"a:\n  b: {yaml_block(text, 4)}\nc: 1\n") == {"a": {"b": text}, "c": 1}


def test_readable_text_stays_readable():
    assert yaml_block("one\n\n  two: {{ x }}\n", 2) == "|\n  one\n\n    two: {{ x }}"


@pytest.mark.parametrize("text", ["a", "a\n\n", " a\n", "\na\n", "a\tb\n", "a\x85\n", "\n", ""])
def test_text_that_a_block_would_change_is_written_as_json(text):
    assert yaml_block(text, 2).startswith('"')


def carried_by_ini(text):
    try:
        ini_value(text)
    except Unrepresentable:
        return False
    return True


@pytest.mark.parametrize("value", HAZARDS, ids=ascii)
def test_every_known_hazard_survives_an_ini_file_or_is_refused(value):
    if carried_by_ini(value):
        assert read_ini(f"[mlflow]\na = {ini_value(value)}\nb = 1\n") == {"a": value, "b": "1"}


@given(st.lists(hostile.filter(carried_by_ini), min_size=1, max_size=4))
def test_texts_that_an_ini_file_accepts_are_read_back_unchanged(texts):
    values = {f"key{number}": (text,) for number, text in enumerate(texts)}
    file = RENDERER.file(TemplateFile("basic_auth.ini.j2", values), plain_join)
    assert read_ini(file) == {key: text for key, (text,) in values.items()}


@pytest.mark.parametrize("text", ["a", "", "100%", "%(here)s", "$(X)", "a = b", "[x]", "# a", "é", "{{ a }}", "a  b"])
def test_an_ini_file_accepts_every_ordinary_text(text):
    assert carried_by_ini(text)


@pytest.mark.parametrize(
    "text", ["a\nb", "a\n", "\ra", "a\rb", " a", "a ", "\ta", "\x00", "a\x1fb", "a\x85b", "a\u2028b"]
)
def test_an_ini_file_refuses_what_it_would_change(text):
    with pytest.raises(Unrepresentable, match="an ini file cannot hold"):
        ini_value(text)


@given(st.dictionaries(st.from_regex(r"[A-Z_]{1,9}", fullmatch=True), hostile, max_size=4))
def test_the_kubelet_passes_every_variable_unchanged(environment):
    env = container(env={name: (text,) for name, text in environment.items()})["env"][2:]
    plain = {item["name"]: item["value"] for item in env}
    assert {name: expand(value, plain) for name, value in plain.items()} == environment


@given(st.lists(hostile, min_size=1, max_size=3))
def test_the_kubelet_runs_the_command_unchanged(arguments):
    command = container(command=tuple((text,) for text in arguments))["command"]
    assert [expand(text, {"HOME": "/tmp"}) for text in command] == arguments


@given(hostile, hostile)
def test_a_file_reaches_its_configmap_byte_for_byte(source, value):
    renderer = Renderer(catalogue().templates, {"a.py": source, "b/c.py": source})
    stack = replace(STACK, workloads=(replace(WORKLOAD, files={"": PluginFolder()}),))
    text = renderer.manifests(stack)["ConfigMap/mlflow-server"]
    assert read_yaml(text)["data"] == {"a.py": source, "b.c.py": source}
    if carried_by_ini(value):
        files = {"b.ini": TemplateFile("basic_auth.ini.j2", {"key": (value,)})}
        assert read_ini(rendered("ConfigMap", files=files)["data"]["b.ini"]) == {"key": value}


@given(hostile)
def test_any_text_in_a_stack_is_rendered_as_a_value_only(text):
    stack = replace(
        STACK,
        labels={"a": text},
        volumes=(replace(STACK.volumes[0], storage_class=f"x{text}", size=text),),
        exposure=replace(
            STACK.exposure, host=f"x{text}", ingress_class=f"x{text}", tls_secret=f"x{text}", annotations={"b": text}
        ),
        network=replace(STACK.network, from_namespace={"c": text}),
        workloads=(replace(WORKLOAD, image=text, files={}),),
    )
    read = {key.partition("/")[0]: read_yaml(document) for key, document in RENDERER.manifests(stack).items()}
    assert [item["metadata"]["labels"] for item in read.values()] == [{"a": text}] * len(read)
    claim, ingress = read["PersistentVolumeClaim"]["spec"], read["Ingress"]
    assert (claim["storageClassName"], claim["resources"]["requests"]["storage"]) == (f"x{text}", text)
    assert ingress["metadata"]["annotations"] == {"b": text}
    assert ingress["spec"]["ingressClassName"] == f"x{text}"
    assert ingress["spec"]["tls"] == [{"hosts": [f"x{text}"], "secretName": f"x{text}"}]
    assert ingress["spec"]["rules"][0]["host"] == f"x{text}"
    assert read["NetworkPolicy"]["spec"]["ingress"][0]["from"][1]["namespaceSelector"]["matchLabels"] == {"c": text}
    assert read["Deployment"]["spec"]["template"]["spec"]["containers"][0]["image"] == text


def test_secrets_are_references_to_the_server_s_own_secrets():
    env = container(env={"A": (ADMIN_PASSWORD,), "B": (FLASK_KEY,)})["env"][2:]
    assert [item["valueFrom"]["secretKeyRef"] for item in env] == [
        {"name": "mlflow-admin", "key": "current"},
        {"name": "mlflow-server", "key": "flask-secret-key"},
    ]


def test_a_secret_inside_a_longer_text_is_refused():
    with pytest.raises(Unrepresentable, match="secret server/key"):
        container(env={"A": ("postgres://", SecretRef("server", "key"))})


def test_paths_lead_to_mounted_volumes_and_files():
    text = ("a:", VolumePath("data", "x.db"), ":", VolumePath("data"), ":", FilePath("f"))
    made = container(env={"A": text})
    assert made["env"][2]["value"] == f"a:{MOUNTS}/data/x.db:{MOUNTS}/data:{FILES}/f"
    assert {mount["mountPath"] for mount in made["volumeMounts"]} == {"/tmp", FILES, f"{MOUNTS}/data"}


def test_a_template_that_lacks_a_value_is_an_error():
    renderer = Renderer({"basic_auth.ini.j2": "{{ values.missing }}"}, {})
    with pytest.raises(Exception, match="has no attribute 'missing'"):
        renderer.file(TemplateFile("basic_auth.ini.j2", {}), plain_join)


@given(hostile, hostile)
def test_secrets_hold_every_value_unchanged(username, key):
    made = secret_manifests("a", {"l": "v"}, {ADMIN_USERNAME: username, FLASK_KEY: key})
    assert {item["metadata"]["name"]: item["stringData"] for item in made} == {
        "a-admin": {"username": username},
        "a-server": {"flask-secret-key": key},
    }
