"""One training mixture of several LLaVA files, in the form of each trainer:

    python mix.py --out MIX RUN/dataset/llava.json:PHOTOS llava_v1_5_mix665k.json:playground/data

MIX/llava.json (`image` from the root on: `--image_folder /`), MIX/dataset_info.json with MIX/factory.json
(LLaMA-Factory's `dataset_dir`), MIX/swift.jsonl (ms-swift). Photos are named by absolute paths and stay where they are.
Records without a photo are kept; one whose photo is missing ends the work with its name, before anything is written.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path

from samples import IMAGE

ROLES = {"human": "user", "gpt": "assistant"}
TAGS = {"role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt"}


def read(source: str) -> list[dict]:
    """The records of FILE.json:PHOTOS with absolute paths of photos. ValueError names the record that does not do."""
    name, _, root = source.rpartition(":")
    if not name:
        raise ValueError(f"{source}: wanted FILE.json:FOLDER_OF_PHOTOS")
    records = []
    for place, record in enumerate(json.loads(Path(name).read_text(encoding="utf-8"))):
        where = f"{name}, record {place} ({record.get('id')})"
        turns = record.get("conversations") or []
        if not turns or any(turn.get("from") not in ROLES for turn in turns):
            raise ValueError(f"{where}: wanted conversations of human and gpt")
        marks = sum(turn["value"].count(IMAGE) for turn in turns)
        made = {"id": str(record.get("id", place)), "conversations": turns}
        if "image" in record:
            path = (Path(root) / record["image"]).resolve()
            if not path.is_file():
                raise ValueError(f"{where}: no photo {path}")
            made["image"] = str(path)
        if marks != ("image" in record):
            raise ValueError(f"{where}: {marks} times {IMAGE}, wanted {int('image' in record)}")
        records.append(made)
    return records


def write(out: Path, records: list[dict]) -> None:
    """All three forms of the mixture."""
    out.mkdir(parents=True, exist_ok=True)
    llava = [one | {"image": one["image"].lstrip("/")} if "image" in one else one for one in records]
    (out / "llava.json").write_text(json.dumps(llava, ensure_ascii=False))
    factory = [
        {"conversations": one["conversations"], "images": [one["image"]] if "image" in one else []} for one in records
    ]
    (out / "factory.json").write_text(json.dumps(factory, ensure_ascii=False))
    columns = {"messages": "conversations", "images": "images"}
    about = {"mixture": {"file_name": "factory.json", "formatting": "sharegpt", "columns": columns, "tags": TAGS}}
    (out / "dataset_info.json").write_text(json.dumps(about, indent=2) + "\n")
    with (out / "swift.jsonl").open("w", encoding="utf-8") as file:
        for one in records:
            messages = [{"role": ROLES[turn["from"]], "content": turn["value"]} for turn in one["conversations"]]
            row = {"messages": messages} | ({"images": [one["image"]]} if "image" in one else {})
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sources", nargs="+", help="FILE.json:FOLDER_OF_PHOTOS")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1, help="of the order, which is mixed")
    args = parser.parse_args()
    try:
        records = [record for source in args.sources for record in read(source)]
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    random.Random(args.seed).shuffle(records)
    write(args.out, records)
    print(f"{len(records)} records, {sum('image' in one for one in records)} with a photo, in {args.out}")


if __name__ == "__main__":
    main()
