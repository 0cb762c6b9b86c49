"""Tiny random models of every encoder: its own class, and a tokenizer of its own type, trained on the embedded suite's text.

A folder holds what the encoder's repository holds: mDeBERTa's and RemBERT's weights are a `.bin` file, mDeBERTa's tokenizer is a bare
SentencePiece model, EuroBERT's weights are bfloat16 and its configuration names code of its own beside a class that transformers has.
"""
import json
import shutil
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import sentencepiece
import torch
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForMaskedLM

from xitcal.data.suites import find_suite

PIECES = 2000
CONTEXTS = dict( # texts whose characters a tokenizer changes, joins or drops
    ar="القاهرة هي عاصمة مصر، ويسكنها ٢٠ مليونًا. ﷺ قال الرَّجُلُ", th="กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย น้ำท่วม พ.ศ. ๒๕๕๔",
    hi="दिल्ली भारत की राजधानी है। क़िला १२३ में बना; क्\u200dष और ज़िंदगी।", ja="東京は日本の首都です。　ﾄﾞﾙは１２３円、株式会社㈱と㍻です。",
    blanks="  leading blanks,  double  blanks,\ttabs and a soft\u00adhyphen\u200b here ", marks="e\u0301te\u0301 🏳️\u200d🌈 naïve ﬁre Ⅻ ½ Vie\u0323\u0302t")
SPOKEN = ("en", "ar", "th", "hi", "ja", "zh", "ko", "de", "sw")


@cache
def sentences() -> tuple[str, ...]:
    "A few hundred sentences of the embedded suite"
    suite = find_suite("embedded")
    rows = [suite.rows("xquad" if code in suite.tasks["xquad"].languages else "panx", "test", [code], n=40) for code in SPOKEN]
    told = tuple(text for found in rows for row in found.to_list()
                 for text in ((row["context"], row["question"]) if "context" in row else (" ".join(row["tokens"]),)))
    return told + tuple(" ".join(text) for text in CONTEXTS.values()) # every character of theirs is known


def spm(folder: Path, name: str, **options) -> str:
    "A SentencePiece unigram model, as the encoder's own repository holds it"
    text = folder / "text.txt"
    text.write_text("\n".join(sentences()), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(input=str(text), model_prefix=str(folder / "spm"), vocab_size=PIECES, character_coverage=.9995,
                                             hard_vocab_limit=False, minloglevel=2, num_threads=1, **options)
    (folder / "spm.model").rename(folder / "moved")
    (folder / "moved").rename(folder / name)
    for rest in ("spm.vocab", "text.txt"): (folder / rest).unlink()
    return str(folder / name)


def xlmr_tokenizer(folder: Path) -> None:
    "Unigram with metaspace; what transformers makes of the SentencePiece model is saved as tokenizer.json"
    transformers.XLMRobertaTokenizer.from_pretrained(Path(spm(folder, "sentencepiece.bpe.model")).parent).save_pretrained(folder)


def rembert_tokenizer(folder: Path) -> None:
    options = dict(pad_id=0, pad_piece="[PAD]", eos_id=1, unk_id=2, bos_id=3, user_defined_symbols=["[CLS]", "[SEP]", "[MASK]"])
    transformers.RemBertTokenizer.from_pretrained(Path(spm(folder, "sentencepiece.model", **options)).parent).save_pretrained(folder)


def mdeberta_tokenizer(folder: Path) -> None:
    "Nothing but the SentencePiece model: there is no tokenizer.json"
    spm(folder, "spm.model", pad_id=0, pad_piece="[PAD]", bos_id=1, bos_piece="[CLS]", eos_id=2, eos_piece="[SEP]", unk_id=3, unk_piece="[UNK]",
        user_defined_symbols=["[MASK]"])
    (folder / "tokenizer_config.json").write_text(json.dumps(dict(do_lower_case=False, vocab_type="spm")))


def mbert_tokenizer(folder: Path) -> None:
    "WordPiece, cased"
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(sentences(), trainers.WordPieceTrainer(vocab_size=PIECES, special_tokens=special, show_progress=False))
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])
    (folder / "vocab.txt").write_text("\n".join(token for token, _ in vocabulary), encoding="utf-8")
    transformers.BertTokenizer.from_pretrained(folder, do_lower_case=False).save_pretrained(folder)


def save(tokenizer: Tokenizer, folder: Path, **config) -> None:
    "tokenizer.json and tokenizer_config.json"
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(dict(model_input_names=["input_ids", "attention_mask"]) | config))


def template(first: str, last: str, tokenizer: Tokenizer) -> processors.TemplateProcessing:
    return processors.TemplateProcessing(single=f"{first} $A {last}", pair=f"{first} $A {last} $B:1 {last}:1",
                                         special_tokens=[(t, tokenizer.token_to_id(t)) for t in (first, last)])


def mmbert_tokenizer(folder: Path) -> None:
    "Gemma's: BPE over text whose blanks are replaced, with single bytes for what it does not know; nothing marks the first word"
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    learnt = Tokenizer(models.BPE())
    learnt.normalizer, learnt.pre_tokenizer = normalizers.Replace(" ", "▁"), pre_tokenizers.Split(Regex("(?=▁)"), "isolated")
    learnt.train_from_iterator(sentences(), trainers.BpeTrainer(vocab_size=PIECES, show_progress=False))
    found = json.loads(learnt.to_str())["model"]
    names = special + [f"<0x{i:02X}>" for i in range(256)] + sorted(found["vocab"], key=found["vocab"].get)
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(names)}, [tuple(m) for m in found["merges"]], unk_token="<unk>", byte_fallback=True,
                                     fuse_unk=True))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Replace(" ", "▁"), pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in special])
    tokenizer.post_processor = template("<bos>", "<eos>", tokenizer)
    save(tokenizer, folder, tokenizer_class="GemmaTokenizerFast", bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>",
         mask_token="<mask>", cls_token="<bos>", sep_token="<eos>", add_bos_token=True, add_eos_token=True)


LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def eurobert_tokenizer(folder: Path) -> None:
    "Llama 3's: BPE over bytes, no unknown token"
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|mask|>", "<|pad|>"]
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
                                                       pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=PIECES, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(sentences(), trainer)
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template(*special[:2], tokenizer)])
    save(tokenizer, folder, tokenizer_class="PreTrainedTokenizerFast", bos_token=special[0], eos_token=special[1], mask_token=special[2], pad_token=special[3])


@dataclass(frozen=True)
class Encoder:
    "How a tiny encoder is made"
    model_type: str                   # As in config.json
    tokenizer: object                 # Writes the tokenizer's files into a folder
    config: dict = field(default_factory=dict) # What the real configuration has and the class's default has not
    weights: str = "safetensors"      # or "bin"
    dtype: torch.dtype = torch.float32 # Of the stored weights
    lacks: tuple[str, ...] = ()       # Kinds it has no head for
    extra: dict = field(default_factory=dict) # More entries of config.json, which the class does not know


SIZE = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, max_position_embeddings=160)
ENCODERS = {
    "xlm-roberta-base": Encoder("xlm-roberta", xlmr_tokenizer, dict(type_vocab_size=1)),
    "xlm-roberta-large": Encoder("xlm-roberta", xlmr_tokenizer, dict(type_vocab_size=1, num_hidden_layers=3)),
    "mbert": Encoder("bert", mbert_tokenizer),
    "mdeberta-v3": Encoder("deberta-v2", mdeberta_tokenizer, weights="bin", dtype=torch.float16, config=dict(
        relative_attention=True, position_buckets=16, norm_rel_ebd="layer_norm", share_att_key=True, pos_att_type=["p2c", "c2p"],
        position_biased_input=False, max_relative_positions=-1, type_vocab_size=0, pooler_hidden_size=32, layer_norm_eps=1e-7, legacy=True)),
    "rembert": Encoder("rembert", rembert_tokenizer, dict(input_embedding_size=16, output_embedding_size=40), weights="bin"),
    "mmbert": Encoder("modernbert", mmbert_tokenizer, dict(global_attn_every_n_layers=2, local_attention=16)),
    "eurobert": Encoder("eurobert", eurobert_tokenizer, dict(num_key_value_heads=4), dtype=torch.bfloat16, lacks=("choices", "answers"),
                        extra=dict(auto_map=dict(AutoModel="modeling_eurobert.EuroBertModel", AutoConfig="configuration_eurobert.EuroBertConfig"))),
}


@cache
def _trained(write, place: Path) -> Path:
    "A tokenizer's files, trained once"
    folder = place / write.__name__
    folder.mkdir(parents=True)
    write(folder)
    return folder


def make_encoder(name: str, place: Path, weights: str | None = None) -> Path:
    "The folder `place/name`, as the encoder's own repository is, or with the given form of weights"
    facts, folder = ENCODERS[name], place / name
    folder.mkdir(parents=True)
    for file in _trained(facts.tokenizer, place / "tokenizers").iterdir(): shutil.copy(file, folder)
    AutoConfig.for_model(facts.model_type).save_pretrained(folder)  # the tokenizer's class depends on the model's type
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = {f"{t}_token_id": getattr(tokenizer, f"{t}_token_id") for t in ("pad", "bos", "eos", "cls", "sep")}
    config = AutoConfig.for_model(facts.model_type, **SIZE | dict(vocab_size=len(tokenizer) + 3) | ids | facts.config)
    torch.manual_seed(7)
    model = AutoModelForMaskedLM.from_config(config).to(facts.dtype)
    model.save_pretrained(folder)
    if (weights or facts.weights) == "bin":
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    config = json.loads((folder / "config.json").read_text()) | facts.extra
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    return folder
