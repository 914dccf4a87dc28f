"""Writes NAME.txt beside this file from NAME.in: every package, pinned by version and by the hashes of its wheels.

    python lock.py UV [NAME...]     # UV: the program uv, of the package of that name

Only wheels for Linux x86-64 and Python 3.11 to 3.13 are listed. torch and its CUDA libraries, without which it does not
start even on a machine without GPU, have a file of their own: `make` installs them once, for all environments. triton
compiles for GPUs and is left out, as is what has no wheel; whatever needs it says so when it is imported.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
WHEEL = re.compile(r"-(py3\d*|py2\.py3|cp3\d+(?:\.cp3\d+)*)-(none|abi3|cp3\d+)-(any|[a-z0-9_.]*(?:manylinux|linux)[a-z0-9_.]*x86_64)\.whl$")
PYTHONS = {f"{kind}3{minor}" for kind in ("cp", "py") for minor in (11, 12, 13)}
TORCH = re.compile(r"torch|triton|torchdata|cuda-.*|nvidia-.*")


def fits(wheel: str) -> bool:
    found = WHEEL.search(wheel)
    if not found:
        return False
    python, abi, _ = found.groups()
    return abi == "abi3" or python in ("py3", "py2.py3") or bool(PYTHONS & set(python.split(".")))


def lock(uv: str, name: str) -> None:
    command = [uv, "pip", "compile", "--quiet", "--no-cache", "--python-version", "3.11", "--format", "pylock.toml"]
    found = subprocess.run([*command, HERE / f"{name}.in"], check=True, capture_output=True, text=True).stdout
    lines, without = [], []
    for package in tomllib.loads(found)["packages"]:
        title = package["name"]
        if title == "triton" or (name != "torch" and TORCH.fullmatch(title)):
            continue
        wheels = {wheel["url"].rsplit("/", 1)[1]: wheel["hashes"]["sha256"] for wheel in package.get("wheels", [])}
        hashes = sorted({digest for wheel, digest in wheels.items() if fits(wheel)})
        if hashes:
            lines.append(" ".join([f"{title}=={package['version']}", *(f"--hash=sha256:{one}" for one in hashes)]))
        else:
            without.append(f"{title} {package['version']}")
    head = f"# From {name}.in by lock.py: Linux x86-64, Python 3.11 to 3.13."
    if without:
        head += f"\n# Without a wheel, left out: {', '.join(without)}."
    (HERE / f"{name}.txt").write_text("\n".join([head, *lines]) + "\n")
    print(f"{name}: {len(lines)} packages; without a wheel: {', '.join(without) or 'none'}")


def main() -> None:
    for name in sys.argv[2:] or sorted(path.stem for path in HERE.glob("*.in")):
        lock(sys.argv[1], name)


main()
