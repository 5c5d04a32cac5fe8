"""The list of MLflow's routes, and who may use them."""

import pytest

from deployer.core.spec.versions import SUPPORTED_MINORS
from deployer.plugin.permissions import routes

LINES = routes.parse(routes.FILE.read_text("utf-8"))
TEXT = """
# a comment
nobody 3.17,3.18 PUT /ajax-api/3.0/mlflow/assistant/config files,programs a note with blanks
login 3.18 GET /(ajax-)api/2.0/mlflow/runs/get rows
"""


def test_a_line_has_a_note_and_may_stand_for_two_routes():
    assistant, runs = routes.parse(TEXT)
    assert (assistant.who, assistant.reach, assistant.note) == (
        "nobody",
        {"files", "programs"},
        "a note with blanks",
    )
    assert list(assistant.keys) == [("PUT", "/ajax-api/3.0/mlflow/assistant/config")]
    assert (runs.versions, runs.note) == ({"3.18"}, "")
    assert list(runs.keys) == [("GET", "/api/2.0/mlflow/runs/get"), ("GET", "/ajax-api/2.0/mlflow/runs/get")]


def test_lines_apply_to_their_minor_versions():
    lines = routes.parse(TEXT)
    assert len(routes.permissions(lines, "3.17")) == 1
    assert len(routes.permissions(lines, "3.18")) == 3
    assert len(routes.permissions(lines, None)) == 3
    assert routes.minor("3.18.0rc1") == "3.18"


@pytest.mark.parametrize(
    ("method", "path", "who"),
    [
        ("GET", "/api/2.0/mlflow/runs/get", "login"),
        ("HEAD", "/api/2.0/mlflow/runs/get", "login"),
        ("GET", "/prefix/api/2.0/mlflow/runs/get", "login"),
        ("GET", "/prefixed/api/2.0/mlflow/runs/get", "otherwise"),
        ("POST", "/api/2.0/mlflow/runs/get", "otherwise"),
        ("OPTIONS", "/api/2.0/mlflow/runs/get", "otherwise"),
        ("PUT", "/prefix/ajax-api/3.0/mlflow/assistant/config", "nobody"),
        ("", "/socket", "otherwise"),
    ],
)
def test_a_route_is_judged_by_its_method_and_its_path_without_the_static_prefix(method, path, who):
    judge = routes.Judge(routes.permissions(routes.parse(TEXT), None), "otherwise", "/prefix")
    assert judge(method, path) == who


def test_the_list_covers_the_supported_minor_versions():
    supported = {f"{major}.{minor}" for major, minor in SUPPORTED_MINORS}
    assert set().union(*(line.versions for line in LINES)) == supported


def test_routes_that_start_programs_are_closed():
    assert {line.who for line in LINES if "programs" in line.reach} == {"nobody"}


def test_only_administrators_choose_addresses_that_the_server_opens():
    chosen = [line for line in LINES if "caller's choice" in line.note or line.note.startswith("chooses the provider")]
    assert len(chosen) >= 13
    assert {line.who for line in chosen} == {"admin"}
    assert {line.who for line in LINES if "/webhooks" in line.path} == {"admin"}


def test_a_refusal_says_which_route_and_why():
    assert routes.refusal("PUT", "/x", "nobody")["message"] == "PUT /x is closed by this server."
    assert routes.refusal("PUT", "/x", "admin")["message"] == "PUT /x is for administrators."
