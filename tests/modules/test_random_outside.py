"""What is random and in no version is refused unless it is allowed by name, whatever holds it."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import drawing
import numpy as np
import numpy.random
import pytest
import torch
from drawing import CONSTANT, DRAWN

from registry.errors import RandomOutside
from registry.modules.building import process_state as generators
from registry.modules.building.build import build
from registry.modules.building.specification import ModelSpec
from registry.modules.fitting.fit import fit

STATE = {"fc.weight": torch.ones(4, 4), "fc.bias": torch.zeros(4)}


@pytest.fixture(params=["seeded", "as it comes"])
def process(request):
    """Generators of the process: seeded by a program, or by the operating system."""
    before = generators.state()
    if request.param == "seeded":
        generators.seed(3)
    else:
        torch.default_generator.seed()
    yield
    generators.restore(before)


@pytest.mark.parametrize("name", DRAWN)
def test_what_a_constructor_drew_and_keeps_elsewhere_is_refused_unless_it_is_allowed(name, process):
    before = generators.state()
    spec = ModelSpec(f"drawing:{name}")
    with pytest.raises(RandomOutside) as refused:
        fit(build(spec), STATE)
    assert generators.stand_at(before)

    report = fit(build(spec), STATE, allow_missing=[DRAWN[name][1]])

    assert set(refused.value.names) <= set(report.missing)


@pytest.mark.parametrize("name", ["ByNumpy", "ByNumpyAfterAValue"])
def test_what_is_drawn_from_a_generator_that_a_constructor_imports_first_is_noticed(name):
    """In a process of its own, that has no ``numpy.random`` yet."""
    program = """
import sys, torch
from registry import errors
from registry.modules.building.build import build
from registry.modules.building.specification import ModelSpec
from registry.modules.fitting.fit import fit
assert "numpy" in sys.modules and "numpy.random" not in sys.modules
state = {"fc.weight": torch.ones(4, 4), "fc.bias": torch.zeros(4)}
try:
    fit(build(ModelSpec(sys.argv[1])), state)
except errors.RandomOutside as error:
    print(*error.names)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    ended = subprocess.run(
        [sys.executable, "-c", program, f"drawing_late:{name}"], env=environment, capture_output=True, text=True
    )
    assert ended.stdout.split() == ["scale"], ended.stderr


SHIFTING = "SHIFT = [0]\ndef shift(x): return x[SHIFT]"
PACKAGE = {
    "__init__": "",
    "one": SHIFTING,
    "two": SHIFTING,
    "three": SHIFTING,
    "nets": """
from torch import nn
import torch
from kinds import one, three, two
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        vars(two).update(SHIFT=torch.randperm(50).tolist())
""",
}


@pytest.mark.parametrize(
    "use",
    [
        "    def forward(self, x): return x[two.SHIFT]",
        "        self.shifts = lambda x: x[two.SHIFT]",
        "        self.one, self.two, self.three = one.shift, two.shift, three.shift",
    ],
)
def test_globals_of_the_package_that_functions_name_are_looked_at(use, tmp_path, monkeypatch):
    (tmp_path / "kinds").mkdir()
    for name, text in {**PACKAGE, "nets": PACKAGE["nets"] + use}.items():
        (tmp_path / "kinds" / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "kinds"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(RandomOutside) as refused:
        fit(build(ModelSpec("kinds.nets:Net")), STATE)
    assert {name.rpartition(".")[2] for name in refused.value.names} == {"SHIFT"}


def test_a_list_that_is_longer_another_time_is_named_beside_one_that_is_shorter():
    with pytest.raises(RandomOutside) as refused:
        fit(build(ModelSpec("drawing:HowMany")), STATE)
    assert {name.partition(".")[0] for name in refused.value.names} == {"few", "many"}


@pytest.mark.parametrize("name", CONSTANT)
def test_what_a_counter_a_clock_or_an_address_gave_is_not_taken_for_random(name, process, monkeypatch):
    monkeypatch.setattr(tempfile, "_name_sequence", None)  # it asks for names as in a process that had none yet
    report = fit(build(ModelSpec(f"drawing:{name}")), {**STATE})

    assert (report.built, report.missing) == ("plain", ())


def test_generators_that_are_seeded_and_names_that_are_made_leave_a_class_fast(process):
    if torch.initial_seed() == torch.Generator().initial_seed():
        pytest.skip("the process's generator is the default one")
    report = fit(build(ModelSpec("drawing:FastWithGenerators")), {**STATE})

    assert (report.built, report.missing) == ("fast", ())


def test_a_class_is_constructed_once_more_only_where_something_may_be_random(monkeypatch):
    made = []
    ordinary = drawing.Base.__init__

    def construct(self):
        made.append(type(self))
        ordinary(self)

    monkeypatch.setattr(drawing.Base, "__init__", construct)

    fit(build(ModelSpec("drawing:FastWithGenerators")), {**STATE})

    assert made == [drawing.FastWithGenerators]


def test_the_ways_to_the_operating_system_are_as_they_were_after_a_build():
    owners = [sys.modules[name] for name in ("os", "random", "torch", "torch.random", "numpy.random")]
    before = [dict(vars(owner)) for owner in (*owners, random.Random)]
    for name in ("FastWithGenerators", "FreshGenerator", "Counting"):
        with torch.no_grad():
            build(ModelSpec(f"drawing:{name}")).random_outside()

    assert [dict(vars(owner)) for owner in (*owners, random.Random)] == before
    assert np.random.default_rng().random() != np.random.default_rng().random()


@pytest.mark.parametrize("name", ["Overlapping", "Repeated", "OverlappingAndDrawn"])
def test_a_parameter_whose_elements_are_one_place_stays_so(name):
    ordinary = getattr(drawing, name)()
    key = next(k for k in ordinary.state_dict() if not k.startswith("fc."))
    built = build(ModelSpec(f"drawing:{name}"))
    weights = {**STATE, key: torch.full_like(ordinary.state_dict()[key], 2.0).contiguous()}

    fit(built, weights)

    loaded = built.module.get_parameter(key)
    assert loaded.stride() == ordinary.get_parameter(key).stride()
    assert bool((loaded == 2).all())
