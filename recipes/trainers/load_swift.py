"""ms-swift: its own dataset reader, its LLaVA template and that template's collator."""

import os
import tempfile
from pathlib import Path

from reference import Reference
from tiny import saved


def lines(reference: Reference, folder: Path) -> None:
    # Rows name photos from the folder on, which this variable tells ms-swift.
    os.environ["ROOT_IMAGE_DIR"] = str(folder)
    with tempfile.TemporaryDirectory() as scratch:
        load(reference, folder, Path(scratch))


def load(reference: Reference, folder: Path, scratch: Path) -> None:
    from swift import get_processor, get_template, load_dataset

    # strict: without it rows that it cannot read are left out without a word.
    rows, _ = load_dataset(str(folder / "train.jsonl"), strict=True, load_from_cache_file=False)
    for row in rows:
        image = row["images"][0]
        path = Path(image["path"] if isinstance(image, dict) else image)
        for user, assistant in zip(row["messages"][::2], row["messages"][1::2], strict=True):
            reference.saw(user["content"], assistant["content"], path if path.is_absolute() else folder / path)
    made = get_processor(str(saved(scratch / "tiny")), model_type="llava1_5_hf", download_model=False)
    template = get_template(made, max_length=8192)
    template.set_mode("train")
    reference.batches(rows, lambda four: template.data_collator([template.encode(row) for row in four]))
    reference.note = "every batch collated"
