"""Several models side by side: what is decided of each alone is what is decided of all, below its name."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st

from registry.canonical.form import Clues, Form, canonicalize
from registry.canonical.joining import joined
from registry.canonical.unwrap import Cut, Unwrapping
from registry.errors import RegistryError
from registry.tensors.spec import TensorSpec
from registry.tensors.wrapper_value import WrapperValue

WORDS = st.sampled_from(["conv", "module", "_orig_mod", "se_module", "0", "n_averaged"])
PATHS = st.lists(WORDS, min_size=1, max_size=3).map(lambda words: ".".join([*words, "weight"]))
NAMES = st.sets(PATHS, min_size=1, max_size=6)
PREFIXES = st.sampled_from(["", "module.", "_orig_mod.", "module._orig_mod."])
PARTS = st.sampled_from(["point", "img", "module", "_orig_mod", "conv", "0"])
PROFILE = settings(max_examples=200, deadline=None)


def form_of(names: set[str], prefix: str) -> Form | None:
    tensors = {prefix + name: TensorSpec("float32", (2,)) for name in sorted(names)}
    try:
        return canonicalize("a file", tensors, (), Clues())
    except RegistryError:
        return None


@given(st.dictionaries(PARTS, st.tuples(NAMES, PREFIXES), min_size=1, max_size=3))
@PROFILE
def test_the_names_of_the_whole_are_those_of_each_part_below_its_name(
    models: dict[str, tuple[set[str], str]],
) -> None:
    forms = {part: form for part, given in models.items() if (form := form_of(*given)) is not None}
    whole = joined(forms)
    assert whole.tensors == {
        f"{part}.{name}": f"{part}.{canonical}"
        for part, form in forms.items()
        for name, canonical in form.tensors.items()
    }
    for name, canonical in whole.tensors.items():
        assert whole.unwrapping.bare(name) == canonical and whole.unwrapping.wrapped(canonical) == name
    assert (whole.saved_as == "wrapped") == any(form.saved_as == "wrapped" for form in forms.values())


@given(st.dictionaries(PARTS, st.tuples(NAMES, PREFIXES), min_size=1, max_size=3))
@PROFILE
def test_a_part_taken_out_of_the_whole_is_what_it_was(models: dict[str, tuple[set[str], str]]) -> None:
    forms = {part: form for part, given in models.items() if (form := form_of(*given)) is not None}
    whole = joined(forms)
    values = [WrapperValue(owner, 1) for owner in whole.owned.values()]
    for part, form in forms.items():
        is_own = [value.below(part) is not None for value in values]
        assert whole.unwrapping.below(part, is_own) == form.unwrapping
        own = [value.below(part) for value in values]
        assert [value.owner for value in own if value is not None] == list(form.owned.values())


def test_a_part_is_found_below_what_wraps_the_whole() -> None:
    tensors = {f"module.{part}.module.weight": TensorSpec("float32", (2,)) for part in ("point", "img")}
    form = canonicalize("a file", tensors, (), Clues(declared=("ddp",)))
    assert [cut.path for cut in form.unwrapping.cuts] == ["module"]
    assert form.unwrapping.below("img").cuts == () and form.unwrapping.wrapped("img") == "module.img"
    inner = Unwrapping((*form.unwrapping.cuts, Cut("module.img.module", "ddp", "live", 1)))
    assert [cut.path for cut in inner.below("img").cuts] == ["module"] and inner.below("point").cuts == ()
