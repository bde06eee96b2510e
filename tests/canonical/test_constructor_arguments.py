"""Constructor arguments come out of JSON as they went in, apart from the caller's objects, and without secrets."""

from __future__ import annotations

import copy
import json
from argparse import Namespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.canonical.arguments import Arguments, without_secrets
from registry.errors import UnstorableInit

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text().filter(lambda key: key != "$"), inner),
)
keys = st.integers() | st.text() | st.booleans() | st.tuples(st.integers(), st.text())
rich = st.recursive(
    plain | st.binary() | st.complex_numbers(allow_nan=False) | st.sets(st.integers()),
    lambda inner: st.tuples(inner, inner) | st.dictionaries(keys, inner) | st.builds(Namespace, a=inner),
)


def typed(value: object) -> object:
    """Types as well as values: True is not 1, and a tuple is no list."""
    if isinstance(value, Namespace):
        return Namespace, typed(vars(value))
    if isinstance(value, dict):
        return type(value), [(typed(key), typed(item)) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value), [typed(item) for item in value]
    return type(value), repr(value) if isinstance(value, (float, complex)) else value


@given(st.dictionaries(st.text(), rich))
def test_arguments_come_back_with_their_types(init):
    stored = json.loads(json.dumps(Arguments.of(init).raw))
    assert typed(dict(Arguments(stored))) == typed(init)


@given(st.dictionaries(st.text().filter(lambda key: key != "$"), plain))
def test_plain_arguments_are_the_json_that_they_always_were(init):
    assert json.dumps(Arguments.of(init).raw) == json.dumps(init)


@pytest.mark.parametrize("old", [{"a": {"$": "float", "v": "1"}}, {"a": {"$": "unheard of"}}, {"a": [{"$": 1}]}])
def test_what_an_earlier_release_stored_is_not_taken_for_an_encoding(old):
    assert dict(Arguments(old)) == old


def test_nobody_can_change_what_is_stored():
    widths = {"layers": [1, 2]}
    arguments = Arguments.of({"widths": widths})
    widths["layers"].append(3)
    arguments["widths"]["layers"].append(4)
    assert arguments == {"widths": {"layers": [1, 2]}}


@pytest.mark.parametrize("value", [print, object(), [{"a": iter(())}]])
def test_an_argument_that_could_not_be_given_back_is_named(value):
    with pytest.raises(UnstorableInit, match=r"'activation.*' of Net"):
        Arguments.of({"activation": value}, "Net")


@pytest.mark.parametrize(
    ("init", "kept", "secrets"),
    [
        ({"api_key": "x", "apiKey": "x", "API-KEY": "x", "width": 2}, {"width": 2}, ("api_key", "apiKey", "API-KEY")),
        ({"password": "x", "db_password": "y", "a_secret": b"z"}, {}, ("password", "db_password", "a_secret")),
        ({"token": "x", "hf_token": "y", "push_to_hub_token": "hub_0123"}, {},
         ("token", "hf_token", "push_to_hub_token")),
        ({"args": Namespace(k=1, wandb_api_key="x")}, {"args": Namespace(k=1)}, ("args.wandb_api_key",)),
        ({"layers": [{"secret": "x", "n": 1}]}, {"layers": [{"n": 1}]}, ("layers.0.secret",)),
    ],
)  # fmt: skip
def test_what_looks_like_a_secret_is_left_out(init, kept, secrets):
    before = copy.deepcopy(init)
    assert without_secrets(init) == (kept, secrets)
    assert init == before


def test_words_of_a_vocabulary_and_numbers_are_no_secrets():
    init = {
        "cls_token": "[CLS]", "pad_token": "<pad>", "eos_token": "</s>", "use_cls_token": True, "num_tokens": 5,
        "token": None, "password": "", "tokenizer": "bert", "secretary": "x", "key": "x", "keys": ["a"],
    }  # fmt: skip
    assert without_secrets(init) == (init, ())
