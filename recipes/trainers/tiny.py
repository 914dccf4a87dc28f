"""A processor of LLaVA's shape, small and made here: bytes as tokens, photos of 56 x 56 in 16 patches of 14 x 14."""

from __future__ import annotations

from pathlib import Path

SIDE, PATCH = 56, 14
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image>' }}"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{{ '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def processor():
    """The processor as an object of transformers."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import CLIPImageProcessor, LlavaProcessor, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={symbol: place for place, symbol in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>",
        additional_special_tokens=["<image>", "<|im_start|>", "<|im_end|>"], model_max_length=8192,
    )  # fmt: skip
    return LlavaProcessor(
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, do_convert_rgb=True
        ),
        tokenizer=fast, patch_size=PATCH, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )  # fmt: skip


def saved(folder: Path) -> Path:
    """The same with a LLaVA configuration beside it, as a folder that trainers take for a model; no weights."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig

    made = processor()
    vocabulary = len(made.tokenizer)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=SIDE, patch_size=PATCH
        ),
        text_config=LlamaConfig(
            hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2,
            vocab_size=vocabulary, max_position_embeddings=8192,
        ),
        image_token_index=made.tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    config.architectures = ["LlavaForConditionalGeneration"]
    folder.mkdir(parents=True, exist_ok=True)
    made.save_pretrained(folder)
    config.save_pretrained(folder)
    return folder
