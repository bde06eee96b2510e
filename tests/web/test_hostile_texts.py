"""Whatever users wrote is text on a page: nothing of it runs, leads away, or breaks what is around it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
import torch
from hostile import TEXTS, nothing_ran
from hypothesis import example, given, settings, strategies as st
from looking import Open, browser as browser, look as look
from markupsafe import Markup
from served import Served, serving

from registry import Registry
from registry.server.pages import charts
from registry.server.pages.rendering import markdown

pytestmark = pytest.mark.services

CARD = "\n\n".join(
    (
        *TEXTS,
        "[a](javascript:window.taken=1) [b](data:text/html,<script>window.taken=1</script>) [c](vbscript:x)",
        '![d](javascript:window.taken=1) ![e](x" onerror="window.taken=1)',
        "<details open ontoggle=window.taken=1><summary>x</summary></details>",
        "```<script>window.taken=1</script>\n</code></pre><script>window.taken=1</script>\n```",
        "# <a id=content href=javascript:window.taken=1>x</a>",
        "| <b>x</b> | y |\n|---|---|\n| <script>window.taken=1</script> | z |",
    )
)

PARTS = ("", "/tensors", "/tensors?name=%3Cscript%3E%22", "/names", "/files", "/events")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A served home in which every text that a user may choose is one that wants to be markup."""
    folder = tmp_path_factory.mktemp("hostile")
    registry = Registry(folder / "home")
    for number, text in enumerate(TEXTS):
        source = folder / (text.replace("/", "∕")[:100] + ".pth")
        torch.save({f"module.{text}.w": torch.ones(2) * number, f"module.{text}.{number}": torch.zeros(3)}, source)
        registry.push(
            source,
            "net",
            from_="ddp",
            metrics={"acc": number / 10},
            tags={"t": text} if text.isprintable() else {},
            note=text,
            parent=f"net:v{number}" if number else None,
        )
    registry.card("net", CARD)
    registry.audit()
    registry.close()
    with serving(folder / "home") as running:
        yield running


@pytest.mark.parametrize("number", range(1, len(TEXTS) + 1))
def test_no_text_of_a_version_is_markup(look: Open, served: Served, number: int) -> None:
    page = look(f"/models/net:v{number}")
    for part in PARTS:
        page.goto(f"{served.url}/models/net:v{number}{part}")
        assert nothing_ran(page), part
    name = f"{TEXTS[number - 1]}.w"
    page = look(f"/models/net:v{number}/tensors")
    page.get_by_role("link", name=name, exact=True).click()
    page.wait_for_url("**tensor=*")
    assert page.get_by_role("heading", name=name, exact=True).count() == 1 and nothing_ran(page)


@pytest.mark.parametrize(
    "path",
    (
        *("/", "/versions", "/versions?q=tag:t", "/models/net", "/activity", "/storage", "/trash"),
        "/compare?ref=net:v1&ref=net:v2&ref=net:v3&ref=net:v4&ref=net:v5&measure=1",
    ),
)
def test_no_text_of_many_versions_is_markup(look: Open, served: Served, path: str) -> None:
    assert nothing_ran(look(path))


@pytest.mark.parametrize("text", TEXTS)
def test_no_text_of_an_address_is_markup(look: Open, served: Served, text: str) -> None:
    page = look("/", refused=True)
    for path in ("/versions?q=", "/compare?ref=", "/activity?by=", "/models/", "/login?next=", "/x", "/?sort="):
        page.goto(f"{served.url}{path}{quote(text)}")
        assert nothing_ran(page), path


def test_a_policy_keeps_what_would_slip_through_from_running(look: Open, served: Served) -> None:
    page = look("/", refused=True)
    page.evaluate(
        "document.querySelector('main').insertAdjacentHTML('beforeend',"
        ' \'<img src=x onerror="window.taken=1"><iframe srcdoc="<script>parent.taken=1</script>"></iframe>\');'
        "const s = document.createElement('script'); s.textContent = 'window.taken=1'; document.body.append(s)"
    )
    page.wait_for_timeout(200)
    assert page.evaluate("window.taken") is None


@given(st.text(max_size=80) | st.sampled_from(TEXTS) | st.from_regex(r"[<>&\"'`=/a-z\[\]()!*_#|:-]{1,60}"))
@settings(max_examples=300, deadline=None)
def test_a_card_has_no_html_but_that_of_its_markdown(text: str) -> None:
    found = markdown(text).lower()
    for tag in ("<script", "<style", "<iframe", "<base", "<meta", "<svg", "<object", "<form", "<input", "<details"):
        assert tag not in found
    for start in ('href="javascript:', 'src="javascript:', 'href="vbscript:', 'href="data:text'):
        assert start not in found


@given(st.text(max_size=60) | st.sampled_from(TEXTS))
@settings(max_examples=200, deadline=None)
def test_a_chart_has_words_as_words(text: str) -> None:
    from xml.etree import ElementTree

    plain = "".join(c for c in text if c.isprintable())  # of what a name may hold
    drawn = (
        charts.bars([(plain, 1.0, plain)], plain),
        charts.histogram((1, 2), 0.0, 1.0, plain),
        charts.sparkline((1.0, 2.0), plain),
        charts.outline((1, 2), plain),
        charts.line([(1, 2.0, plain)], plain),
        charts.tree([(plain, None, plain)], plain),
    )
    for each in drawn:
        assert isinstance(each, Markup)
        tags = {element.tag for element in ElementTree.fromstring(str(each)).iter()}
        assert tags <= {"div", "output", "svg", "polyline", "circle", "line", "text", "title", "a", "rect", "path"}


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=4))
@example([0.0, 5e-324])
@example([1e-320, 5e-320])
@settings(max_examples=300, deadline=None)
def test_finite_numbers_are_drawn_however_near_or_far_they_are(values: list[float]) -> None:
    for drawn in (
        charts.line([(place, value, "v1") for place, value in enumerate(values)], "acc"),
        charts.sparkline(values, "acc"),
    ):
        assert not {"nan", "inf"} & set(re.findall("[a-z]+", str(drawn)))
