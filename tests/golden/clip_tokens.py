"""Makes clip_tokens.jsonl.gz: 10,000 varied strings and what transformers' CLIPTokenizer makes of each.

    python tests/golden/clip_tokens.py      # with models/export/requirements.txt, and ftfy 6.3.1

Each line holds the text, how many ids it has, the first 16 digits of the SHA-256 of the ids (little-endian, 32 bits
each), whether it was cut at 77, and for the first 300 the ids themselves. Also prints for how many texts OpenAI's own
cleaning (ftfy, then html.unescape twice) would change the ids: transformers does not do it, and neither do we.
"""

import gzip
import hashlib
import html
import json
import random
import struct
import sys
from pathlib import Path

import ftfy

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "models/export"))

from make_exports import clip_tokenizer  # noqa: E402

COUNT, CONTEXT = 10_000, 77
BLOCKS = [
    (0x20, 0x7E), (0xA0, 0xFF), (0x100, 0x24F), (0x250, 0x2AF), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x4FF),
    (0x530, 0x58F), (0x590, 0x5FF), (0x600, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F), (0x10A0, 0x10FF),
    (0x1100, 0x11FF), (0x1E00, 0x1EFF), (0x1F00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x209F), (0x20A0, 0x20BF),
    (0x2150, 0x218F), (0x2190, 0x21FF), (0x2200, 0x22FF), (0x2460, 0x24FF), (0x2500, 0x25FF), (0x2600, 0x27BF),
    (0x3000, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xE000, 0xE0FF), (0xFB00, 0xFB4F), (0xFE00, 0xFE0F),
    (0xFF00, 0xFFEF), (0x10330, 0x1034A), (0x1D400, 0x1D7FF), (0x1F1E6, 0x1F1FF), (0x1F300, 0x1F64F),
    (0x1F680, 0x1F6FF), (0x1F900, 0x1F9FF),
]
EMOJI = ["👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "☕️", "1️⃣", "❤️‍🔥", "🤷🏿‍♀️"]
ENTITIES = ["&amp;", "&lt;b&gt;", "&quot;", "&#39;", "&#x1F600;", "&nbsp;", "&eacute;", "&notanentity;", "&amp;amp;"]
MARKERS = ["<|startoftext|>", "<|endoftext|>", "<|EndOfText|>", "<start_of_text>", "<|endoftext", "|>"]
SPACES = [" ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u2003", "\u3000", "\u200b", "\x0b", "\x85", "\ufeff", ""]
ODD = ["İstanbul", "STRAßE", "ΣΊΣΥΦΟΣ", "ŉ", "ﬁne", "ﷺ", "e\u0301", "A\u030a", "가", "\u1100\u1161", "½", "²³", "①", "x\u0000y", "\u00ad", "ǅ", "K\u212a"]
TAILS = ["'s", "'S", "'ll", "'LL", "'re", "'ve", "'d", "'m", "’s", "'t", "''", "`", "-", "_", "...", "!!!", "?!", "://", "@", "#tag", "$9.99", "1,234.5", "3D", "v2"]


def corpus():
    words = []
    for path in sorted((ROOT / "samples/photos").glob("*.txt")):
        words += path.read_text(encoding="utf-8").split()
    for path in sorted((ROOT / "docs").glob("*.md")):
        words += path.read_text(encoding="utf-8").split()[:300]
    return words


def piece(draw, words):
    kind = draw.random()
    if kind < 0.45:
        return draw.choice(words) + (draw.choice(TAILS) if draw.random() < 0.2 else "")
    if kind < 0.6:
        low, high = draw.choice(BLOCKS)
        return "".join(chr(draw.randint(low, high)) for _ in range(draw.randint(1, 8)))
    if kind < 0.67:
        return draw.choice(EMOJI) * draw.randint(1, 3)
    if kind < 0.74:
        return draw.choice(ENTITIES)
    if kind < 0.78:
        return draw.choice(MARKERS)
    if kind < 0.86:
        return draw.choice(ODD)
    if kind < 0.92:
        return "".join(draw.choice("abcxyzABC019.,;:'\"!?/\\<>|&") for _ in range(draw.randint(1, 12)))
    return draw.choice(words).upper() + str(draw.randint(0, 99999))


def texts():
    draw, words = random.Random(5), corpus()
    fixed = ["", " ", "a photo of a cat", "A PHOTO OF A CAT", *EMOJI, *ENTITIES, *MARKERS, *ODD, *SPACES, *TAILS, "a" * 500, "the " * 200]
    while len(fixed) < COUNT:
        length = draw.choice([1, 2, 3, 5, 8, 8, 12]) if draw.random() < 0.95 else draw.randint(30, 60)
        text = "".join(piece(draw, words) + (draw.choice(SPACES) if draw.random() < 0.3 else " ") for _ in range(length))
        fixed.append(text)
    return fixed


def main():
    tokenizer, _, _ = clip_tokenizer(48_894)
    assert len(tokenizer) == 49_408
    lines, cleaned_differ = [], 0
    for number, text in enumerate(texts()):
        whole = tokenizer(text)["input_ids"]
        ids = tokenizer(text, truncation=True, max_length=CONTEXT)["input_ids"]
        digest = hashlib.sha256(struct.pack(f"<{len(ids)}I", *ids)).hexdigest()[:16]
        line = {"text": text, "count": len(ids), "hash": digest, "cut": len(whole) > CONTEXT}
        if number < 300:
            line["ids"] = ids
        lines.append(json.dumps(line, ensure_ascii=False))
        cleaned = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
        cleaned_differ += tokenizer(cleaned)["input_ids"] != whole
    target = Path(__file__).with_name("clip_tokens.jsonl.gz")
    target.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode("utf-8"), 9, mtime=0))
    cut = sum('"cut": true' in line for line in lines)
    print(f"{len(lines)} texts, {cut} cut, {target.stat().st_size} bytes; OpenAI's cleaning would change {cleaned_differ}")


main()
