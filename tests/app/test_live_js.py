"""Parts of a page that change by themselves leave the focus and the scrolling alone."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import relay.app

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

pytestmark = pytest.mark.enable_socket
PAGE = '<script type="module" src="/live.js"></script><div data-live="/part" data-every="0.05"></div>'
LIVE = Path(relay.app.__file__).parent / "static" / "live.js"


def test_the_focus_and_the_place_in_the_output_stay(chromium: Browser) -> None:
    page, asked = chromium.new_page(), count(1)

    def answer(route: Route) -> None:
        path = route.request.url.rpartition("/")[2]
        if path == "live.js":
            return route.fulfill(body=LIVE.read_text(), content_type="text/javascript")
        number = next(asked) if path == "part" else 0
        output = "<br>".join(map(str, range(200)))
        part = f"""<p>{number}</p>{'<a href="/x">New</a>' if number > 1 else ""}<button>Stop</button>
            <i data-keep="a">x</i>
            <pre class="output" tabindex="0" style="height: 80px; overflow: auto">{output}</pre>"""
        return route.fulfill(body=part if path == "part" else PAGE, content_type="text/html")

    page.route("**/*", answer)
    page.goto("http://127.0.0.1:9/")
    page.get_by_role("button").wait_for()
    page.evaluate("[document.querySelector('button').focus(), (document.querySelector('.output').scrollTop = 500)]")
    page.evaluate("document.querySelector('i').textContent = 'drawn'")
    page.locator("p", has_text="9").wait_for()
    assert page.evaluate("document.activeElement.textContent") == "Stop"
    assert page.evaluate("document.querySelector('.output').scrollTop") == 500
    assert page.evaluate("document.querySelector('i').textContent") == "drawn"
    page.close()
