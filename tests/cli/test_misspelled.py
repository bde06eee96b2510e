"""A command line as somebody writes it who comes from another program: the refusal says what it is called here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from invocation import run

from registry import Registry


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("upload net.pth", "No such command 'upload'. Did you mean 'push'?"),
        ("download net", "No such command 'download'. Did you mean 'export'?"),
        ("delete net:v1", "No such command 'delete'. Did you mean 'rm'?"),
        ("version", "No such command 'version'. Did you mean '--version'?"),
        ("lst", "No such command 'lst'. Did you mean 'list'?"),
        ("push net.pth --name net", "NAME is an argument: registry push [OPTIONS]"),
        ("export net:v1 --out net.pth", "OUT is an argument: registry export [OPTIONS]"),
        ("list --sort acc", "The query has it, such as: registry list sort:-acc"),
        ("list --class Net", "The query has it, such as: registry list class:PointNet"),
        ("push net.pth net acc=0.9", "did you mean --metric acc=0.9?"),
        ("push net.pth net task=seg", "did you mean --tag task=seg?"),
        ("annotate net:v1 acc=0.9", "did you mean --metric acc=0.9?"),
        ("alias best net:v1", "the version comes first: registry alias net:v1 best"),
        ("alias net:best net:v1", "the version comes first: registry alias net:v1 best"),
        ("push net best.pth", "the file comes first: registry push best.pth net"),
        ("serve --port 80800", "give a whole number of at most 65535"),
    ],
)
def test_what_was_meant_is_said(typed: str, meant: str, home: Path) -> None:
    done = run(*typed.split(), home=home, expect=2)
    assert meant in " ".join(done.stderr.split())


@pytest.mark.parametrize("words", [["push"], ["token", "add"], []])
def test_help_is_a_word_too(words: list[str], home: Path) -> None:
    assert run("help", *words, home=home).stdout == run(*words, "--help", home=home).stdout != ""


def test_a_model_that_is_restored_by_its_name_is_not_all_of_it(home: Path) -> None:
    hub = Registry(home)
    for number in range(3):
        hub.push({"weight": torch.full((2,), float(number))}, "net")
    hub.rm(["net:v1", "net:v2"])
    said = run("restore", "net", home=home).stdout
    assert said.startswith("net:v2 is back\nother versions of net are in the trash still; `registry list net --trash`")
    assert "other" not in run("restore", "net", home=home).stdout


def test_a_collection_says_what_stays_in_the_trash(home: Path) -> None:
    hub = Registry(home)
    hub.push({"weight": torch.ones(2)}, "net")
    hub.push({"weight": torch.zeros(2)}, "net")
    hub.rm("net:v1")
    for words in (["gc", "--dry-run"], ["gc"]):
        assert "1 version in the trash for less than 7d stays; see --grace" in run(*words, home=home).stdout
    assert "stays" not in run("gc", "--grace", "0s", home=home).stdout
