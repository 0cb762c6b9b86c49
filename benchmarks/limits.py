"""What the processor reaches on matrix products, and where the time of a training goes."""
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from contestants import Work, predict_xitcal
from torch.profiler import ProfilerActivity, profile

from xitcal.training.models import encoder_precision, load_encoder, use_bf16
from xitcal.training.trainer import Material, Options, Training


def matmul_rates(dtype: torch.dtype, shapes: list[tuple[int, int, int]], repeats: int = 7, least: float = .05) -> np.ndarray:
    "Operations a second of products (m, k) by (k, n), all shapes taken together, one value a repeat"
    pairs = [(torch.randn(m, k, dtype=dtype), torch.randn(k, n, dtype=dtype)) for m, k, n in shapes]
    work, rates = sum(2 * m * k * n for m, k, n in shapes), []
    for _ in range(repeats + 1):
        start, done = time.process_time(), 0
        while time.process_time() - start < least:
            for a, b in pairs: a @ b
            done += 1
        rates.append(done * work / (time.process_time() - start))
    return np.array(rates[1:])  # the first round warms up


def encoder_shapes(path, tokens: int) -> list[tuple[int, int, int]]:
    "The matrix products with weights in one layer of an encoder, forward and both ways backward, for a batch of so many tokens"
    c = load_encoder(path).config
    layer = 4 * [(c.hidden_size, c.hidden_size)] + [(c.hidden_size, c.intermediate_size), (c.intermediate_size, c.hidden_size)]
    return [shape for i, o in layer for shape in ((tokens, i, o), (tokens, o, i), (i, tokens, o))]


def body_weights(path) -> int:
    "Parameters that every token is multiplied with: all but the embeddings"
    encoder = load_encoder(path)
    return sum(p.numel() for n, p in encoder.named_parameters() if not n.startswith(("embeddings.", "pooler.")))


# Groups of torch's operations; what is in none of them is "other operations"
GROUPS = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm"),
    "copies and casts": ("aten::copy_", "aten::_to_copy", "aten::to", "aten::clone", "aten::contiguous"),
    "gelu, softmax, layer norm": ("aten::gelu", "aten::gelu_backward", "aten::_softmax", "aten::_softmax_backward_data",
                                  "aten::native_layer_norm", "aten::native_layer_norm_backward"),
    "gradient of the embeddings": ("aten::embedding_dense_backward", "aten::fill_", "aten::zero_"),
    "clipping and AdamW": ("aten::_fused_adamw_", "Optimizer.step#AdamW.step", "Optimizer.zero_grad#AdamW.zero_grad",
                           "aten::linalg_vector_norm", "aten::mul_"),
}


def grouped(seen: profile) -> dict[str, float]:
    "Share of the processor time in each group of operations"
    times = {e.key: e.self_cpu_time_total for e in seen.key_averages()}
    total = sum(times.values())
    shares = {name: sum(times.get(k, 0) for k in keys) / total for name, keys in GROUPS.items()}
    return shares | {"other operations": 1 - sum(shares.values())}


def profile_shares(work: Work, steps: int = 30) -> dict[str, float]:
    "Share of the processor time of a training (as the study runs) in each group of operations"
    with TemporaryDirectory() as folder:
        training = Training(work.encoder, [Material(work.task, work.train_rows)], work.recipe, 0, Path(folder), Options())
        training.runnable, steps = training.models, min(steps, len(training.steps) - 1)
        with encoder_precision(list(training.models.values()), use_bf16("auto", training.accelerator.device)):
            training.step()  # warms up
            with profile(activities=[ProfilerActivity.CPU]) as seen:
                for _ in range(steps): training.step()
    return grouped(seen)


def predicted_shares(work: Work, model) -> dict[str, float]:
    "The same of a prediction"
    with profile(activities=[ProfilerActivity.CPU]) as seen: predict_xitcal(work, model)
    return grouped(seen)
