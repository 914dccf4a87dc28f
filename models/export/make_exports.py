"""Makes CLIP- and SigLIP-shaped exports with random weights, and the references that the Rust tests compare with.

    python models/export/make_exports.py tiny            # writes tests/golden/clip/, which is committed
    python models/export/make_exports.py large DIR       # ViT-B/32 and ViT-L/14 shapes for benchmarks, fp32 and fp16, 3.5 GB

The references come from transformers' image processors (Pillow), its tokenizers, and onnxruntime. Two runs give the same
files, but for the SigLIP ones: their tokenizer's trainer adds in no fixed order, and the text graphs follow its tokens.
"""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_bnb4_quantizer import MatMulBnb4Quantizer
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.transformers.float16 import convert_float_to_float16
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from running import SIDE, run, session, unit
from towers import Shape, Size, centre, check, combined_model, text_model, vision_model

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests/golden/clip"
MERGES = ROOT / "models/clip-bpe/merges.txt"
PHOTOS = sorted((ROOT / "samples/photos").glob("*.jpg"))
SEED = 20260101

TINY = Size(width=32, layers=2, heads=2, mlp=48)
CLIP = Shape("clip", TINY, TINY, dim=24, image=SIDE, patch=8, vocab=514 + 100, context=77)
COMBINED = replace(CLIP, vision=replace(TINY, layers=1), text=replace(TINY, layers=1))
SIGLIP = Shape("siglip", TINY, TINY, dim=32, image=SIDE, patch=8, vocab=320, context=64)
SIGLIP_COMBINED = replace(SIGLIP, vision=replace(TINY, layers=1), text=replace(TINY, layers=1))

# Logarithm of the scale, and the bias, of a SigLIP's scores: near those of google/siglip2-base-patch16-224.
SIGLIP_LOGIT = (4.724, -16.77)

# How much of their mean is taken off the photos' embeddings. All of it would leave nothing but small differences; a
# real CLIP's photos are at cosines of 0.4 to 0.8 to one another.
PHOTO_SHARE = 0.6

B32 = Shape("clip", Size(768, 12, 12, 3072), Size(512, 12, 8, 2048), 512, 224, 32, 49408, 77)
L14 = Shape("clip", Size(1024, 24, 16, 4096), Size(768, 12, 12, 3072), 768, 224, 14, 49408, 77)


# Tokenizers


def clip_tokenizer(merges):
    """transformers' CLIPTokenizer over the first merges of OpenAI's vocabulary."""
    lines = MERGES.read_text(encoding="utf-8").splitlines()[:merges]
    pairs = [tuple(line.split(" ")) for line in lines]
    letters = [chr(c) for c in [*range(33, 127), *range(161, 173), *range(174, 256)]]
    letters += [chr(256 + n) for n in range(256 - len(letters))]
    words = letters + [letter + "</w>" for letter in letters] + ["".join(pair) for pair in pairs]
    vocab = {word: place for place, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocab, merges=pairs), vocab, lines


def siglip_tokenizer():
    """A unigram tokenizer of SigLIP's form: lower case, no start, `</s>` at the end and as padding."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=320, special_tokens=["</s>", "<unk>"], unk_token="<unk>")
    corpus = [path.with_suffix(".txt").read_text(encoding="utf-8") for path in PHOTOS]
    tokenizer.train_from_iterator(corpus, trainer)
    end = tokenizer.token_to_id("</s>")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", end)])
    return tokenizer


# Precisions


def quantise(source, target, weights=QuantType.QInt8):
    quantize_dynamic(source, target, weight_type=weights, extra_options={"EnableSubgraph": True})


def half(model, keep_io):
    return convert_float_to_float16(model, keep_io_types=keep_io, disable_shape_infer=True)


def four_bits(model, target):
    quantizer = MatMulNBitsQuantizer(model, bits=4, block_size=32, is_symmetric=True, accuracy_level=1)
    quantizer.process()
    quantizer.model.save_model_to_file(str(target), False)


def normal_float_four(model, target):
    """bitsandbytes' NF4."""
    quantizer = MatMulBnb4Quantizer(model, quant_type=MatMulBnb4Quantizer.NF4, block_size=64)
    quantizer.process()
    quantizer.model.save_model_to_file(str(target), False)


# The tiny exports


def processors_of():
    clip = CLIPImageProcessorPil(size={"shortest_edge": CLIP.image}, crop_size={"height": CLIP.image, "width": CLIP.image})
    siglip = SiglipImageProcessorPil(size={"height": SIGLIP.image, "width": SIGLIP.image}, resample=Image.Resampling.BILINEAR, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    return {"clip": clip, "siglip": siglip}


def bytes_of(processor, photos):
    """The pixels before they are normalised."""
    done = processor([Image.open(path) for path in photos], do_rescale=False, do_normalize=False, return_tensors="np")
    return np.rint(done["pixel_values"]).astype(np.uint8).transpose(0, 2, 3, 1)


def texts_of():
    texts = [path.with_suffix(".txt").read_text(encoding="utf-8").strip() for path in PHOTOS]
    short = ["a photo of a cat", "Zwei Hunde, 2 dogs!", "naïve café — 東京", "the the the", "x"]
    return short + [text.split(".")[0] for text in texts[:8]] + texts[8:11]


def clip_ids(tokenizer, texts):
    done = tokenizer(texts, padding="max_length", truncation=True, max_length=CLIP.context, return_tensors="np")
    return {"input_ids": done["input_ids"], "attention_mask": done["attention_mask"]}


def siglip_ids(tokenizer, texts):
    end = tokenizer.token_to_id("</s>")
    rows = np.full((len(texts), SIGLIP.context), end, dtype=np.int64)
    for row, text in zip(rows, texts):
        ids = tokenizer.encode(text).ids
        ids = ids if len(ids) <= SIGLIP.context else [*ids[: SIGLIP.context - 1], end]
        row[: len(ids)] = ids
    return {"input_ids": rows}


def centred(model, bias, output, feeds, scratch, inside=None, share=1.0):
    """The model with its embeddings spread around zero; `inside` names the value whose mean goes."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    if inside:
        kind = {"GatherND": "GatherND", "norm": "LayerNormalization"}[inside]
        nodes = [node for node in probe.graph.node if node.op_type == kind]
        if inside == "norm":
            nodes = [node for node in nodes if bias in node.input]
        output = nodes[-1].output[0]
    if output not in [value.name for value in probe.graph.output]:
        probe.graph.output.append(onnx.helper.make_tensor_value_info(output, TensorProto.FLOAT, None))
    onnx.save(probe, scratch)
    centre(model, bias, share * run(scratch, output, feeds).mean(axis=0))
    return check(model)


def inner(model, output):
    """What `output` was before it was divided by its length."""
    return next(node.input[0] for node in model.graph.node if output in node.output)


def save_precisions(folder, stem, model, keep_io, four=False):
    target = folder / f"{stem}.onnx"
    onnx.save(model, target)
    quantise(target, folder / f"{stem}_quantized.onnx")
    onnx.save(half(model, keep_io), folder / f"{stem}_fp16.onnx")
    if four:
        four_bits(model, folder / f"{stem}_q4.onnx")


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def save_configs(folder, shape, processor):
    kind = shape.family
    config = {
        "model_type": kind,
        "projection_dim": shape.dim,
        "text_config": {"model_type": f"{kind}_text_model", "max_position_embeddings": shape.context, "vocab_size": shape.vocab, "hidden_size": shape.text.width},
        "vision_config": {"model_type": f"{kind}_vision_model", "image_size": shape.image, "patch_size": shape.patch},
    }
    if kind == "clip":
        config["text_config"]["eos_token_id"] = shape.vocab - 1
    write_json(folder / "config.json", config)
    settings = json.loads(processor.to_json_string())
    # The class that exports name; the one used here is its Pillow version.
    settings["image_processor_type"] = settings["image_processor_type"].removesuffix("Pil")
    write_json(folder / "preprocessor_config.json", settings)


class Tiny:
    """One folder per family, and what goes into their graphs."""

    def __init__(self):
        shutil.rmtree(GOLDEN, ignore_errors=True)
        self.reference = GOLDEN / "reference"
        self.reference.mkdir(parents=True)
        self.scratch = GOLDEN / "scratch.onnx"
        self.processors = processors_of()
        self.photos = PHOTOS[:12]
        self.texts = texts_of()
        self.rows = []

    def feeds(self, family):
        pixels = self.processors[family]([Image.open(path) for path in PHOTOS], return_tensors="np")["pixel_values"]
        return {"pixel_values": pixels}

    def refer(self, name, graph, output, feeds, tower, pooling=lambda row, _: row):
        """Keeps what onnxruntime answers, and how much the rows differ from one another."""
        answers = unit(run(graph, output, feeds, pooling))
        cosines = answers @ answers.T
        others = cosines[~np.eye(len(cosines), dtype=bool)]
        print(f"{name:28} {tower:6} other rows: cosine mean {others.mean():6.3f} max {others.max():6.3f}")
        np.save(self.reference / f"{name}.{tower}.npy", answers.astype(np.float32))


def make_clip(tiny):
    folder = GOLDEN / "clip"
    graphs = folder / "onnx"
    graphs.mkdir(parents=True)
    tokenizer, vocab, merges = clip_tokenizer(100)
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "special_tokens_map.json", {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"})
    save_configs(folder, CLIP, tiny.processors["clip"])
    pixels, ids = tiny.feeds("clip"), clip_ids(tokenizer, tiny.texts)
    photos = centred(vision_model(CLIP, SEED), "vision.post_layernorm.bias", "", pixels, tiny.scratch, "norm", PHOTO_SHARE)
    words = centred(text_model(CLIP, SEED + 1), "text.final_layer_norm.bias", "", ids, tiny.scratch, "GatherND")
    save_precisions(graphs, "vision_model", photos, keep_io=False, four=True)
    save_precisions(graphs, "text_model", words, keep_io=False, four=True)
    kept = {"pixel_values": pixels["pixel_values"][: len(tiny.photos)]}
    for ending in ("", "_fp16", "_quantized", "_q4"):
        tiny.refer(f"clip{ending}", graphs / f"vision_model{ending}.onnx", "image_embeds", kept, "vision")
        tiny.refer(f"clip{ending}", graphs / f"text_model{ending}.onnx", "text_embeds", ids, "text")
    ends = ids["input_ids"].argmax(axis=1)
    tiny.refer("clip_hidden", graphs / "vision_model.onnx", "last_hidden_state", kept, "vision", lambda row, _: row[0])
    tiny.refer("clip_hidden", graphs / "text_model.onnx", "last_hidden_state", ids, "text", lambda row, index: row[ends[index]])
    make_small(tiny, ids, kept)
    make_combined(tiny, ids, pixels, kept)
    make_fixed(tiny, ids, vocab, merges)


def make_small(tiny, ids, kept):
    """The rarer small files of the same graphs: uint8, q4f16, bnb4."""
    graphs = GOLDEN / "clip-small/onnx"
    graphs.mkdir(parents=True)
    for stem, output, feeds, tower in (("vision_model", "image_embeds", kept, "vision"), ("text_model", "text_embeds", ids, "text")):
        source = GOLDEN / f"clip/onnx/{stem}.onnx"
        quantise(source, graphs / f"{stem}_uint8.onnx", QuantType.QUInt8)
        normal_float_four(onnx.load(source), graphs / f"{stem}_bnb4.onnx")
        four = onnx.load(GOLDEN / f"clip/onnx/{stem}_q4.onnx")
        onnx.save(half(four, keep_io=True), graphs / f"{stem}_q4f16.onnx")
        for ending in ("_uint8", "_bnb4", "_q4f16"):
            tiny.refer(f"clip{ending}", graphs / f"{stem}{ending}.onnx", output, feeds, tower)


def make_combined(tiny, ids, pixels, kept):
    """One graph with both inputs; in fp16 with its weights in a file beside it."""
    graphs = GOLDEN / "clip-combined/onnx"
    graphs.mkdir(parents=True)
    model = combined_model(COMBINED, SEED + 2)
    model = centred(model, "vision.post_layernorm.bias", "", pixels, tiny.scratch, "norm", PHOTO_SHARE)
    model = centred(model, "text.final_layer_norm.bias", "", ids, tiny.scratch, "GatherND")
    save_precisions(graphs, "model", model, keep_io=True)
    halved = onnx.load(graphs / "model_fp16.onnx")
    (graphs / "model_fp16.onnx").unlink()
    onnx.save(halved, graphs / "model_fp16.onnx", save_as_external_data=True, location="model_fp16.onnx_data", size_threshold=256)
    for ending in ("", "_fp16", "_quantized"):
        tiny.refer(f"clip-combined{ending}", graphs / f"model{ending}.onnx", "image_embeds", kept, "vision")
        tiny.refer(f"clip-combined{ending}", graphs / f"model{ending}.onnx", "text_embeds", ids, "text")


def make_fixed(tiny, ids, vocab, merges):
    """A text graph of a fixed length, without mask, with 32-bit ids; vocab.json and merges.txt."""
    folder = GOLDEN / "clip-fixed"
    folder.mkdir()
    model = text_model(CLIP, SEED + 1, mask=False, fixed=True, kind=TensorProto.INT32)
    model = centred(model, "text.final_layer_norm.bias", "", {"input_ids": ids["input_ids"]}, tiny.scratch, "GatherND")
    onnx.save(half(model, keep_io=True), folder / "model.onnx")
    write_json(folder / "vocab.json", vocab)
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    tiny.refer("clip-fixed", folder / "model.onnx", "text_embeds", {"input_ids": ids["input_ids"]}, "text")


def make_siglip_combined(tiny, ids, pixels, kept):
    """One graph with both inputs and a bias in its scores, which are kept for all photos and texts."""
    folder = GOLDEN / "siglip-combined"
    folder.mkdir()
    model = combined_model(SIGLIP_COMBINED, SEED + 5, SIGLIP_LOGIT)
    model = centred(model, "vision.head.mlp.fc2.bias", inner(model, "image_embeds"), pixels, tiny.scratch, share=PHOTO_SHARE)
    model = centred(model, "text.head.bias", inner(model, "text_embeds"), ids, tiny.scratch)
    onnx.save(model, folder / "model.onnx")
    tiny.refer("siglip-combined", folder / "model.onnx", "image_embeds", kept, "vision")
    tiny.refer("siglip-combined", folder / "model.onnx", "text_embeds", ids, "text")
    scores = session(folder / "model.onnx").run(["logits_per_image"], kept | ids)[0]
    np.save(tiny.reference / "siglip-combined.logits.npy", scores.astype(np.float32))


def make_siglip(tiny):
    folder = GOLDEN / "siglip"
    graphs = folder / "onnx"
    graphs.mkdir(parents=True)
    tokenizer = siglip_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {"pad_token": "</s>", "eos_token": "</s>", "model_max_length": 64})
    save_configs(folder, SIGLIP, tiny.processors["siglip"])
    pixels, ids = tiny.feeds("siglip"), siglip_ids(tokenizer, tiny.texts)
    photos = centred(vision_model(SIGLIP, SEED + 3), "vision.head.mlp.fc2.bias", "pooler_output", pixels, tiny.scratch, share=PHOTO_SHARE)
    words = centred(text_model(SIGLIP, SEED + 4, mask=False), "text.head.bias", "pooler_output", ids, tiny.scratch)
    save_precisions(graphs, "vision_model", photos, keep_io=True)
    save_precisions(graphs, "text_model", words, keep_io=True)
    kept = {"pixel_values": pixels["pixel_values"][: len(tiny.photos)]}
    for ending in ("", "_fp16", "_quantized"):
        tiny.refer(f"siglip{ending}", graphs / f"vision_model{ending}.onnx", "pooler_output", kept, "vision")
        tiny.refer(f"siglip{ending}", graphs / f"text_model{ending}.onnx", "pooler_output", ids, "text")
    make_siglip_combined(tiny, ids, pixels, kept)


def make_tiny():
    tiny = Tiny()
    make_clip(tiny)
    make_siglip(tiny)
    tiny.scratch.unlink()
    for family, processor in tiny.processors.items():
        pixels = bytes_of(processor, tiny.photos)
        (tiny.reference / f"{family}.pixels").write_bytes(pixels.tobytes())
    write_json(tiny.reference / "inputs.json", {"photos": [path.name for path in tiny.photos], "texts": tiny.texts})
    total = sum(path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file())
    print(f"{total / 1e6:.2f} MB in {GOLDEN}")


def make_large(target):
    tokenizer, _, _ = clip_tokenizer(48894)
    for name, shape in (("vit-b-32", B32), ("vit-l-14", L14)):
        folder = target / name
        graphs = folder / "onnx"
        graphs.mkdir(parents=True, exist_ok=True)
        for stem, model in (("vision_model", vision_model(shape, SEED)), ("text_model", text_model(shape, SEED + 1))):
            onnx.save(model, graphs / f"{stem}.onnx")
            onnx.save(half(model, keep_io=True), graphs / f"{stem}_fp16.onnx")
        save_configs(folder, shape, CLIPImageProcessorPil())
        tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
        print(f"wrote {folder}")


if __name__ == "__main__":
    if sys.argv[1:] == ["tiny"]:
        make_tiny()
    elif sys.argv[1:2] == ["large"] and len(sys.argv) == 3:
        make_large(Path(sys.argv[2]))
    else:
        sys.exit(__doc__)
