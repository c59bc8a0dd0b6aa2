"""Pages as a reader meets them: opened in Debian's Chromium, without a network, with everything it complains about.

    with opened(path, width=400, dark=True) as view:
        assert view.complaints == []
        view.page.locator("h1")         # Playwright's page

Tests that open pages are marked `needs_browser`: skipped where there is no Chromium or Playwright, with the reason;
with MASSMATCH_REQUIRE_BROWSER=1 they fail there instead. No browser is ever downloaded.
"""

import atexit
import importlib.util
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")  # Debian's package `chromium`
OWN = ("file:", "data:", "blob:", "about:")  # what a self-contained page may ask for


def lacking() -> str | None:
    """Why no page can be opened here; None where it can."""
    if not CHROMIUM.is_file():
        return f"no Chromium at {CHROMIUM}: install Debian's package chromium"
    if importlib.util.find_spec("playwright") is None:
        return "Playwright is not installed: pip install playwright (it downloads no browser by itself)"
    return None


def required() -> bool:
    """Whether a machine without a browser fails rather than skips."""
    return os.environ.get("MASSMATCH_REQUIRE_BROWSER") == "1"


needs_browser = pytest.mark.skipif(lacking() is not None and not required(), reason=lacking() or "")


@dataclass
class View:
    """A page that is open, and what went wrong with it so far."""

    page: Any  # playwright.sync_api.Page
    errors: list[str] = field(default_factory=list)  # of the console, and exceptions of scripts
    fetched: list[str] = field(default_factory=list)  # addresses outside the file, all of them blocked

    @property
    def complaints(self) -> list[str]:
        """Everything a page must not do."""
        return self.errors + [f"fetched {url}" for url in self.fetched]

    @property
    def overflow(self) -> int:
        """CSS pixels by which the page is wider than its window: 0 where nothing has to be scrolled sideways."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


@contextmanager
def opened(path: Path | str, *, width: int = 1280, height: int = 900, dark: bool = False, media: str = "screen"):
    """A View of a local HTML file, or of a page of a server on loopback, in a window that shares nothing."""
    if (why := lacking()) is not None:
        pytest.fail(why)
    window = started().new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
    )
    try:
        page = window.new_page()
        page.emulate_media(media=media)
        yield _watched(page, path)
    finally:
        window.close()


@cache
def started() -> Any:
    """The browser of this test process: starting one takes longer than most tests. It is gone when the process ends."""
    from playwright.sync_api import sync_playwright

    playwright = sync_playwright().start()
    browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
    atexit.register(playwright.stop)
    atexit.register(browser.close)  # what is registered last is done first
    return browser


def _watched(page: Any, path: Path | str) -> View:
    address = path if isinstance(path, str) else path.resolve().as_uri()
    own = OWN if isinstance(path, Path) else (*OWN, "/".join(address.split("/")[:3]) + "/")
    view = View(page)
    page.on("console", lambda said: view.errors.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: view.errors.append(str(error)))
    page.route(lambda url: not url.startswith(own), lambda route: _blocked(view, route))
    page.goto(address)
    return view


def _blocked(view: View, route: Any) -> None:
    view.fetched.append(route.request.url)
    route.abort()


def until(view: View, condition: str, arg: Any = None) -> None:
    """Wait for a function of JavaScript to be true: Playwright's own way is refused by pages that allow no eval."""
    for _ in range(400):
        if view.page.evaluate(condition, arg):
            return
        view.page.wait_for_timeout(50)
    pytest.fail(f"still not so after 20 s: {condition} {view.errors}")


CONTRAST = """() => {
  const channels = (colour) => {
    const context = Object.assign(document.createElement("canvas"), {width: 1, height: 1}).getContext("2d");
    context.fillStyle = colour; context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data].map((value) => value / 255);
  };
  const over = ([r, g, b, a], below) => [r, g, b].map((value, i) => value * a + below[i] * (1 - a));
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(channels(getComputedStyle(at).backgroundColor));
    const canvas = matchMedia("(prefers-color-scheme: dark)").matches ? [0.07, 0.07, 0.07] : [1, 1, 1];
    return layers.reverse().reduce((below, layer) => over(layer, below), canvas);
  };
  const luminance = (rgb) => rgb.map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement, style = getComputedStyle(element);
    const drawn = element.closest("svg") ? style.fill : style.color;
    if (!node.data.trim() || !element.checkVisibility() || drawn === "none") continue;
    if (["SCRIPT", "STYLE", "TITLE", "DESC"].includes(element.tagName.toUpperCase())) continue;
    const below = behind(element);
    const [light, dark] = [luminance(over(channels(drawn), below)), luminance(below)].sort((a, b) => b - a);
    found.push({text: node.data.trim().slice(0, 60), ratio: (light + 0.05) / (dark + 0.05)});
  }
  return found;
}"""


def contrasts(view: View) -> list[dict[str, Any]]:
    """Contrast of every visible text with what lies behind it (WCAG 2.1): dicts of `text` and `ratio`.

    Computed from the styles, layer over layer; pictures and shapes behind a text are not seen.
    """
    return view.page.evaluate(CONTRAST)


def tabbed(view: View, most: int = 200) -> list[str]:
    """What the Tab key reaches, in order: tag#id.class of each focused element, until it leaves the page."""
    describe = """() => { const e = document.activeElement;
      return e === document.body ? "" : e.tagName.toLowerCase() + (e.id ? "#" + e.id : "")
        + [...e.classList].map((c) => "." + c).join(""); }"""
    reached: list[str] = []
    for _ in range(most):
        view.page.keyboard.press("Tab")
        here = view.page.evaluate(describe)
        if not here:
            break
        reached.append(here)
    return reached
