"""What a command line that cannot be read may have meant: words of other programs, and things in another place."""

from __future__ import annotations

import re
from typing import Any

_HERE = {
    "push": ("upload", "add", "save", "store", "register", "commit", "publish"),
    "export": ("download",),
    "copy": ("pull", "cp", "clone", "fetch", "sync", "share"),
    "list": ("search", "find", "versions", "query"),
    "show": ("get", "info", "describe", "cat"),
    "rm": ("delete", "remove", "del", "trash"),
    "alias": ("promote", "stage", "rollback"),
    "annotate": ("note", "metric", "update"),
    "log": ("history", "events", "trail"),
    "diff": ("compare",),
    "audit": ("verify", "validate", "fsck", "repair"),
    "doctor": ("status", "config", "health", "where"),
    "gc": ("clean", "cleanup", "vacuum"),
    "serve": ("server", "start", "hub"),
    "ui": ("web", "browse", "open", "dashboard"),
    "init": ("create", "new", "setup"),
    "rename": ("mv",),
    "load": ("test", "build"),
    "--version": ("version",),
}
"""Commands, each with what other programs call it."""

ELSEWHERE = {word: command for command, words in _HERE.items() for word in words}


def worded(error: Any, command: Any, ctx: Any) -> str:
    """Return the message of a usage error, with what was meant where that can be told."""
    if given := getattr(error, "option_name", None):
        return _of_option(str(error.format_message()), str(given), command, ctx)
    if extra := re.search(r"Got unexpected extra arguments?(?:\(s\))? \((.+)\)$", error.message):
        return str(error.message) + _of_pair(extra[1].split(), command)
    return _of_number(error.message)


def _of_option(message: str, given: str, command: Any, ctx: Any) -> str:
    word = given.lstrip("-")
    arguments = {
        str(each.metavar or each.name).strip("[].").upper()
        for each in command.params
        if each.param_type_name == "argument"
    }
    if word.upper() in arguments:
        usage = " ".join([ctx.command_path, *command.collect_usage_pieces(ctx)])
        return f"No such option: {given}. {word.upper()} is an argument: {usage}"
    if "QUERY" in arguments:
        from registry.catalog.query import FIELDS

        if example := FIELDS.get(word):
            return f"No such option: {given}. The query has it, such as: {ctx.command_path} {example}"
    return message


def _of_pair(words: list[str], command: Any) -> str:
    """Say under which option ``acc=0.9`` belongs."""
    options = [each.opts[0] for each in command.params if each.metavar == "K=V" and each.opts[0].startswith("--")]
    pair = next((re.fullmatch(r"\w[^=]*=(.+)", word) for word in words if "=" in word), None)
    if pair is None or not options:
        return ""
    wanted = "--metric" if re.fullmatch(r"[-+]?\d*\.?\d+(e[-+]?\d+)?", pair[1]) else "--tag"
    return f"; did you mean {wanted if wanted in options else options[0]} {pair[0]}?"


def _of_number(message: str) -> str:
    """Word what the reader of numbers reports."""
    if least := re.search(r"(?:greater than or equal to |x>=)(\d+)", message):
        return f"give a whole number of at least {least[1]}"
    if most := re.search(r"(?:less than or equal to |x<=)(\d+)", message):
        return f"give a whole number of at most {most[1]}"
    return "give a whole number, such as 4" if "valid integer" in message else message
