"""What a file is that is no checkpoint, in one sentence with the next step: by how it begins, and else by its name.

Two tables. Their order says which line counts, and nothing else hangs on them: a format that is missing here is called
unknown, and is refused all the same.
"""

from __future__ import annotations

import json
import re
import shlex
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from registry.checkpoints.mapping import Span, is_regular
from registry.checkpoints.pickles.plain_vocabulary import PLAIN
from registry.checkpoints.pickles.unpickling import unpickle
from registry.checkpoints.pickles.vocabulary import BadPickle
from registry.errors.checkpoints import NotACheckpoint
from registry.errors.root import few
from registry.reference import is_named_like_a_file

READABLE = "give a file that torch.save or safetensors wrote"
_ORIGINAL = "give the PyTorch checkpoint that it was made from"
_UNPACK = "unpack it with {} -dc {{path}} > unpacked.pth, and push that"
_TAR = "unpack it with tar xf {path}, and push the file inside that has the weights"
LONGEST_PICKLE = 64 << 20
"""Bytes of a plain pickle that is read to its end, to tell a whole one from the beginning of another file."""
_SHOWN = 80


_COMPRESSED = "compressed"
_PACKED = re.compile(r"\.(?:gz|bz2|xz|zst|lz4|7z|rar)$", re.IGNORECASE)


class _Format(NamedTuple):
    begins: re.Pattern[bytes]
    what: str
    remedy: str
    holds_weights: bool = False
    """Whether the weights of a model may be in it, all the same."""
    stands_for: bool = False
    """Whether it stands where the file itself should be."""

    @property
    def packs(self) -> bool:
        """Whether another file is inside."""
        return self.what.startswith((_COMPRESSED, "a tar", "a 7z", "a RAR"))


def _format(
    begins: bytes, what: str, remedy: str = READABLE, *, weights: bool = False, stands: bool = False
) -> _Format:
    return _Format(re.compile(begins, re.DOTALL), what, remedy, weights, stands)


_FORMATS = (
    _format(rb"version https://git-lfs", "a pointer of git-lfs and not the file itself", "fetch it with `git lfs pull`",
            stands=True),
    _format(rb"# xet version", "a pointer of git-xet and not the file itself", "fetch it with `git xet checkout`",
            stands=True),
    _format(rb"(?:\.\./)*(?:\.git)?/?annex/objects/", "a pointer of git-annex and not the file itself",
            "fetch it with `git annex get {name}`", stands=True),
    _format(rb"\x00\x05\x16\x07", "what macOS keeps beside a file (AppleDouble), and not the file itself",
            "push the file without '._' in front of its name"),
    _format(rb"bplist00", "a property list of macOS, as iCloud leaves one where a file was moved away",
            "download the file itself", stands=True),
    _format(rb"\x89HDF\r\n", "an HDF5 file, as Keras writes them", "export it from a PyTorch model", weights=True),
    _format(rb"\x93NUMPY", "one array of numpy", "if it is a weight, torch.save a dict with it under its name",
            weights=True),
    _format(rb"GGUF|lmgg|tjgg|fmgg", "a GGUF file of llama.cpp", _ORIGINAL, weights=True),
    _format(rb"..\x00\x00TFL3", "a TensorFlow Lite model", _ORIGINAL, weights=True),
    _format(rb"..\x00\x00ET\d\d", "an ExecuTorch program", _ORIGINAL, weights=True),
    _format(rb"\x12\x01\x00{6}", "a file of MXNet", _ORIGINAL, weights=True),
    _format(rb"[\x03\x04]\x00{3}\x01\x00{3}(?:\x03\x00{3}V \d|.\x00{3})|4\n1\n3\nV \d\n", "a file of Lua Torch",
            "convert it with torch 0.4 (torch.utils.serialization.load_lua), and torch.save its tensors under names",
            weights=True),
    _format(rb"\x08[\x01-\x1f][\x12\x1a\x22\x32\x3a\x42]", "an ONNX model", _ORIGINAL, weights=True),
    _format(rb"(?:[\x81-\x8f]|\xde\x00.)(?:[\xa1-\xbf]|\xd9.)[\x20-\x7e]", "a msgpack file, as Flax writes them",
            "read it with flax.serialization.msgpack_restore, and torch.save a dict of tensors", weights=True),
    _format(rb"\x1f\x8b", "compressed with gzip", _UNPACK.format("gzip")),
    _format(rb"BZh\d", "compressed with bzip2", _UNPACK.format("bzip2")),
    _format(rb"\xfd7zXZ", "compressed with xz", _UNPACK.format("xz")),
    _format(rb"\x28\xb5\x2f\xfd", "compressed with zstd", _UNPACK.format("zstd")),
    _format(rb"\x04\x22\x4d\x18", "compressed with LZ4", _UNPACK.format("lz4")),
    _format(rb"\x78[\x01\x9c\xda]", "compressed with zlib, as joblib writes",
            "if you trust it, read it with joblib.load and torch.save the state dict"),
    _format(rb"bundle\.json\x00.{245}ustar", "a bundle of versions, as `registry copy` writes it",
            "take what is in it with `registry copy {path}`", stands=True),
    _format(rb".{257}ustar", "a tar archive (torch before 0.1.10 wrote those, and so do packers)",
            f"{_TAR}, or load it with torch.load and save its state dict again"),
    _format(rb"7z\xbc\xaf", "a 7z archive", "unpack it with 7z x {path}, and push the file inside"),
    _format(rb"Rar!", "a RAR archive", "unpack it with unrar x {path}, and push the file inside"),
    _format(rb"ftrt", "an engine of TensorRT", _ORIGINAL, weights=True),
    _format(rb"model_checkpoint_path: ", "the list that TensorFlow keeps of its checkpoints",
            "read the newest with tf.train.load_checkpoint, and torch.save a dict of tensors"),
    _format(rb"PK\x05\x06", "an empty zip archive"),
    _format(rb"SQLite format 3", "a SQLite database"),
    _format(rb"PAR1|ARROW1|MATLAB 5", "a table of data"),
    _format(rb"\x7fELF|MZ.{62,}PE\x00\x00", "a program"),
    _format(rb"%PDF", "a PDF document"),
    _format(rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF|\x00.{3}ftyp", "an image, a film or a sound"),
)  # fmt: skip

_PICKLE = re.compile(rb"\x80[\x02-\x05]")
_OLD_PICKLE = re.compile(rb"\((?:dp|lp)\d|c\w[\w.]*\n\w+\n")
"""How pickles of Python 2 begin, which are text, and may be the beginning of any."""

_NAMES: tuple[tuple[str, str, str], ...] = (
    (r"\.index|\.data-\d+-of-\d+|\.meta", "a part of what TensorFlow saved",
     "read it with tf.train.load_checkpoint, and torch.save a dict of tensors"),
    (r"\.pb|\.pbtxt", "a graph of TensorFlow", _ORIGINAL),
    (r"\.onnx|\.onnx[._]data", "a file of an ONNX model", _ORIGINAL),
    (r"\.caffemodel|\.prototxt", "a file of Caffe", _ORIGINAL),
    (r"\.mlmodel|\.mlmodelc", "a Core ML model", _ORIGINAL),
    (r"\.engine|\.plan|\.trt", "an engine of TensorRT", _ORIGINAL),
    (r"\.weights", "a file of Darknet", "convert it to PyTorch with the tool of the model's project"),
    (r"\.tfevents(\..*)?|.*tfevents.*", "a log of TensorBoard", READABLE),
)  # fmt: skip
"""Endings of files that begin with nothing of their own."""

_ANNEX = ".git/annex/objects/"
"""Where git-annex keeps the files that links in its repository name."""

UNFINISHED = (".incomplete", ".part", ".partial", ".crdownload", ".download", ".filepart", ".aria2", ".opdownload")
"""What programs put behind the name of a file until all of it is there."""


_FOLDERS = (
    (r"saved_model\.pb(?:txt)?|keras_metadata\.pb", "a SavedModel of TensorFlow",
     "read it with tf.saved_model.load, and torch.save a dict of tensors"),
    (r"tf_model\.h5|tf_model-.*\.h5", "a model of transformers for TensorFlow",
     "save it for PyTorch: from_pretrained(..., from_tf=True).save_pretrained(...) in transformers 4"),
    (r"flax_model\.msgpack|flax_model-.*\.msgpack", "a model of transformers for Flax",
     "save it for PyTorch: from_pretrained(..., from_flax=True).save_pretrained(...) in transformers 4"),
    (r"_CHECKPOINT_METADATA|manifest\.ocdbt|.*\.orbax-checkpoint.*", "a folder of Orbax (JAX)",
     "restore it in JAX, and torch.save a dict of tensors"),
    (r".*\.ckpt-\d+\.index|.*\.data-\d{5}-of-\d{5}", "a folder of TensorFlow",
     "read it with tf.train.load_checkpoint, and torch.save a dict of tensors"),
    (r"MLmodel", "a model of MLflow", "push the file with the weights in its folder 'data'"),
    (r".*\.mlmodel|com\.apple\.CoreML", "a Core ML model", _ORIGINAL),
    (r"model\.onnx", "an ONNX model", _ORIGINAL),
)  # fmt: skip
"""What lies in the folders that other programs write; no file that is read here does."""


def other_folder(names: Sequence[str]) -> tuple[str, str] | None:
    """Return what a folder with these names in it is, and what to do about it; None of one that nobody knows."""
    if not names:
        return "an empty folder", "give the folder that has the files"
    if any(map(is_named_like_a_file, names)):
        return None
    for pattern, what, remedy in _FOLDERS:
        if any(re.fullmatch(pattern, name) for name in names):
            return what, remedy
    return None


def keeps_weights(head: bytes) -> bool:
    """Whether a file that begins so is of another program and may hold the weights of a model, or stands for one."""
    own = (form for form in _FORMATS if form.holds_weights or form.stands_for)
    return _PICKLE.match(head) is not None or any(form.begins.match(head) for form in own)


def is_unfinished(name: str) -> bool:
    """Whether a file is called like a download that has not ended."""
    return name.lower().endswith(UNFINISHED)


def is_dangling(place: Path) -> bool:
    """Whether a path is a link that leads nowhere."""
    try:
        place.stat()
    except FileNotFoundError:
        return place.is_symlink()
    except (OSError, ValueError):
        pass
    return False


def is_awaited(place: Path) -> bool:
    """Whether a path is a link of git-annex to a file that is not here."""
    return is_dangling(place) and _ANNEX in str(place.readlink())


def dangling(place: Path) -> NotACheckpoint:
    """Return the error that says where a link should lead: into the store of git-annex, or anywhere."""
    target = str(place.readlink())
    if _ANNEX in target:
        what, remedy = "a link of git-annex whose file is not here", f"fetch it with `git annex get {_quoted(place)}`"
    else:
        what, remedy = f"a link to {target}, which does not exist", "give the file itself"
    return NotACheckpoint(str(place), what, remedy, stands_for=True)


def _quoted(place: Path) -> str:
    return shlex.quote(place.name)


def other_file(head: bytes, content: Span, source: str) -> NotACheckpoint:
    """Return the error that says what a file is instead of a checkpoint.

    Args:
        head: how it begins.
    """
    path = Path(source)
    if not head.strip(b"\0"):
        return NotACheckpoint(source, "nothing but zeros, as far as it was looked at", "copy or save it again", False)
    if (said := _pointer_of_dvc(head, path)) is not None:
        return said
    form = next((form for form in _FORMATS if form.begins.match(head)), None)
    if form is not None:
        what, remedy = _packed(head, path, form.what, form.remedy)
        remedy = remedy.format(path=shlex.quote(source), name=_quoted(path))
        stands_for = form.stands_for or (form.packs and is_named_like_a_file(_PACKED.sub("", path.name)))
        return NotACheckpoint(source, what, remedy, stands_for=stands_for)
    for found in (_pickle, _markup, _named, _text):
        if (error := found(head, content, source)) is not None:
            return error
    return NotACheckpoint(source, "of no format that is known, or its beginning is damaged", READABLE, False)


def _packed(head: bytes, path: Path, what: str, remedy: str) -> tuple[str, str]:
    """Return what a compressed file is and what to do about it, by what is inside or by its name."""
    if not what.startswith(_COMPRESSED):
        return what, remedy
    if head.startswith(b"\x1f\x8b"):
        try:
            is_tar = zlib.decompressobj(31).decompress(head, 512)[257:262] == b"ustar"
        except zlib.error:
            return f"{what}, and damaged", "copy or download it again"
    else:
        is_tar = re.search(r"\.tar\.\w+$|\.t(gz|bz2?|xz|zst)$", path.name.lower()) is not None
    return (f"a tar archive {what}", _TAR) if is_tar else (what, remedy)


def _pointer_of_dvc(head: bytes, path: Path) -> NotACheckpoint | None:
    """Return what is said of a file that DVC leaves where it tracks another."""
    if path.suffix != ".dvc" and not re.match(rb"(?:md5: \w+\n(?:frozen: \w+\n)?)?outs:\n- ", head):
        return None
    name = re.search(rb"^\s*(?:- )?path: (\S.*)$", head, re.MULTILINE)
    target = name[1].decode("utf-8", "replace").strip()[:_SHOWN] if name is not None else path.stem
    remedy = f"fetch it with `dvc pull {_quoted(path)}`, and push {target}"
    is_there = is_regular(path.parent / target)
    what = f"a pointer of DVC to {target} and not the file itself"
    return NotACheckpoint(str(path), what, f"push {target}" if is_there else remedy, stands_for=not is_there)


def _pickle(head: bytes, content: Span, source: str) -> NotACheckpoint | None:
    is_pickle = _PICKLE.match(head) is not None
    if not is_pickle and not _OLD_PICKLE.match(head):
        return None
    if is_pickle and b"joblib" in head:
        remedy = "if you trust it, read it with joblib.load and torch.save the state dict"
        return NotACheckpoint(source, "a pickle of joblib", remedy)
    remedy = "if you trust it, load it with pickle and torch.save the state dict"
    if (keys := _keys(content)) is not None:
        what = f"a plain Python pickle that torch.save did not write{keys}"
        return NotACheckpoint(source, what, remedy, stands_for=is_named_like_a_file(source))
    if not is_pickle:
        return None
    what = "a plain Python pickle that torch.save did not write, or the damaged beginning of a file that it did"
    return NotACheckpoint(source, what, remedy, False)


def _keys(content: Span) -> str | None:
    """Return what a pickle that fills its file holds, in words; None of one that does not end where the file does."""
    if len(content) > LONGEST_PICKLE or content.read(len(content) - 1) != b".":
        return None
    try:
        value, end = unpickle(content.read(), PLAIN)
    except BadPickle:
        return None
    if end != len(content):
        return None
    keys = [key[:40] for key in value if isinstance(key, str)] if isinstance(value, dict) else []
    return f" (a dict with the keys {few([repr(key) for key in keys], 4)})" if keys else ""


def _markup(head: bytes, content: Span, source: str) -> NotACheckpoint | None:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not re.match(rb"<[A-Za-z!?]", text):
        return None
    titled = re.search(rb"<title[^>]*>([^<]{1,200})", head, re.IGNORECASE)
    titled = titled or re.search(rb"<(?:Code|Message)>([^<]{1,200})", head)
    said = f" that says '{_words(titled[1])}'" if titled is not None else ""
    remedy = "download the file itself, perhaps after logging in"
    return NotACheckpoint(source, f"a web page or XML{said}", remedy, stands_for=is_named_like_a_file(source))


def _words(text: bytes) -> str:
    return " ".join(text.decode("utf-8", "replace").split())[:_SHOWN]


def _named(head: bytes, content: Span, source: str) -> NotACheckpoint | None:
    name = PurePath(source).name.lower()
    for ending, what, remedy in _NAMES:
        if re.search(rf"(?:{ending})$", name):
            return NotACheckpoint(source, what, remedy)
    return None


def _text(head: bytes, content: Span, source: str) -> NotACheckpoint | None:
    if not _is_text(head):
        return None
    named = is_named_like_a_file(source)
    target = head.decode(errors="replace").strip()
    if len(content) == len(head) and "\n" not in target and len(target) < 1000 and is_named_like_a_file(target):
        return NotACheckpoint(source, f"a text file that names '{target}'", f"push {target}", stands_for=named)
    if len(content) == len(head) and (keys := _keys_of_json(head)):
        remedy = "download the file itself" if named else READABLE
        return NotACheckpoint(source, f"a text file, JSON with {keys}", remedy, stands_for=named)
    return NotACheckpoint(source, "a text file", READABLE)


def _keys_of_json(head: bytes) -> str:
    try:
        value = json.loads(head)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(value, dict) or not value:
        return ""
    said = next((value[key] for key in ("error", "message", "detail") if isinstance(value.get(key), str)), None)
    return f"'{said[:_SHOWN]}'" if said is not None else few([repr(key[:40]) for key in value], 4)


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode()
    return all(character.isprintable() or character.isspace() for character in text)
