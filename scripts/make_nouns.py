"""Writes src/base/nouns/english.txt.gz: the nouns of WordNet 3.0 as Pairwright reads them.

    apt-get download wordnet-base && dpkg -x wordnet-base_*.deb wordnet
    python3 scripts/make_nouns.py wordnet/usr/share/wordnet src/base/nouns/english.txt.gz

Made from Debian's wordnet-base 1:3.0-37; the same files give the same bytes. Proper names are left
out. Only the Python standard library is used.

The file has four parts, parted by empty lines:
  1. a line for each synset, numbered from 0: the numbers of its hypernyms, all of them smaller;
  2. a line for each noun: the noun, how it is used, how many of its senses are usual, and its
     senses, the usual ones first, as numbers of synsets;
  3. a line for each irregular plural: the plural and its noun;
  4. a line for each synset that has parts, substances or members: its number and theirs.
How a noun is used: `n` as a noun; `g` as a verb's -ing form; `v` mostly as a verb, `a` mostly as an
adjective, so that only an article before it makes it a noun (`v`) or nothing does (`a`).
"""

import collections
import gzip
import pathlib
import sys

# Which senses photo captions mean, where that is not the first one: counted from 1. Found by
# reading the first senses of the 700 commonest nouns of photo captions.
CAPTION_SENSES = {
    "adult": [1], "bat": [5, 1], "board": [2], "boarder": [3], "bowl": [1, 3], "cake": [3],
    "canary": [4], "chip": [4], "chow": [2], "church": [2], "court": [4], "crane": [4, 5], "cricket": [2],
    "dish": [1, 2], "doughnut": [2], "corn": [1, 3], "drink": [1, 3], "egg": [2], "duck": [1, 3], "female": [2], "fish": [1, 2],
    "flower": [1, 2], "glass": [2], "glove": [2], "home": [2], "hose": [3], "jet": [1],
    "kite": [3], "lamb": [1, 5], "male": [2], "market": [5], "mouse": [1, 4], "net": [2],
    "pipe": [2, 1], "pitcher": [1, 2], "pony": [5], "plant": [2], "plate": [4, 5], "racket": [4],
    "roll": [7, 11], "school": [2, 1], "scooter": [2, 3], "seal": [9], "square": [3],
    "step": [4], "stone": [1], "stroller": [2], "table": [2, 3], "turkey": [1, 4], "van": [5],
}
# Names of breeds and birds that captions never mean.
DROPPED = {"large_white", "small_white", "yellow_jacket", "black_and_tan", "young_bird", "giant"}
# Plurals with a meaning of their own that captions mean; other plurals are forms of their singular.
OWN_PLURALS = {"glasses", "shorts", "pants", "clothes", "stairs", "woods", "scissors", "jeans",
               "sunglasses", "goggles", "tights", "trousers", "overalls", "binoculars", "pajamas"}
SHARE = 0.34
ANIMAL, FOOD = "05", "13"


def lines(path):
    return (line for line in open(path, encoding="utf-8") if not line.startswith(" "))


def synsets(folder):
    """Offset: (lemmas, offsets of the hypernyms, file, offsets of the meronyms)."""
    found = {}
    for line in lines(folder / "data.noun"):
        fields = line.split(" | ")[0].split(" ")
        count = int(fields[3], 16)
        at = 4 + 2 * count
        pointers = [fields[at + 1 + 4 * i : at + 5 + 4 * i] for i in range(int(fields[at]))]
        up = [offset for kind, offset, part, _ in pointers if kind in ("@", "@i") and part == "n"]
        parts = [offset for kind, offset, _, _ in pointers if kind in ("%p", "%s", "%m")]
        found[fields[0]] = (fields[4 : 4 + 2 * count : 2], up, fields[1], parts)
    return found


def main():
    folder, out = map(pathlib.Path, sys.argv[1:])
    nets = synsets(folder)
    depth = {}

    def level(offset):
        if offset not in depth:
            depth[offset] = 1 + max((level(up) for up in nets[offset][1]), default=-1)
        return depth[offset]

    used, senses = collections.Counter(), collections.Counter()
    for line in open(folder / "cntlist.rev", encoding="utf-8"):
        key, number, count = line.split()
        lemma, rest = key.split("%")
        used[lemma, rest[0]] += int(count)
        if rest[0] == "1":
            senses[lemma, int(number)] = int(count)
    verbs = {line.split()[0] for line in lines(folder / "index.verb")}

    def is_gerund(noun):
        if not noun.endswith("ing") or "_" in noun or len(noun) < 6:
            return False
        stem = noun[:-3]
        return stem in verbs or stem + "e" in verbs or (stem[-1] == stem[-2] and stem[:-1] in verbs)

    nouns = {}
    for line in lines(folder / "index.noun"):
        fields = line.split()
        noun, offsets = fields[0], fields[-int(fields[2]) :]
        common = [o for o in offsets if any(w == noun for w in nets[o][0])]
        if not common or noun in DROPPED or not noun[0].isalpha() or not noun.isascii():
            continue
        ranked = [(o, senses[noun, i + 1]) for i, o in enumerate(offsets) if o in common]
        if noun in CAPTION_SENSES:
            first = [offsets[i - 1] for i in CAPTION_SENSES[noun]]
            usual = len(first)
            order = first + [o for o, _ in ranked if o not in first]
        else:
            top = max(ranked[0][1], 1)
            usual = 1
            while usual < len(ranked) and ranked[usual][1] >= max(2, SHARE * top):
                usual += 1
            order = [o for o, _ in ranked]
            # A word hardly met in the texts that WordNet counted may well mean food or an animal.
            likely = [FOOD] if ranked[0][1] <= 2 else []
            likely += [ANIMAL] if ranked[0][1] == 0 else []
            for file in likely:
                first = next((o for o in order[usual:] if nets[o][2] == file), None)
                if first and all(nets[o][2] != file for o in order[:usual]):
                    order.remove(first)
                    order.insert(usual, first)
                    usual += 1
        as_noun, as_verb = used[noun, "1"], used[noun, "2"]
        as_adjective = used[noun, "3"] + used[noun, "5"]
        use = "n"
        if is_gerund(noun):
            use = "g"
        elif as_adjective > 2 * as_noun and as_adjective > 3:
            use = "a"
        elif as_verb > 5 * as_noun and as_verb > 10:
            use = "v"
        nouns[noun] = (use, usual, order)

    for noun in [noun for noun in nouns if noun.endswith("s") and noun not in OWN_PLURALS]:
        if noun[:-1] in nouns and not noun.endswith("ss"):
            del nouns[noun]

    wanted = set()

    def want(offset):
        if offset not in wanted:
            wanted.add(offset)
            for up in nets[offset][1]:
                want(up)

    for _, _, order in nouns.values():
        for offset in order:
            want(offset)
    number = {o: i for i, o in enumerate(sorted(wanted, key=lambda o: (level(o), o)))}
    text = []
    for offset in number:
        text.append(" ".join(str(number[up]) for up in nets[offset][1]) or "-")
    text.append("")
    for noun in sorted(nouns):
        use, usual, order = nouns[noun]
        text.append(" ".join([noun, use, str(usual), *(str(number[o]) for o in order)]))
    text.append("")
    for line in lines(folder / "noun.exc"):
        plural, *forms = line.split()
        for form in forms:
            if form in nouns and plural.isascii() and (form != plural):
                text.append(f"{plural} {form}")
                break
    text.append("")
    for offset in number:
        parts = sorted(number[part] for part in nets[offset][3] if part in number)
        if parts:
            text.append(" ".join(map(str, [number[offset], *parts])))
    data = "\n".join(text).encode() + b"\n"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(gzip.compress(data, 9, mtime=0))
    print(f"{len(number)} synsets, {len(nouns)} nouns, {len(data)} bytes, {out.stat().st_size} packed")


main()
