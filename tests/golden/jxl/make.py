#!/usr/bin/env python3
"""Makes the JPEG XL pictures of this folder, and beside each what libjxl makes of it, over white, as PNG.

    pip install pillow==13.0.0 pillow-jxl-plugin==1.3.8 imagecodecs==2026.3.6 numpy
    python make.py ../../../samples/photos/tabby-cat.jpg
"""

import io
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pillow_jxl  # noqa: F401: registers itself
from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from reference import save  # noqa: E402: beside the folder of this file


def main(photo: Path) -> None:
    small = Image.open(photo).convert("RGB").resize((96, 72), Image.Resampling.LANCZOS)
    clear = small.copy()
    clear.putalpha(Image.linear_gradient("L").resize(small.size))
    small.save(HERE / "lossy.jxl", quality=80)
    small.convert("L").save(HERE / "grey.jxl", quality=90)
    clear.save(HERE / "lossless_alpha.jxl", lossless=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    small.save(HERE / "exif_is_ignored.jxl", quality=80, exif=exif.tobytes())
    jpeg = io.BytesIO()
    small.save(jpeg, "JPEG", quality=85)
    with open(HERE / "from_jpeg.jxl", "wb") as out:
        out.write(imagecodecs.jpegxl_encode_jpeg(jpeg.getvalue()))
    deep = np.asarray(small).astype(np.uint16) * 257
    (HERE / "sixteen_bits.jxl").write_bytes(imagecodecs.jpegxl_encode(deep, lossless=True))
    frames = np.stack([np.asarray(small), np.asarray(small)[::-1]])
    (HERE / "animated.jxl").write_bytes(imagecodecs.jpegxl_encode(frames, lossless=False, level=80))
    for path in sorted(HERE.glob("*.jxl")):
        if path.stem in ("animated", "sixteen_bits"):
            pixels = imagecodecs.jpegxl_decode(path.read_bytes())
            pixels = pixels[0] if pixels.ndim == 4 else (pixels.astype(np.uint32) + 128) // 257
            picture = Image.fromarray(pixels.astype(np.uint8))
        else:
            picture = Image.open(path)
        save(picture, path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
