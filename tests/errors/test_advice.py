"""What an error or a notice says to do, done to the letter: each flag, argument, command and snippet that is printed.

A case causes the sentence with real input, takes the advice out of it by a pattern, and runs that text as it stands.
"""

from __future__ import annotations

import ast
import re
from inspect import signature
from pathlib import Path

import pytest
import torch
from advising import Bench, Case, arguments, as_a_rank, audited, lines, python, shell, typed
from called import (
    a_program,
    a_whole_module,
    an_unpacked_file,
    arguments_of_an_instance,
    arguments_unknown,
    arrays,
    changed_after_it_was_made,
    in_one_object_in_python,
    keywords_of_others,
    lacking,
    nameless,
    offered_in_python,
    outputs_differ,
    pruned,
    pushing_with,
    random_outside,
    recast,
    removing_a_model,
    reshaped,
    tensors_of,
    unexpected,
    untrusted,
    without_a_forward,
    without_a_process_group,
    without_class,
    without_class_for_an_instance,
    without_example,
    without_optimizer,
    without_state,
)
from commanded import (
    a_database_for_a_home,
    a_file_for_a_reference,
    a_folder_of_files,
    a_model_for_a_version,
    a_part_fits,
    a_query_of_a_version,
    a_seed_too_large,
    aliased,
    all_trashed,
    allowance_alone,
    an_example_without_class,
    an_optimizer,
    another_shape_on_the_command_line,
    arguments_alone,
    configured_twice,
    damaged,
    declared_otherwise,
    declared_single,
    edited,
    full,
    in_one_object,
    lacking_on_the_command_line,
    left_over,
    many_left_out,
    mixed,
    moved_onto_another,
    moved_to_the_trash,
    named_with_an_alias,
    never_moved,
    no_home,
    no_rule,
    not_in_the_file,
    offered,
    offered_beside_others,
    older,
    trashed,
    two_models,
    two_sets,
    unknown,
    vacant,
)

import registry
from registry import errors

WHOLE = r"run\n((?:    .*\n)+)and push weights\.pth"

CASES = [
    Case(r"keep all names as they are with (--from-single)", mixed),
    Case(r"say (--from '.*?') if that is so", declared_otherwise),
    Case(r"say (--from \w+) if that is so", declared_single),
    Case(r"for example (--weights \w+)", two_sets),
    Case(r"; (--weights \.) stores all", two_sets),
    Case(r"for example (--weights \w+)", a_part_fits),
    Case(r"with (--allow-unexpected .*?), or push", left_over),
    Case(r"name it with (--model \S+)", arguments_alone),
    Case(r"name it with (--model \S+)", allowance_alone),
    Case(r"give those that are right \((.*--init .*?)\)", offered),
    Case(r"take them all with (--init-from-file)", offered),
    Case(r"(--init-from-file) takes them", offered_beside_others),
    Case(r"not used: (--init \S+);", offered_beside_others),
    Case(r"leave out (--init-from-file)", not_in_the_file),
    Case(r"say (--init-as namespace)", in_one_object),
    Case(r"drop it with (--force)", aliased),
    Case(r"`(registry move --to \S+)`", configured_twice, typed),
    Case(r"`(registry copy --all \S+)`", moved_onto_another, typed),
    Case(r"`(registry restore \S+)`", trashed, typed),
    Case(r"`(registry list \S+ --trash)`", all_trashed, typed),
    Case(r"`(registry list)`", unknown, typed),
    Case(r"`(registry audit --repair --source \S+?),? if", damaged, typed),
    Case(r"`(registry show net:best)`", a_query_of_a_version, typed),
    Case(r"`(registry list net)`", a_query_of_a_version, typed),
    Case(r"an alias with (--alias)", named_with_an_alias),
    Case(r"`(registry push \S+)` makes one there", vacant, typed),
    Case(r"\(`(registry push \S+)`\)", a_file_for_a_reference, typed),
    Case(r"`(registry check first \S+)`", a_file_for_a_reference, typed),
    Case(r"give (--all-versions)", a_model_for_a_version),
    Case(r"all_versions=True", removing_a_model, arguments),
    Case(r"`(registry audit net:v1)`", edited, audited),
    Case(r"`(registry restore net:v1)`", moved_to_the_trash, typed),
    Case(r"`(registry alias net:v2 best)`", moved_to_the_trash, typed),
    Case(r"`(registry log)`", never_moved, typed),
    Case(r"`(registry gc)`", full, typed),
    Case(r"`(registry init --help)`", a_database_for_a_home, typed),
    Case(r"`(registry db upgrade)`", older, typed),
    Case(r"call (torch\.distributed\.init_process_group\(\))", without_a_process_group, as_a_rank),
    Case(r"with fsdp=True: .*; load it with (ddp=True)", without_a_forward, as_a_rank),
    Case(r"init_as='namespace'", in_one_object_in_python, arguments),
    Case(r"init_from_file=True", offered_in_python, arguments),
    Case(r"\((--allow-shape)\)", another_shape_on_the_command_line),
    Case(r"\((--allow-missing)\)", lacking_on_the_command_line),
    Case(r"`(registry import \S+)`", a_folder_of_files, typed),
    Case(r"choose another home with (--home \S+)", no_home),
    Case(r"such as (--keep-last 5)", no_rule),
    Case(r"or (--keep-best acc:3)", no_rule),
    Case(r"`(registry inspect .* --all)` lists", many_left_out, typed),
    Case(r"such as (--seed 0)", a_seed_too_large),
    Case(r"give one with (--model \S+),", an_example_without_class),
    Case(r"push it with (--model)", an_optimizer),
    Case(r"leave (--name) \(name=\) out", two_models),
    Case(r"allow_missing=\[.*\]", lacking, arguments),
    Case(r"allow_unexpected=\[.*\]", unexpected, arguments),
    Case(r"allow_shape=\[.*\]", reshaped, arguments),
    Case(r"cast=torch\.float64", recast, arguments),
    Case(r"cast=torch\.float32", recast, arguments),
    Case(r"allow_missing=\[.*\]", random_outside, arguments),
    Case(r"allow_shape=\[.*?\]", changed_after_it_was_made, arguments),
    Case(r"model='[^']*'", without_class, arguments),
    Case(r"registry\.load\(.*?model=Net\(args, args\)\)", without_class_for_an_instance, python),
    Case(r"init=\{'.*?\}", arguments_unknown, arguments),
    Case(r"push\(.*?init=\{.*?\}\)", arguments_of_an_instance, python),
    Case(r"allow_missing=\[.*?\], allow_unexpected=\[.*?\]", keywords_of_others("strict", False), arguments),
    Case(r"cast=torch\.bfloat16", keywords_of_others("dtype", torch.bfloat16), arguments),
    Case(r"cast=torch\.bfloat16", keywords_of_others("torch_dtype", torch.bfloat16), arguments),
    Case(r"aliases='best'", pushing_with("alias"), arguments),
    Case(r"metrics=\{.*?\}, note='\.\.\.', aliases=\['best'\]", pushing_with("metadata"), arguments),
    Case(r"registry\.push\(model, 'name'\)", nameless, python),
    Case(r"registry\.push\(.*?example=inputs\)", without_example, python),
    Case(r"registry\.push\(.*?optimizer=optimizer\)", without_optimizer, python),
    Case(r"registry\.push\(.*?state=\{.*?\}\)", without_state, python),
    Case(r"verify='outputs'", outputs_differ, arguments),
    Case(r"keep_last=5", pruned, arguments),
    Case(r"keep_best=\['acc:3'\]", pruned, arguments),
    Case(r"tensor\.to_dense\(\)", tensors_of("sparse"), python),
    Case(r"tensor\.to_padded_tensor\(0\)", tensors_of("nested"), python),
    Case(r"tensor\.as_subclass\(torch\.Tensor\)", tensors_of("own"), python),
    Case(r"model='reading:Two'", untrusted, arguments),
    Case(WHOLE, a_whole_module(""), lines),
    Case(WHOLE, a_whole_module("model"), lines),
    Case(WHOLE, arrays, lines),
    Case(WHOLE, a_program, lines),
    Case(r"pack it again: (\(cd .*\))", an_unpacked_file, shell),
]


@pytest.mark.in_a_folder
@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.cause.__qualname__.partition('.')[0]} {case.pattern[:30]}"
)
def test_what_a_sentence_says_to_do_can_be_done(case: Case, hub: registry.Registry, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    bench = Bench(hub, tmp_path / "work")
    told = case.cause(bench)
    found = re.search(case.pattern, told.text)
    assert found, told.text
    case.follow(bench, told, found[found.re.groups])


FOLDER = Path(errors.__file__).parent
PRINTED = re.compile(r"(?<![\w-])(--[a-z][a-z-]+)|`(registry [a-z]+)|\b([a-z_]+)=(?=[\['\"{\w])")
ARGUMENTS = {name for verb in vars(registry.Registry).values() if callable(verb) for name in signature(verb).parameters}


def printed(source: Path) -> set[str]:
    """Return the flags, commands and arguments of verbs that the sentences in a file tell somebody to use."""
    found = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            for flag, command, argument in PRINTED.findall(node.value):
                found.add(flag or command or (argument in ARGUMENTS and f"{argument}=") or "")
    return found - {""}


ELSEWHERE = ("libraries.py", "client.py", "requests.py", "server.py", "tokens.py")
"""Errors whose advice needs a library or a server: it is followed among the tests of those."""


def test_every_flag_command_and_argument_of_a_sentence_is_followed_here() -> None:
    sources = [path for path in FOLDER.glob("*.py") if path.name not in ELSEWHERE]
    advised = set().union(*map(printed, sources))
    patterns = "\n".join(case.pattern.replace("\\", "") for case in CASES)
    assert {advice for advice in advised if advice not in patterns} == set()
