#!/bin/sh
# environment.sh NAME: makes runtime/recipes/NAME, a Python environment with the packages of
# recipes/requirements/NAME.txt, pinned by hash. All but `torch` itself find torch in runtime/recipes/torch.
set -eu
cd "$(dirname "$0")/.."
into=runtime/recipes/$1
echo "== $into: the packages of recipes/requirements/$1.txt"
rm -rf "$into"
python3 -m venv "$into"
"$into/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --only-binary=:all: --no-deps \
    --require-hashes --requirement "recipes/requirements/$1.txt"
purelib() { "$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }
[ "$1" = torch ] || [ ! -d runtime/recipes/torch ] || purelib runtime/recipes/torch >"$(purelib "$into")/torch.pth"
touch "$into/ok"
