import pytest

from deployer.core.outcome import Done, Outcome, Waiting


@pytest.mark.parametrize("outcome", [Done(), Done("it runs"), Waiting("it starts")])
def test_an_outcome_is_either_done_or_waiting(outcome):
    assert isinstance(outcome, Outcome)
    assert isinstance(outcome, Done) != isinstance(outcome, Waiting)


def test_outcomes_of_the_same_type_and_text_are_equal():
    assert Done("a") == Done("a")
    assert Done("a") != Waiting("a")
    assert Waiting("a") != Waiting("b")
