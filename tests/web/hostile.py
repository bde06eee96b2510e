"""Texts that want to be more than text, and whether a page let them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

TEXTS = (
    "<script>window.taken = 1</script>",
    "<img src=x onerror='window.taken = 1'>",
    '" onmouseover="window.taken = 1" autofocus onfocus=\'window.taken = 1\' x="',
    "</title></style></textarea></script><svg onload=window.taken=1>",
    "javascript:window.taken=1",
    "{{ 7 * 7 }}{% for x in y %}",
    "'; window.taken = 1; //",
    "&lt;script&gt;window.taken = 1&lt;/script&gt;",
    "\u202egnirts desrever\u2066",
    "<style>* { display: none }</style><base href=//elsewhere.example/><meta http-equiv=refresh content=0;url=//x>",
)

FORMULAS = (
    "=cmd|' /C calc'!A0",
    "+1+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\uff1d1+1",
    '=HYPERLINK("javascript:window.taken=1","x")',
    '"\n=1+1,"x"',
)
"""What a spreadsheet would run."""

LONG = ("x" * 10_000, "\u202e\u2066<b>" * 2_500, "W" * 5_000 + "&<>\"'" * 1_000)
"""10 kB without a place to break."""

_HANDLERS = """[...document.querySelectorAll("*")].flatMap((e) => [...e.attributes]).filter((a) =>
  a.name.startsWith("on") || a.name === "style"
  || ["href", "src", "action", "formaction", "xlink:href"].includes(a.name)
  && /^\\s*(javascript|vbscript|data):/i.test(a.value)).map((a) => a.name + "=" + a.value)"""


def nothing_ran(page: Page) -> bool:
    page.wait_for_load_state("networkidle")
    markup = page.locator("main script, main style, main base, main meta, main img, main iframe, main object")
    assert page.evaluate(_HANDLERS) == []
    return page.evaluate("window.taken") is None and markup.count() == 0 and "registry" in page.title()
