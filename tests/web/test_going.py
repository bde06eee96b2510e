"""How one goes from page to page: what is typed stays, back leads where one was, and the keyboard goes along."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from looking import (
    Open,
    browser as browser,
    home as home,
    log_in,
    look as look,
    served as served,
    token as token,
)
from playwright.sync_api import Page, expect
from served import serving

from registry import Registry

pytestmark = pytest.mark.services


def typed(page: Page, label: str, text: str) -> None:
    """Type so slowly that each letter is sent."""
    page.get_by_label(label).click()
    for number in range(1, len(text) + 1):
        page.keyboard.type(text[number - 1])
        page.wait_for_url(f"**name={text[:number]}")


@pytest.mark.parametrize("part", ["tensors", "names"])
def test_who_types_slowly_is_not_interrupted(look: Open, part: str) -> None:
    page = look(f"/models/team/pointnet:v3/{part}")
    typed(page, "Name holds", "weig")
    expect(page.get_by_label("Name holds")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    page.keyboard.type("x")
    page.wait_for_url("**name=weixg")
    page.keyboard.press("Backspace")
    page.wait_for_url("**name=weig")
    expect(page.get_by_text("2 of 7")).to_be_visible()


def test_what_was_typed_is_one_step_of_the_history(look: Open) -> None:
    page = look("/models/team/pointnet:v3/tensors")
    typed(page, "Name holds", "bias")
    page.go_back()
    page.wait_for_url("**/tensors")
    expect(page.get_by_text("7 of 7")).to_be_visible()
    page.go_forward()
    expect(page.get_by_text("2 of 7")).to_be_visible()
    expect(page.get_by_label("Name holds")).to_have_value("bias")


def test_back_leads_to_where_one_was(look: Open) -> None:
    page = look("/versions", viewport={"width": 1280, "height": 300})
    page.evaluate("scrollTo(0, 240)")
    page.get_by_role("link", name="team/pointnet:v4").click()
    page.wait_for_url("**v4")
    expect(page.get_by_role("heading", name="team/pointnet:v4")).to_be_in_viewport()
    page.go_back()
    expect(page.get_by_role("heading", name="Versions")).to_have_count(1)
    assert page.evaluate("scrollY") == 240
    page.reload()
    assert page.evaluate("scrollY") == 240


def test_the_keyboard_goes_on_in_the_page_that_came(look: Open) -> None:
    page = look("/versions?q=downstream")
    page.get_by_label("Compare downstream:v1").check()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/models/downstream:v1")
    page.keyboard.press("Tab")
    expect(page.get_by_role("main").get_by_role("link", name="downstream", exact=True).first).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox", name="Search versions")).to_be_focused()
    page.keyboard.type("team/pointnet acc>0.8")  # in place of what was there
    page.wait_for_url("**q=team*")
    expect(page.get_by_role("searchbox", name="Search versions")).to_have_value("team/pointnet acc>0.8")


def test_a_text_is_copied_where_a_page_is_not_allowed_the_clipboard(look: Open) -> None:
    """On plain HTTP at another host than this machine there is none."""
    page = look("/models/team/pointnet:v3")
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    button = page.get_by_role("button", name="Copy the reference")
    button.click()
    expect(button).to_have_text("copied")
    page.get_by_role("searchbox", name="Search versions").fill("")
    page.get_by_role("searchbox", name="Search versions").press("Control+V")
    expect(page.get_by_role("searchbox", name="Search versions")).to_have_value("team/pointnet:v3")


def test_a_copy_that_fails_says_so(look: Open) -> None:
    page = look("/models/team/pointnet:v3")
    page.evaluate(
        "Object.defineProperty(navigator, 'clipboard', { value: undefined }); document.execCommand = () => false"
    )
    button = page.get_by_role("button", name="Copy the reference")
    button.click()
    expect(button).to_have_text("not copied")


def test_a_chart_tells_the_value_that_is_nearest(look: Open) -> None:
    page = look("/models/team/pointnet")
    drawn = page.get_by_role("img", name="acc over 7 versions")
    box = drawn.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] - 4, box["y"] + box["height"] - 30)
    expect(page.locator(".chart output")).to_have_text("v7: 0.85")
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] - 60)
    expect(page.locator(".chart output")).to_have_text("")


def test_activity_goes_on_page_by_page(look: Open, tmp_path: Path) -> None:
    hub = Registry(tmp_path / "home")
    entry = hub.push({"w": torch.ones(1)}, "net")
    for number in range(150):
        hub.tag(entry.ref, {"step": str(number)})
    hub.close()
    with serving(hub.home) as busy:
        page = look("/activity", of=busy)
        newer = page.locator("tbody tr").all_inner_texts()
        page.get_by_role("link", name="Older").click()
        page.wait_for_url("**older=*")
        older = page.locator("tbody tr").all_inner_texts()
        assert (len(newer), len(older)) == (100, 51) and "push" in older[-1]
        page.goto(f"{busy.url}/activity?verb=push")
        expect(page.locator("tbody tr")).to_have_count(1)
        page.close()


def test_a_version_with_an_alias_is_not_removed_and_the_page_says_why(look: Open, token: str) -> None:
    page = look("/models/team/pointnet:v7", refused=True)
    log_in(page, token)
    page.goto(page.url.rstrip("/") + "/models/team/pointnet:v7")
    page.get_by_label("Alias", exact=True).fill("keep")
    page.get_by_role("button", name="Set alias").click()
    expect(page.locator(".chip.alias", has_text="keep")).to_be_visible()
    page.get_by_role("button", name="Move to the trash").click()
    expect(page.get_by_role("alert")).to_contain_text("is not removed because")
