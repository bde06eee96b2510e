"""What people expect of the page of a hub, each looked at in a real browser."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from looking import (
    Open,
    browser as browser,
    crowd as crowd,
    equal,
    home as home,
    log_in,
    look as look,
    rows as rows,
    served as served,
    token as token,
)
from playwright.sync_api import expect
from safetensors.torch import load_file
from served import COMMAND, Served, serving

from registry import Registry

pytestmark = pytest.mark.services


def test_search_sort_and_paging_are_the_servers_at_100k(look: Open, crowd: Served) -> None:
    page = look("/versions", of=crowd)
    page.get_by_role("searchbox", name="Search versions").fill("acc>=0.5 sort:-acc")
    page.wait_for_url("**q=acc*")
    first = rows(page)
    figures = [float(each) for each in page.locator("tbody tr td:nth-child(3)").all_inner_texts()]
    assert len(first) == 50 and figures == sorted(figures, reverse=True)
    page.get_by_role("link", name="Next page").click()
    page.wait_for_url("**after=*")
    assert len(rows(page)) == 50 and not set(first) & set(rows(page))
    page.go_back()
    expect(page.locator("tbody td.name a").first).to_have_text(first[0])


def test_facets_narrow_a_search_and_tell_how_many(look: Open) -> None:
    page = look("/versions")
    facet = page.get_by_role("complementary", name="Narrow the search")
    expect(facet.locator("li", has_text="task=seg")).to_contain_text("4")
    facet.get_by_role("link", name="task=seg").click()
    page.wait_for_url("**q=tag*")
    assert len(rows(page)) == 4
    page.get_by_role("complementary").get_by_role("link", name="task=seg").click()
    expect(page.locator("tbody tr")).to_have_count(11)


def test_metrics_have_columns_and_their_course_a_line(look: Open) -> None:
    page = look("/")
    row = page.get_by_role("row").filter(has_text="team/pointnet")
    expect(page.get_by_role("columnheader", name="acc")).to_be_visible()
    expect(row).to_contain_text("0.85")
    expect(row.get_by_role("img", name="team/pointnet acc: 0.55 to 0.85 over 7 versions")).to_be_visible()


def test_the_url_holds_the_state(look: Open) -> None:
    page = look("/versions?q=team/pointnet+acc%3E0.6+sort:loss")
    assert rows(page)[0] == "team/pointnet:v7" and len(rows(page)) == 5
    page.get_by_role("columnheader", name="size").get_by_role("link").click()
    page.wait_for_url("**sort%3A-size*")
    again = look(page.url.partition(page.url.split("/versions")[0])[2])
    assert rows(again) == rows(page)
    page.go_back()
    expect(page.get_by_role("searchbox", name="Search versions")).to_have_value("team/pointnet acc>0.6 sort:loss")


def test_what_is_empty_or_wrong_says_what_to_do(look: Open) -> None:
    page = look("/versions?q=acc%3E7")
    expect(page.get_by_text("No version matches")).to_be_visible()
    page.get_by_role("link", name="Show all versions").click()
    expect(page.locator("tbody tr")).to_have_count(11)
    wrong = look("/versions?q=color:red", refused=True)
    expect(wrong.get_by_role("alert")).to_contain_text("color")
    expect(wrong.get_by_role("alert")).to_contain_text("class")
    missing = look("/models/pointnets", refused=True)
    expect(missing.get_by_role("alert")).to_contain_text("pointnets")


def test_keyboard_dark_mode_and_what_screen_readers_hear(look: Open) -> None:
    page = look("/", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox", name="Search versions")).to_be_focused()
    page.get_by_role("button", name="Light or dark").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    for path in ("/", "/versions", "/models/team/pointnet", "/models/team/pointnet:v3", "/activity", "/storage"):
        page = look(path)
        expect(page.get_by_role("banner")).to_have_count(1)
        expect(page.get_by_role("main").get_by_role("heading", level=1)).to_have_count(1)
        unnamed = page.locator("input:not([type=hidden]), select, button").evaluate_all(
            "all => all.filter(e => !(e.labels?.length || e.getAttribute('aria-label') || e.textContent.trim()))"
            ".map(e => e.outerHTML)"
        )
        assert unnamed == [], path
        assert page.locator("svg:not([aria-label])").count() == 0


def test_reference_digest_and_snippets_can_be_copied(look: Open, served: Served, home: Path) -> None:
    page = look("/models/team/pointnet:v3", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy the reference").click()
    assert page.evaluate("navigator.clipboard.readText()") == "team/pointnet:v3"
    page.get_by_role("button", name="Copy the digest").click()
    digest = Registry(home).get("team/pointnet:v3").digest
    assert page.evaluate("navigator.clipboard.readText()") == f"team/pointnet@{digest}"
    page.get_by_role("button", name="Copy: DDP, on rank r").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert served.url in copied and "ddp=True, rank=r" in copied
    for label in ("one device", "FSDP, on rank r", "command line", "Hugging Face"):
        expect(page.get_by_role("button", name=f"Copy: {label}")).to_be_visible()


def test_the_card_is_shown_and_runs_nothing(look: Open) -> None:
    page = look("/models/team/pointnet")
    expect(page.get_by_role("heading", name="Segments")).to_be_visible()
    expect(page.get_by_role("cell", name="12", exact=True)).to_be_visible()
    assert page.locator(".card script, .card img").count() == 0
    assert page.title() == "team/pointnet · registry"
    hostile = look("/models/hostile:v1")
    expect(hostile.get_by_text("<b>bold</b>")).to_be_visible()
    assert hostile.title() == "hostile:v1 · registry"


def test_an_alias_has_a_history_and_goes_back_with_one_click(look: Open, token: str) -> None:
    page = look("/models/team/pointnet:v7")
    page.get_by_role("link", name="history of its aliases").click()
    page.wait_for_url("**/models/team/pointnet#aliases")
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="best"))
    expect(row).to_be_in_viewport()
    expect(row).to_contain_text("v7")
    expect(row).to_contain_text("v3")
    assert page.get_by_role("button", name="Roll best back").count() == 0
    log_in(page, token)
    page.goto(page.url.rstrip("/") + "/models/team/pointnet")
    page.get_by_role("button", name="Roll best back").click()
    expect(page.get_by_role("link", name="best → v3")).to_be_visible()


def test_metrics_tags_and_note_are_shown(look: Open) -> None:
    page = look("/models/team/pointnet:v5")
    expect(page.get_by_role("row").filter(has_text="acc")).to_contain_text("0.75")
    expect(page.get_by_text("task=seg")).to_be_visible()
    expect(page.get_by_text("after epoch 5")).to_be_visible()


def test_a_chart_leads_from_a_point_to_its_version(look: Open) -> None:
    page = look("/models/team/pointnet")
    page.get_by_label("Metric").select_option("loss")
    page.wait_for_url("**metric=loss*")
    dots = page.get_by_role("img", name="loss over 7 versions").locator("circle")
    expect(dots).to_have_count(7)
    dots.nth(1).hover()
    expect(page.locator(".chart output")).to_have_text("v2: 0.5")
    dots.nth(1).click()
    page.wait_for_url("**/models/team/pointnet:v2")


def test_lineage_is_drawn_with_parents_and_children(look: Open) -> None:
    page = look("/models/team/pointnet:v7")
    drawn = page.get_by_role("group", name="lineage")
    parent, here, child = (
        drawn.get_by_role("link", name=ref, exact=True).locator("rect")
        for ref in ("team/pointnet:v6", "team/pointnet:v7", "downstream:v1")
    )
    boxes = [each.bounding_box() for each in (parent, here, child)]
    (above, at, below) = [each for each in boxes if each is not None]
    assert above["y"] < at["y"] < below["y"] and abs(above["x"] - at["x"]) < 2 < below["x"] - at["x"]
    child.click()
    page.wait_for_url("**/models/downstream:v1")


def test_provenance_tells_the_names_as_saved_and_each_cut(look: Open) -> None:
    page = look("/models/team/pointnet:v2")
    expect(page.locator("dl.facts")).to_contain_text("ddp, saved wrapped")
    expect(page.locator("dl.facts")).to_contain_text("declared")
    page.get_by_role("link", name="Names").click()
    row = page.get_by_role("row").filter(has_text="module.0.weight")
    expect(row.get_by_role("cell").nth(1)).to_have_text("0.weight")
    expect(row.locator("del")).to_have_text("module.")
    expect(page.get_by_text("at the root (ddp, declared)")).to_be_visible()


def test_a_tensor_has_its_figures_and_a_histogram(look: Open) -> None:
    page = look("/models/downstream:v1/tensors")
    page.get_by_label("Name holds").fill("weight")
    page.wait_for_url("**name=weight*")
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_role("link", name="0.weight").click()
    page.wait_for_url("**tensor=0.weight*")
    expect(page.get_by_role("img", name="histogram of 0.weight")).to_be_visible()
    expect(page.get_by_text("introduced by")).to_contain_text("team/pointnet:v7")
    expect(page.get_by_text("0 NaN")).to_be_visible()


def test_tensors_stand_by_modules_and_page_by_page(look: Open) -> None:
    page = look("/models/kept:v1/tensors")
    module = page.locator("details", has_text="encoder.layer.7 ")
    expect(module.locator("tbody tr").first).not_to_be_visible()
    module.locator("summary").click()
    expect(module.locator("tbody tr")).to_have_count(2)
    page.locator("details", has_text="embeddings").locator("summary").click()
    expect(page.get_by_role("img", name="values of embeddings.weight")).to_be_visible()
    page.get_by_label("Name holds").fill("layer.11.")
    page.wait_for_url("**name=layer*")
    expect(page.locator("tbody tr")).to_have_count(2)


def test_files_are_listed_downloaded_and_tell_what_sharing_saved(look: Open, served: Served, home: Path) -> None:
    page = look("/models/kept:v1/files")
    for name, kind in (("config.json", "configuration"), ("vocab.txt", "tokenizer"), ("model.safetensors", "weights")):
        expect(page.get_by_role("row").filter(has_text=name)).to_contain_text(kind)
    expect(page.get_by_text("registry export kept:v1 kept --format hf")).to_be_visible()
    page = look("/models/team/pointnet:v7/files")
    with page.expect_download() as download:
        page.get_by_role("link", name="model.safetensors").click()
    bare = load_file(download.value.path())
    assert equal(bare, Registry(home).state_dict("team/pointnet:v7"))
    with page.expect_download() as download:
        page.get_by_role("link", name="as-saved.safetensors").click()
    assert equal(load_file(download.value.path()), {f"module.{name}": value for name, value in bare.items()})
    saved = page.locator("dt", has_text="saved by sharing").locator("xpath=following-sibling::dd[1]")
    expect(saved).to_contain_text("88 B")  # all but the weight that each step changes
    whole = served.get("/models/team/pointnet:v7/as-saved.safetensors").body
    part = served.get("/models/team/pointnet:v7/as-saved.safetensors", Range="bytes=100-399")
    assert part.status == 206 and part.body == whole[100:400]
    assert served.request("HEAD", "/models/team/pointnet:v7/as-saved.safetensors").status == 200


def test_integrity_says_what_the_last_audit_found(look: Open, tmp_path: Path) -> None:
    page = look("/models/team/pointnet:v2")
    expect(page.get_by_text("As it was stored, when it was audited")).to_be_visible()
    hub = Registry(tmp_path / "home")
    hub.push({"w": torch.ones(1)}, "net")
    with serving(hub.home) as spoiled:
        page = look("/models/net:v1", of=spoiled)
        expect(page.get_by_text("Never audited")).to_be_visible()
        [blob] = (hub.home / "blobs").rglob("*.safetensors")
        blob.chmod(0o600)
        blob.write_bytes(blob.read_bytes()[:-1] + b"x")
        hub.audit()
        page.reload()
        expect(page.get_by_role("alert")).to_contain_text(hub.audit().faults[0].what)
        hub.push({"w": torch.zeros(1)}, "net")
        page.goto(f"{spoiled.url}/models/net:v2")
        expect(page.get_by_text("was before it was pushed")).to_be_visible()
        page.close()
    hub.close()


def test_storage_tells_what_sharing_saved(look: Open, tmp_path: Path) -> None:
    hub = Registry(tmp_path / "home")
    for number in range(4):
        hub.push({"shared": torch.arange(25_600.0), "own": torch.ones(1) * number}, "net")
    hub.close()
    with serving(hub.home) as sharing:
        page = look("/storage", of=sharing)
        saved = page.locator("dt", has_text="saved by sharing tensors").locator("xpath=following-sibling::dd[1]")
        expect(saved).to_contain_text("KiB (75 %)")
        page.get_by_role("link", name="What would a collection free?").click()
        expect(page.get_by_role("status")).to_contain_text("would free")
        page.close()


def test_activity_is_filtered_checked_and_exported(look: Open, served: Served) -> None:
    page = look("/activity")
    page.get_by_label("What").select_option("alias")
    page.wait_for_url("**verb=alias*")
    kinds = set(page.locator("tbody tr td:nth-child(3)").all_inner_texts())
    assert kinds == {"alias"}
    page.get_by_label("Who").fill("nobody@nowhere")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("No event matches")).to_be_visible()
    page.goto(f"{served.url}/activity?check=1")
    expect(page.get_by_role("status")).to_contain_text("The chain is whole")
    events = served.get("/models/team/pointnet:v3/events?format=json")
    assert {"push", "alias"} <= {event["verb"] for event in json.loads(events.body)}


def test_a_table_is_exported_as_csv(served: Served) -> None:
    answer = served.get("/versions?q=team/pointnet&format=csv")
    table = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert [row["version"] for row in table] == [f"team/pointnet:v{n}" for n in range(7, 0, -1)]
    assert float(table[0]["acc"]) == 0.85


def test_a_version_goes_to_the_trash_and_comes_back(look: Open, served: Served, token: str) -> None:
    page = look("/models/hostile:v1")
    log_in(page, token)
    page.goto(page.url.rstrip("/") + "/models/hostile:v1")
    page.get_by_role("button", name="Move to the trash").click()
    expect(page.get_by_text("It is in the trash")).to_be_visible()
    page.get_by_role("link", name="Trash").click()
    expect(page.get_by_role("row").filter(has_text="hostile:v1")).to_be_visible()
    assert [row["version"] for row in rows_of(served, "/trash?format=json")] == ["hostile:v1"]
    page.get_by_role("link", name="hostile:v1").click()
    page.get_by_role("button", name="Restore").click()
    expect(page.get_by_role("button", name="Move to the trash")).to_be_visible()
    page.goto(page.url.replace("hostile:v1", "team/pointnet:v7"))


def test_versions_are_compared_to_the_tensor(look: Open) -> None:
    page = look("/versions?q=team/pointnet")
    page.get_by_label("Compare team/pointnet:v7").check()
    page.get_by_label("Compare team/pointnet:v6").check()
    page.get_by_role("button", name="Compare the chosen").click()
    page.wait_for_url("**/compare?*")
    expect(page.get_by_text("1 changed, 0 only in the first, 0 only in the second")).to_be_visible()
    page.get_by_role("link", name="Only differences").click()
    expect(page.get_by_role("rowheader", name="acc")).to_be_visible()
    expect(page.get_by_role("rowheader", name="world size")).to_have_count(0)
    page.get_by_role("link", name="Measure by how much").click()
    expect(page.get_by_role("img", name="change of each tensor in 0")).to_contain_text("0.weight")


def test_nothing_is_asked_of_another_host(look: Open, home: Path) -> None:
    for path in ("/", "/versions", "/models/team/pointnet", "/models/team/pointnet:v3", "/compare", "/activity"):
        look(path).wait_for_load_state("networkidle")  # the fixture fails on a request to elsewhere


def test_it_is_read_only_without_a_token_and_safe_with_one(look: Open, served: Served, token: str) -> None:
    answer = served.get("/")
    assert answer.headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    form = b"do=rollback&alias=best"
    kind = {"Content_Type": "application/x-www-form-urlencoded"}
    assert served.request("POST", "/models/team/pointnet", form, **kind).status == 401
    page = look("/", refused=True)
    page.get_by_role("link", name="Log in").click()
    page.get_by_label("Token").fill("crt_wrong")
    page.locator("main").get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("token")
    page.get_by_label("Token").fill(token)
    page.locator("main").get_by_role("button", name="Log in").click()
    expect(page.get_by_text("ann")).to_be_visible()
    cookie = page.context.cookies()[0]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    sent = {**kind, "Cookie": f"{cookie['name']}={cookie['value']}", "Origin": "http://elsewhere.example"}
    assert served.request("POST", "/models/team/pointnet", form, **sent).status == 403
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("link", name="Log in")).to_be_visible()


def said(home: Path, *words: str) -> Any:
    """What a command prints as a document."""
    command = [*COMMAND, *words, "--json", "--home", str(home)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def rows_of(served: Served, path: str) -> list[dict[str, Any]]:
    found = served.get(path)
    assert found.status == 200, found.body
    return json.loads(found.body)


def test_what_pages_show_the_command_line_and_the_api_say_too(served: Served, home: Path) -> None:
    listed = said(home, "list")
    shown = rows_of(served, "/versions?format=json")
    assert [row["version"] for row in shown] == [f"{entry['name']}:v{entry['version']}" for entry in listed]
    assert [row["digest"] for row in shown] == [entry["digest"] for entry in listed]
    models = [(model["name"], model["live"], model["newest"], model["aliases"]) for model in said(home, "models")]
    columns = ("model", "versions", "newest", "aliases")
    assert [tuple(row[key] for key in columns) for row in rows_of(served, "/?format=json")] == models
    entry = said(home, "show", "team/pointnet:v3")
    page = served.get("/models/team/pointnet:v3").body.decode()
    for fact in ("digest", "record_digest", "creator", "wrapper", "note", "torch_version"):
        assert str(entry[fact]) in page, fact
    assert all(f"{value:.6g}" in page for value in entry["metrics"].values())
    events = rows_of(served, "/activity?format=json")
    told = said(home, "log", "--limit", "1000")
    assert [(event["number"], event["hash"]) for event in events] == [(each["number"], each["hash"]) for each in told]
    for asked, document in (("entries", listed), ("models", said(home, "models")), ("events", told)):
        assert json.loads(served.get(f"/api/v1/{asked}").body)["items"] == document
    apart = said(home, "diff", "team/pointnet:v1", "team/pointnet:v2")
    compared = rows_of(served, "/compare?ref=team/pointnet:v1&ref=team/pointnet:v2&format=json")
    changed = [row["what"] for row in compared if row["section"] == "Tensors"]
    assert changed == [each["name"] for each in apart["changed"]] == ["0.weight"]
    brought = {each["name"]: each["ref"] for each in said(home, "blame", "team/pointnet:v7")["tensors"]}
    assert brought["1.bias"] in served.get("/models/team/pointnet:v7/tensors?tensor=1.bias").body.decode()


def test_a_crowd_is_painted_from_one_short_page(look: Open, crowd: Served) -> None:
    page = look("/", of=crowd)
    expect(page.locator("tbody tr")).to_have_count(50)
    assert len(page.content()) < 400_000
    assert len(look("/versions", of=crowd).content()) < 100_000
