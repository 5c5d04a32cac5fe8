"""Readers: of specs, of YAML, of MLflow's ini file, and of variables as the kubelet expands them."""

import configparser
import io

import yaml

from deployer.core.errors import InvalidSpec
from deployer.core.spec.document import validate

# the readers of YAML 1.1 that exist for Python; the second one is libyaml, whose rules kubectl's reader shares
LOADERS = (yaml.SafeLoader, *((yaml.CSafeLoader,) if yaml.__with_libyaml__ else ()))


def read_yaml(text):
    """Return the value of a YAML document, which is the same for every reader."""
    values = [yaml.load(text, Loader=loader) for loader in LOADERS]
    assert all(repr(value) == repr(values[0]) for value in values)
    return values[0]


def read_ini(text):
    """Return the section `mlflow`, read from bytes as mlflow/server/auth/config.py does."""
    parser = configparser.ConfigParser()
    with io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8") as file:
        parser.read_file(file)
    return dict(parser["mlflow"])


def expand(value, environment):
    """Return `value` as the kubelet expands it (k8s.io/kubernetes third_party/forked/golang/expansion/expand.go)."""
    result, at = [], 0
    while at < len(value):
        if value[at] != "$" or at + 1 == len(value):
            result.append(value[at])
            at += 1
        elif value[at + 1] == "$":
            result.append("$")
            at += 2
        elif value[at + 1] == "(" and ")" in value[at:]:
            end = value.index(")", at)
            name = value[at + 2 : end]
            result.append(environment.get(name, f"$({name})"))
            at = end + 1
        else:
            result.append(value[at : at + 2])
            at += 2
    return "".join(result)


def judged(data):
    """Return the Spec in `data` and no mistakes, or None and the mistakes; any other exception is raised."""
    try:
        return validate(data, "file"), ()
    except InvalidSpec as refusal:
        return None, refusal.problems
