"""Which requests go straight to Flask."""

import pytest

from deployer.plugin.auth.flask_route import LONGEST, REMEMBERED, Straight


class Looks:
    """A FastAPI that serves /fast and has rules for POST /ruled; `asked` lists the paths that it had to match."""

    def __init__(self):
        self.asked = []
        self.straight = Straight(self.matches, lambda path, method: (method, path) == ("POST", "/ruled"))

    def matches(self, scope):
        self.asked.append(scope["path"])
        return scope["path"].startswith("/fast")

    def __call__(self, path, method="GET", headers=(), kind="http"):
        return self.straight({"type": kind, "path": path, "method": method, "headers": list(headers)})


@pytest.mark.parametrize(
    ("request_", "straight"),
    [
        ({"path": "/api"}, True),
        ({"path": "/fast"}, False),
        ({"path": "/ruled"}, True),
        ({"path": "/ruled", "method": "POST"}, False),
        ({"path": "/prefix/gateway/x"}, False),
        ({"path": "/api", "headers": [(b"x-mlflow-workspace", b"")]}, False),
        ({"path": "/api", "headers": [(b"x-other", b"")]}, True),
        ({"path": "/api", "kind": "websocket"}, False),
    ],
)
def test_only_requests_without_fastapi_go_straight_to_flask(request_, straight):
    looks = Looks()
    assert looks(**request_) == straight
    assert looks(**request_) == straight  # from memory, too


def test_a_path_is_matched_once_unless_it_is_long():
    looks = Looks()
    long = "/" + "x" * LONGEST
    for path in ("/api", "/api", long, long):
        looks(path)
    assert looks.asked == ["/api", long, long]


def test_a_request_is_matched_once():
    looks = Looks()
    scope = {"type": "http", "path": "/" + "x" * LONGEST, "method": "GET", "headers": []}
    assert looks.straight(scope)
    assert looks.straight(scope)
    assert len(looks.asked) == 1


def test_the_number_of_remembered_paths_is_limited():
    looks = Looks()
    for number in range(REMEMBERED + 1):
        looks(f"/{number}")
    looks("/1")
    looks("/0")
    assert len(looks.asked) == REMEMBERED + 2  # the first was forgotten
