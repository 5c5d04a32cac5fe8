import pytest

from deployer.core.outcome import Done, Outcome, Waiting


@pytest.mark.parametrize("outcome", [Done(), Done("it runs"), Waiting("it starts")])
def test_an_outcome_is_either_done_or_waiting(outcome):
    assert isinstance(outcome, Outcome)
    assert isinstance(outcome, Done) != isinstance(outcome, Waiting)


def test_two_outcomes_are_the_same_when_they_say_the_same():
    assert Done("a") == Done("a")
    assert Done("a") != Waiting("a")
    assert Waiting("a") != Waiting("b")
