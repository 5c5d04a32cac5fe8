"""The gate before MLflow: the login and the address of a request, and the answers to guesses."""

import asyncio
import base64
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.plugin.auth import login_checks
from deployer.plugin.auth.credentials_header import credentials
from deployer.plugin.auth.gate import Gate
from deployer.plugin.auth.login_checks import AT_ONCE
from deployer.plugin.auth.passthrough import PassthroughAuthenticator
from deployer.plugin.auth.throttle import Throttle
from deployer.plugin.auth.verified_passwords import Verified

LONG = f"{'n' * 255}:{chr(0x1F600) * 1024}"


def basic(text):
    return b"Basic " + base64.b64encode(text.encode())


class Logins:
    """Logins of anna and bert, whose password is "right"; a check waits for `may_end`, and its result is remembered."""

    def __init__(self):
        self.checks, self.begun, self.memory, self.looked_up = [], [], {}, set()
        self.may_end = threading.Event()
        self.may_end.set()
        self.error = None
        self.right = {"right"}
        self.elsewhere = set()
        self.passwords = self

    def look_up(self, username):
        if self.error:
            raise self.error
        self.looked_up.add(username)
        return username if username in {"anna", "bert"} else None

    def pair(self, user, username, password):
        return f"{user} {username} {password}".encode()

    def known(self, user, username, password):
        return self.memory.get((user, username, password))

    def was_right(self, username, password):
        return password.startswith("once right")

    def was_checked(self, username, password):
        return any((user, word) == (username, password) for _, user, word in self.memory)

    def verified_by_any_worker(self, username, password):
        return self.was_right(username, password) or username in self.elsewhere

    def check(self, user, username, password):
        assert self.may_end.wait(20)
        self.checks.append((username, password))
        self.memory[user, username, password] = user is not None and password in self.right
        return self.memory[user, username, password]

    def begin_anew(self):
        self.begun.append("anew")

    def record(self, _user, username, _password, accepted):
        self.begun.append((username, accepted))

    def defer(self, username, _password):
        self.begun.append((username, "expected"))

    def is_authenticated(self):
        return self.begun[-1][1] is True


def passthrough_logins(passwords):
    """Return the logins of an MLflow that only tells whether a password is right, and the list of checked logins."""
    asked = []

    def authenticate(username, password):
        asked.append((username, password))
        return passwords.get(username) == password

    return PassthroughAuthenticator(Verified(authenticate, keep_wrong=False)), asked


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class Server:
    """A gate in front of an application that always answers with the same status."""

    def __init__(self, logins=None, **options):
        self.logins = logins or Logins()
        self.seen = []
        self.status = 200
        throttle = Throttle(burst=2, seconds=5, clock=lambda: 0.0)
        self.gate = Gate(
            self.app, self.logins, throttle, lambda p: p == "/health", **{"pause": 0.0, "patience": 0.05, **options}
        )

    async def app(self, scope, _receive, send):
        self.seen.append(scope)
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive(self):
        """The client stays, and sends no body."""
        await asyncio.Event().wait()

    async def ask(self, login=None, path="/api", peer="192.0.2.1", headers=()):
        sent = []

        async def send(message):
            sent.append(message)

        headers = [*headers, *([(b"authorization", basic(login))] if login is not None else [])]
        scope = {"type": "http", "method": "GET", "path": path, "headers": headers, "client": (peer, 1)}
        await self.gate(scope, self.receive, send)
        return sent[0]["status"], dict(sent[0]["headers"]).get(b"retry-after")


@pytest.mark.parametrize("passes_on", [False, True], ids=["or refused", "in either case"])
def test_the_result_of_a_check_is_recorded_for_mlflow_to_decide(passes_on):
    async def story():
        server = Server(passes_on=passes_on)
        asked = ["anna:right", "anna:wrong", "nobody:right", ":right", None]
        told = [(200, None), *[(200 if passes_on else 401, None)] * 4]
        assert [await server.ask(login) for login in asked] == told
        found = [("anna", True), ("anna", False), ("nobody", False), ("", False)]
        assert server.logins.begun == [*(step for login in found for step in ("anew", login)), "anew"]
        assert len(server.logins.checks) == 4
        assert len(server.seen) == (5 if passes_on else 1)

    asyncio.run(story())


def test_a_refusal_has_the_form_that_browsers_expect():
    sent = []

    async def send(message):
        sent.append(message)

    headers = [(b"authorization", basic("anna:wrong"))]
    scope = {"type": "http", "method": "GET", "path": "/api", "headers": headers, "client": ("192.0.2.1", 1)}
    server = Server()
    asyncio.run(server.gate(scope, server.receive, send))
    assert sent[0]["status"] == 401
    assert dict(sent[0]["headers"])[b"www-authenticate"] == b'Basic realm="mlflow"'
    assert sent[1]["body"] == b"You are not authenticated: wrong user name or password.\n"


def test_a_thread_rests_after_a_wrong_password_before_it_checks_a_possible_guess(monkeypatch):
    monkeypatch.setattr(login_checks, "REST", 10**9)  # the rest outlasts the test

    async def story():
        server = Server()
        check, all_at_once = server.logins.check, threading.Barrier(AT_ONCE)

        def check_together(user, username, password):
            if password == "wrong":
                all_at_once.wait(60)
            return check(user, username, password)

        server.logins.check = check_together
        for number in range(2 * AT_ONCE):  # no rest after right passwords
            server.logins.right.add(f"right {number}")
            assert await server.ask(f"anna:right {number}") == (200, None)
        # all threads have checked a wrong password, and have answered
        wrong = await asyncio.gather(*(server.ask(f"{name}:wrong") for name in ("anna", "bert")))
        assert wrong == [(401, None)] * AT_ONCE
        new = asyncio.create_task(server.ask("bert:right"))
        await asyncio.sleep(0.1)
        assert not new.done()
        assert await asyncio.wait_for(server.ask("anna:once right"), 60) == (401, None)  # right once: does not wait
        assert not new.done()
        new.cancel()
        await asyncio.wait({new})

    asyncio.run(story())


def test_a_password_that_was_right_once_is_deferred_to_a_thread_of_flask():
    server = Server(has_a_thread=lambda scope: scope["path"] == "/flask")

    async def ask():
        for path in ("/flask", "/fast"):
            for password in ("once right", "right"):
                await server.ask(f"anna:{password}", path=path)

    asyncio.run(ask())
    assert len(server.seen) == 3
    kept = [begun for begun in server.logins.begun if begun != "anew"]
    assert kept == [("anna", "expected"), ("anna", True), ("anna", False), ("anna", True)]


def test_open_paths_need_no_login():
    async def story():
        server = Server()
        assert await server.ask("anna:wrong", path="/health") == (200, None)
        assert server.logins.begun == ["anew"]

    asyncio.run(story())


def test_guesses_are_slowed_and_other_logins_are_not():
    async def story():
        server = Server()
        assert await server.ask("bert:right") == (200, None)
        answers = [await server.ask(f"bert:guess {number}") for number in range(4)]
        assert answers == [(401, None)] * 2 + [(429, b"5")] * 2  # the last two got no turn while they waited
        assert await server.ask("bert:right") == (200, None)  # a logged-in user is not affected
        assert await server.ask("bert:guess 0") == (401, None)  # a repeated guess is no new guess
        assert await server.ask("anna:right") == (200, None)  # a colleague behind the same address
        assert await server.ask("bert:once right") == (401, None)  # the password before a change is no guess
        assert await server.ask("bert:guess 9", peer="192.0.2.2") == (401, None)

    asyncio.run(story())


def test_a_right_password_gets_a_turn_after_a_stranger_has_guessed_from_the_same_address():
    async def story():
        clock = Clock()
        server = Server()
        throttle = Throttle(burst=2, seconds=0.3, clock=clock)
        server.gate = Gate(server.app, server.logins, throttle, lambda _path: False)

        def wrong():
            return sum(password != "right" for _, password in server.logins.checks)

        for number in range(2):
            assert await server.ask(f"anna:guess {number}") == (401, None)
        guesses = [asyncio.create_task(server.ask(f"anna:more {number}")) for number in range(4)]
        hers = asyncio.create_task(server.ask("anna:right"))
        await asyncio.sleep(0.5)
        assert wrong() == 2  # the throttle's clock stands still, so there are no turns
        while not hers.done():
            before = wrong()
            clock.now += 0.3
            await asyncio.sleep(0.7)  # more than two turns of the timers
            assert wrong() <= before + 1  # each turn allows one guess
        assert await hers == (200, None)
        assert await server.ask("anna:right") == (200, None)
        for task in guesses:
            task.cancel()
        await asyncio.wait(guesses)

    asyncio.run(story())


def test_ipv6_addresses_of_one_network_count_as_one_client():
    async def story():
        server = Server()
        peers = [
            "2001:db8::1",
            "2001:db8::2:2",
            "2001:db8::3",
            "2001:db8:0:1::3",
            "::ffff:192.0.2.1",
            "::ffff:192.0.2.2",
            "192.0.2.1",
            "192.0.2.1",
        ]
        answers = [await server.ask(f"bert:guess {number}", peer=peer) for number, peer in enumerate(peers)]
        assert [status for status, _ in answers] == [401, 401, 429, 401, 401, 401, 401, 429]

    asyncio.run(story())


@pytest.mark.parametrize("same", [True, False], ids=["to the same", "to another"])
def test_a_password_that_changes_during_other_checks_is_checked_again(same):
    async def story():
        server = Server()
        server.logins.may_end.clear()
        asked = asyncio.create_task(server.ask("anna:right"))
        await asyncio.sleep(0.2)
        server.logins.look_up = lambda username: f"{username} with another hash"
        check = server.logins.check

        def check_later(user, username, password):
            server.logins.right = {"right"} if same else {"new"}
            return check(user, username, password)

        server.logins.check = check_later
        server.logins.may_end.set()
        await asked
        assert server.logins.begun[-1] == ("anna", same)

    asyncio.run(story())


def test_a_slowed_login_is_not_looked_up_and_its_answer_is_delayed():
    async def story():
        server = Server(pause=0.3)

        async def slowly(login):
            asked = asyncio.create_task(server.ask(login))
            done, _ = await asyncio.wait([asked], timeout=0.1)
            assert not done
            return await asked

        assert [await server.ask(f"anna:guess {number}") for number in (0, 1)] == [(401, None)] * 2
        assert await slowly("anna:guess 1") == (401, None)
        server.logins.error = RuntimeError("asked of the database")
        assert await slowly("anna:guess 3") == (429, b"5")  # it got no turn in time
        assert await server.ask("anna:guess 0") == (503, b"5")  # a repeated wrong password is no new guess

    asyncio.run(story())


def test_a_password_that_was_right_once_is_refused_without_a_pause():
    async def story():
        server = Server(pause=600)
        for _ in range(2):
            assert await asyncio.wait_for(server.ask("anna:once right"), 60) == (401, None)

    asyncio.run(story())


def test_a_login_that_another_process_has_accepted_is_not_slowed():
    async def story():
        server = Server()
        assert [(await server.ask(f"anna:guess {number}"))[0] for number in range(3)] == [401, 401, 429]
        assert await server.ask("anna:right") == (429, b"5")
        server.logins.elsewhere.add("anna")
        assert await server.ask("anna:right") == (200, None)

    asyncio.run(story())


def test_an_unknown_mlflow_is_asked_once_per_right_login_and_guesses_are_slowed():
    async def story():
        passwords = {"anna": "right", "bert": "right"}
        logins, asked = passthrough_logins(passwords)
        server = Server(logins, passes_on=True)
        assert [await server.ask("anna:right") for _ in range(3)] == [(200, None)] * 3
        assert asked == [("anna", "right")]
        answers = [await server.ask(f"anna:guess {number}") for number in range(4)]
        assert answers == [(200, None)] * 2 + [(429, b"5")] * 2
        assert await server.ask("anna:right") == (200, None)
        assert await server.ask("bert:right") == (200, None)
        # a password that was wrong and is right now
        assert await server.ask("bert:new") == (200, None)
        passwords["bert"] = "new"
        assert [await server.ask("bert:new") for _ in range(9)] == [(200, None)] * 9
        assert asked.count(("bert", "new")) == 2
        # the password before the change is no guess
        assert [await server.ask("bert:right") for _ in range(9)] == [(200, None)] * 9
        assert len(server.seen) == 3 + 2 + 1 + 1 + 1 + 9 + 9  # MLflow decides about each passed request

    asyncio.run(story())


def test_hundreds_of_concurrent_requests_with_one_login_are_one_check():
    async def story():
        server = Server()
        server.logins.may_end.clear()
        asked = asyncio.gather(*(server.ask("anna:right") for _ in range(300)))
        await asyncio.sleep(0.2)
        assert await server.ask("anna:right", path="/health") == (200, None)  # the event loop is free
        server.logins.may_end.set()
        assert await asked == [(200, None)] * 300
        assert server.logins.checks == [("anna", "right")]

    asyncio.run(story())


def test_a_password_that_was_right_once_is_checked_even_if_the_queue_is_full(monkeypatch):
    monkeypatch.setattr(login_checks, "CHECKS", (1, 1))
    monkeypatch.setattr(login_checks, "CHECKS_OF_NOBODY", (1, 1))

    async def story():
        server = Server()
        check = server.logins.check
        server.logins.may_end.clear()
        waiting = [asyncio.create_task(server.ask(f"{name}:right")) for name in ("anna", "bert", "nobody")]
        await asyncio.sleep(0.2)
        assert await server.ask("nobody else:wrong") == (503, b"10")
        server.logins.check = lambda *login: False
        assert await asyncio.wait_for(server.ask("anna:once right"), 60) == (401, None)
        server.logins.check = check
        server.logins.may_end.set()
        assert await asyncio.gather(*waiting) == [(200, None), (200, None), (401, None)]

    asyncio.run(story())


class Guest(Server):
    """A server whose clients leave when `left` is set."""

    def __init__(self, **options):
        super().__init__(**options)
        self.left = asyncio.Event()

    async def receive(self):
        await self.left.wait()
        return {"type": "http.disconnect"}


def test_a_password_is_not_checked_for_a_client_that_has_left(capsys):
    async def story():
        server = Guest(access_log=True)
        staying = Server(server.logins)
        staying.gate = server.gate
        server.logins.may_end.clear()
        # one login is being checked, eight wait, and the last login has another request
        leaving = [asyncio.create_task(server.ask(f"nobody {number}:wrong")) for number in range(9)]
        other = asyncio.create_task(staying.ask("nobody 8:wrong"))
        while len(server.logins.looked_up) < 9:
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)  # until all requests wait
        server.left.set()
        await asyncio.wait(leaving, timeout=60)
        assert all(isinstance(task.exception(), IndexError) for task in leaving)  # nothing was sent
        server.logins.may_end.set()
        assert await other == (401, None)
        assert sorted(server.logins.checks) == [(f"nobody {number}", "wrong") for number in (0, 8)]
        # the logins of clients that left are no guesses
        assert [await staying.ask(f"nobody 7:wrong {number}") for number in range(2)] == [(401, None)] * 2

    asyncio.run(story())
    assert capsys.readouterr().out.count('"GET /api" 499 -') == 9


def test_invented_names_delay_no_user_of_the_same_address():
    async def story():
        server = Server()
        server.logins.may_end.clear()
        flood = [asyncio.create_task(server.ask(f"nobody {number}:wrong")) for number in range(300)]
        await asyncio.sleep(0.2)
        users = [asyncio.create_task(server.ask(f"{name}:right")) for name in ("anna", "bert")]
        other = asyncio.create_task(server.ask("nobody at all:wrong", peer="192.0.2.9"))
        checkers = server.gate._checks._checkers
        # one user and one invented name are being checked; the others wait, or are refused
        waiting = (1, login_checks.CHECKS_OF_NOBODY[1] + 1)
        for _ in range(400):
            if (len(checkers._first), len(checkers._second)) == waiting and len(server.logins.looked_up) == 303:
                break
            await asyncio.sleep(0.05)
        server.logins.may_end.set()
        assert await asyncio.gather(*users) == [(200, None)] * 2
        assert await other == (401, None)
        begun = [username for username, _ in server.logins.checks]
        assert max(begun.index(name) for name in ("anna", "bert", "nobody at all")) < 6
        told = [status for status, _ in await asyncio.gather(*flood)]
        assert told.count(401) == login_checks.CHECKS_OF_NOBODY[1] + 1
        assert told.count(503) == 300 - told.count(401)

    asyncio.run(story())


def test_a_small_body_that_is_read_during_a_check_reaches_the_application():
    async def story():
        server, read = Server(), []
        messages = [
            {"type": "http.request", "body": b"one", "more_body": True},
            {"type": "http.request", "body": b"two", "more_body": False},
        ]

        async def receive():
            if not messages:
                await asyncio.Event().wait()
            return messages.pop(0)

        async def app(scope, receive, send):
            read.extend([(await receive())["body"], (await receive())["body"]])
            await Server.app(server, scope, receive, send)

        server.receive, server.gate._app = receive, app
        server.logins.may_end.clear()
        asked = asyncio.create_task(server.ask("anna:right", headers=[(b"content-length", b"6")]))
        await asyncio.sleep(0.2)
        assert messages == []
        server.logins.may_end.set()
        assert await asked == (200, None)
        assert read == [b"one", b"two"]

    asyncio.run(story())


@pytest.mark.parametrize(
    "header",
    [
        (b"content-length", b"65537"),
        (b"content-length", b"9" * 400),
        (b"transfer-encoding", b"chunked"),
        (b"expect", b"100-continue"),
    ],
)
def test_a_body_that_may_be_large_or_awaits_100_continue_is_not_read(header):
    async def story():
        server = Server()

        async def receive():
            raise AssertionError

        server.receive = receive
        assert await server.ask("anna:right", headers=[header]) == (200, None)

    asyncio.run(story())


def test_an_exception_accepts_no_login(caplog):
    async def story():
        server = Server()
        server.logins.error = RuntimeError("postgresql://user:password@host")
        assert await server.ask("anna:right") == (503, b"5")
        assert server.seen == []
        assert caplog.messages == ["no password can be checked: RuntimeError"]
        server.logins.error = None
        assert await server.ask("anna:right") == (200, None)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("forwarded", "headers", "address"),
    [
        (False, [], "192.0.2.1"),
        (False, [(b"x-forwarded-for", b"203.0.113.9")], "192.0.2.1"),
        (True, [], "192.0.2.1"),
        (True, [(b"x-forwarded-for", b"203.0.113.9")], "203.0.113.9"),
        (True, [(b"x-forwarded-for", b"10.9.8.7, 203.0.113.9")], "203.0.113.9"),
        (True, [(b"x-forwarded-for", b"10.9.8.7"), (b"x-forwarded-for", b"203.0.113.9")], "203.0.113.9"),
        (True, [(b"x-forwarded-for", b"2001:db8::1")], "2001:db8::1"),
        (True, [(b"x-forwarded-for", b"203.0.113.9:50123")], "203.0.113.9"),
        (True, [(b"x-forwarded-for", b"[2001:db8::1]:50123")], "2001:db8::1"),
        (True, [(b"x-forwarded-for", b"::ffff:203.0.113.9")], "::ffff:203.0.113.9"),
    ],
)
def test_only_the_last_proxy_is_trusted_with_the_client_address(forwarded, headers, address, capsys):
    server = Server(forwarded=forwarded, access_log=True)
    asyncio.run(server.ask("anna:right", headers=headers))
    assert capsys.readouterr().out.startswith(f"{address} - anna [")


def test_the_access_log_names_users_and_contains_no_query_or_invalid_name(capsys):
    server = Server(access_log=True)
    for login in ("anna:right", "bert\n10.0.0.1 - anna:right", "anna:wrong", None):
        asyncio.run(server.ask(login, path='/a"\r b/ä'))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" ")[2] for line in lines] == ["anna", "-", "-", "-"]
    answers = [line.partition('"GET /a%22%0D%20b/%C3%A4" ')[2][:5] for line in lines]
    assert answers == ["200 -", "401 -", "401 -", "401 -"]
    assert "right" not in "".join(lines)


def test_a_path_with_a_line_break_is_refused_and_is_one_line_of_the_access_log(capsys):
    server = Server(access_log=True)
    for path in ("/a\n", "/a\nb"):
        asyncio.run(server.ask("anna:right", path=path))
    first, second = capsys.readouterr().out.splitlines()
    assert first.partition('"GET /a%0A" ')[2][:3] == second.partition('"GET /a%0Ab" ')[2][:3] == "400"


def test_the_access_log_names_only_users_that_mlflow_has_accepted(capsys):
    server = Server(access_log=True, has_a_thread=lambda _scope: True)
    for server.status in (200, 403, 401):
        asyncio.run(server.ask("anna:right"))
    server.status = 200
    asyncio.run(server.ask("anna:wrong"))
    asyncio.run(server.ask("anna:once right"))  # deferred to MLflow, which did not check it
    assert [line.split(" ")[2] for line in capsys.readouterr().out.splitlines()] == ["anna", "anna", "-", "-", "-"]


@pytest.mark.parametrize(
    ("path", "headers", "login", "left"),
    [
        ("/api", [(b"authorization", basic("a:b:c"))], ("a", "b:c"), [(b"authorization", basic("a:b:c"))]),
        ("/api", [(b"authorization", b"bAsIc   " + basic("a:b")[6:])], ("a", "b"), [(b"authorization", basic("a:b"))]),
        ("/api", [(b"authorization", basic("a:b")), (b"authorization", basic("c:d"))], None, []),
        ("/api", [(b"authorization", basic("a:b")), (b"authorization", b"Bearer t")], None, []),
        ("/api", [(b"authorization", b"Bearer t"), (b"authorization", basic("a:b"))], None, []),
        ("/api", [(b"authorization", b"\xa0" + basic("a:b"))], ("a", "b"), [(b"authorization", basic("a:b"))]),
        ("/api", [(b"authorization", b"Basic\xa0\x85 " + basic("a:b")[6:])], ("a", "b"), None),
        ("/api", [(b"authorization", b"Basic " + basic("a:b")[6:8] + b" " + basic("a:b")[8:])], ("a", "b"), None),
        (
            "/api",
            [(b"authorization", b"Basic" + basic("a:b")[6:])],
            None,
            [(b"authorization", b"Basic" + basic("a:b")[6:])],
        ),
        ("/api", [(b"authorization", b"  ")], None, []),
        ("/api", [(b"authorization", b"Basic \xff")], None, []),
        ("/api", [(b"authorization", b"Basic abc")], None, []),
        ("/api", [(b"authorization", b"Bearer token==")], None, [(b"authorization", b"Bearer token==")]),
        ("/api", [(b"authorization", b"Bearer t"), (b"authorization", b"Bearer t")], None, []),
        ("/api", [(b"authorization", b"Bearer username=a, password==")], None, []),
        ("/api", [(b"authorization", b'Digest username="a", password="b"')], None, []),
        ("/gateway/x", [(b"authorization", b'Digest username="a", password="b"')], None, []),
        ("/api", [(b"x-mlflow-authorization", basic("a:b"))], None, [(b"x-mlflow-authorization", basic("a:b"))]),
        ("/gateway/x", [(b"authorization", b"Bearer t"), (b"x-mlflow-authorization", basic("a:b"))], ("a", "b"), None),
        ("/gateway/x", [(b"authorization", basic("a:b"))], ("a", "b"), None),
        ("/gateway/x", [(b"x-mlflow-authorization", b""), (b"authorization", basic("a:b"))], ("a", "b"), None),
        ("/gateway/x", [(b"x-mlflow-authorization", b"Bearer t"), (b"authorization", basic("a:b"))], None, None),
        ("/api", [], None, []),
        ("/api", [(b"authorization", basic(LONG))], tuple(LONG.split(":")), [(b"authorization", basic(LONG))]),
        ("/api", [(b"authorization", basic("a:" + "b" * 7000))], None, []),
        ("/gateway/x", [(b"x-mlflow-authorization", basic("a:" + "b" * 7000))], None, []),
        ("/api", [(b"authorization", b"Bearer " + b"t" * 9000)], None, [(b"authorization", b"Bearer " + b"t" * 9000)]),
    ],
)
def test_a_login_is_read_as_mlflow_reads_it_and_passed_on_in_one_spelling(path, headers, login, left):
    scope = {"path": path, "headers": headers}
    assert credentials(scope) == login
    if left is not None:
        assert scope["headers"] == left


@pytest.mark.parametrize(("path", "is_left"), [("/gateway/a/mlflow/invocations", False), ("/api", True)])
def test_a_client_cannot_bypass_guardrails(path, is_left):
    server, header = Server(), (b"x-mlflow-guardrail-bypass", b"1")
    assert asyncio.run(server.ask("anna:right", path, headers=[header, (b"accept", b"*/*")]))[0] == 200
    assert [name in dict(server.seen[0]["headers"]) for name in (header[0], b"accept")] == [is_left, True]


@given(st.binary(max_size=60))
def test_any_authorization_header_can_be_read(value):
    scope = {"path": "/api", "headers": [(b"authorization", value)]}
    found = credentials(scope)
    left = [header.decode("latin-1").split() for _, header in scope["headers"]]
    # the headers contain a basic login exactly if one was found
    assert (found is not None) == any(words[0].lower() == "basic" for words in left)
