"""A LLaVA-1.5 that was never trained, in transformers' form: CLIP's vision tower, a language model, a new projector.

    python base.py --vision openai/clip-vit-large-patch14-336 --language lmsys/vicuna-7b-v1.5 --out BASE [--seed 1]

LLaMA-Factory and ms-swift train it in the two stages of ../llamafactory and ../swift.
"""

from __future__ import annotations

import argparse
from pathlib import Path

TEMPLATE = (
    "{% for message in messages %}{{ 'USER: ' if message['role'] == 'user' else 'ASSISTANT: ' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image>\n' }}"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{{ ' ' if message['role'] == 'user' else '</s>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


def build(vision: str, language: str, out: Path, seed: int) -> None:
    """Writes model and processor to a folder."""
    import torch
    from transformers import (
        AutoModelForCausalLM, AutoTokenizer, CLIPImageProcessor, CLIPVisionModel, LlavaConfig,
        LlavaForConditionalGeneration, LlavaProcessor,
    )  # fmt: skip

    torch.manual_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(language)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    if tokenizer.pad_token is None:
        tokenizer.add_special_tokens({"pad_token": "<pad>"})
    tower = CLIPVisionModel.from_pretrained(vision, dtype=torch.bfloat16)
    words = AutoModelForCausalLM.from_pretrained(language, dtype=torch.bfloat16)
    words.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=64)
    config = LlavaConfig(
        vision_config=tower.config, text_config=words.config, vision_feature_layer=-2,
        vision_feature_select_strategy="default", projector_hidden_act="gelu",
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"), pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config).to(torch.bfloat16)
    model.model.vision_tower.load_state_dict(tower.state_dict())
    model.model.language_model.load_state_dict(words.model.state_dict())
    model.lm_head.load_state_dict(words.lm_head.state_dict())
    model.save_pretrained(out)
    LlavaProcessor(
        image_processor=CLIPImageProcessor.from_pretrained(vision), tokenizer=tokenizer,
        patch_size=tower.config.patch_size, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    ).save_pretrained(out)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--vision", default="openai/clip-vit-large-patch14-336")
    parser.add_argument("--language", default="lmsys/vicuna-7b-v1.5")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    build(args.vision, args.language, args.out, args.seed)


if __name__ == "__main__":
    main()
