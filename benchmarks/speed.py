"""How fast xitcal trains and predicts beside transformers' Trainer, on this machine, in this process: `make bench`

Writes speed.csv (one row a measurement) and speed.json (facts of the machine). `--model build/e5-small --data DATA` measures XNLI with a
pretrained encoder instead, into true_size.csv. One thread in one process for every contestant, as the
study runs one worker a core; leave the machine alone meanwhile. About ten minutes."""
import argparse
import json
import os
import platform
import shutil
import statistics
import time
from dataclasses import replace
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import accelerate  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from contestants import Work, padding, predict_trainer, predict_xitcal, step_seconds, train_trainer, train_xitcal  # noqa: E402
from limits import body_weights, encoder_shapes, matmul_rates, predicted_shares, profile_shares  # noqa: E402

import xitcal  # noqa: E402
from xitcal.study.plan_text import CPU_FLOPS  # noqa: E402

TARGETS = ("xnli", "udpos", "xquad")
GROUPED = dict(train_sampling_strategy="group_by_length", plain=True)
# What a user of a Trainer could set; the fastest is its best
TRAINING = {"length grouping": GROUPED, "length grouping, eager": GROUPED | dict(attention="eager"),
            "length grouping, bf16": GROUPED | dict(bf16=True), "length grouping, eager, bf16": GROUPED | dict(attention="eager", bf16=True)}
PREDICTION = {f"by length, batches of {n}{', eager' * (a == 'eager')}{', bf16' * b}":
              dict(by_length=True, attention=a, per_device_eval_batch_size=n, bf16_full_eval=b)
              for n in (32, 128) for a in ("sdpa", "eager") for b in (False, True)}


def fastest(settings: dict[str, dict], run) -> str:
    "Name of the setting with the least processor seconds, the best of two tries each"
    return min(settings, key=lambda name: min(run(**settings[name])[0] for _ in range(2)))


def rounds(contestants: dict, repeats: int) -> dict[str, list]:
    "What each contestant, called with the number of the repeat, returns; they take turns, and begin in turn"
    found, names = {name: [] for name in contestants}, list(contestants)
    for r in range(repeats):
        for name in names[r % len(names):] + names[:r % len(names)]: found[name].append(contestants[name](r))
    return found


def row(part: str, task: str, contestant: str, setting: str, seconds: list[float], operations: float, **more) -> dict:
    "One row of the table; `operations` are those of one repeat"
    middle = statistics.median(seconds)
    return dict(part=part, task=task, contestant=contestant, setting=setting, repeats=len(seconds), seconds=middle, low=min(seconds),
                high=max(seconds), gflops=operations / middle / 1e9) | more


def measure_training(work: Work, repeats: int, best: str) -> tuple[list[dict], object]:
    "Rows of the training contestants, and a trained model; the repeat is the seed"
    contestants = {"xitcal": ("as the study", lambda r: train_xitcal(work, r)),
                   "Trainer": ("as users get it", lambda r: train_trainer(work, r)),
                   "Trainer by length": ("length grouping alone", lambda r: train_trainer(work, r, train_sampling_strategy="group_by_length")),
                   "Trainer at its best": (best, lambda r: train_trainer(work, r, **TRAINING[best]))}
    def run(name):
        def once(r):
            seconds, steps, model = contestants[name][1](r)
            return seconds, steps, work.score(model), model
        return once
    found = rounds({name: run(name) for name in contestants}, repeats)
    tokens = work.tokens(work.train_features) * work.epochs
    rows = []
    for name, results in found.items():
        scores = [score for _, _, score, _ in results]
        rows.append(row("training", work.target, name, contestants[name][0], [s for s, *_ in results],
                        6 * body_weights(work.encoder) * tokens, tokens=round(tokens), steps=results[0][1],
                        score=statistics.mean(scores), score_sd=statistics.stdev(scores) if repeats > 1 else None))
    return rows, found["xitcal"][0][3]


def measure_prediction(work: Work, model, repeats: int) -> list[dict]:
    "Rows of the prediction contestants"
    few = replace(work, test_rows=max(1, work.test_rows // 3))
    best = fastest(PREDICTION, lambda **options: predict_trainer(few, model, **options))
    contestants = {"xitcal": ("as the study, fp32", lambda r: predict_xitcal(work, model)),
                   "xitcal in bf16": ("encoder in bf16", lambda r: predict_xitcal(work, model, bf16=True)),
                   "Trainer": ("as users get it", lambda r: predict_trainer(work, model)),
                   "Trainer by length": ("rows sorted by length alone", lambda r: predict_trainer(work, model, by_length=True)),
                   "Trainer at its best": (best, lambda r: predict_trainer(work, model, **PREDICTION[best]))}
    found = rounds({name: lambda r, run=run: run(r)[0] for name, (_, run) in contestants.items()}, repeats)
    tokens = work.tokens(work.test_features)
    return [row("prediction", work.target, name, contestants[name][0], seconds, 2 * body_weights(work.encoder) * tokens, tokens=tokens)
            for name, seconds in found.items()]


def measure_attention(work: Work, model, repeats: int) -> list[dict]:
    "Rows that compare written-out with fused attention, in xitcal's own training and prediction"
    short, weights = replace(work, epochs=work.epochs / 4), body_weights(work.encoder)
    runs = {("training", a): lambda r, a=a: train_xitcal(short, 0, attention=a)[0] for a in ("eager", "sdpa")}
    runs |= {("prediction", a): lambda r, a=a: predict_xitcal(work, model, attention=a)[0] for a in ("eager", "sdpa")}
    operations = {"training": 6 * weights * work.tokens(work.train_features) * short.epochs, "prediction": 2 * weights * work.tokens(work.test_features)}
    return [row("attention", work.target, a, what, seconds, operations[what]) for (what, a), seconds in rounds(runs, repeats).items()]


def measure_compiled(work: Work, model, repeats: int) -> list[dict]:
    "Rows that compare xitcal's own step of training and its prediction with what torch.compile makes of them; none where there is no compiler"
    if not shutil.which(os.environ.get("CXX", "g++")): return []
    weights = body_weights(work.encoder)
    step = work.tokens(work.train_features) / work.rows * work.recipe.batch_size # its tokens
    operations = {"training": 6 * weights * step, "prediction": 2 * weights * work.tokens(work.test_features)}
    compiled = torch.compile(model, dynamic=True)
    runs = {(part, name): run for name, made in (("plain", None), ("compiled", compiled)) for part, run in (
        ("training", lambda r, made=made: step_seconds(work, made is not None)),
        ("prediction", lambda r, made=made: 2 * (predict_xitcal(work, model, runnable=made)[0],)))}
    first = {key: run(0)[0] for key, run in runs.items()} # compiles
    found = rounds({key: lambda r, run=run: run(r)[1] for key, run in runs.items()}, repeats)
    rows = [row("compiled", work.target, part, name, seconds, operations[part]) for (part, name), seconds in found.items()]
    return rows + [dict(part="compiled", task=work.target, contestant=part, setting="seconds of compilation",
                        seconds=first[part, "compiled"] - first[part, "plain"]) for part in operations]


def measure_limits(work: Work, large: int, tokens: int) -> list[dict]:
    "Rows of the rates of matrix products: one large product, and those of the encoder for the tokens of one step"
    sizes = {"large": [(large, large, large)], "of the encoder": encoder_shapes(work.encoder, tokens)}
    setting = {"large": f"{large} x {large}", "of the encoder": f"{tokens} tokens, forward and backward"}
    rows = []
    for name, shapes in sizes.items():
        for label, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            rate = matmul_rates(dtype, shapes)
            seconds = [sum(2 * m * k * n for m, k, n in shapes) / r for r in rate]
            rows.append(row("limit", "", f"matrix product, {label}, {name}", setting[name], seconds, statistics.median(seconds) * statistics.median(rate)))
    return rows


def finish(rows: list[dict]) -> pd.DataFrame:
    "The table: shares of the arithmetic limit, ratios to xitcal (attention: to the written-out one), and the claimed rate added"
    table = pd.DataFrame(rows)
    limit = table.set_index("contestant").gflops["matrix product, bf16, large"]
    table["share"] = table.share.fillna(table.gflops / limit)
    own = table[table.contestant.isin(["xitcal", "eager"]) & table.seconds.notna()]
    own = {(r.part, r.task, r.setting if r.part == "attention" else ""): r.seconds for r in own.itertuples()}
    table["times"] = [r.seconds / own.get((r.part, r.task, r.setting if r.part == "attention" else ""), float("nan")) for r in table.itertuples()]
    rates = table[(table.contestant == "xitcal") & (table.part == "training")].gflops
    claim = dict(part="claim", contestant="CPU_FLOPS", setting=f"claimed {CPU_FLOPS / 1e9:g} GFLOP/s", repeats=len(rates), gflops=rates.median())
    return pd.concat([table, pd.DataFrame([claim])], ignore_index=True)


def machine() -> dict:
    "Facts of the machine"
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    named = dict(tuple(map(str.strip, line.split(":", 1))) for line in reversed(lines) if ":" in line)
    return dict(cpu=named.get("model name", platform.processor()), flags=[f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
                if f in named.get("flags", "").split()], cores=os.cpu_count(), threads=torch.get_num_threads(),
                python=platform.python_version(), torch=torch.__version__, transformers=transformers.__version__,
                accelerate=accelerate.__version__, xitcal=xitcal.__version__)


def bench(targets=TARGETS, rows: int = 2000, test_rows: int = 50, epochs: float = 2., repeats: int = 3, large: int = 2048) -> pd.DataFrame:
    "All measurements"
    torch.set_num_threads(1)
    found = []
    for target in targets:
        work = Work(target, rows, test_rows, epochs)
        batch = round(work.recipe.batch_size * work.tokens(work.train_features) / work.rows)
        if not found: found += measure_limits(work, large, batch)
        best = fastest(TRAINING, lambda few=replace(work, epochs=epochs / 8), **options: train_trainer(few, **options))
        trained, model = measure_training(work, repeats, best)
        found += trained + measure_prediction(work, model, repeats) + measure_attention(work, model, repeats)
        profiles = dict(training=profile_shares(replace(work, epochs=1.)), prediction=predicted_shares(work, model))
        found += [dict(part="profile", task=target, contestant=name, setting=what, share=share)
                  for what, shares in profiles.items() for name, share in shares.items()]
        found += [dict(part="padding", task=target, contestant=name, setting="share of what is computed", share=share) for name, share in padding(work).items()]
        found += measure_compiled(work, model, repeats)
        print(f"{target}: {time.process_time():.0f} processor seconds so far", flush=True)
    return finish(found)


def bench_model(model: str, rows: int = 640, test_rows: int = 8, repeats: int = 2, large: int = 2048) -> pd.DataFrame:
    "Training and prediction of a pretrained encoder of another size on XNLI, without the comparisons of attention and compilation"
    torch.set_num_threads(1)
    same = dict(batch_size=32, learning_rate=5e-5, evaluate_every=0, keep_best=False, patience=0)
    work = Work("xnli", rows, test_rows, 1., 100, "xtreme", model, same)
    batch = round(work.recipe.batch_size * work.tokens(work.train_features) / work.rows)
    found = measure_limits(work, large, batch)
    best = fastest(TRAINING, lambda few=replace(work, rows=rows // 5), **options: train_trainer(few, **options))
    trained, trained_model = measure_training(work, repeats, best)
    found += trained + measure_prediction(work, trained_model, repeats)
    for what, shares in dict(training=profile_shares(replace(work, rows=rows // 5)), prediction=predicted_shares(work, trained_model)).items():
        found += [dict(part="profile", task="xnli", contestant=name, setting=what, share=share) for name, share in shares.items()]
    return finish(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder for speed.csv and speed.json")
    parser.add_argument("--model", help="folder or hub id of a pretrained encoder: XNLI at its size, into true_size.csv and true_size.json")
    parser.add_argument("--data", help="folder of the real data, for --model")
    args, started, used = parser.parse_args(), time.perf_counter(), time.process_time()
    if args.data: os.environ["XITCAL_DATA"] = str(Path(args.data).resolve())
    table, name = (bench_model(args.model), "true_size") if args.model else (bench(), "speed")
    elapsed, used = time.perf_counter() - started, time.process_time() - used
    table.round(4).to_csv(args.out / f"{name}.csv", index=False)
    facts = machine() | dict(elapsed_seconds=round(elapsed), processor_seconds=round(used))
    (args.out / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n")
    print(table[["part", "task", "contestant", "setting", "seconds", "gflops", "share", "times"]].round(3).to_string())


if __name__ == "__main__":
    main()
