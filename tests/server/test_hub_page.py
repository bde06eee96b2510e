"""The commands of the page on Hugging Face clients are run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hub_clients import cache as cache, serving
from nets import PointNet
from safetensors.torch import load_file

import registry

pytestmark = pytest.mark.services

PAGE = (Path(__file__).parents[2] / "docs" / "hub-clients.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)


def test_the_commands_of_the_page_do_what_it_says(tmp_path: Path, cache: Path) -> None:
    import tiny_models as tiny
    from transformers import BertTokenizerFast

    hub = registry.Registry(tmp_path / "home")
    hub.push(PointNet(num_classes=5, width=8), "team/pointnet")
    model, _ = tiny.encoder()
    model.save_pretrained(tmp_path / "bert")
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]))
    BertTokenizerFast(vocab=str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "bert")
    hub.push(tmp_path / "bert", "team/bert")
    vision, _ = tiny.convolutional()
    hub.push(vision, "team/resnet")
    settings, commands, as_it_came = blocks("bash")
    with serving(hub.home, cache) as served:
        environment = served.environment()
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        settings = settings.replace("http://127.0.0.1:8080", served.url).replace("crt_...", served.token())
        settings = settings.replace("~/.cache/group-hub", str(tmp_path / "cache"))
        (tmp_path / "page.py").write_text(f"import vision_operators\n{blocks('python')[0]}")
        script = f"set -e\n{settings}\n{commands}\n{as_it_came}\n{sys.executable} page.py\n"
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=400
        )
        assert done.returncode == 0, done.stdout + done.stderr
    expected = hub.state_dict("team/pointnet")
    found = load_file(tmp_path / "pointnet/model.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    entry = hub.get("team/copy:paper")
    assert (entry.digest, entry.creator, entry.note) == (hub.get("team/pointnet").digest, "ann", "the same weights")
    assert hub.get("team/finetuned").attachments == ("config", "tokenizer")
