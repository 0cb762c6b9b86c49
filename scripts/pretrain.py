"""Make the embedded encoder: `python scripts/pretrain.py --out xitcal/assets/embedded/encoder` (about an hour on one core).

Three objectives on text from `xitcal.data.embedded.pretraining`: masked words, translation pairs with changed parts, and alignment of
mean states at the last layer. The corpus is drawn as it is used, so no text comes twice. The learning rate falls
slowly until the cool-down, which `--cooldown` starts (or, if time runs out, a file OUT/cooldown; the step is recorded).
"""
import argparse
import csv
import json
import time
from pathlib import Path
from random import Random
from zlib import crc32

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaForMaskedLM

from xitcal.data.embedded.pretraining import SHARES, STATEMENT_SIZES, languages_of_pair, monolingual, translation
from xitcal.data.embedded.renderings import words
from xitcal.data.embedded.world import tables

SPECIAL = dict(bos_token='<s>', pad_token='<pad>', eos_token='</s>', unk_token='<unk>', mask_token='<mask>')
BOS, PAD, EOS, UNK, MASK = range(5)


def make_tokenizer(pieces, seed):
    "A BPE tokenizer for the 40 languages; digits stand alone, and pairs are joined as XLM-R joins them"
    rng = Random(seed)
    texts = [monolingual(words(code), rng) for code, share in SHARES.items() for _ in range(int(2000 + 6000 * share))]
    texts += [form for code in SHARES for forms in words(code).names.values() for form in forms]
    tokenizer = Tokenizer(models.BPE(unk_token='<unk>', continuing_subword_prefix='##'))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation(), pre_tokenizers.Digits(individual_digits=True)])
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=pieces, special_tokens=list(SPECIAL.values()), continuing_subword_prefix='##', show_progress=False))
    tokenizer.decoder = decoders.WordPiece(prefix='##')
    tokenizer.post_processor = processors.TemplateProcessing(
        single='<s> $A </s>', pair='<s> $A </s> </s> $B </s>', special_tokens=[('<s>', BOS), ('</s>', EOS)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=192, cls_token='<s>', sep_token='</s>', **SPECIAL)


class Corpus:
    "Batches of token ids, drawn as needed, sorted by length within a chunk and shuffled"
    def __init__(self, tokenizer, seed, batch_tokens, longest, shape, within):
        self.shape, self.within = shape, within
        self.rng, self.tokenizer, self.batch_tokens, self.longest = Random(seed), tokenizer.backend_tokenizer, batch_tokens, longest
        self.counts = {kind: dict.fromkeys(SHARES, 0) for kind in ('masked', 'translation', 'alignment')}
        self.waiting = {kind: [] for kind in self.counts}
        self.codes, self.shares = list(SHARES), [share ** 0.7 for share in SHARES.values()]

    def encode(self, texts):
        "Encodings without special tokens"
        return self.tokenizer.encode_batch(texts, add_special_tokens=False)

    def masked(self, n):
        "Sentences of one language"
        codes = self.rng.choices(self.codes, self.shares, k=n)
        encodings = self.encode([monolingual(words(code), self.rng) for code in codes])
        return [dict(ids=e.ids[:self.longest], languages=(code,)) for code, e in zip(codes, encodings)]

    def pairs(self, n):
        "Translation pairs with a flag per token of the second sentence"
        codes = [languages_of_pair(self.rng, self.within) for _ in range(n)]
        drawn = [translation(words(a), words(b), self.rng, *self.shape) for a, b in codes]
        first = self.encode([d[0] for d in drawn])
        second = self.encode([''.join(text for text, _ in d[1]) for d in drawn])
        rows = []
        for code, (_, pieces, altered, key), a, b in zip(codes, drawn, first, second):
            flags = [flag for text, flag in pieces for _ in text]
            rows.append(dict(a=a.ids[:self.longest], b=b.ids[:self.longest], key=crc32(key.encode()), altered=altered, languages=code,
                             flags=[flags[start] for start, _ in b.offsets][:self.longest]))
        return rows

    def draw(self, kind):
        "A chunk of rows for one objective"
        if kind == 'masked': return self.masked(12000)
        rows = self.pairs(12000 if kind == 'translation' else 20000)
        return rows if kind == 'translation' else [row for row in rows if not row['altered']]

    def batches(self, kind):
        "A chunk as batches of about the same number of tokens"
        def length(row): return len(row.get('ids', ())) + len(row.get('a', ())) + len(row.get('b', ())) + 4
        rows = sorted(self.draw(kind), key=length)
        out, batch = [], []
        for row in rows:
            if batch and ((len(batch) + 1) * length(row) > self.batch_tokens or kind == 'alignment' and len(batch) >= 128):
                out.append(batch)
                batch = []
            batch.append(row)
        self.rng.shuffle(out)
        return out

    def next(self, kind):
        "The next batch for an objective; tokens are counted by language"
        while not self.waiting[kind]: self.waiting[kind] = self.batches(kind)
        batch = self.waiting[kind].pop()
        for row in batch:
            for code, ids in zip(row['languages'], [row[k] for k in ('ids', 'a', 'b') if k in row]):
                self.counts[kind][code] += len(ids)
        return batch


def padded(rows):
    "Lists of ids as one tensor"
    width = max(map(len, rows))
    return torch.tensor([list(row) + [PAD] * (width - len(row)) for row in rows])


class Masker:
    "Masks whole words; digits seldom, since no context tells them"
    def __init__(self, tokenizer):
        names = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
        self.starts = torch.tensor([int(not name.startswith('##')) for name in names])
        self.digits = torch.tensor([name.lstrip('#').isdigit() for name in names])
        self.size = len(names)

    def __call__(self, ids, share):
        "Masked ids, and which were chosen: 80 % masked, 10 % random, 10 % kept"
        word = torch.cumsum(self.starts[ids], 1)
        chosen = torch.gather(torch.rand(len(ids), int(word.max()) + 1), 1, word) < share
        chosen &= (ids > MASK) & ~(self.digits[ids] & (torch.rand(ids.shape) > 0.3))
        what, out = torch.rand(ids.shape), ids.clone()
        out[chosen & (what < 0.8)] = MASK
        swap = chosen & (what > 0.9)
        out[swap] = torch.randint(MASK + 1, self.size, (int(swap.sum()),))
        return out, chosen


class Pretrainer:
    "Encoder, optimiser and the three objectives"
    def __init__(self, tokenizer, hidden, layers, heads, seed):
        torch.manual_seed(seed)
        config = XLMRobertaConfig(
            vocab_size=(len(tokenizer) + 7) // 8 * 8, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
            intermediate_size=4 * hidden, max_position_embeddings=194, type_vocab_size=1, hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0, bos_token_id=BOS, pad_token_id=PAD, eos_token_id=EOS)
        self.model = XLMRobertaForMaskedLM._from_config(config, attn_implementation='eager').train()
        self.flagger = torch.nn.Sequential(torch.nn.Linear(hidden, hidden), torch.nn.GELU(), torch.nn.Linear(hidden, 2))
        self.masker, self.log = Masker(tokenizer), {}
        named = list(self.model.named_parameters())
        plain = [p for n, p in named if n.endswith('bias') or 'LayerNorm' in n] + list(self.flagger.parameters())
        decayed = [p for n, p in named if not (n.endswith('bias') or 'LayerNorm' in n)]
        self.optimizer = torch.optim.AdamW([dict(params=decayed, weight_decay=0.01), dict(params=plain, weight_decay=0.0)],
                                           betas=(0.9, 0.98), eps=1e-6, fused=True)

    def note(self, **values):
        "Keep numbers for the log"
        for name, value in values.items(): self.log.setdefault(name, []).append(float(value.detach() if torch.is_tensor(value) else value))

    def encode(self, ids, share):
        "Hidden states of masked ids, and which were masked"
        x, chosen = self.masker(ids, share)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            states = self.model.roberta(x, attention_mask=(ids != PAD).long()).last_hidden_state
        return states, chosen

    def word_loss(self, states, ids, chosen, name):
        "Cross-entropy of the chosen tokens"
        with torch.autocast('cpu', dtype=torch.bfloat16):
            logits = self.model.lm_head(states[chosen])
        loss = F.cross_entropy(logits.float(), ids[chosen]) if chosen.any() else states.sum() * 0
        self.note(**{name: loss})
        return loss

    def masked(self, batch):
        "Masked words in text of one language"
        ids = padded([[BOS, *row['ids'], EOS] for row in batch])
        states, chosen = self.encode(ids, 0.2)
        return self.word_loss(states, ids, chosen, 'masked'), int((ids != PAD).sum())

    def translation(self, batch):
        "Masked words of a pair, and which words of the second sentence are wrong (weight 4)"
        ids = padded([[BOS, *row['a'], EOS, EOS, *row['b'], EOS] for row in batch])
        flags = torch.full(ids.shape, -1)
        for i, row in enumerate(batch):
            start = len(row['a']) + 3
            flags[i, start:start + len(row['flags'])] = torch.tensor(row['flags'])
        states, chosen = self.encode(ids, 0.15)
        asked = (flags >= 0) & ~chosen
        loss = self.word_loss(states, ids, chosen & (flags != 1), 'translation')
        logits, wanted = self.flagger(states[asked].float()), flags[asked]
        wrong = F.cross_entropy(logits, wanted)
        self.note(changed=wrong, changed_accuracy=(logits.argmax(-1) == wanted).float().mean())
        return loss + 4 * wrong, int((ids != PAD).sum())

    def alignment(self, batch):
        "Mean states of translations attract each other, those of other sentences repel (weight .5, temperature .07)"
        n = len(batch)
        ids = padded([[BOS, *row['a'], EOS] for row in batch] + [[BOS, *row['b'], EOS] for row in batch])
        with torch.autocast('cpu', dtype=torch.bfloat16):
            states = self.model.roberta(ids, attention_mask=(ids != PAD).long()).last_hidden_state
        inside = (ids > EOS).float()[..., None]
        means = F.normalize((states.float() * inside).sum(1) / inside.sum(1).clamp(min=1), dim=-1)
        keys = torch.tensor([row['key'] for row in batch])
        same = (keys[:, None] == keys[None]) & ~torch.eye(n, dtype=torch.bool)
        scores = (means[:n] @ means[n:].T / 0.07).masked_fill(same, -1e4)
        wanted = torch.arange(n)
        loss = (F.cross_entropy(scores, wanted) + F.cross_entropy(scores.T, wanted)) / 2
        self.note(alignment=loss, alignment_accuracy=(scores.argmax(1) == wanted).float().mean())
        return 0.5 * loss, int((ids != PAD).sum())

    def step(self, kind, batch, rate):
        "One step of the optimiser; the number of tokens"
        for group in self.optimizer.param_groups: group['lr'] = rate
        loss, tokens = getattr(self, kind)(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return tokens


def rate_at(step, steps, cooldown_from, cooldown, peak):
    "Learning rate: warm-up over 300 steps, a slow fall to 40 % of the peak, then straight to 0 in the cool-down"
    rate = peak * min(1, (step + 1) / 300) * (1 - 0.6 * min(1, step / steps))
    return rate * max(0.0, 1 - (step - cooldown_from) / cooldown) if cooldown_from is not None else rate


def save(trainer, tokenizer, out, record):
    "Encoder in half precision, tokenizer and the record beside them"
    weights = {name: value.to(torch.float16) for name, value in trainer.model.state_dict().items()}
    model = XLMRobertaForMaskedLM(trainer.model.config).half()
    model.load_state_dict(weights)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    (out / 'pretraining.json').write_text(json.dumps(record, indent=1) + '\n')


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--curve', type=Path, default=Path('scripts/logs/pretrain.csv'))
    parser.add_argument('--steps', type=int, default=26000, help='steps, the cool-down included')
    parser.add_argument('--cooldown', type=int, default=3000, help='steps of the cool-down')
    parser.add_argument('--cooldown-from', type=int, help='step at which the cool-down starts (default: steps - cooldown)')
    parser.add_argument('--pieces', type=int, default=16000)
    parser.add_argument('--hidden', type=int, default=128)
    parser.add_argument('--layers', type=int, default=4)
    parser.add_argument('--heads', type=int, default=4)
    parser.add_argument('--rate', type=float, default=2e-3)
    parser.add_argument('--batch-tokens', type=int, default=2048)
    parser.add_argument('--mix', type=float, nargs=3, default=(0.10, 0.60, 0.30), help='masked, translation, alignment')
    parser.add_argument('--start', type=Path, help='folder with the result of an earlier stage')
    parser.add_argument('--until', type=int, help='end after this step without a cool-down (an earlier stage)')
    parser.add_argument('--compile', action='store_true', help='let torch compile the encoder: faster, needs a C++ compiler')
    parser.add_argument('--pairs', type=float, default=0.2, help='share of statements that bind values to keys')
    parser.add_argument('--ordered', type=float, default=0.14, help='share of intervals')
    parser.add_argument('--sizes', type=float, nargs=4, default=STATEMENT_SIZES, help='shares of statements with one to four facts')
    parser.add_argument('--within', type=float, default=0.25, help='share of pairs within one language')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--save-every', type=float, default=10, help='minutes')
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    args.out.mkdir(parents=True, exist_ok=True)
    args.curve.parent.mkdir(parents=True, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(args.start) if args.start else make_tokenizer(args.pieces, 0)
    corpus = Corpus(tokenizer, args.seed, args.batch_tokens, 90, (args.pairs, args.ordered, tuple(args.sizes)), args.within)
    trainer = Pretrainer(tokenizer, args.hidden, args.layers, args.heads, args.seed)
    if args.start: trainer.model.load_state_dict(XLMRobertaForMaskedLM.from_pretrained(args.start, dtype=torch.float32).state_dict())
    if args.compile: trainer.model.roberta.compile(dynamic=True)
    earlier = []
    if args.start:
        before = json.loads((args.start / 'pretraining.json').read_text())
        earlier = [*before.pop('earlier_stages', []), before]
    kinds, chooser = list(corpus.counts), np.random.default_rng(args.seed)
    cooldown_from = None if args.cooldown_from is None else args.cooldown_from
    planned = args.steps - args.cooldown if cooldown_from is None else cooldown_from
    start = saved = time.time()
    tokens, step, rows = 0, 0, []
    print(len(tokenizer), 'pieces', sum(p.numel() for p in trainer.model.parameters()), 'parameters', flush=True)

    def record():
        "What was done so far"
        return dict(
            steps=step, cooldown_from=cooldown_from, cooldown=args.cooldown, tokens=tokens,
            minutes=round((time.time() - start) / 60, 1),
            seed=args.seed, mix=dict(zip(kinds, args.mix)), peak_rate=args.rate, pairs=args.pairs, ordered=args.ordered, sizes=list(args.sizes),
            within=args.within, batch_tokens=args.batch_tokens,
            parameters=sum(p.numel() for p in trainer.model.parameters()), babel=tables()['babel'], cldr=tables()['cldr'],
            losses={name: round(float(np.mean(values[-300:])), 4) for name, values in trainer.log.items()},
            objectives=dict(masked='masked words in one language', translation='masked words and changed parts in parallel pairs',
                            alignment='alignment of mean states of parallel sentences at the last layer'),
            languages_seen=dict.fromkeys(kinds, 'all 40'), test_only_parts='countries and units kept for test rows occur in this text',
            tokens_by_language=corpus.counts, earlier_stages=earlier)
    while step != args.until and (cooldown_from is None or step < cooldown_from + args.cooldown):
        if cooldown_from is None and (step >= planned or (args.out / 'cooldown').exists()): cooldown_from = step
        kind = kinds[chooser.choice(3, p=np.array(args.mix) / sum(args.mix))]
        cooling = cooldown_from if cooldown_from is not None and step >= cooldown_from else None
        rate = rate_at(step, args.steps, cooling, args.cooldown, args.rate)
        tokens += trainer.step(kind, corpus.next(kind), rate)
        step += 1
        if step % 200 == 0:
            rows.append(dict(step=step, tokens=tokens, seconds=round(time.time() - start),
                             **{name: round(float(np.mean(values[-100:])), 4) for name, values in sorted(trainer.log.items())}))
            print(' '.join(f'{k} {v}' for k, v in rows[-1].items()), flush=True)
        if time.time() - saved > 60 * args.save_every:
            save(trainer, tokenizer, args.out / 'part', record())
            saved = time.time()
    save(trainer, tokenizer, args.out, record())
    names = list(dict.fromkeys(name for row in rows for name in row))
    with args.curve.open('w', newline='') as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == '__main__':
    main()
