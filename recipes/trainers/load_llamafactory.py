"""LLaMA-Factory: its own dataset reader with `dataset_dir`, its LLaVA template and its multimodal collator."""

import tempfile
from pathlib import Path

from reference import Reference
from tiny import saved


def folder(reference: Reference, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        load(reference, folder, Path(scratch))


def load(reference: Reference, folder: Path, scratch: Path) -> None:
    from llamafactory.data import MultiModalDataCollatorForSeq2Seq, get_dataset, get_template_and_fix_tokenizer
    from llamafactory.data.loader import _get_merged_dataset
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer

    arguments = {
        "model_name_or_path": str(saved(scratch / "tiny")), "stage": "sft", "do_train": True, "template": "llava",
        "finetuning_type": "full", "dataset": "pairwright", "dataset_dir": str(folder), "media_dir": str(folder),
        "cutoff_len": 8192, "output_dir": str(scratch / "out"), "overwrite_cache": True, "report_to": "none",
        "preprocessing_num_workers": 1, "cache_dir": str(scratch / "cache"), "use_cpu": True,
    }  # fmt: skip
    model, data, training, _, _ = get_train_args(arguments)
    loaded = load_tokenizer(model)
    template = get_template_and_fix_tokenizer(loaded["tokenizer"], data)
    for row in _get_merged_dataset(data.dataset, model, data, training, "sft"):
        turns = row["_prompt"] + row["_response"]
        for user, assistant in zip(turns[::2], turns[1::2], strict=True):
            reference.saw(user["content"], assistant["content"], Path(row["_images"][0]))
    rows = get_dataset(template, model, data, training, "sft", **loaded)["train_dataset"]
    if len(rows) != len(set(map(str, rows["input_ids"]))):
        reference.note = "some rows have the same tokens; "
    collate = MultiModalDataCollatorForSeq2Seq(template=template, **loaded)
    reference.batches(rows, collate)
    reference.note += f"{len(rows)} rows tokenised, every batch collated"
