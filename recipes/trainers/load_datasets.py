"""Hugging Face `datasets`: Parquet shards and tars to pictures, plain JSON to rows whose photo is opened."""

from pathlib import Path

from reference import Reference


def pictures(reference: Reference, folder: Path) -> None:
    """A folder of Parquet as the hub's viewer opens it: the column of bytes is a picture without being told."""
    from datasets import Image, load_dataset

    rows = load_dataset("parquet", data_files=str(folder / "data/*.parquet"), split="train")
    kind = rows.features["image"]
    if not isinstance(kind, Image):
        raise TypeError(f"the column image is {kind}, not a picture")
    for row in rows:
        reference.saw(row["instruction"], row["answer"], row["image"].convert("RGB"))
    first = rows.with_format("numpy")[:2]
    reference.batch({f"image {place}": image for place, image in enumerate(first["image"])})


def lineage(reference: Reference, path: Path, photos: Path) -> None:
    """JSON lines or Parquet that name their photos."""
    from datasets import load_dataset

    kind = "parquet" if path.suffix == ".parquet" else "json"
    for row in load_dataset(kind, data_files=str(path), split="train"):
        reference.saw(row["instruction"], row["answer"], photos / row["image"])
    reference.note = "rows, photos opened by path"


def by_card(reference: Reference, folder: Path) -> None:
    """A folder as the hub opens it: by the README.md in it, all splits, texts in any of the layouts."""
    from datasets import load_dataset

    for split, rows in load_dataset(str(folder)).items():
        reference.note += f"{split} {len(rows)} "
        for row in rows:
            photo = (row["images"][0] if "images" in row else row["image"]).convert("RGB")
            if "texts" in row:
                turns = [(text["user"], text["assistant"]) for text in row["texts"]]
            elif "instruction" in row:
                turns = [(row["instruction"], row["answer"])]
            else:
                said = [message["content"] for message in row.get("messages") or row["prompt"] + row["completion"]]
                turns = list(zip(said[::2], said[1::2], strict=True))
            for instruction, answer in turns:
                reference.saw(instruction, answer, photo)
    reference.note = f"by its README.md: {reference.note.strip()}"


def tars(reference: Reference, folder: Path) -> None:
    """Tars through the reader that `datasets` has for them."""
    from datasets import load_dataset

    for row in load_dataset("webdataset", data_files=str(folder / "data/*.tar"), split="train"):
        turns = row["json"]["conversations"]
        for human, gpt in zip(turns[::2], turns[1::2], strict=True):
            reference.saw(human["value"], gpt["value"], row["jpg"].convert("RGB"))
