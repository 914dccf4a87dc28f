#!/usr/bin/env python3
"""Writes real English texts for search_peers, one a line, each once: texts.py COUNT FILE.

The definitions of WordNet's synsets without their examples (Debian's `wordnet-base`), the captions of Flickr8k where
`../shared/data/sentences` is there, and, where more are asked for than there are, every window of six words of each of
these, one word further each time. In an order drawn by seed, so that the first rows are a fair part of all.
"""

import random
import re
import sys
from pathlib import Path

WORDNET = Path("/usr/share/wordnet")
CAPTIONS = Path(__file__).resolve().parents[2] / "shared/data/sentences/flickr8k-captions.txt"
WINDOW = 6


def definitions():
    for part in ("noun", "verb", "adj", "adv"):
        for line in (WORDNET / f"data.{part}").read_text(encoding="latin-1").splitlines():
            # The licence stands at the head, indented.
            if not line.startswith("  "):
                yield re.split(r';\s*"', line.split("|", 1)[1].strip())[0].strip()


def captions():
    if CAPTIONS.exists():
        for line in CAPTIONS.read_text().splitlines():
            yield line.split("\t", 1)[-1].strip()


def windows(texts):
    for text in texts:
        words = text.split()
        for start in range(max(1, len(words) - WINDOW + 1)):
            yield " ".join(words[start : start + WINDOW])


def main():
    count, out = int(sys.argv[1]), Path(sys.argv[2])
    if not WORDNET.exists():
        sys.exit(f"no {WORDNET}: install the package wordnet-base")
    whole = list(dict.fromkeys(text for text in (*definitions(), *captions()) if len(text) > 3))
    random.Random(1).shuffle(whole)
    texts = dict.fromkeys(whole)
    for window in windows(whole):
        if len(texts) >= count:
            break
        texts.setdefault(window)
    texts = list(texts)[:count]
    random.Random(2).shuffle(texts)
    if len(texts) < count:
        sys.exit(f"only {len(texts)} texts can be made")
    out.write_text("".join(f"{text}\n" for text in texts))


if __name__ == "__main__":
    main()
