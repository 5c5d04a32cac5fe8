"""The next step of a password rotation, for every answer of the server."""

import pytest

from deployer.core.secrets.rotation import Move, next_move


@pytest.mark.parametrize(
    ("current", "pending", "move", "with_authority"),
    [
        (True, None, Move.STAGE, Move.STAGE),
        (True, False, Move.CHANGE, Move.CHANGE),
        (False, True, Move.PROMOTE, Move.PROMOTE),
        (True, True, Move.STOP_BOTH, Move.STOP_BOTH),
        (False, None, Move.STOP_NEITHER, Move.STAGE),
        (False, False, Move.STOP_NEITHER, Move.CHANGE),
    ],
)
def test_the_answers_of_the_server_decide_the_next_step(current, pending, move, with_authority):
    assert next_move(current=current, pending=pending) is move
    assert next_move(current=current, pending=pending, authority=True) is with_authority


@pytest.mark.parametrize("authority", [False, True])
@pytest.mark.parametrize("killed_after", [Move.STAGE, Move.CHANGE, Move.PROMOTE])
def test_an_interrupted_rotation_continues_with_the_next_step(killed_after, authority):
    answers = {Move.STAGE: (True, False), Move.CHANGE: (False, True), Move.PROMOTE: (True, None)}
    follows = {Move.STAGE: Move.CHANGE, Move.CHANGE: Move.PROMOTE, Move.PROMOTE: Move.STAGE}
    current, pending = answers[killed_after]
    assert next_move(current=current, pending=pending, authority=authority) is follows[killed_after]
