"""Text and files that members store run no script with the login of another user."""

from __future__ import annotations

import base64
import json
import re
import struct
import zlib
from collections.abc import Callable, Iterator

import pytest
import requests
from playwright.sync_api import Page

from tests.local.minors import ADMIN, CASES, Server, served
from tests.support import browser

V2 = "api/2.0/mlflow"
TEXT = "train.py"  # of the link, by which MLflow shows the source of a run
# MLflow takes text with "git" in it for the address of a repository
EVIL = f"javascript:void(localStorage.setItem('stolen', 'yes'))//git/{TEXT}"
ADDRESSES = tuple(
    f"{scheme}:void(localStorage.setItem('stolen', 'yes'))" for scheme in ("javascript", "  JavaScript", "java\nscript")
)
STOLEN = "() => localStorage.getItem('stolen')"
CLICK = """([kind, address]) => {
  const outer = document.createElement("div");
  outer.innerHTML = '<a><b>text</b></a><svg><a><text>text</text></a></svg><form><button>text</button></form>';
  document.body.append(outer);
  const [link, vector] = outer.querySelectorAll("a");
  const form = outer.querySelector("form");
  link.setAttribute("href", address);
  vector.setAttributeNS("http://www.w3.org/1999/xlink", "xlink:href", address);
  form.setAttribute("action", address);
  const inner = { link: "b", vector: "text", form: "button" }[kind];
  let stopped;
  window.addEventListener(kind === "form" ? "submit" : "click", (event) => {
    stopped = event.defaultPrevented;
    event.preventDefault();
  }, { once: true });
  const options = { bubbles: true, cancelable: true, composed: true };
  outer.querySelector(inner).dispatchEvent(new MouseEvent("click", options));
  outer.remove();
  return stopped === undefined ? "stopped" : "passed";
}"""

FILE = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="7" height="7">'
    "<script>try { localStorage.setItem('stolen', 'yes') } catch {} parent.postMessage('ran', '*')</script></svg>"
)
CREATE = """([file, kind]) => {
  const bytes = Uint8Array.from(atob(file), (letter) => letter.charCodeAt(0));
  return URL.createObjectURL(new Blob([bytes], { type: kind }));
}"""
# type, encoding, and bytes before the file: a character of UTF-16 must begin at the right one of two bytes
DANGEROUS = (
    *((kind, "utf-8", b"") for kind in ("text/html", "image/svg+xml", "application/xhtml+xml", "text/xsl", "")),
    ("text/xml; charset=utf-8", "utf-8", b""),
    *(("text/html;charset=utf-16be", "utf-16-be", before) for before in (b"", b" ")),
    *(("text/html;charset=utf-16le", "utf-16-le", before) for before in (b"", b" ")),
)
# a frame without `sandbox` has the access of a tab of its own
FOLLOW = """(address) => {
  const frame = document.createElement("iframe");
  frame.src = address;
  document.body.append(frame);
}"""
FRAMED = """() => new Promise((done) => {
  window.addEventListener("message", (event) => event.data === "ran" && done([event.data, event.origin]));
  const frame = document.createElement("iframe");
  frame.sandbox = "allow-scripts";
  frame.src = URL.createObjectURL(new Blob([`<html><script>parent.postMessage("ran", "*")</scr` + `ipt></html>`],
    { type: "text/html" }));
  document.body.append(frame);
})"""
DRAWN = """([file, kind]) => new Promise((done) => {
  const bytes = Uint8Array.from(atob(file), (letter) => letter.charCodeAt(0));
  const image = new Image();
  image.onload = () => done(image.width);
  image.onerror = () => done(0);
  image.src = URL.createObjectURL(new Blob([bytes], { type: kind }));
})"""
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="7" height="7"></svg>'


def part(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file (https://www.w3.org/TR/png/#5Chunk-layout)."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


# seven grey pixels
PNG = b"\x89PNG\r\n\x1a\n" + b"".join(
    (
        part(b"IHDR", struct.pack(">IIBBBBB", 7, 1, 8, 0, 0, 0, 0)),
        part(b"IDAT", zlib.compress(b"\0" * 8)),
        part(b"IEND", b""),
    )
)

HANDLER = "localStorage.setItem('stolen', 'yes')"
LINK = f'<a id="link" href="javascript:void({HANDLER})"><rect width="999" height="999" fill="red"/></a>'
# each of these runs the handler, at once or after a click, if a page without a policy writes it
MARKUP = (
    f'<img src="x" onerror="{HANDLER}">',
    f'<iframe srcdoc="<script>{HANDLER}</script>"></iframe>',
    f'<iframe src="javascript:{HANDLER}"></iframe>',
    f'<details open ontoggle="{HANDLER}">text</details>',
    f'<svg><defs><g id="drawn"><image href="x" onerror="{HANDLER}"></image></g></defs><use href="#drawn"/></svg>',
    f'<svg width="999" height="999"><defs>{LINK}</defs><use href="#link"/></svg>',
    f'<form action="javascript:void({HANDLER})"><button style="position:fixed;inset:0">text</button></form>',
)
WRITE = """(markup) => {
  const outer = document.createElement("div");
  outer.style = "position: fixed; inset: 0; z-index: 9999";
  outer.innerHTML = markup;
  document.body.replaceChildren(outer);
}"""
POLLUTE = """() => {
  "use strict";
  try {
    ({}).__proto__.valueGetter = "1";
  } catch {}
  return "valueGetter" in {};
}"""
# the policy applies only to what a page does on its own, so not to what the test evaluates
COMPILE = """() => new Promise((done) => setTimeout(() => {
  try {
    done(new Function("return 'ran'")());
  } catch (error) {
    done(error.name);
  }
}))"""
PLOT = "<p id='plot'></p><script>document.getElementById('plot').textContent = 'dr' + 'awn'</script>"
ASK = """async ([way, address]) => {
  if (way === "fetch") {
    return await fetch(address).then((answer) => answer.status, () => "refused");
  }
  try {
    const request = new XMLHttpRequest();
    request.open("GET", address, false);
    request.send();
    return request.status;
  } catch {
    return "refused";
  }
}"""

Login = tuple[str, str]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.version)
def server(
    request: pytest.FixtureRequest, python_of: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with served(request.param, python_of(request.param.version), tmp_path_factory.mktemp("links")) as found:
        yield found


@pytest.fixture(scope="module")
def page(server: Server) -> Iterator[Page]:
    """MLflow's start page, in a browser that knows the administrator's login."""
    browser.ensure()
    with browser.chromium() as chromium:
        login = {"username": ADMIN[0], "password": ADMIN[1]}
        found = chromium.new_context(http_credentials=login, viewport=browser.WINDOW).new_page()
        found.set_default_timeout(browser.SECONDS * 1000)
        found.goto(f"{server.address}/{V2}/users/current")  # the browser learns the login
        yield found


def test_the_source_of_a_run_runs_no_script(server: Server, page: Page) -> None:
    mia = server.member("mia")
    made = server.ask(f"{V2}/experiments/create", mia, {"name": "of mia"})
    experiment = made.json()["experiment_id"]
    run = server.ask(f"{V2}/runs/create", mia, {"experiment_id": experiment}).json()["run"]["info"]["run_id"]
    for key, value in (("mlflow.source.name", EVIL), ("mlflow.source.type", "LOCAL")):
        assert server.ask(f"{V2}/runs/set-tag", mia, {"run_id": run, "key": key, "value": value}).ok
    page.goto(f"{server.address}/#/experiments/{experiment}/runs/{run}")
    link = page.get_by_role("link", name=TEXT).first
    link.wait_for()
    assert str(link.get_attribute("href")).startswith("javascript:")  # MLflow itself still makes the link
    link.click()
    page.wait_for_timeout(500)
    assert page.evaluate(STOLEN) is None


def test_no_link_and_no_call_of_a_page_runs_a_script(server: Server, page: Page) -> None:
    page.goto(f"{server.address}/")
    for address in ADDRESSES:
        for kind in ("link", "vector", "form"):
            assert page.evaluate(CLICK, [kind, address]) == "stopped", (kind, address)
        assert page.evaluate("(address) => window.open(address, '_self')", address) is None
    blob = page.evaluate("() => URL.createObjectURL(new Blob(['text']))")
    assert page.evaluate(CLICK, ["link", blob]) == "stopped"
    assert page.evaluate("(address) => window.open(address)", blob) is None
    for kind in ("link", "vector", "form"):
        assert page.evaluate(CLICK, [kind, "https://example.org/javascript:"]) == "passed", kind
    page.wait_for_timeout(500)
    assert page.evaluate(STOLEN) is None


def test_a_file_of_a_member_has_no_access_to_the_login_in_a_tab_of_its_own(server: Server, page: Page) -> None:
    page.goto(f"{server.address}/")
    for kind, encoding, before in DANGEROUS:
        address = page.evaluate(CREATE, [base64.b64encode(before + FILE.encode(encoding)).decode(), kind])
        page.evaluate(FOLLOW, address)
        page.wait_for_timeout(500)
        assert page.evaluate(STOLEN) is None, (kind, before)
        page.goto(f"{server.address}/")
    assert page.evaluate(FRAMED) == ["ran", "null"]  # the script of a plot in a frame still runs
    for image, kind in ((SVG, "image/svg+xml"), (PNG, "image/png"), (PNG, "")):  # MLflow gives most images no type
        assert page.evaluate(DRAWN, [base64.b64encode(image).decode(), kind]) == 7, kind  # the width


def new_run(server: Server, name: str) -> tuple[tuple[str, str], str, str]:
    """Return the login of a new member, and the member's new experiment and run."""
    login = server.member(name)
    made = server.ask(f"{V2}/experiments/create", login, {"name": f"of {name}"})
    experiment = str(made.json()["experiment_id"])
    run = server.ask(f"{V2}/runs/create", login, {"experiment_id": experiment, "run_name": "first run"})
    return login, experiment, str(run.json()["run"]["info"]["run_id"])


def show(server: Server, page: Page, member: str, name: str, content: str) -> None:
    """Store an artifact as a new member, and open it in the web page."""
    login, experiment, run = new_run(server, member)
    address = f"{server.address}/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/{name}"
    requests.put(address, data=content.encode(), auth=login, timeout=60).raise_for_status()
    page.goto(f"{server.address}/")  # otherwise the browser only changes the fragment of the address
    page.goto(f"{server.address}/#/experiments/{experiment}/runs/{run}/artifacts/{name}")


def test_a_map_runs_no_script(server: Server, page: Page) -> None:
    style = {"attribution": f'<img src="x" onerror="{HANDLER}">'}
    points = [
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [n, n]}, "properties": {"style": style}}
        for n in (1, 2)
    ]
    show(server, page, "eve", "map.geojson", json.dumps({"type": "FeatureCollection", "features": points}))
    image = page.locator(".leaflet-control-attribution img")
    image.wait_for(state="attached")  # MLflow itself still makes the element
    page.wait_for_timeout(500)
    assert page.evaluate(STOLEN) is None


def test_the_script_of_a_plot_runs_without_the_login(server: Server, page: Page) -> None:
    show(server, page, "ada", "plot.html", PLOT)
    page.frame_locator("iframe").get_by_text("drawn").wait_for()
    (frame,) = [found for found in page.frames if found.parent_frame]
    assert frame.evaluate("() => self.origin") == "null"


def test_markup_runs_no_script(server: Server, page: Page) -> None:
    for markup in MARKUP:
        page.goto(f"{server.address}/")
        page.evaluate(WRITE, markup)
        page.mouse.click(100, 100)
        page.wait_for_timeout(300)
        page.goto(f"{server.address}/")
        assert page.evaluate(STOLEN) is None, markup
    page.evaluate(WRITE, '<base href="/of/a/member/">')
    assert page.evaluate("() => document.baseURI") == f"{server.address}/"


def test_data_of_a_member_become_no_property_of_all_objects_and_no_program(server: Server, page: Page) -> None:
    page.goto(f"{server.address}/")
    assert page.evaluate(POLLUTE) is False
    assert page.evaluate(COMPILE) == "EvalError"


def test_all_pages_work_with_the_policy(server: Server, page: Page) -> None:
    login, experiment, run = new_run(server, "ann")
    for step in range(3):
        metric = {"run_id": run, "key": "loss", "value": 1 / (step + 1), "timestamp": step, "step": step}
        assert server.ask(f"{V2}/runs/log-metric", login, metric).ok
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None)
    for address, text in (
        ("#/experiments", "of ann"),
        (f"#/experiments/{experiment}/runs", "first run"),
        (f"#/experiments/{experiment}/runs?compareRunsMode=CHART", "first run"),
        (f"#/experiments/{experiment}/runs/{run}", "first run"),
        (f"#/experiments/{experiment}/runs/{run}/model-metrics", "first run"),
        (f"#/experiments/{experiment}/models", "Models"),
        (f"#/experiments/{experiment}/traces", "Traces"),
        (f"#/experiments/{experiment}/evaluation-runs", "Evaluation"),
        ("#/models", "Models"),
        ("#/prompts", "Prompts"),
        ("#/settings", "Settings"),
    ):
        page.goto(f"{server.address}/{address}")
        page.get_by_text(text).first.wait_for(state="attached")
        page.wait_for_timeout(500)
        assert not wrong, (address, wrong)
    page.goto(f"{server.address}/static-files/lib/notebook-trace-renderer/index.html")
    page.wait_for_timeout(500)
    assert not wrong, wrong


@pytest.mark.parametrize("way", ["fetch", "xhr"])
def test_the_identifier_of_a_member_leads_to_no_other_route(server: Server, page: Page, way: str) -> None:
    page.goto(f"{server.address}/")
    for up in ("..", "%2e%2E", ".%2e", ".\n."):
        for slash in ("/", "\\"):
            address = f"ajax-api/3.0/mlflow/traces{slash}{up}{slash}{up}{slash}{up}/2.0/mlflow/users/current"
            assert page.evaluate(ASK, [way, address]) == "refused", address
    for address in ("ajax-api/2.0/mlflow/users/current", "./ajax-api/2.0/mlflow/users/current?path=a/../b#/../c"):
        assert page.evaluate(ASK, [way, address]) == 200, address


@pytest.mark.parametrize(
    ("path", "login", "status"),
    [
        ("", ADMIN, 200),
        ("static-files/index.html", None, 200),
        ("static-files%2Findex.html", None, 200),
        ("static-files/lib/notebook-trace-renderer/index.html", None, 200),
        ("static-files/lib/notebook-trace-renderer/index.html/", None, 200),
        ("static-files/lib%2Fnotebook-trace-renderer%2Findex.html", None, 200),
        ("static-files%2Findex.html%2F.", None, 404),
        ("static-files%2Findex.html%2Fx%2F..", None, 404),
        ("static-files%2F%2Findex.html", None, 404),
        ("static-files/lib%2Fx%2F..%2Fnotebook-trace-renderer%2Findex.html", None, 404),
        ("build/index.html", ADMIN, 403),
        ("build%2Findex.html", ADMIN, 403),
    ],
)
def test_each_page_contains_the_script_before_others(
    server: Server, path: str, login: Login | None, status: int
) -> None:
    answer = server.ask(path, login)
    assert answer.status_code == status
    if status == 200:
        nonce = re.search("'nonce-([^']+)'", answer.headers["content-security-policy"])
        assert nonce, answer.headers
        before, guard, _ = answer.text.partition(f'<script nonce="{nonce[1]}">// Runs before all other scripts')
        assert guard, answer.text
        assert "<script" not in before
        assert nonce[1] not in server.ask(path, login).text  # a new one each time
        assert int(answer.headers["content-length"]) == len(answer.content)


def test_a_page_that_a_browser_has_stored_is_not_used_again(server: Server) -> None:
    old = {"if-modified-since": "Fri, 01 Jan 2100 00:00:00 GMT", "range": "bytes=0-9"}
    for path, login in (("", ADMIN), ("static-files/lib/notebook-trace-renderer/index.html", None)):
        whole = requests.get(f"{server.address}/{path}", auth=login, headers=old, timeout=60)
        assert whole.status_code == 200
        assert "// Runs before all other scripts" in whole.text
        assert whole.headers["cache-control"] == "no-cache"
    assert server.ask("", None).status_code == 401
