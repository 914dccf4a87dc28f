"""Runs graphs in onnxruntime, row by row."""

import numpy as np
import onnxruntime as ort

# Of the tiny exports' photos, in pixels.
SIDE = 48


def session(path):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    # 8-bit products in full width, as Pairwright asks for on processors whose fast ones saturate.
    options.add_session_config_entry("session.x64quantprecision", "1")
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(path, output, feeds, pooling=lambda row, _: row):
    """Row by row, so that no row depends on another; `pooling` gets each answer and its number."""
    opened = session(path)
    kinds = {one.name: one.type for one in opened.get_inputs()}
    rows = len(next(iter(feeds.values())))
    answers = []
    for row in range(rows):
        feed = {}
        for name, kind in kinds.items():
            value = feeds[name][row : row + 1] if name in feeds else dummy(name)
            wanted = {"tensor(float16)": np.float16, "tensor(int32)": np.int32, "tensor(int64)": np.int64}
            feed[name] = value.astype(wanted.get(kind, np.float32))
        if "attention_mask" in feeds and "pixel_values" not in feeds:
            # A text alone is not padded: dynamic quantisation would take the padding into its scale.
            tokens = feeds["attention_mask"][row].sum()
            feed = {name: value[:, :tokens] if name != "pixel_values" else value for name, value in feed.items()}
        answers.append(pooling(opened.run([output], feed)[0][0].astype(np.float32), row))
    return np.stack(answers)


def dummy(name):
    """For the other tower of a combined graph."""
    if name == "pixel_values":
        return np.zeros((1, 3, SIDE, SIDE), dtype=np.float32)
    return np.ones((1, 4), dtype=np.int64)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)
