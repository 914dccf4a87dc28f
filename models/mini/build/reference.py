"""The reference reading of a photo and a text, in Pillow, tokenizers and onnxruntime.

check.py and tests/golden/make_golden.py measure with it; the Rust code is compared with what it gives.
"""

import hashlib
import tomllib
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps
from tokenizers import Tokenizer


def to_rgb(image):
    """EXIF orientation applied, alpha laid over white, everything else by Pillow's own convert."""
    image.seek(0)
    image = ImageOps.exif_transpose(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    if image.mode.startswith("I"):
        # Pillow would clip 16-bit grey at 255: 65535 / 255 = 257, to the nearest
        values = np.asarray(image).astype(np.uint32)
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    return image.convert("RGB")


def resize_crop(image, side):
    """Shorter edge to `side` with antialiased bicubic, then the central square.

    The longer edge is long * side / short rounded to the nearest (a half goes to the even number), the crop
    begins at (edge - side) // 2.
    """
    short = min(image.size)
    size = tuple(side if edge == short else int(round(edge * side / short)) for edge in image.size)
    image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


class Model:
    """A folder with model.toml: both graphs and the tokenizer."""

    def __init__(self, folder, threads=1, manifest=None):
        self.folder = Path(folder)
        self.manifest = tomllib.loads(Path(manifest or self.folder / "model.toml").read_text())
        self.vision = self.session("vision", threads)
        self.text = self.session("text", threads)
        self.tokenizer = Tokenizer.from_file(str(self.folder / self.manifest["text"]["tokenizer"]))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(self.manifest["text"]["context_length"])

    def session(self, kind, threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # exact uint8 x int8 sums on every x86 processor: those without VNNI saturate otherwise. Half the speed.
        options.add_session_config_entry("session.x64quantprecision", "1")
        path = self.folder / self.manifest[kind]["file"]
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def pixels(self, image):
        """The uint8 RGB square that goes into the network."""
        return np.asarray(resize_crop(to_rgb(image), self.manifest["vision"]["preprocess"]["crop"]))

    def normalise(self, pixels):
        """uint8 [N, H, W, 3] to float32 [N, 3, H, W]."""
        rule = self.manifest["vision"]["preprocess"]
        values = pixels.astype(np.float32) * np.float32(rule["rescale_factor"])
        values = (values - np.float32(rule["mean"])) / np.float32(rule["std"])
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2))

    def embed_pixels(self, pixels, batch=8):
        parts = [
            self.vision.run(None, {self.manifest["vision"]["input"]: self.normalise(pixels[at : at + batch])})[0]
            for at in range(0, len(pixels), batch)
        ]
        return np.concatenate(parts)

    def embed_texts(self, texts, batch=16):
        ids = [self.tokenizer.encode(text).ids for text in texts]
        return np.concatenate([self.embed_ids(ids[at : at + batch]) for at in range(0, len(ids), batch)])

    def embed_ids(self, rows):
        length = max(map(len, rows))
        ids = np.zeros((len(rows), length), np.int64)
        mask = np.zeros_like(ids)
        for at, row in enumerate(rows):
            ids[at, : len(row)], mask[at, : len(row)] = row, 1
        names = self.manifest["text"]
        return self.text.run(None, {names["input_ids"]: ids, names["attention_mask"]: mask})[0]
