"""Write ``docs/api.md`` from the docstrings: ``python docs/generate_api.py``."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import registry
from registry.modules.building.remember import remember
from registry.modules.origin import loaded_from

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "api.md"

INTRODUCTION = """# Python API

Generated from the docstrings by `python docs/generate_api.py`.

`import registry` is enough: every verb is a function of the package, on the home that `REGISTRY_HOME` names or else the
user's data directory, and a method of [`Registry(home)`](#registry) for another one. `import checkpoint_registry` is
the same package under a [second name](faq.md#my-project-has-a-registrypy). Whatever can go wrong is a
[`RegistryError`](troubleshooting.md); a call that is refused changes nothing.
"""

RETURNED = {
    "CheckReport": "registry.loading.check",
    "LoadReport": "registry.modules.fitting.report",
    "AuditReport": "registry.upkeep.audit",
    "PruneReport": "registry.upkeep.prune",
    "BlameReport": "registry.upkeep.blame",
    "Difference": "registry.upkeep.diff",
    "CopyReport": "registry.copying.report",
    "ImportReport": "registry.importing.report",
    "Inspection": "registry.inspection",
    "Resumed": "registry.loading.resume",
    "PendingEntry": "registry.pushing.background",
    "Finding": "registry.upkeep.doctor",
    "Collected": "registry.upkeep.gc",
    "Page": "registry.catalog.page",
    "Token": "registry.catalog.tokens",
}
"""What verbs return, and where it is."""

CALLBACKS = {
    "lightning": ("RegistryCheckpoint", "checkpoint"),
    "transformers": ("RegistryCallback", "checkpoint"),
    "accelerate": ("RegistrySaver",),
}
"""What is in each module of ``registry.integrations``, read without importing it: the libraries may be missing."""


def page() -> str:
    """Return the reference of every name of the package."""
    names = sorted(registry.__all__, key=str.lower)
    parts = [INTRODUCTION, _index(names)]
    parts += [_section(name) for name in names]
    parts += ["## What verbs return\n"]
    parts += [_class(f"### {name}", getattr(import_module(module), name)) for name, module in RETURNED.items()]
    parts += ["## Callbacks\n\nThe guide to them is [In the training loop](training.md#callbacks).\n"]
    for library, members in CALLBACKS.items():
        parts += list(_of_source(library, members))
    return "\n".join(parts).rstrip() + "\n"


def _index(names: list[str]) -> str:
    rows = [f"| [`{name}`](#{name.lower()}) | {_summary(name)} |" for name in names]
    return "\n".join(["| name | |", "|---|---|", *rows]) + "\n"


def _summary(name: str) -> str:
    return _inline(_document(name).split("\n\n")[0].replace("\n", " "))


def _document(name: str) -> str:
    document = inspect.getdoc(_object(name))
    assert document, f"{name} has no docstring"
    return document


def _object(name: str) -> Any:
    if name in registry.VERBS:
        return getattr(registry.Registry, name)
    return {"remember": remember, "loaded_from": loaded_from}.get(name) or getattr(registry, name)


def _section(name: str) -> str:
    found = _object(name)
    if name == "errors":
        body = "Each error, with its words and what to do: [troubleshooting](troubleshooting.md).\n"
        return f"## errors\n\n{_markdown(_document(name))}\n{body}"
    if isinstance(found, type):
        return _class(f"## {name}", found)
    prefix = "registry."
    return f"## {name}\n\n```py\n{prefix}{name}{_signature(found)}\n```\n\n{_markdown(_document(name))}"


def _signature(function: Any) -> str:
    signature = inspect.signature(function)
    given, keyword = [], False
    for each in signature.parameters.values():
        if each.name == "self":
            continue
        if each.kind is each.KEYWORD_ONLY and not keyword:
            keyword = True
            given.append("*")
        given.append(_parameter(each))
    back = "" if signature.return_annotation is signature.empty else f" -> {signature.return_annotation}"
    text = f"({', '.join(given)}){back}"
    return text if len(text) <= 90 else "(\n" + "".join(f"    {each},\n" for each in given) + f"){back}"


def _parameter(each: inspect.Parameter) -> str:
    star = {each.VAR_POSITIONAL: "*", each.VAR_KEYWORD: "**"}.get(each.kind, "")
    text = f"{star}{each.name}" + ("" if each.annotation is each.empty else f": {each.annotation}")
    if each.default is each.empty:
        return text
    default = each.default
    if isinstance(default, timedelta):
        shown = f"timedelta(days={default.days})" if default.days else f"timedelta(seconds={default.seconds})"
    else:
        shown = repr(default).replace("'", '"')
    return f"{text} = {shown}"


def _class(heading: str, kind: type) -> str:
    parts = [heading, "", _markdown(inspect.getdoc(kind) or "")]
    rows = [f"| `{name}` | {kind_of} | {said} |" for name, kind_of, said in _facts(kind)]
    if rows:
        parts += ["| attribute | type | |", "|---|---|---|", *rows, ""]
    return "\n".join(parts)


def _facts(kind: type) -> Iterator[tuple[str, str, str]]:
    """Yield the public fields and properties of a class and of what it derives from, with what is said of them."""
    seen = set()
    for base in kind.__mro__:
        if not base.__module__.startswith("registry"):
            continue
        tree = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(tree, ast.ClassDef)
        for at, node in enumerate(tree.body):
            following = tree.body[at + 1] if at + 1 < len(tree.body) else None
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                name, kind_of, said = node.target.id, ast.unparse(node.annotation), _text(following)
            elif isinstance(node, ast.FunctionDef):
                is_property = any("property" in ast.unparse(each) for each in node.decorator_list)
                name = node.name if is_property else f"{node.name}()"
                if is_property is False and (kind is registry.Registry or name == "__init__()"):
                    continue
                kind_of, said = (ast.unparse(node.returns) if node.returns else ""), ast.get_docstring(node) or ""
            else:
                continue
            if not name.startswith("_") and name not in seen:
                seen.add(name)
                first = said.split("\n\n")[0].replace("\n", " ")
                yield name, f"`{kind_of}`".replace("|", "\\|").replace("``", ""), _inline(first).replace("|", "\\|")


def _text(node: ast.stmt | None) -> str:
    is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return inspect.cleandoc(node.value.value) if is_text else ""  # type: ignore[union-attr]


def _of_source(library: str, members: tuple[str, ...]) -> Iterator[str]:
    path = ROOT / "registry" / "integrations" / f"{library}.py"
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name in members:
            called = node
            if isinstance(node, ast.ClassDef):
                called = next(each for each in node.body if getattr(each, "name", "") == "__init__")  # type: ignore[assignment]
            assert isinstance(called, ast.FunctionDef)
            arguments = ast.unparse(called.args).removeprefix("self, ")
            signature = f"registry.integrations.{library}.{node.name}({arguments})"
            yield f"### {library}: {node.name}\n\n```py\n{signature}\n```\n\n{_markdown(ast.get_docstring(node) or '')}"


def _inline(text: str) -> str:
    text = re.sub(r":\w+:`([^`]+)`", r"`\1`", text)
    return re.sub(r"``([^`]+)``", r"`\1`", text)


def _markdown(document: str) -> str:
    """Return a docstring as Markdown: sections become lists, ``::`` a block."""
    lines: list[str] = []
    section = ""
    for line in document.splitlines():
        if line.rstrip(":") in ("Args", "Returns", "Raises") and line.endswith(":"):
            section = line[:-1]
            lines += [f"**{section}**", ""]
        elif section in ("Args", "Raises") and re.match(r" {4}\w[\w, ]*:", line):
            name, _, said = line.strip().partition(":")
            names = ", ".join(f"`{each}`" for each in name.split(", "))
            lines.append(f"- {names}:{said}")
        elif section == "Raises" and re.fullmatch(r" {4}\w+(, \w+)*", line):
            lines.append("- " + ", ".join(f"`{each}`" for each in line.strip().split(", ")))
        elif section and line.startswith("    "):
            lines.append(f"  {line.strip()}" if section != "Returns" else line.strip())
        else:
            lines.append(line)
    text = _inline("\n".join(lines))
    text = re.sub(
        r"::\n\n((?: {4}.*\n?|\n)+)", lambda found: f":\n\n```py\n{textwrap.dedent(found[1]).rstrip()}\n```\n\n", text
    )
    return text.rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
