"""CLIP- and SigLIP-shaped towers as ONNX graphs with seeded random weights, node by node.

The operators, names and shapes are those of the exports that people have (Optimum, onnx-community); the weights mean
nothing. They are drawn wide enough that attention picks and that different inputs give different outputs.
"""

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


@dataclass(frozen=True)
class Size:
    """One tower."""

    width: int
    layers: int
    heads: int
    mlp: int


@dataclass(frozen=True)
class Shape:
    """Both towers of a model."""

    family: str  # "clip" or "siglip"
    vision: Size
    text: Size
    dim: int
    image: int
    patch: int
    vocab: int
    context: int


class Graph:
    """Collects nodes and weights."""

    def __init__(self, seed):
        self.nodes, self.weights, self.inputs, self.outputs = [], [], [], []
        self.random = np.random.default_rng(seed)
        self.count = 0

    def weight(self, name, array):
        self.weights.append(numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def drawn(self, name, shape, scale):
        values = self.random.standard_normal(shape, dtype=np.float32) * np.float32(scale)
        return self.weight(name, values)

    def ints(self, *values):
        self.count += 1
        return self.weight(f"const_{self.count}", np.array(values, dtype=np.int64))

    def number(self, value):
        self.count += 1
        return self.weight(f"const_{self.count}", np.array(value, dtype=np.float32))

    def op(self, kind, *inputs, name=None, **attributes):
        self.count += 1
        output = name or f"{kind.lower()}_{self.count}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=f"{kind}_{self.count}", **attributes))
        return output

    def input(self, name, kind, dims):
        self.inputs.append(helper.make_tensor_value_info(name, kind, dims))
        return name

    def output(self, name, dims):
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dims))

    def model(self, name):
        graph = helper.make_graph(self.nodes, name, self.inputs, self.outputs, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="pairwright")
        model.ir_version = 8
        return model

    # Parts of a transformer.

    def linear(self, x, name, rows, columns, gain=1.0):
        weight = self.drawn(f"{name}.weight", (rows, columns), gain / np.sqrt(rows))
        bias = self.drawn(f"{name}.bias", (columns,), 0.02)
        return self.op("Add", self.op("MatMul", x, weight), bias)

    def norm(self, x, name, width):
        scale = self.weight(f"{name}.weight", np.ones(width, dtype=np.float32))
        bias = self.drawn(f"{name}.bias", (width,), 0.02)
        return self.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-5)

    def split_heads(self, x, heads, width):
        x = self.op("Reshape", x, self.ints(0, -1, heads, width // heads))
        return self.op("Transpose", x, perm=[0, 2, 1, 3])

    def attention(self, query, source, name, size, mask):
        width, heads = size.width, size.heads
        q = self.split_heads(self.linear(query, f"{name}.q_proj", width, width), heads, width)
        k = self.split_heads(self.linear(source, f"{name}.k_proj", width, width), heads, width)
        v = self.split_heads(self.linear(source, f"{name}.v_proj", width, width), heads, width)
        q = self.op("Mul", q, self.number((width // heads) ** -0.5))
        scores = self.op("MatMul", q, self.op("Transpose", k, perm=[0, 1, 3, 2]))
        if mask:
            scores = self.op("Add", scores, mask)
        mixed = self.op("MatMul", self.op("Softmax", scores, axis=-1), v)
        mixed = self.op("Transpose", mixed, perm=[0, 2, 1, 3])
        mixed = self.op("Reshape", mixed, self.ints(0, -1, width))
        return self.linear(mixed, f"{name}.out_proj", width, width)

    def activation(self, x, family):
        if family == "clip":  # quick GELU
            return self.op("Mul", x, self.op("Sigmoid", self.op("Mul", x, self.number(1.702))))
        cube = self.op("Mul", x, self.op("Mul", x, x))
        inner = self.op("Add", x, self.op("Mul", cube, self.number(0.044715)))
        tanh = self.op("Tanh", self.op("Mul", inner, self.number(0.7978845608)))
        return self.op("Mul", self.op("Mul", x, self.number(0.5)), self.op("Add", tanh, self.number(1.0)))

    def mlp(self, x, name, size, family):
        x = self.linear(x, f"{name}.fc1", size.width, size.mlp)
        return self.linear(self.activation(x, family), f"{name}.fc2", size.mlp, size.width)

    def encoder(self, x, name, size, family, mask=None):
        for layer in range(size.layers):
            part = f"{name}.layers.{layer}"
            inside = self.norm(x, f"{part}.layer_norm1", size.width)
            x = self.op("Add", x, self.attention(inside, inside, f"{part}.self_attn", size, mask))
            inside = self.norm(x, f"{part}.layer_norm2", size.width)
            x = self.op("Add", x, self.mlp(inside, f"{part}.mlp", size, family))
        return x


def vision(g, shape, batch):
    """Adds the vision tower; returns the name of the last hidden state and of the embedding."""
    size, side = shape.vision, shape.image // shape.patch
    pixels = g.input("pixel_values", TensorProto.FLOAT, [batch, "num_channels", "height", "width"])
    kernel = (size.width, 3, shape.patch, shape.patch)
    kernel = g.drawn("vision.patch_embedding.weight", kernel, 1.5 / np.sqrt(3 * shape.patch**2))
    x = g.op("Conv", pixels, kernel, kernel_shape=[shape.patch] * 2, strides=[shape.patch] * 2)
    x = g.op("Transpose", g.op("Reshape", x, g.ints(0, size.width, -1)), perm=[0, 2, 1])
    places = side * side
    if shape.family == "clip":
        places += 1
        rows = g.op("Shape", pixels, start=0, end=1)
        token = g.drawn("vision.class_embedding", (1, 1, size.width), 0.5)
        token = g.op("Expand", token, g.op("Concat", rows, g.ints(1, size.width), axis=0))
        x = g.op("Concat", token, x, axis=1)
    x = g.op("Add", x, g.drawn("vision.position_embedding", (1, places, size.width), 0.5))
    if shape.family == "clip":
        x = g.norm(x, "vision.pre_layrnorm", size.width)
        hidden = g.encoder(x, "vision.encoder", size, "clip")
        pooled = g.op("Gather", hidden, g.ints(0), axis=1)
        pooled = g.op("Squeeze", pooled, g.ints(1))
        pooled = g.norm(pooled, "vision.post_layernorm", size.width)
        weight = g.drawn("visual_projection.weight", (size.width, shape.dim), 1 / np.sqrt(size.width))
        return hidden, g.op("MatMul", pooled, weight)
    hidden = g.norm(g.encoder(x, "vision.encoder", size, "siglip"), "vision.post_layernorm", size.width)
    rows = g.op("Shape", pixels, start=0, end=1)
    probe = g.drawn("vision.head.probe", (1, 1, size.width), 1.0)
    probe = g.op("Expand", probe, g.op("Concat", rows, g.ints(1, size.width), axis=0))
    pooled = g.attention(probe, hidden, "vision.head.attention", size, None)
    inside = g.norm(pooled, "vision.head.layernorm", size.width)
    pooled = g.op("Add", pooled, g.mlp(inside, "vision.head.mlp", size, "siglip"))
    return hidden, g.op("Squeeze", pooled, g.ints(1))


def causal_mask(g, ids, attention_mask):
    """Adds 0 where a place may look, a large negative number elsewhere: [1 or N, 1, L, L]."""
    length = g.op("Shape", ids, start=1, end=2)
    places = g.op("Range", g.weight("zero", np.array(0, dtype=np.int64)), g.op("Squeeze", length, g.ints(0)), g.weight("one", np.array(1, dtype=np.int64)))
    ahead = g.op("Greater", g.op("Unsqueeze", places, g.ints(0)), g.op("Unsqueeze", places, g.ints(1)))
    barred, open_ = g.number(-10000.0), g.number(0.0)
    mask = g.op("Unsqueeze", g.op("Where", ahead, barred, open_), g.ints(0, 1))
    if attention_mask is None:
        return mask
    padding = g.op("Equal", attention_mask, g.weight("no_token", np.array(0, dtype=np.int64)))
    padding = g.op("Unsqueeze", g.op("Where", padding, barred, open_), g.ints(1, 2))
    return g.op("Add", mask, padding)


def text(g, shape, batch, mask, fixed, kind=TensorProto.INT64):
    """Adds the text tower; returns the name of the last hidden state and of the embedding."""
    size = shape.text
    length = shape.context if fixed else "sequence_length"
    ids = g.input("input_ids", kind, [batch, length])
    attention_mask = g.input("attention_mask", TensorProto.INT64, [batch, length]) if mask else None
    table = g.drawn("text.token_embedding.weight", (shape.vocab, size.width), 1.0)
    x = g.op("Gather", table, ids, axis=0)
    positions = g.drawn("text.position_embedding.weight", (shape.context, size.width), 0.5)
    positions = g.op("Slice", positions, g.ints(0), g.op("Shape", ids, start=1, end=2), g.ints(0))
    x = g.op("Add", x, positions)
    barred = causal_mask(g, ids, attention_mask) if shape.family == "clip" else None
    x = g.encoder(x, "text.encoder", size, shape.family, barred)
    hidden = g.norm(x, "text.final_layer_norm", size.width)
    if shape.family == "siglip":
        pooled = g.op("Squeeze", g.op("Gather", hidden, g.ints(-1), axis=1), g.ints(1))
        return hidden, g.linear(pooled, "text.head", size.width, shape.dim)
    # The end marker has the largest id; the first of them ends the text.
    end = g.op("ArgMax", g.op("Cast", ids, to=TensorProto.INT32), axis=1, keepdims=1)
    pooled = g.op("GatherND", hidden, end, batch_dims=1)
    weight = g.drawn("text_projection.weight", (size.width, shape.dim), 1 / np.sqrt(size.width))
    return hidden, g.op("MatMul", pooled, weight)


def rename(g, old, new):
    """Gives a value its public name."""
    for node in g.nodes:
        for values in (node.input, node.output):
            for place, value in enumerate(values):
                if value == old:
                    values[place] = new


def vision_model(shape, seed):
    """`vision_model.onnx`."""
    g = Graph(seed)
    hidden, pooled = vision(g, shape, "batch_size")
    name = "image_embeds" if shape.family == "clip" else "pooler_output"
    rename(g, pooled, name)
    rename(g, hidden, "last_hidden_state")
    g.output(name, ["batch_size", shape.dim])
    g.output("last_hidden_state", ["batch_size", "sequence_length", shape.vision.width])
    return g.model("vision_model")


def text_model(shape, seed, mask=True, fixed=False, kind=TensorProto.INT64):
    """`text_model.onnx`."""
    g = Graph(seed)
    hidden, pooled = text(g, shape, "batch_size", mask, fixed, kind)
    name = "text_embeds" if shape.family == "clip" else "pooler_output"
    rename(g, pooled, name)
    rename(g, hidden, "last_hidden_state")
    g.output(name, ["batch_size", shape.dim])
    g.output("last_hidden_state", ["batch_size", "sequence_length", shape.text.width])
    return g.model("text_model")


def combined_model(shape, seed, logit=None):
    """`model.onnx`: both towers, embeddings at length one, and the scores of all pairs: 100 times the cosine, or with
    `logit` SigLIP's, exp(logit[0]) times the cosine plus logit[1]."""
    g = Graph(seed)
    _, words = text(g, shape, "text_batch_size", mask=shape.family == "clip", fixed=False)
    _, photos = vision(g, shape, "image_batch_size")
    for old, new in ((words, "text_embeds"), (photos, "image_embeds")):
        length = g.op("ReduceL2", old, axes=[-1], keepdims=1)
        g.op("Div", old, length, name=new)
    cosines = g.op("MatMul", "text_embeds", g.op("Transpose", "image_embeds", perm=[1, 0]))
    if logit is None:
        g.op("Mul", cosines, g.number(100.0), name="logits_per_text")
    else:
        scale = g.op("Exp", g.weight("logit_scale", np.float32([logit[0]])))
        scaled = g.op("Mul", cosines, scale)
        g.op("Add", scaled, g.weight("logit_bias", np.float32([logit[1]])), name="logits_per_text")
    g.op("Transpose", "logits_per_text", perm=[1, 0], name="logits_per_image")
    g.output("logits_per_image", ["image_batch_size", "text_batch_size"])
    g.output("logits_per_text", ["text_batch_size", "image_batch_size"])
    g.output("text_embeds", ["text_batch_size", shape.dim])
    g.output("image_embeds", ["image_batch_size", shape.dim])
    return g.model("model")


def centre(model, bias, mean):
    """Takes `mean` off a layer's bias, so that embeddings spread around zero instead of one direction."""
    for weight in model.graph.initializer:
        if weight.name == bias:
            values = numpy_helper.to_array(weight) - mean.astype(np.float32)
            weight.CopyFrom(numpy_helper.from_array(values, bias))
            return
    raise KeyError(bias)


def check(model):
    onnx.checker.check_model(model)
    return model
