"""Warnings about experiments whose artifacts do not go to their server."""

import pytest

from deployer.tracking.locations import Experiment, is_at_server, is_with_another, warnings


@pytest.mark.parametrize(
    ("location", "at_server"),
    [
        ("mlflow-artifacts:/3", True),
        ("mlflow-artifacts:/archive/3", True),
        ("mlflow-artifacts://other-host/3", False),
        ("./mlruns/3", False),
        ("/home/anna/mlruns/3", False),
        ("file:///home/anna/mlruns/3", False),
        ("s3://bucket/3", False),
        ("https://old.example.org/api/2.0/mlflow-artifacts/artifacts/3", False),
        ("", False),
    ],
)
def test_only_the_servers_own_scheme_without_a_host_goes_to_the_server(location, at_server):
    assert is_at_server(location) == at_server


@pytest.mark.parametrize(
    ("location", "with_another"),
    [
        ("mlflow-artifacts:/3", False),
        ("mlflow-artifacts:/3/sub", False),
        ("mlflow-artifacts:/archive", False),
        ("mlflow-artifacts:/4", True),
        ("mlflow-artifacts:/4/run/artifacts", True),
        ("mlflow-artifacts:/3/../4", True),
    ],
)
def test_a_folder_of_another_experiment_is_named(location, with_another):
    assert is_with_another(Experiment("3", "x", location)) == with_another


def test_mlflow_s_default_locations_give_no_warning():
    assert (
        warnings([Experiment("0", "Default", "mlflow-artifacts:/0"), Experiment("7", "x", "mlflow-artifacts:/7")]) == ()
    )


def test_each_warning_names_the_first_experiments_and_counts_the_rest():
    found = [Experiment(str(number), f"old {number}", f"/home/anna/mlruns/{number}") for number in range(5)]
    (told,) = warnings(found)
    assert told.startswith("artifacts of experiment 'old 0' (at '/home/anna/mlruns/0'), experiment 'old 1' (at ")
    assert " and 2 more do not go to this server" in told
    (alone,) = warnings([*found[:1], Experiment("9", "fine", "mlflow-artifacts:/9")])
    assert alone.startswith("artifacts of experiment 'old 0' (at '/home/anna/mlruns/0') do not go to this server")


def test_warnings_show_no_passwords_and_no_control_characters():
    (told,) = warnings([Experiment("1", "\x1b[2Jred" + "x" * 500, "ftp://anna:canary@host/1?key=canary")])
    assert "canary" not in told
    assert "\x1b" not in told
    assert "'ftp://host/1'" in told
    assert len(told) < 500
