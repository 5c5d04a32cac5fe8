"""Limits of the server's log: one line per minute for a repeated error, and a largest size of the file."""

import logging
import os

import pytest

from deployer.plugin.serving import log_limits
from deployer.plugin.serving.log_limits import DIFFERENT, LONGEST, WINDOW_SECONDS, Repeats, keep_newest


@pytest.fixture
def log(caplog):
    """Yield three functions: log an error, let seconds pass, and return the written messages."""
    now = [0.0]
    caplog.set_level(logging.INFO)
    repeats = Repeats(lambda: now[0])
    caplog.handler.addFilter(repeats)

    def error(text, *values, level=logging.ERROR):
        logging.getLogger("anything").log(level, text, *values)

    def wait(seconds):
        now[0] += seconds
        repeats.flush()

    yield error, wait, lambda: [record.getMessage() for record in caplog.records]
    caplog.handler.removeFilter(repeats)


def test_a_repeated_error_is_written_once_a_window_with_a_count(log):
    error, wait, written = log
    for _ in range(100):
        error("out of descriptors")
    assert written() == ["out of descriptors"]
    wait(WINDOW_SECONDS)
    assert written()[1:] == ["99 more in the last 60 s like: out of descriptors"]
    for _ in range(7):
        error("out of descriptors")
    wait(WINDOW_SECONDS - 1)
    assert len(written()) == 2
    wait(1)
    assert written()[2:] == ["7 more in the last 60 s like: out of descriptors"]
    wait(WINDOW_SECONDS)
    wait(WINDOW_SECONDS)
    error("out of descriptors")
    assert written()[3:] == ["out of descriptors"]


def test_the_different_texts_of_one_line_of_code_are_limited(log):
    error, wait, written = log
    for number in range(1000):
        error("stranger %d", number)
    assert written() == [f"stranger {number}" for number in range(DIFFERENT)]
    wait(WINDOW_SECONDS)
    assert written()[DIFFERENT:] == ["990 more in the last 60 s like: stranger 0"]


def test_errors_of_one_kind_from_two_places_are_both_written(log):
    _, _, written = log

    def one():
        raise RuntimeError("the first")

    def other():
        raise RuntimeError("the second")

    for function in (one, one, other, other):
        try:
            function()
        except RuntimeError:
            logging.getLogger("anything").exception("in an application")
    assert written() == ["in an application", "in an application"]


def test_a_wrong_call_of_a_logger_raises_nothing():
    record = logging.LogRecord("anything", logging.ERROR, "a.py", 1, "%s and %s", ("one",), None)
    assert Repeats().filter(record) is True


def test_a_record_below_error_is_written_each_time(log):
    error, _, written = log
    for _ in range(20):
        error("served", level=logging.INFO)
    assert len(written()) == 20


def test_a_record_for_two_handlers_is_no_repetition():
    repeats = Repeats()
    record = logging.LogRecord("a", logging.ERROR, "file", 1, "text", None, None)
    assert repeats.filter(record)
    assert repeats.filter(record)


def test_the_length_of_messages_and_tracebacks_is_limited():
    try:
        raise ValueError("x" * 10 * LONGEST)
    except ValueError as error:
        record = logging.LogRecord("a", logging.ERROR, "f", 1, "y" * 10 * LONGEST, None, (ValueError, error, None))
    assert Repeats().filter(record)
    assert len(logging.Formatter().format(record)) < 4 * LONGEST


def test_every_handler_gets_the_filter_including_the_last_resort(monkeypatch):
    usual, own = logging.StreamHandler(), logging.StreamHandler()
    monkeypatch.setattr(logging, "lastResort", usual)
    logging.getLogger("of.its.own").addHandler(own)
    try:
        repeats = Repeats()
        log_limits.install(repeats)
        assert repeats in own.filters
        assert repeats in usual.filters
    finally:
        logging.getLogger("of.its.own").removeHandler(own)
        for handler in logging.getLogger().handlers:
            handler.removeFilter(repeats)


@pytest.mark.parametrize("appends", [True, False])
def test_a_log_file_keeps_its_newest_half(tmp_path, appends):
    path = tmp_path / "server.log"
    with path.open("ab" if appends else "wb") as log:
        for number in range(1000):
            log.write(b"line %4d\n" % number)
        log.flush()
        keep_newest([log.fileno()], most=10_000)
        assert path.stat().st_size == 10_000
        keep_newest([log.fileno()], most=9_000)
        log.write(b"the next\n")
    lines = path.read_text().splitlines()
    if appends:
        assert lines == [*(f"line {number:4d}" for number in range(551, 1000)), "the next"]
    else:
        assert len(lines) == 1001


def test_a_pipe_is_left_alone():
    reading, writing = os.pipe()
    keep_newest([writing], most=1)
    os.close(reading)
    os.close(writing)
