"""`webdataset`: tars through its own reader, decoder and batcher."""

from pathlib import Path

from reference import Reference


def tars(reference: Reference, folder: Path) -> None:
    import numpy
    import webdataset
    from PIL import Image

    shards = sorted(map(str, (folder / "data").glob("*.tar")))

    def undecoded(sample):
        return sample["jpg"], sample["json"]

    for photo, row in webdataset.WebDataset(shards, shardshuffle=False).decode(only=["json"]).map(undecoded):
        turns = row["conversations"]
        for human, gpt in zip(turns[::2], turns[1::2], strict=True):
            reference.saw(human["value"], gpt["value"], photo)

    def square(image: Image.Image):
        return numpy.asarray(image.convert("RGB").resize((224, 224)))

    batches = webdataset.WebDataset(shards, shardshuffle=False).decode("pil").to_tuple("jpg", "json").map_tuple(square)
    pixels, rows = next(iter(batches.batched(4)))
    reference.batch({"pixels": numpy.asarray(pixels)})
    reference.note = f"a batch of {len(rows)}"
