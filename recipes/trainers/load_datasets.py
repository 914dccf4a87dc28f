"""Hugging Face `datasets`: Parquet shards to pictures, plain JSON to rows whose photo is opened."""

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
