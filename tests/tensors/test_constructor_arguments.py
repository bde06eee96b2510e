"""Constructor arguments come out of JSON as they went in, apart from the caller's objects, and without secrets."""

from __future__ import annotations

import copy
import json
from argparse import Namespace
from collections import OrderedDict, defaultdict, namedtuple
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from registry.canonical.secrets import without_secrets
from registry.errors import UnstorableInit
from registry.tensors.arguments import Arguments

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
        ({"pwd": {"x"}, "token": bytearray(b"x"), "cookie": frozenset("x")}, {}, ("pwd", "token", "cookie")),
        ({"net": {1: {"pwd": "x"}, 2: "x"}}, {"net": {1: {}, 2: "x"}}, ("net.pwd",)),
        ({"layers": (1, {"secret": "x", "n": 1})}, {"layers": (1, {"n": 1})}, ("layers.1.secret",)),
    ],
)  # fmt: skip
def test_what_looks_like_a_secret_is_left_out(init, kept, secrets):
    before = copy.deepcopy(init)
    assert without_secrets(init) == (kept, secrets)
    assert init == before


@pytest.mark.parametrize(
    "name",
    ["pwd", "passwd", "dbPasswd", "Authorization", "Proxy-Authorization", "passphrase", "user.password",
     "aws_secret_access_key", "X-Api-Key", "cookie", "credentials", "SSH_PRIVATE_KEY", "passwords",
     "client secrets", "api_keys"],
)  # fmt: skip
def test_the_last_words_of_a_name_tell_a_secret(name):
    assert without_secrets({"net": {name: "sesame", "width": 2}}) == ({"net": {"width": 2}}, (f"net.{name}",))


SHAPES = [
    "Bearer abc.def-123", "bearer  eyabc", "Authorization: Bearer abcd", "Authorization: Basic dXNlcjpwdw==",
    "https://user:sesame@example.org/data", "postgresql+psycopg://me:s3same@db:5432/runs", "redis://:sesame@cache",
    "hf_AbCdEfGhIjKlMnOpQrStUv", "ghp_0123456789abcdefghijABCDEFGHIJ012345", "github_pat_11ABCDEFG0123456789_abcdef",
    "glpat-abcdEFGH0123456789xy", "sk-proj-abcdEFGH0123456789abcd", "xoxb-123456789012-abcdef", "AKIAIOSFODNN7EXAMPLE",
    "AIzaSyA0123456789abcdefghijklmnopqrstuv", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbn",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl", "--token=hf_AbCdEfGhIjKlMnOpQrStUv --quiet",
]  # fmt: skip


@pytest.mark.parametrize("text", SHAPES)
def test_a_secret_is_known_by_its_shape_under_any_name(text):
    init = {"where": text, "bytes": text.encode(), "width": 2}
    assert without_secrets(init) == ({"width": 2}, ("where", "bytes"))


def test_a_list_goes_with_the_secret_in_it():
    init = {"command": ["train", "--key", "hf_AbCdEfGhIjKlMnOpQrStUv"], "pwd": ("a", "b"), "widths": [1, 2]}
    assert without_secrets(init) == ({"widths": [1, 2]}, ("command", "pwd"))


def test_secrets_are_found_in_everything_that_has_names():
    init: dict[str, Any] = {
        "ordered": OrderedDict(pwd="x", n=1),
        "simple": SimpleNamespace(pwd="x", n=1),
        "default": defaultdict(list, pwd="x", n=[1]),
    }
    kept, found = without_secrets(init)
    assert found == ("ordered.pwd", "simple.pwd", "default.pwd")
    assert kept == {
        "ordered": OrderedDict(n=1), "simple": SimpleNamespace(n=1), "default": defaultdict(list, n=[1]),
    }  # fmt: skip
    assert all(type(kept[name]) is type(init[name]) and "pwd" in (getattr(init[name], "__dict__", None) or init[name])
               for name in init)  # fmt: skip


def test_names_that_no_attribute_could_have_stay():
    odd = Namespace(pwd="x", n=1)
    attributes: dict[Any, Any] = vars(odd)
    attributes[3] = attributes["a b"] = 2
    kept, found = without_secrets({"odd": odd})
    assert (vars(kept["odd"]), found) == ({"n": 1, 3: 2, "a b": 2}, ("odd.pwd",))


Point = namedtuple("Point", ["x", "pwd"])


class Config(Namespace):
    """Takes arguments of its own, as a tuple with names does."""

    def __init__(self, width):
        super().__init__(width=width, pwd="x")


def test_what_cannot_be_stored_comes_back_as_it_is():
    point = Point(1, "x")
    init = {"config": Config(2), "point": point, "list": type("Own", (list,), {})([{"pwd": "x"}])}
    kept, found = without_secrets(init)
    assert found == () and all(kept[name] is init[name] for name in init)


def test_an_object_is_visited_once_however_often_it_is_there():
    texts: list[Any] = ["x"]
    value: Any = {"pwd": "x", "n": 1}
    for _ in range(60):
        texts, value = [texts, texts], [value, value]
    itself: list[Any] = [{"pwd": "x"}]
    itself.append(itself)
    kept, found = without_secrets({"texts": texts, "value": value, "itself": itself})
    assert found == (f"value{'.0' * 60}.pwd", "itself.0.pwd")
    assert kept["value"][0] is kept["value"][1]


def test_what_is_nested_too_deeply_to_be_stored_is_left_to_the_refusal():
    nested: list[Any] = ["x"]
    for _ in range(5000):
        nested = [nested]
    assert without_secrets({"value": nested, "pwd": nested})[1] == ()


HARMLESS = {
    "token_dim": "64", "num_tokens": "128", "tokenizer": "bert-base-uncased", "keypoints": "coco", "password_dim": "8",
    "tokens": ["[CLS]", "[SEP]"], "special_tokens": ["<s>"], "key_dim": "64", "query_key_value": "fused",
    "token_type": "word_piece", "secret_size": "4", "authorization_dim": "3", "pwd_encoder": "gru",
    "passthrough": "all",
    "compass": "north", "bypass": "yes", "keys": ["a"], "url": "https://example.org:8080/a@b", "git": "ssh://git@host/x",
    "image": "docker://pytorch:2.6@sha256:0a1b", "hub": "hf-hub:timm/vit_base_patch16_224.augreg_in21k",
    "name": "hf_internal_testing_tiny_random_bert_model", "commit": "0123456789abcdef0123456789abcdef01234567",
    "sklearn": "sk-learn-style-random-forest", "text": "the bearer of this letter", "init": "tcp://localhost:29500",
    "mail": "someone@example.org", "norm": "sync_batch_norm_with_affine_parameters", "basic": "Basic BlockWithStride",
}  # fmt: skip


@pytest.mark.parametrize("name", HARMLESS)
def test_what_only_sounds_like_a_secret_is_kept(name):
    assert without_secrets({name: HARMLESS[name]}) == ({name: HARMLESS[name]}, ())


def test_words_of_a_vocabulary_and_numbers_are_no_secrets():
    init = {
        "cls_token": "[CLS]", "pad_token": "<pad>", "eos_token": "</s>", "use_cls_token": True, "num_tokens": 5,
        "token": None, "password": "", "tokenizer": "bert", "secretary": "x", "key": "x", "keys": ["a"],
    }  # fmt: skip
    assert without_secrets(init) == (init, ())
