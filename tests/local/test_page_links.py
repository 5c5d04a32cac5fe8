"""Text and files that members store run no script with the login of another user."""

from __future__ import annotations

import base64
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
  window.addEventListener("message", (event) => done([event.data, event.origin]), { once: true });
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
# each of these runs the handler, if a page writes it with `innerHTML`
MARKUP = (
    f'<img src="x" onerror="{HANDLER}">',
    f'<img/src="x"/onerror="{HANDLER}">',
    f'<p><svg><image href="x" onerror ="{HANDLER}"></image></svg></p>',
    f'<iframe srcdoc="<script>{HANDLER}</script>"></iframe>',
    f'<iframe src="javascript:{HANDLER}"></iframe>',
    f'<iframe src="java&#10;script&colon;{HANDLER}"></iframe>',
    f'<details open ontoggle="{HANDLER}">text</details>',
    # with scripts, the content of `noscript` is text, and the image begins after it
    f'<noscript><p title="</noscript><img src=x onerror={HANDLER}>"></noscript>',
    f'<form><input name="getAttributeNames"><img src="x" onerror="{HANDLER}"></form>',
)
WRITE = """([way, markup]) => {
  const outer = document.createElement("div");
  document.body.append(outer);
  const inner = outer.appendChild(document.createElement("div"));
  if (way === "innerHTML") inner.innerHTML = markup;
  if (way === "outerHTML") inner.outerHTML = markup;
  if (way === "shadow") inner.attachShadow({ mode: "open" }).innerHTML = markup;
  if (way === "template") {
    const template = document.createElement("template");
    template.innerHTML = markup;
    outer.append(template.content.cloneNode(true));
  }
  for (const place of ["beforebegin", "afterbegin", "beforeend", "afterend"]) {
    if (way === place) inner.insertAdjacentHTML(place, markup);
  }
  return outer.innerHTML + (inner.shadowRoot?.innerHTML ?? "");
}"""
WAYS = ("innerHTML", "outerHTML", "shadow", "template", "beforebegin", "afterbegin", "beforeend", "afterend")
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


def test_a_map_runs_no_script(server: Server, page: Page) -> None:
    eve = server.member("eve")
    experiment = server.ask(f"{V2}/experiments/create", eve, {"name": "maps of eve"}).json()["experiment_id"]
    run = server.ask(f"{V2}/runs/create", eve, {"experiment_id": experiment}).json()["run"]["info"]["run_id"]
    style = {"attribution": f'<img src="x" onerror="{HANDLER}">'}
    points = [
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [n, n]}, "properties": {"style": style}}
        for n in (1, 2)
    ]
    requests.put(
        f"{server.address}/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/map.geojson",
        json={"type": "FeatureCollection", "features": points},
        auth=eve,
        timeout=60,
    ).raise_for_status()
    page.goto(f"{server.address}/#/experiments/{experiment}/runs/{run}/artifacts/map.geojson")
    attribution = page.locator(".leaflet-control-attribution")
    attribution.wait_for()
    attribution.locator("img").wait_for(state="attached")  # MLflow itself still makes the element
    page.wait_for_timeout(500)
    assert page.evaluate(STOLEN) is None


def test_markup_runs_no_script(server: Server, page: Page) -> None:
    page.goto(f"{server.address}/")
    for way in WAYS:
        for markup in MARKUP:
            page.evaluate(WRITE, [way, markup])
    page.wait_for_timeout(500)
    assert page.evaluate(STOLEN) is None
    harmless = '<p class="a">one <b>two</b></p><svg><g></g></svg>'
    for way in WAYS:
        assert harmless in page.evaluate(WRITE, [way, harmless]), way
    rest = '<p onclick="x">on this = 3</p>'
    for way in WAYS:
        assert "<p>on this = 3</p>" in page.evaluate(WRITE, [way, rest]), way
    assert page.evaluate(WRITE, ["innerHTML", "<table><tr onclick='x'><td>1</td></tr></table>"]).count("<td>") == 1


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
        before, _, after = answer.text.partition("<script>// Runs before all other scripts")
        assert after, answer.text
        assert "<script" not in before
        assert int(answer.headers["content-length"]) == len(answer.content)


def test_a_page_that_a_browser_has_stored_is_not_used_again(server: Server) -> None:
    old = {"if-modified-since": "Fri, 01 Jan 2100 00:00:00 GMT", "range": "bytes=0-9"}
    for path, login in (("", ADMIN), ("static-files/lib/notebook-trace-renderer/index.html", None)):
        whole = requests.get(f"{server.address}/{path}", auth=login, headers=old, timeout=60)
        assert whole.status_code == 200
        assert "<script>// Runs before all other scripts" in whole.text
        assert whole.headers["cache-control"] == "no-cache"
    assert server.ask("", None).status_code == 401
