"""The page in a real browser: two widths, light and dark, with every request refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_OVERFLOW = "document.documentElement.scrollWidth - window.innerWidth"
_BACKGROUND = "getComputedStyle(document.body).backgroundColor"
_BROKEN = "[...document.images].filter(i => !(i.complete && i.naturalWidth)).map(i => i.alt)"
_TEXT_BOXES = """
[...document.querySelectorAll('svg.plot')].filter(s => s.getBoundingClientRect().width).map(
  s => [...s.querySelectorAll('text')].map(t => {
    const b = t.getBoundingClientRect();
    return [t.textContent, b.left, b.top + b.height * 0.15, b.right, b.bottom - b.height * 0.15];
  }))
"""
_OUTSIDE = """
[...document.querySelectorAll('svg.plot')].filter(s => s.getBoundingClientRect().width).flatMap(
  s => [...s.querySelectorAll('text')].filter(t => {
    const a = s.getBoundingClientRect(), b = t.getBoundingClientRect();
    return b.left < a.left - 1 || b.right > a.right + 1 || b.top < a.top - 1;
  }).map(t => t.textContent))
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    installed = filter(None, map(shutil.which, _NAMES))
    found = os.environ.get("DIT_ACCEL_CHROMIUM") or next(installed, None)
    if found is None:
        pytest.skip("no Chromium on PATH; name one in DIT_ACCEL_CHROMIUM")
    with api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-sync"]
        started = playwright.chromium.launch(executable_path=found, args=arguments)
        yield started
        started.close()


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_whole(browser: Any, written: Path, width: int, scheme: str) -> None:
    requests: list[str] = []
    console: list[str] = []
    address = (written / "report.html").as_uri()
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=True
    )
    page = context.new_page()
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: console.append(message.text))
    page.on("pageerror", lambda error: console.append(str(error)))
    page.goto(address)
    try:
        assert [url for url in requests if not url.startswith("data:")] == [address]
        assert not console
        assert page.evaluate(_OVERFLOW) <= 0, "the page itself scrolls sideways"
        assert page.evaluate(_BROKEN) == []
        red = int(page.evaluate(_BACKGROUND).removeprefix("rgb(").split(",")[0])
        assert (red < 60) == (scheme == "dark")
        assert page.evaluate(_OUTSIDE) == []
        for boxes in page.evaluate(_TEXT_BOXES):
            assert boxes
            assert [(a[0], b[0]) for a, b in combinations(boxes, 2) if _overlap(a, b)] == []
    finally:
        context.close()


def _overlap(a: list[Any], b: list[Any]) -> bool:
    return bool(a[1] < b[3] and b[1] < a[3] and a[2] < b[4] and b[2] < a[4])
