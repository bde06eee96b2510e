"""How pages look: in colors that can be told apart, on a phone, on paper, and without JavaScript."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from looking import (
    Open,
    browser as browser,
    home as home,
    look as look,
    rows as rows,
    served as served,
)
from playwright.sync_api import expect
from served import serving

from registry import Registry

pytestmark = pytest.mark.services

VERSION = "/models/team/pointnet:v3"
PARTS = (VERSION, *(f"{VERSION}/{part}" for part in ("tensors?tensor=0.weight", "names", "files", "events")))
COMPARED = "/compare?ref=team/pointnet:v6&ref=team/pointnet:v7&measure=1"
PAGES = (
    *("/", "/versions", "/models/team/pointnet", *PARTS, "/compare", COMPARED),
    *("/activity", "/storage?plan=1", "/trash", "/login", "/versions?q=acc%3E7"),
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(look: Open, scheme: str) -> None:
    """By the contrast of WCAG 2.2, 1.4.3: 4.5 to 1."""
    for path in PAGES:
        page = look(path, color_scheme=scheme)
        weak = page.evaluate(_CONTRAST)
        assert weak == [], path


_CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (color) => {
    const [r, g, b] = color.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const color = parse(getComputedStyle(e).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const weak = [];
  for (const element of document.querySelectorAll("body *:not(svg *):not(script):not(option)")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !element.offsetParent) continue;
    const a = light(parse(getComputedStyle(element).color).slice(0, 3)), b = light(ground(element));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) weak.push(element.textContent.trim().slice(0, 30) + " " + ratio.toFixed(2));
  }
  return weak;
}"""


def test_a_phone_shows_no_page_wider_than_itself(look: Open) -> None:
    for path in PAGES:
        page = look(path, viewport={"width": 390, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path


def test_a_phone_leads_to_the_facets_and_shows_a_chart_as_large_as_can_be_read(look: Open) -> None:
    page = look("/versions", viewport={"width": 390, "height": 800})
    facets = page.get_by_role("complementary", name="Narrow the search")
    expect(facets).not_to_be_in_viewport()
    page.get_by_role("link", name="Narrow the search").click()
    expect(facets).to_be_in_viewport()
    page.goto(page.url.partition("/versions")[0] + "/models/team/pointnet")
    drawn = page.get_by_role("img", name="acc over 7 versions").bounding_box()
    assert drawn is not None and drawn["width"] > 500


def test_paper_has_the_tables_and_none_of_the_controls(look: Open) -> None:
    page = look("/versions", color_scheme="dark")
    page.get_by_role("button", name="Light or dark").click()
    page.get_by_role("button", name="Light or dark").click()  # dark by choice
    page.emulate_media(media="print")
    expect(page.locator("tbody tr").first).to_be_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for kind in ("searchbox", "button", "checkbox", "complementary", "navigation"):
        assert page.get_by_role(kind).count() == 0, kind
    page = look("/models/team/pointnet")
    page.emulate_media(media="print")
    expect(page.get_by_role("link", name="v7", exact=True).first).to_be_visible()
    expect(page.get_by_role("img", name="acc over 7 versions")).to_be_visible()
    page = look("/models/kept:v1/tensors")
    page.emulate_media(media="print")
    expect(page.get_by_text("encoder.layer.7.dense.bias")).to_be_visible()


def test_without_javascript_everything_works(look: Open) -> None:
    page = look("/versions?q=team/pointnet", java_script_enabled=False)
    assert len(rows(page)) == 7
    page.get_by_role("link", name="acc").first.click()
    assert rows(page)[0] == "team/pointnet:v7"
    page.get_by_role("searchbox").fill("acc>0.8")
    page.get_by_role("searchbox").press("Enter")
    assert "acc%3E0.8" in page.url


def test_five_versions_are_compared_and_names_in_one_alone_are_told(look: Open) -> None:
    refs = "&".join(f"ref=team/pointnet:v{number}" for number in range(1, 5))
    page = look(f"/compare?{refs}&ref=both:v1&measure=1")
    expect(page.get_by_role("columnheader", name="both:v1").first).to_be_visible()
    expect(page.get_by_text("0 changed, 7 only in the first, 6 only in the second")).to_be_visible()
    page.get_by_text("Only in both:v1").click()
    expect(page.get_by_text("point.bias")).to_be_visible()
    expect(page.get_by_role("heading", name="By how much")).to_have_count(4)
    page = look(f"/compare?{refs}&ref=both:v1&ref=kept:v1", refused=True)
    expect(page.get_by_role("alert")).to_contain_text("at most 5")


def test_an_infinite_value_leaves_the_ends_of_a_histogram_to_the_finite_ones(look: Open, tmp_path: Path) -> None:
    hub = Registry(tmp_path / "home")
    hub.push({"w": torch.tensor([1.0, 2.0, float("inf"), float("nan")]), "none": torch.full((3,), float("nan"))}, "net")
    hub.close()
    with serving(hub.home) as odd:
        page = look("/models/net:v1/tensors?tensor=w", of=odd)
        drawn = page.get_by_role("img", name="histogram of w")
        expect(drawn).to_contain_text("largest finite")
        expect(drawn).not_to_contain_text("inf from")
        assert "nan" not in (drawn.text_content() or "")
        expect(page.get_by_text("1 NaN · 1 infinite")).to_be_visible()
        page.get_by_role("link", name="none", exact=True).click()
        expect(page.get_by_text("3 NaN · 0 infinite")).to_be_visible()
        page.close()


def test_small_tensors_are_described_at_first_view_and_large_ones_when_asked(look: Open, tmp_path: Path) -> None:
    hub = Registry(tmp_path / "home")
    hub.push({"large": torch.ones(1_100_000), "a.small": torch.ones(3)}, "net")
    hub.close()
    with serving(hub.home) as one:
        page = look("/models/net:v1/tensors", of=one)
        expect(page.get_by_role("img", name="values of a.small")).to_be_visible()
        assert page.get_by_role("img", name="values of large").count() == 0
        expect(page.get_by_text("reads 1 tensor, once")).to_be_visible()
        page.get_by_role("link", name="Describe all values here").click()
        expect(page.get_by_role("img", name="values of large")).to_be_visible()
        assert page.get_by_role("link", name="Describe all values here").count() == 0
        page.close()


def test_parts_are_shown_by_name_and_class(look: Open) -> None:
    page = look("/models/both:v1")
    expect(page.locator("dl.facts")).to_contain_text("part img")
    expect(page.locator("dl.facts")).to_contain_text("Linear")
    expect(page.get_by_role("button", name="Copy: one part")).to_be_visible()
