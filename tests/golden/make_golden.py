#!/usr/bin/env python3
"""Makes the golden references: test pictures, what Pillow makes of them, and both encoders' outputs.

    pip install --require-hashes --no-deps -r ../../models/mini/build/requirements.txt
    python make_golden.py --photos DIR      # DIR: an unpacked scikit-image wheel (skimage/data)

It writes, beside itself:
    images/         the pictures as a user would bring them
    pixels/         for each picture the 260 x 260 RGB square that goes into the network, as PNG
    embeddings.npy  float32 [N, 384], rows in the order of golden.json
    golden.json     names in order, sizes, what each picture tests, versions
    texts.json, text_embeddings.npy   texts, token ids, whether they were cut, embeddings
"""

import argparse
import io
import json
import platform
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import onnxruntime
import PIL
import tokenizers
from PIL import Image, ImageDraw, ImageFilter, features

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "models" / "mini" / "build"))
from reference import Model, digest  # noqa: E402

ORIENTATION = 0x0112
# How a picture must be stored so that orientation n turns it upright again.
STORED_AS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


class Pictures:
    """The sources: four photos, and drawings from a seeded generator."""

    def __init__(self, photos):
        self.photos = photos
        self.random = np.random.default_rng(260)

    def photo(self, name, size):
        # a scaled-down photo keeps its texture and its file small
        return Image.open(self.photos / name).convert("RGB").resize(size, Image.Resampling.LANCZOS)

    def drawing(self, width, height, noise=12.0, shapes=14):
        """Colour gradients, shapes with hard edges and a little noise: what resizers differ on."""
        y, x = np.mgrid[0:1:height * 1j, 0:1:width * 1j]
        waves = [np.sin(x * a + y * b + c) for a, b, c in self.random.uniform(-9, 9, (3, 3))]
        image = Image.fromarray((np.stack(waves, axis=-1) * 110 + 127).astype(np.uint8))
        draw = ImageDraw.Draw(image)
        for _ in range(shapes):
            self.shape(draw, width, height)
        values = np.asarray(image) + self.random.normal(0, noise, (height, width, 3))
        return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))

    def shape(self, draw, width, height):
        left, right = sorted(self.random.integers(0, width, 2).tolist())
        top, bottom = sorted(self.random.integers(0, height, 2).tolist())
        colour = tuple(self.random.integers(0, 256, 3).tolist())
        kind = self.random.integers(0, 3)
        if kind == 0:
            draw.rectangle((left, top, right, bottom), fill=colour)
        elif kind == 1:
            draw.ellipse((left, top, right, bottom), fill=colour)
        else:
            draw.line((left, top, right, bottom), fill=colour, width=max(1, min(width, height) // 60))

    def smooth(self, width, height):
        """A large picture without noise, so that its JPEG stays small."""
        small = self.drawing(width // 20, height // 20, noise=0).filter(ImageFilter.GaussianBlur(3))
        return small.resize((width, height), Image.Resampling.BICUBIC)

    def alpha(self, width, height):
        """Opaque, clear and half-clear parts; clear pixels carry colour that must not show."""
        y, x = np.mgrid[0 : 2 : height * 1j, 0 : 2 : width * 1j]
        mask = np.clip(np.hypot(x - 1, y - 1) * -320 + 300, 0, 255)
        return Image.fromarray(mask.astype(np.uint8), "L")


def encoded(image, format, **options):
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def rotated(image, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = image.transpose(STORED_AS[orientation]) if orientation in STORED_AS else image
    return encoded(stored, "JPEG", quality=88, exif=exif)


def png16(values, colour_type):
    """A 16-bit PNG, written by hand: Pillow writes 16-bit grey only."""
    height, width = values.shape[:2]
    rows = values.astype(">u2").reshape(height, -1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(data, 9))
        + chunk(b"IEND", b"")
    )


def sixteen_bits(image, random, step):
    """8-bit values at 16 bits. The low bits are coarse steps so that the PNG stays small."""
    values = np.asarray(image).astype(np.int64) * 257
    return np.clip(values + random.integers(-128 // step, 128 // step + 1, values.shape) * step, 0, 65535)


def shapes_and_sizes(pictures):
    astronaut = pictures.photo("astronaut.png", (384, 384))
    coffee = pictures.photo("coffee.png", (480, 360))
    cat = pictures.photo("chelsea.png", (450, 300))
    yield "square.jpg", encoded(astronaut, "JPEG", quality=88), "a square photo"
    yield "landscape_4x3.jpg", encoded(coffee, "JPEG", quality=88), "4:3, chroma at half resolution"
    yield "portrait_3x4.jpg", encoded(coffee.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=88), "3:4"
    yield "exact_260.png", encoded(pictures.drawing(260, 260, noise=4), "PNG"), "no resize at all"
    yield "odd_401x300.jpg", encoded(pictures.drawing(401, 300), "JPEG", quality=85), "crop with an odd remainder"
    yield "tiny_17x11.png", encoded(pictures.drawing(17, 11), "PNG"), "enlarged 24 times"
    yield "one_pixel.png", encoded(Image.new("RGB", (1, 1), (200, 40, 90)), "PNG"), "1 x 1"
    yield "panorama_900x60.jpg", encoded(pictures.drawing(900, 60), "JPEG", quality=85), "15:1, most is cropped"
    huge = pictures.smooth(6000, 3375)
    yield "huge_6000x3375.jpg", encoded(huge, "JPEG", quality=50, optimize=True), "6000 pixels wide"
    wide = pictures.photo("coffee.png", (6000, 4000))
    yield "photo_6000x4000.jpg", encoded(wide, "JPEG", quality=35, optimize=True), "a photo of 6000 pixels"
    edges = pictures.drawing(2600, 3900, noise=0, shapes=60)
    yield "huge_2600x3900.jpg", encoded(edges, "JPEG", quality=60, optimize=True), "hard edges shrunk ten times"
    yield "wide_shrink.jpg", encoded(cat.resize((1800, 1200)), "JPEG", quality=75), "a photo shrunk 4.6 times"


def orientations(pictures):
    cat = pictures.photo("chelsea.png", (345, 230))
    for orientation in range(2, 9):
        yield f"exif_{orientation}.jpg", rotated(cat, orientation), f"EXIF orientation {orientation}"
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    stored = cat.transpose(STORED_AS[6])
    yield "exif_6.png", encoded(stored, "PNG", exif=exif), "EXIF orientation in a PNG"
    yield "exif_6.webp", encoded(stored, "WEBP", quality=85, exif=exif.tobytes()), "EXIF orientation in a WebP"


def colours(pictures):
    base = pictures.drawing(320, 280, noise=3)
    rocket = pictures.photo("rocket.jpg", (400, 267))
    alpha = pictures.alpha(*base.size)
    clear = base.copy()
    clear.putalpha(alpha)
    grey_alpha = base.convert("L")
    grey_alpha.putalpha(alpha)
    yield "grey.jpg", encoded(rocket.convert("L"), "JPEG", quality=88), "grey JPEG"
    yield "grey.png", encoded(base.convert("L"), "PNG"), "grey PNG"
    yield "bilevel.png", encoded(rocket.convert("1"), "PNG"), "one bit per pixel"
    yield "palette.png", encoded(base.quantize(64), "PNG"), "palette PNG"
    paletted = base.quantize(32)
    yield "palette_clear.png", encoded(paletted, "PNG", transparency=bytes([0, 90, 180] + [255] * 29)), (
        "palette PNG with transparent and half transparent entries"
    )
    yield "alpha.png", encoded(clear, "PNG"), "RGBA over white"
    yield "grey_alpha.png", encoded(grey_alpha, "PNG"), "grey with alpha over white"
    yield "cmyk.jpg", encoded(rocket.convert("CMYK"), "JPEG", quality=90), "CMYK JPEG, inverted as Adobe does"
    yield "progressive_444.jpg", encoded(rocket, "JPEG", quality=88, progressive=True, subsampling=0), (
        "progressive JPEG with full chroma"
    )


def formats(pictures):
    base = pictures.drawing(300, 340, noise=2)
    coffee = pictures.photo("coffee.png", (400, 300))
    frames = [pictures.drawing(300, 270, noise=0) for _ in range(3)]
    clear = base.copy()
    clear.putalpha(pictures.alpha(*base.size))
    yield "animated.gif", encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=80), (
        "the first of three frames"
    )
    yield "animated.webp", encoded(
        frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=80, lossless=True
    ), "the first of three frames"
    yield "lossy.webp", encoded(coffee, "WEBP", quality=85), "lossy WebP"
    yield "lossless_alpha.webp", encoded(clear, "WEBP", lossless=True, exact=True), "lossless WebP with alpha"
    yield "plain.bmp", encoded(pictures.drawing(280, 262, noise=2), "BMP"), "BMP"
    yield "lzw.tiff", encoded(base, "TIFF", compression="tiff_lzw"), "TIFF with LZW"


def all_pictures(pictures):
    for source in (shapes_and_sizes, orientations, colours, formats):
        for name, data, about in source(pictures):
            yield name, data, about, Image.open(io.BytesIO(data))
    base = pictures.drawing(300, 264, noise=0)
    grey = sixteen_bits(base.convert("L"), pictures.random, 64)
    yield "grey16.png", png16(grey, 0), "16-bit grey", Image.open(io.BytesIO(png16(grey, 0)))
    colour = sixteen_bits(base, pictures.random, 64)
    # Pillow drops the low byte of 16-bit RGB; the reference divides by 257, which is what 16 bits mean
    exact = Image.fromarray(((colour + 128) // 257).astype(np.uint8))
    yield "rgb16.png", png16(colour, 2), "16-bit RGB", exact


TEXTS = [
    "A cat sitting on a wooden table.",
    "Write a short poem about the scene in this photo.",
    "Describe the image.",
    "",
    " ",
    "\t\n",
    ".",
    "a",
    "?!...---",
    "Two dogs\nplaying\tin the   snow",
    "WRITE AN ADVERTISEMENT FOR THIS PRODUCT",
    "don't stop; it's the cat's toy (really)",
    "e-mail: someone@example.org, see https://example.org/a?b=c#d",
    "Café crème brûlée à la française",
    "Cafe\u0301 decomposed accents: a\u030a o\u0308",
    "Größe, Straße, Übermut",
    "Ein Hund läuft über die Brücke.",
    "Собака бежит по снегу",
    "Ένας σκύλος τρέχει",
    "一只猫坐在桌子上。",
    "東京の夜景を説明してください",
    "서울의 밤 풍경",
    "كلب يركض في الثلج",
    "कुत्ता बर्फ में दौड़ रहा है",
    "สุนัขวิ่งในหิมะ",
    "🐶 in the ❄️ with a 🎾",
    "👩‍👩‍👧‍👦 family emoji with joiners",
    "🇩🇪🇯🇵 flags",
    "zero\u200bwidth\u200dand\u00a0non-breaking\u2003spaces",
    "control\u0000and\u0007characters\ufffd",
    "\ufeffbyte order mark first",
    "[CLS] special [SEP] tokens [MASK] in the text [PAD] [UNK]",
    "supercalifragilisticexpialidocious pneumonoultramicroscopicsilicovolcanoconiosis",
    "x" * 150,
    "1234567890 3.14159 1,000,000 50% $20 €30",
    "ﬁ ligature, ½ fraction, ① circled, ＦＵＬＬＷＩＤＴＨ",
    "How many people are in the picture, and what are they doing? Answer in one sentence.",
    "the quick brown fox jumps over the lazy dog " * 5,
    "A very long description of a busy market street with many stalls. " * 30,
    "word " * 126,
    "word " * 127,
    "长" * 200,
]


def write_images(model, photos):
    for folder in ("images", "pixels"):
        (HERE / folder).mkdir(exist_ok=True)
        for old in (HERE / folder).iterdir():
            old.unlink()
    entries, squares = [], []
    for name, data, about, image in all_pictures(Pictures(photos)):
        (HERE / "images" / name).write_bytes(data)
        width, height = Image.open(io.BytesIO(data)).size
        square = model.pixels(image)
        Image.fromarray(square).save(HERE / "pixels" / f"{name}.png", optimize=True)
        squares.append(square)
        entries.append({"name": name, "about": about, "stored_width": width, "stored_height": height})
    embeddings = model.embed_pixels(np.stack(squares))
    np.save(HERE / "embeddings.npy", embeddings)
    return entries


def write_texts(model):
    plain = tokenizers.Tokenizer.from_str(model.tokenizer.to_str())
    plain.no_truncation()
    ids = [model.tokenizer.encode(text).ids for text in TEXTS]
    rows = [
        {"text": text, "ids": row, "truncated": len(plain.encode(text).ids) > len(row)}
        for text, row in zip(TEXTS, ids)
    ]
    lines = ",\n".join(json.dumps(row) for row in rows)
    (HERE / "texts.json").write_text(f"[\n{lines}\n]\n")
    np.save(HERE / "text_embeddings.npy", model.embed_texts(TEXTS))


def versions():
    return {
        "python": platform.python_version(),
        "pillow": PIL.__version__,
        "libjpeg_turbo": features.version("libjpeg_turbo"),
        "libwebp": features.version("webp"),
        "numpy": np.__version__,
        "onnxruntime": onnxruntime.__version__,
        "tokenizers": tokenizers.__version__,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "mini")
    args = parser.parse_args()
    model = Model(args.model)
    entries = write_images(model, args.photos)
    write_texts(model)
    golden = {
        "made_by": "tests/golden/make_golden.py",
        "how": "EXIF transpose, alpha over white, 16-bit to 8 by (x + 128) // 257, CMYK by Pillow's convert, "
        "bicubic resize of the shorter edge to 260 with the longer one int(round(long * 260 / short)), "
        "crop from (edge - 260) // 2; embeddings by onnxruntime on the CPU, batches of 8, one thread",
        "photos": "scikit-image 0.26.0: astronaut (NASA, public domain), chelsea (Stefan van der Walt, CC0), "
        "coffee (Rachel Michetti, CC0), rocket (SpaceX, public domain); the rest is drawn by the script",
        "versions": versions(),
        "model_sha256": {file["name"]: digest(args.model / file["name"]) for file in model.manifest["files"]},
        "images": entries,
    }
    (HERE / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
    print(json.dumps(golden["versions"]), len(entries), "pictures", len(TEXTS), "texts")


if __name__ == "__main__":
    main()
