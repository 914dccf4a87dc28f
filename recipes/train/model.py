"""A small LLaVA: photo features, a projector that is trained, a language model that stays as it is.

The projector is LLaVA-1.5's (two linear layers with GELU between them). It makes `tokens` vectors of the language
model's width from one pooled feature vector; they stand where the export's instruction has `<image>`.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

BEFORE = "<|im_start|>user\n"
AFTER = "<|im_end|>\n<|im_start|>assistant\n"
END = "<|im_end|>"


def language_model(gguf: Path, cache: Path, dtype: torch.dtype, device: str):
    """The tokenizer and the frozen model of a GGUF file; its weights are dequantised once and kept in `cache`."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not (cache / "done").exists():
        print(f"== reading {gguf} (once, into {cache})", flush=True)
        cache.mkdir(parents=True, exist_ok=True)
        AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(cache)
        read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16)
        # A model that was read from GGUF refuses to be saved; one of its configuration and weights does not.
        if hasattr(read.config, "quantization_config"):
            del read.config.quantization_config
        plain = AutoModelForCausalLM.from_config(read.config, dtype=torch.bfloat16)
        plain.load_state_dict(read.state_dict())
        plain.save_pretrained(cache)
        (cache / "done").write_text("")
    tokenizer = AutoTokenizer.from_pretrained(cache)
    # At a hundred tokens the plain attention is quicker on a processor than the fused one, whose backward pass is slow.
    attention = "eager" if device == "cpu" else "sdpa"
    model = AutoModelForCausalLM.from_pretrained(cache, dtype=dtype, attn_implementation=attention).to(device).eval()
    return tokenizer, model.requires_grad_(False)


def photo_features(prefix: Path) -> tuple[list[str], torch.Tensor]:
    """Names and vectors [N, D] that `pairwright embed` wrote to PREFIX.jsonl and PREFIX.npy."""
    names = [json.loads(line)["id"] for line in prefix.with_suffix(".jsonl").read_text().splitlines()]
    return names, torch.from_numpy(np.load(prefix.with_suffix(".npy"))).float()


@dataclass
class Text:
    """Token ids of one sample: before the photo, between photo and answer, the answer."""

    before: list[int]
    between: list[int]
    answer: list[int]


def encode(tokenizer, instruction: str, answer: str, most_instruction: int, most_answer: int) -> Text:
    """The ids of a sample in the model's chat form; what is over the limits is cut, an uncut answer has its end mark."""

    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    words = ids(answer) + ids(END)
    return Text(ids(BEFORE), ids("\n" + instruction)[:most_instruction] + ids(AFTER), words[:most_answer])


class Projector(nn.Module):
    """[N, D] standardised features to [N, tokens, width] vectors of the size of the model's own embeddings."""

    def __init__(self, features: int, hidden: int, tokens: int, width: int, scale: float) -> None:
        super().__init__()
        self.tokens, self.scale = tokens, scale
        self.layers = nn.Sequential(nn.Linear(features, hidden), nn.GELU(), nn.Linear(hidden, tokens * width))

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        out = self.layers(photos).view(len(photos), self.tokens, -1)
        return functional.layer_norm(out, out.shape[-1:]) * self.scale


def losses(model, projector: Projector, photos: torch.Tensor, texts: list[Text]) -> torch.Tensor:
    """Mean loss per token (nats) of each answer [N], given its photo's features [N, D]."""
    table = model.get_input_embeddings()
    device, dtype = table.weight.device, table.weight.dtype
    length = max(len(text.before) + projector.tokens + len(text.between) + len(text.answer) for text in texts)
    ids = torch.zeros(len(texts), length, dtype=torch.long)
    seen = torch.zeros(len(texts), length, dtype=torch.long)
    label = torch.full((len(texts), length), -100)
    place = torch.zeros(len(texts), projector.tokens, dtype=torch.long)
    for row, text in enumerate(texts):
        start = len(text.before)
        whole = text.before + [0] * projector.tokens + text.between + text.answer
        ids[row, : len(whole)] = torch.tensor(whole)
        seen[row, : len(whole)] = 1
        place[row] = torch.arange(start, start + projector.tokens)
        label[row, len(whole) - len(text.answer) : len(whole)] = torch.tensor(text.answer)
    embedded = table(ids.to(device))
    rows = torch.arange(len(texts))[:, None].to(device)
    embedded = embedded.index_put((rows, place.to(device)), projector(photos).to(dtype))
    hidden = model.model(inputs_embeds=embedded, attention_mask=seen.to(device), use_cache=False).last_hidden_state
    # The head is half of the work, so it sees only the places that predict a token of an answer.
    label = label[:, 1:].to(device)
    wanted = label != -100
    logits = model.get_output_embeddings()(hidden[:, :-1][wanted]).float()
    each = functional.cross_entropy(logits, label[wanted], reduction="none")
    row = wanted.nonzero()[:, 0]
    total = torch.zeros(len(texts), device=device).index_add(0, row, each)
    return total / wanted.sum(1)


def save(path: Path, state: dict) -> None:
    """Writes a checkpoint so that a kill leaves the old one or the new one, never half of one."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)
