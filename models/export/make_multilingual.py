"""Makes exports whose text towers are BERT's and XLM-RoBERTa's, with random weights, and the references that the Rust tests
compare with.

    python models/export/make_multilingual.py            # writes tests/golden/multilingual/, which is committed

The towers have the operators of transformers' BertModel and XLMRobertaModel; the vocabularies are made here of the texts
below. Ids come from transformers' tokenizers, vectors from onnxruntime, each text alone, so that nothing is padded.
Two runs give the same files.
"""

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import sentencepiece
from onnx import TensorProto
from sentencepiece import sentencepiece_model_pb2
from transformers import BertTokenizer, XLMRobertaTokenizer

from make_exports import CLIP, COMBINED, ROOT, SEED, TINY, processors_of, write_json
from running import unit
from towers import Graph, centre, check, rename, vision

GOLDEN = ROOT / "tests/golden/multilingual"

LONG = "一只黑色的猫坐在窗台上看着外面的雨，屋里的灯还亮着，桌上放着一杯热茶和一本打开的书。"

TEXTS = [
    "a photo of a cat",
    "Two dogs, 2 dogs!",
    "naïve café",
    "",
    "一只猫",
    "两只狗在草地上奔跑。",
    "東京タワーの夜景",
    "北京 2024 夏天 summer",
    "قطة على الأريكة",
    "كَلْبٌ أَسْوَدُ في الحديقة",
    "👍🏽",
    "一只🐈和两只🐕 👨‍👩‍👧",
    "قطة cat 猫 🐱 кошка",
    "Ａ　ｐｈｏｔｏ ﬁnd ㎏",
    "हिन्दी में एक बिल्ली",
    "고양이 두 마리",
    "<s> [CLS] </s> [SEP]",
    LONG,
    LONG * 3,
    "cat " * 80,
]

# Of what sentencepiece's own rules do, those that the texts need; all of them would be 300 KB.
WIDE = {chr(0xFEE0 + c): chr(c) for c in range(0x21, 0x7F)} | {"\u3000": " ", "ﬁ": "fi", "㎏": "kg"}


# Tokenizers


def bert_tokenizer():
    """Every character of the texts, alone and inside a word, and some longer pieces, behind a hundred unused tokens as in
    bert-base-chinese."""
    characters = sorted(set("".join(TEXTS).lower()) - set(" \u3000"))
    pieces = ["cat", "dog", "##s", "photo", "sum", "##mer", "ال", "##ريك", "##ة", "قط", "على", "猫咪", "20", "##24", "бел"]
    names = ["[PAD]", *(f"[unused{n}]" for n in range(1, 100)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    for piece in [*characters, *(f"##{one}" for one in characters), *pieces]:
        if piece not in names:
            names.append(piece)
    return BertTokenizer(vocab={name: place for place, name in enumerate(names)}, do_lower_case=True)


def xlm_roberta_tokenizer():
    """A sentencepiece model of the texts, with XLM-RoBERTa's frame and places of its special tokens."""
    with tempfile.TemporaryDirectory() as folder:
        rules, stem = Path(folder) / "rules.tsv", Path(folder) / "words"
        codes = lambda text: " ".join(f"{ord(one):X}" for one in text)  # noqa: E731
        rules.write_text("".join(f"{codes(wide)}\t{codes(narrow)}\n" for wide, narrow in WIDE.items()), encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(text for text in TEXTS if text for _ in range(3)),
            model_prefix=str(stem),
            vocab_size=330,
            hard_vocab_limit=False,
            character_coverage=1.0,
            normalization_rule_tsv=str(rules),
            num_threads=1,
            minloglevel=2,
        )
        model = sentencepiece_model_pb2.ModelProto()
        model.ParseFromString(stem.with_suffix(".model").read_bytes())
    pieces = [(piece.piece, piece.score) for piece in model.pieces if piece.type == piece.NORMAL]
    vocab = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *pieces, ("<mask>", 0.0)]
    return XLMRobertaTokenizer(vocab=vocab, _spm_precompiled_charsmap=model.normalizer_spec.precompiled_charsmap)


# Text towers


def gelu(g, x):
    half = g.op("Mul", x, g.number(0.5))
    return g.op("Mul", half, g.op("Add", g.op("Erf", g.op("Mul", x, g.number(2**-0.5))), g.number(1.0)))


def bert(g, shape, mask, types, padding=None):
    """Adds a tower that looks both ways; `padding` is the id from which RoBERTa counts places. Returns the name of the last
    hidden state and of the mask."""
    size, batch = shape.text, "batch_size"
    ids = g.input("input_ids", TensorProto.INT64, [batch, "sequence_length"])
    x = g.op("Gather", g.drawn("text.word_embeddings.weight", (shape.vocab, size.width), 1.0), ids, axis=0)
    places = g.drawn("text.position_embeddings.weight", (shape.context, size.width), 0.5)
    if padding is None:
        x = g.op("Add", x, g.op("Slice", places, g.ints(0), g.op("Shape", ids, start=1, end=2), g.ints(0)))
    else:
        known = g.op("Not", g.op("Equal", ids, g.weight("padding_id", np.array(padding, dtype=np.int64))))
        known = g.op("Cast", known, to=TensorProto.INT64)
        counted = g.op("Mul", g.op("CumSum", known, g.weight("axis", np.array(1, dtype=np.int64))), known)
        x = g.op("Add", x, g.op("Gather", places, g.op("Add", counted, g.ints(padding)), axis=0))
    if types:
        kinds = g.input("token_type_ids", TensorProto.INT64, [batch, "sequence_length"])
        x = g.op("Add", x, g.op("Gather", g.drawn("text.token_type_embeddings.weight", (2, size.width), 0.5), kinds, axis=0))
    barred = attention_mask = None
    if mask:
        attention_mask = g.input("attention_mask", TensorProto.INT64, [batch, "sequence_length"])
        floats = g.op("Cast", g.op("Unsqueeze", attention_mask, g.ints(1, 2)), to=TensorProto.FLOAT)
        barred = g.op("Mul", g.op("Sub", g.number(1.0), floats), g.number(-10000.0))
    x = g.norm(x, "text.embeddings.LayerNorm", size.width)
    for layer in range(size.layers):
        part = f"text.encoder.layer.{layer}"
        x = g.op("Add", x, g.attention(x, x, f"{part}.attention", size, barred))
        x = g.norm(x, f"{part}.attention.LayerNorm", size.width)
        inside = gelu(g, g.linear(x, f"{part}.intermediate", size.width, size.mlp))
        x = g.op("Add", x, g.linear(inside, f"{part}.output", size.mlp, size.width))
        x = g.norm(x, f"{part}.output.LayerNorm", size.width)
    return x, attention_mask


def first_place(g, hidden, shape, _):
    """transformers' ChineseCLIPModel: the first place, projected."""
    pooled = g.op("Squeeze", g.op("Gather", hidden, g.ints(0), axis=1), g.ints(1))
    g.op("Identity", pooled, name="pooled")
    weight = g.drawn("text_projection.weight", (shape.text.width, shape.dim), 1 / np.sqrt(shape.text.width))
    return g.op("MatMul", pooled, weight)


def mean(g, hidden, shape, attention_mask):
    """jina-clip: the mean over what is no padding, projected."""
    kept = g.op("Unsqueeze", g.op("Cast", attention_mask, to=TensorProto.FLOAT), g.ints(2))
    total = g.op("ReduceSum", g.op("Mul", hidden, kept), g.ints(1), keepdims=0)
    pooled = g.op("Div", total, g.op("ReduceSum", kept, g.ints(1), keepdims=0), name="pooled")
    weight = g.drawn("text_projection.weight", (shape.text.width, shape.dim), 1 / np.sqrt(shape.text.width))
    return g.op("MatMul", pooled, weight)


def text_model(shape, seed, pooling, feeds, mask=True, types=False, padding=None):
    g = Graph(seed)
    hidden, attention_mask = bert(g, shape, mask, types, padding)
    rename(g, pooling(g, hidden, shape, attention_mask), "text_embeds")
    g.output("text_embeds", ["batch_size", shape.dim])
    return spread(g.model("text_model"), shape, feeds)


def combined_model(shape, seed, feeds):
    """Chinese-CLIP as Optimum exports it: one graph with all inputs."""
    g = Graph(seed)
    hidden, _ = bert(g, shape, mask=True, types=True)
    words = first_place(g, hidden, shape, None)
    _, photos = vision(g, shape, "image_batch_size")
    for old, new in ((words, "text_embeds"), (photos, "image_embeds")):
        g.op("Div", old, g.op("ReduceL2", old, axes=[-1], keepdims=1), name=new)
    cosines = g.op("MatMul", "text_embeds", g.op("Transpose", "image_embeds", perm=[1, 0]))
    g.op("Mul", cosines, g.number(100.0), name="logits_per_text")
    g.op("Transpose", "logits_per_text", perm=[1, 0], name="logits_per_image")
    g.output("logits_per_image", ["image_batch_size", "batch_size"])
    g.output("logits_per_text", ["batch_size", "image_batch_size"])
    g.output("text_embeds", ["batch_size", shape.dim])
    g.output("image_embeds", ["image_batch_size", shape.dim])
    return spread(g.model("model"), shape, feeds)


def spread(model, shape, feeds):
    """Texts in all directions: their mean is taken off the last norm."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.append(onnx.helper.make_tensor_value_info("pooled", TensorProto.FLOAT, None))
    average = embed(probe.SerializeToString(), "pooled", feeds).mean(axis=0)
    centre(model, f"text.encoder.layer.{shape.text.layers - 1}.output.LayerNorm.bias", average)
    return check(model)


def embed(graph, output, feeds):
    """Each text alone."""
    opened = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    rows = []
    for ids in feeds:
        whole = np.array([ids], dtype=np.int64)
        known = {"input_ids": whole, "attention_mask": np.ones_like(whole), "token_type_ids": np.zeros_like(whole)}
        known["pixel_values"] = np.zeros((1, 3, CLIP.image, CLIP.image), dtype=np.float32)
        names = [one.name for one in opened.get_inputs()]
        rows.append(opened.run([output], {name: known[name] for name in names})[0][0])
    return np.stack(rows)


# The exports


def save(name, tokenizer, context, config, graph, model_of, kept=("tokenizer.json", "tokenizer_config.json")):
    """Writes a folder and its references: the ids of each text, cut at `context`, and its unit vector."""
    folder = GOLDEN / name
    (folder / "onnx").mkdir(parents=True)
    tokenizer.save_pretrained(folder)
    for path in folder.iterdir():
        if path.is_file() and path.name not in kept:
            path.unlink()
    write_json(folder / "config.json", config)
    settings = json.loads(processors_of()["clip"].to_json_string())
    settings["image_processor_type"] = settings["image_processor_type"].removesuffix("Pil")
    write_json(folder / "preprocessor_config.json", settings)
    ids = [tokenizer(text, truncation=True, max_length=context)["input_ids"] for text in TEXTS]
    vocab = max(tokenizer.get_vocab().values()) + 1
    model = model_of(replace(CLIP, text=replace(TINY, layers=2), vocab=vocab), ids)
    onnx.save(model, folder / graph)
    answers = unit(embed(str(folder / graph), "text_embeds", ids)).astype(np.float32)
    np.save(GOLDEN / "reference" / f"{name}.text.npy", answers)
    path = GOLDEN / "reference" / f"{name}.ids.json"
    path.write_text(json.dumps({"context": context, "ids": ids}) + "\n", encoding="utf-8")
    cosines = answers @ answers.T
    others = cosines[~np.eye(len(cosines), dtype=bool)]
    print(f"{name:24} vocab {vocab}, other rows: cosine mean {others.mean():6.3f} max {others.max():6.3f}")


def config_of(kind, text, vision=None):
    return {"model_type": kind, "projection_dim": CLIP.dim, "text_config": text, "vision_config": {"image_size": CLIP.image}}


def make():
    shutil.rmtree(GOLDEN, ignore_errors=True)
    (GOLDEN / "reference").mkdir(parents=True)
    write_json(GOLDEN / "reference/texts.json", TEXTS)
    words, pieces = bert_tokenizer(), xlm_roberta_tokenizer()
    bert_text = {"model_type": "chinese_clip_text_model", "max_position_embeddings": 77, "pad_token_id": 0}
    save("chinese-clip", words, 52, config_of("chinese_clip", bert_text), "onnx/model.onnx",
         lambda shape, ids: combined_model(replace(shape, vision=COMBINED.vision), SEED + 20, ids))
    words.model_max_length = 64
    save("jina-clip", words, 64, config_of("jina_clip", {"pooler_type": "mean_pooler"}), "onnx/text_model.onnx",
         lambda shape, ids: text_model(shape, SEED + 21, mean, ids))
    roberta = {"model_type": "xlm-roberta", "max_position_embeddings": 42, "eos_token_id": 2, "pad_token_id": 1}
    save("xlm-roberta", pieces, 40, config_of("clip", roberta), "onnx/text_model.onnx",
         lambda shape, ids: text_model(shape, SEED + 22, first_place, ids, padding=1))
    # The tokenizer alone says what its tokens are, and no mask tells the padding.
    save("xlm-roberta-no-mask", pieces, 40, config_of("clip", roberta), "onnx/text_model.onnx",
         lambda shape, ids: text_model(shape, SEED + 23, first_place, ids, mask=False, padding=1), kept=("tokenizer.json",))
    total = sum(path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file())
    print(f"{total / 1e6:.2f} MB in {GOLDEN}")


if __name__ == "__main__":
    make()
