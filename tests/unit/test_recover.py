"""The messages of the program that replaces a lost password, for the case that it fails."""

from deployer.plugin.programs.recover import reason


class DriverError(Exception):
    pass


class StatementError(Exception):
    def __init__(self, orig):
        super().__init__("[SQL: UPDATE users SET password_hash='the-hash']\n(Background on this error at: ...)")
        self.orig = orig


def caused(error, cause):
    error.__cause__ = cause
    return error


def test_the_reason_has_the_driver_s_message_and_no_sql_statement():
    locked = StatementError(DriverError("database is\nlocked"))
    assert reason(locked) == "DriverError: database is locked"
    assert reason(caused(ValueError("UPDATE ... 'the-hash'"), locked)) == "DriverError: database is locked"


def test_any_other_error_is_named_only_by_its_type():
    assert reason(KeyError("the-password")) == "KeyError"
