"""TRL: `datasets` for the rows, SFTTrainer's collator for vision-language models for the batch."""

from pathlib import Path

from reference import Reference
from tiny import processor


def conversations(reference: Reference, folder: Path) -> None:
    from datasets import load_dataset
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

    rows = load_dataset("parquet", data_files=str(folder / "data/*.parquet"), split="train")
    for row in rows:
        messages = row.get("messages") or row["prompt"] + row["completion"]
        for user, assistant in zip(messages[::2], messages[1::2], strict=True):
            if (user["role"], assistant["role"]) != ("user", "assistant"):
                raise ValueError(f"turns of {user['role']} and {assistant['role']}")
            reference.saw(user["content"], assistant["content"], row["images"][0].convert("RGB"))
    # max_length=None: cutting a sequence would cut the tokens that stand for the photo.
    collate = DataCollatorForVisionLanguageModeling(
        processor(), max_length=None, completion_only_loss="prompt" in rows.column_names
    )
    reference.batches(rows, collate)
    reference.note = "every batch collated"
