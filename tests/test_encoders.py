"""Every encoder under every kind of task, from tiny random weights of its own class and with a tokenizer of its own type."""
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from datasets import Dataset
from encoders import CONTEXTS, ENCODERS, make_encoder
from transformers.convert_slow_tokenizer import bytes_to_unicode

import xitcal.kinds.retrieval
import xitcal.training.models
from xitcal.core.errors import XitcalError
from xitcal.core.schema import EVENT_SCHEMA
from xitcal.data.suites import find_suite
from xitcal.data.tasks import MASKED, TARGETS
from xitcal.kinds.question_answering import Answers, encode_contexts, kept_span, token_span
from xitcal.kinds.registry import KINDS, kind_of
from xitcal.kinds.retrieval import Retrieval
from xitcal.kinds.tagging import Tagging, encode_words
from xitcal.training.models import METHODS, add_adapter, build_head, load_encoder, load_tokenizer, load_trained, position_limit
from xitcal.training.predict import predict
from xitcal.training.trainer import Material, Options, Training, train

SUITE = find_suite("embedded")
TASKS = dict(classification=SUITE.tasks["xnli"], choices=SUITE.tasks["hellaswag"], tagging=SUITE.tasks["panx"], answers=SUITE.tasks["xquad"],
             retrieval=SUITE.tasks["tatoeba"], masked=MASKED)
TRAINED = [kind for kind in TASKS if kind != "retrieval"]
SUPPORTED = [pytest.param(name, kind, id=f"{name}-{kind}") for name, facts in ENCODERS.items() for kind in TASKS if kind not in facts.lacks]
LACKING = [pytest.param(name, kind, id=f"{name}-{kind}") for name, facts in ENCODERS.items() for kind in facts.lacks]
LORA = {name: {"deberta-v2": {"query_proj", "value_proj"}, "modernbert": {"Wqkv"}, "eurobert": {"q_proj", "v_proj"}}.get(facts.model_type, {"query", "value"})
        for name, facts in ENCODERS.items()}
TOKENIZERS = [name for name in ENCODERS if name != "xlm-roberta-large"] # which has the base model's


@pytest.fixture(scope="session")
def place(tmp_path_factory): return tmp_path_factory.mktemp("encoders")


@pytest.fixture(scope="session")
def folder(place):
    "Function from an encoder's name to its folder, with safetensors weights"
    made = {}
    def get(name):
        if name not in made: made[name] = make_encoder(name, place, "safetensors")
        return made[name]
    return get


def rows_of(task, split):
    if task is MASKED: return SUITE.translated_rows(MASKED.name, ["en", "ar"], 8)
    codes = ["en"] if split == "train" or "ja" not in task.languages else ["en", "ja"] if "en" in task.languages else ["ja"]
    return SUITE.rows(task.name, split, codes, 8)


def recipe_of(task, **more): return replace(task.recipe, batch_size=4, epochs=1., evaluate_every=0, max_length=64, stride=16, **more)


def expected(task, rows) -> int:
    "Number of headline events"
    if task.kind == "tagging": return sum(map(len, rows["tokens"]))
    return rows["side"].count("query") if task.kind == "retrieval" else len(rows)


def test_every_kind_and_every_class_of_the_issue_is_here():
    assert set(TASKS) == set(KINDS)
    assert {f.model_type for f in ENCODERS.values()} == {"xlm-roberta", "bert", "deberta-v2", "rembert", "modernbert", "eurobert"}


OPTIONS = (Options(precision="fp32"), Options(precision="bf16", method="lora", lora_rank=4))


@pytest.mark.parametrize("options", OPTIONS,
                         ids=lambda o: f"{o.method}-{o.precision}")
@pytest.mark.parametrize("name,kind", SUPPORTED)
def test_trains_two_steps_and_predicts(name, kind, options, folder, tmp_path):
    task, start, bf16 = TASKS[kind], folder(name), options.precision == "bf16"
    end = start
    if kind in TRAINED:
        end = tmp_path / "trained"
        done = train(start, [Material(task, rows_of(task, "train"))], recipe_of(task, learning_rate=1e-2), 0, end, tmp_path / "work", options)
        losses = [h["loss"] for h in done["history"]]
        assert len(losses) == 2 and all(map(math.isfinite, losses))
        before, after = ({n: p for n, p in m.named_parameters() if "pooler" not in n} for m in (load_encoder(start), load_encoder(end)))
        assert before.keys() == after.keys()
        changed = {n.split(".")[-2] for n in before if not torch.equal(before[n], after[n])}
        assert changed == LORA[name] if options.method == "lora" else len(changed) > len(LORA[name])
    model = load_trained(end, task)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    if kind == "masked": return # it has no decisions to predict
    rows = rows_of(task, "test" if task.name in TARGETS else "validation")
    events = predict(model, load_tokenizer(end), task, rows, recipe_of(task), bf16=bf16)
    assert events.schema == EVENT_SCHEMA
    assert events["event"].to_pylist().count(kind_of(task).event_kinds[0]) == expected(task, rows)
    assert np.isfinite(events["confidence"].to_numpy()).all() and (events["confidence"].to_numpy() > 0).all()


@pytest.mark.parametrize("name,kind", LACKING)
def test_a_kind_without_a_head_is_refused_in_a_sentence(name, kind, folder, tmp_path):
    task = TASKS[kind]
    with pytest.raises(XitcalError, match=f"A {ENCODERS[name].model_type} model has no head for {kind} .*; leave the task out.$"):
        train(folder(name), [Material(task, rows_of(task, "train"))], recipe_of(task), 0, tmp_path / "a", tmp_path / "b")


def states(model, layer=-1):
    ids = torch.arange(6, 26)[None] % model.config.vocab_size
    with torch.inference_mode(): return model(input_ids=ids, output_hidden_states=True).hidden_states[layer]


@pytest.mark.parametrize("name", ENCODERS)
def test_stored_precision_does_not_matter(name, folder):
    model, facts = load_encoder(folder(name)), ENCODERS[name]
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    stored = model.get_input_embeddings().weight
    assert torch.equal(stored, stored.to(facts.dtype).float()) # what was stored, no more digits and no fewer
    assert transformers.AutoModel.from_pretrained(folder(name)).dtype == facts.dtype # what one gets without asking


@pytest.mark.parametrize("name", ENCODERS)
def test_a_layer_in_the_middle_is_the_same_in_a_shortened_model(name, folder):
    whole, short = load_encoder(folder(name)), load_encoder(folder(name), 1)
    assert sum(p.numel() for p in short.parameters()) < sum(p.numel() for p in whole.parameters())
    assert torch.allclose(states(whole, 1), states(short, 1), atol=1e-6)
    assert torch.allclose(states(whole), states(load_encoder(folder(name), whole.config.num_hidden_layers)), atol=1e-6)


@pytest.mark.parametrize("name", ENCODERS)
def test_the_attention_that_a_gpu_takes(name, folder, monkeypatch):
    "Fused where the class has it; the states are those of attention written out"
    plain = states(load_encoder(folder(name)))
    monkeypatch.setattr(xitcal.training.models.torch.cuda, "is_available", lambda: True)
    assert torch.allclose(plain, states(load_encoder(folder(name))), atol=1e-4)
    assert build_head(folder(name), TASKS["tagging"]).config._attn_implementation in ("sdpa", "eager")


@pytest.mark.parametrize("name", ENCODERS)
def test_texts_of_a_pair_are_told_apart_where_the_model_can(name, folder):
    types = load_tokenizer(folder(name))(["a"], ["b"]).get("token_type_ids")
    assert (types is not None and set(types[0]) == {0, 1}) == (name in ("mbert", "rembert")), types


@pytest.mark.parametrize("name", ENCODERS)
def test_lora_updates_queries_and_values(name, folder):
    encoder = load_encoder(folder(name))
    names = {n.split(".")[-1] for n, m in add_adapter(encoder, rank=3).named_modules() if hasattr(m, "lora_A")}
    assert names == LORA[name]
    assert {p.shape[0] for n, p in encoder.named_parameters() if "lora_A" in n} == {3}
    with pytest.raises(XitcalError, match="cannot change nothing_like_it"): add_adapter(load_encoder(folder(name)), targets=("nothing_like_it",))


@pytest.mark.parametrize("method", [m for m in METHODS if m not in ("full", "lora")])
@pytest.mark.parametrize("name", ENCODERS)
def test_every_adapter_trains_and_becomes_an_ordinary_encoder(name, method, folder, tmp_path):
    "Merged and read again, it says what the model with its adapter said, to 1e-4 in float32"
    task, start = TASKS["classification"], folder(name)
    made = Training(start, [Material(task, rows_of(task, "train"))], recipe_of(task, learning_rate=1e-2), 0, tmp_path / "w",
                    Options(precision="fp32", method=method))
    model = made.models[task.name]
    frozen = {n for n, p in model.base_model.named_parameters() if not p.requires_grad}
    assert frozen and any(p.requires_grad for n, p in model.base_model.named_parameters())
    made.run()
    ids = torch.arange(8, 24).view(2, 8)
    with torch.inference_mode(): said = model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    made.finish(tmp_path / "out")
    again = load_trained(tmp_path / "out", task)
    with torch.inference_mode(): assert torch.allclose(again(input_ids=ids, attention_mask=torch.ones_like(ids)).logits, said, atol=1e-4)
    before, after = (dict(load_encoder(at).named_parameters()) for at in (start, tmp_path / "out"))
    assert any(not torch.equal(before[n], after[n]) for n in before if "pooler" not in n)


# Words and their tags ------------------------------------------------------------------------------------------------------------------

ODD = ["Paris", "\u200b", "\x01", "東京", "\u00ad", "", "قال", "\u200d", "กรุงเทพ", " ", "New York", "हिन्दी", "\ufeff", "ﷺ", "!"]


def sentences():
    return [list(words) for code in ("en", "ar", "th", "hi", "ja") for words in SUITE.rows("panx", "test", [code], 6)["tokens"]]


def first_pieces(tokenizer, words):
    "The first sub-word of each word as it stands in a text, one word at a time"
    starts = tokenizer("x x", add_special_tokens=False)["input_ids"] == tokenizer(["x", "x"], is_split_into_words=True, add_special_tokens=False)["input_ids"]
    return [tokenizer(w if starts or i == 0 else f" {w}", add_special_tokens=False)["input_ids"][0] for i, w in enumerate(words)]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_tag_stands_on_the_first_piece_of_its_word(name, folder):
    tokenizer = load_tokenizer(folder(name))
    for words, feature in zip(sentences(), encode_words(tokenizer, sentences(), 100_000, 0), strict=True):
        ids, at = np.array(feature["input_ids"]), np.flatnonzero(feature["words"] >= 0)
        assert feature["words"][at].tolist() == list(range(len(words)))
        assert ids[at].tolist() == first_pieces(tokenizer, words)
        assert len(words) > 1 and len(set(ids[at].tolist())) > 1


@pytest.mark.parametrize("name", TOKENIZERS)
def test_words_are_read_as_in_a_text(name, folder):
    tokenizer = load_tokenizer(folder(name))
    words = "the capital of Kenya is Nairobi".split()
    assert encode_words(tokenizer, [words], 100, 0)[0]["input_ids"] == tokenizer(" ".join(words))["input_ids"]


@pytest.mark.parametrize("length", (100_000, 16), ids=("whole", "windows"))
@pytest.mark.parametrize("name", TOKENIZERS)
def test_words_that_leave_no_piece_keep_their_tags(name, length, folder):
    tokenizer, task = load_tokenizer(folder(name)), TASKS["tagging"]
    words, tags = ["", *ODD * 3], [4, *list(range(5)) * 9]
    rows = Dataset.from_list([dict(example="1", language="en", tokens=words, tags=tags)])
    features = Tagging().features(rows, tokenizer, task, replace(task.recipe, max_length=length, stride=4))
    found = {w: f["tags"][p] for f in features for p, w in enumerate(f["words"]) if w >= 0}
    assert found == dict(enumerate(tags))


@pytest.mark.parametrize("length,stride", ((24, 6), (12, 0), (8, 100)))
@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_long_sentence_is_windowed_and_merged(name, length, stride, folder):
    "Outputs are the token's id and its distance from the edges: merged windows say of each word what the whole sentence says of its first piece"
    tokenizer, task = load_tokenizer(folder(name)), TASKS["tagging"]
    words = [w for s in sentences() for w in s][:120] + ["Donaudampfschifffahrtsgesellschaft" * 3, "end"]
    rows = Dataset.from_list([dict(example="1", language="en", tokens=words, tags=[0] * len(words))])
    def features_of(max_length): return Tagging().features(rows, tokenizer, task, replace(task.recipe, max_length=max_length, stride=stride))
    (whole,), windows, kept, room = features_of(100_000), features_of(length), [], {}
    first = dict(zip(whole["words"].tolist(), whole["input_ids"]))
    for f in windows:
        ids, at = np.array(f["input_ids"]), np.flatnonzero(f["words"] >= 0)
        assert len(ids) <= length and ids[at].tolist() == [first[w] for w in f["words"][at]] # in training, too, no other piece has a tag
        edge = np.minimum(at, len(ids) - 1 - at)
        for w, e in zip(f["words"][at].tolist(), edge.tolist()): room[w] = max(e, room.get(w, 0))
        kept.append(np.stack([ids[at], edge] + [0 * at] * (len(task.labels) - 2), 1).astype(np.float32))
    merged = [e["logits"][:2] for e in Tagging().events(rows, windows, kept, task).to_pylist() if e["event"] == "token"]
    assert len(windows) > 5 and merged == [[first[w], room[w]] for w in range(len(words))]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_recipe_longer_than_the_model_is_windowed(name, folder, tmp_path):
    task = TASKS["tagging"]
    words = [w for s in sentences() for w in s]
    rows = Dataset.from_list([dict(example=str(i), language="en", tokens=words, tags=[i] * len(words)) for i in range(2)])
    recipe = replace(recipe_of(task), max_length=4096, batch_size=1)
    end = tmp_path / "end"
    train(folder(name), [Material(task, rows)], recipe, 0, end, tmp_path / "work")
    model = load_trained(end, task)
    events = predict(model, load_tokenizer(end), task, rows, recipe)
    assert events["event"].to_pylist().count("token") == 2 * len(words)
    assert position_limit(model) in ({160, 158} if ENCODERS[name].model_type in ("bert", "rembert", "xlm-roberta") else {None, 160})


# Characters of answers -----------------------------------------------------------------------------------------------------------------

GAP = dict.fromkeys("\u00ad\u200b\u200d\ufe0f")


def whole_windows(tokenizer, context): return encode_contexts(tokenizer, ["?"], [context], 100_000, 0)


def letters(byte_level_token):
    "The bytes of a token of BPE over bytes"
    table = {c: b for b, c in bytes_to_unicode().items()}
    return bytes(table[c] for c in byte_level_token)


@pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS)
@pytest.mark.parametrize("name", TOKENIZERS)
def test_offsets_are_those_of_the_characters(name, context, folder):
    "Each token's characters, normalised, are its text, and no character is in no token but blanks and those that the tokenizer drops"
    tokenizer = load_tokenizer(folder(name))
    normal = tokenizer.backend_tokenizer.normalizer
    feature, = whole_windows(tokenizer, context)
    seen = 0
    for i, (start, end) in zip(feature["input_ids"], feature["offsets"]):
        if start < 0 or i == tokenizer.unk_token_id: continue
        token, piece = tokenizer.convert_ids_to_tokens(i), context[start:end]
        assert piece and piece == piece.strip()
        while start and context[start - 1].isspace(): start -= 1
        while context[end:end + 1].isspace(): end += 1
        piece = context[start:end] # a token may hold the blanks beside its characters
        seen += 1
        if token.startswith("<0x"): assert int(token[3:-1], 16) in piece.encode()
        elif name == "eurobert": assert letters(token) in piece.encode()
        else: assert token.lstrip("▁").removeprefix("##") in (normal.normalize_str(piece) if normal else piece)
    assert seen > (2 if name == "mbert" else 10) # mBERT has one unknown token for a whole word
    held = {c for start, end in feature["offsets"] if start >= 0 for c in range(start, end)}
    for at in set(range(len(context))) - held:
        alone = tokenizer(f"x{context[at]}x", add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        assert context[at].isspace() or context[at] in GAP or (1, 2) not in alone and not any(s <= 1 < e for s, e in alone), repr(context[at])


@pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS)
@pytest.mark.parametrize("name", TOKENIZERS)
def test_every_answer_is_held_by_a_window(name, context, folder):
    tokenizer, context = load_tokenizer(folder(name)), " ".join([context] * 4)
    whole, = whole_windows(tokenizer, context)
    windows = encode_contexts(tokenizer, ["?"], [context], 28, 10)
    assert len(windows) > 1 and max(len(w["input_ids"]) for w in windows) <= 28
    pairs = lambda fs: {tuple(o) for f in fs for o in f["offsets"].tolist()}
    assert pairs(windows) == pairs([whole])
    before = len(tokenizer("?", "x")["input_ids"]) - len(tokenizer("x", add_special_tokens=False)["input_ids"]) - 1
    parts = [w["input_ids"][before:-1] for w in windows]
    assert all(left[-10:] == right[:10] for left, right in zip(parts, parts[1:])) # windows overlap by the stride
    for start in range(0, len(context), 2):
        for end in {min(start + n, len(context)) for n in (1, 3)}:
            gold = kept_span([w["offsets"] for w in windows], start, end)
            spans = [(w, token_span(w["offsets"], *gold)) for w in windows]
            found = {(int(w["offsets"][a][0]), int(w["offsets"][b][1])) for w, (a, b) in spans if a}
            touched = [o for o in whole["offsets"].tolist() if o[0] >= 0 and o[1] > start and o[0] < end]
            if touched: # exactly the answer where tokens begin and end with it, else the least that holds it
                first, last = ({o[i] for o in touched} for i in (0, 1))
                assert found == {(gold[0] if gold[0] in first else min(first), gold[1] if gold[1] in last else max(last))}, repr(context[start:end])
            else: assert not found and not context[start:end].strip(" \t\u3000" + "".join(GAP))


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_long_question_changes_no_other_rows_windows(name, folder):
    tokenizer, context = load_tokenizer(folder(name)), " ".join(["The river runs to the sea."] * 12)
    asked = ["Where to?", " ".join(["where"] * 20), " ".join(["where"] * 60), "Where to?"]
    together = encode_contexts(tokenizer, asked, [context] * 4, 40, 12)
    assert [w["row"] for w in together] == sorted(w["row"] for w in together)
    for row, question in enumerate(asked):
        alone, mine = encode_contexts(tokenizer, [question], [context], 40, 12), [w for w in together if w["row"] == row]
        assert [w["input_ids"] for w in alone] == [w["input_ids"] for w in mine]
        assert all((a["offsets"] == b["offsets"]).all() for a, b in zip(alone, mine))
    lengths = {row: max(len(w["input_ids"]) for w in together if w["row"] == row) for row in range(4)}
    assert lengths[0] <= 40 and lengths[3] <= 40 and lengths[2] > 40 # only the question that leaves no room goes beyond


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_model_that_knows_the_answer_is_right_in_every_script(name, folder):
    "Logits that point at the training label give events that are all right, in one window and in several"
    tokenizer, task, found = load_tokenizer(folder(name)), TASKS["answers"], []
    for n, context in CONTEXTS.items():
        feature, = whole_windows(tokenizer, context)
        places = [o for o in feature["offsets"].tolist() if o[0] >= 0]
        for i in range(0, len(places) - 3, 4):
            start, end = places[i][0], max(places[i + 2][1], places[i][1])
            if context[start:end].strip() == context[start:end]:
                found.append(dict(example=f"{n}-{i}", language="ar", question="?", context=context,
                                  answers=dict(text=[context[start:end]], answer_start=[start])))
    rows = Dataset.from_list(found)
    for length in (32, 100_000):
        features = Answers().features(rows, tokenizer, task, replace(task.recipe, max_length=length, stride=12))
        kept = []
        for f in features:
            z = np.zeros((len(f["input_ids"]), 2), np.float32)
            z[f["span"][0], 0] = z[f["span"][1], 1] = 9
            kept.append(z if f["span"][0] else z - 9)
        events = Answers().events(rows, features, kept, task)
        assert all(events["correct"].to_pylist()), [(e["prediction_text"], e["label_text"]) for e in events.to_pylist() if not e["correct"]]
    assert len(found) > 10


@pytest.mark.parametrize("name", TOKENIZERS)
def test_sentences_are_tokenised_some_at_a_time(name, folder, monkeypatch):
    tokenizer, texts = load_tokenizer(folder(name)), [" ".join([w] * (1 + 4 * i)) for i, w in enumerate(["river", "sea", "sun"] * 4)]
    rows = Dataset.from_dict(dict(text=texts))
    task, recipe = TARGETS["tatoeba"], replace(TARGETS["tatoeba"].recipe, max_length=12)
    whole = Retrieval().features(rows, tokenizer, task, recipe)
    monkeypatch.setattr(xitcal.kinds.retrieval, "_AT_ONCE", 5)
    parts = Retrieval().features(rows, tokenizer, task, recipe)
    assert [f["row"] for f in parts] == list(range(12)) and any(f["cut"] for f in parts)
    for one, other in zip(whole, parts):
        assert one["input_ids"].tolist() == other["input_ids"].tolist() == tokenizer(rows[one["row"]]["text"], truncation=True, max_length=12)["input_ids"]
        assert (one["special"].tolist(), one["cut"]) == (other["special"].tolist(), other["cut"])
