#!/bin/sh
# Say whether the machine has what building Pairwright takes, before anything is fetched.
set -eu
cd "$(dirname "$0")/.."

# missing WHAT TODO
missing() {
    printf 'error: %s\n  to do: %s, then run `make setup` again.\n' "$1" "$2" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# at_least FOUND WANTED, both "major.minor..."
at_least() {
    awk -v found="$1" -v wanted="$2" 'BEGIN {
        split(found, f, "."); split(wanted, w, ".")
        exit !(f[1] + 0 > w[1] + 0 || (f[1] + 0 == w[1] + 0 && f[2] + 0 >= w[2] + 0))
    }'
}

rust=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' Cargo.toml)
have cargo || missing "cargo (Rust $rust or newer) is not on the PATH" "install Rust with rustup"
cargo=$(cargo --version | awk '{print $2}')
at_least "$cargo" "$rust" || missing "cargo $cargo is too old, $rust is needed" 'run `rustup update stable`'

have cc && have c++ || missing "no C and C++ compiler (cc, c++): the vector index and SQLite need one" \
    'install one (Debian and Ubuntu: `apt install build-essential`; macOS: `xcode-select --install`)'

have python3 || missing "python3 is not on the PATH" 'install Python 3.9 or newer'
python=$(python3 -c 'import platform; print(platform.python_version())')
at_least "$python" 3.9 || missing "python3 is $python, 3.9 is needed" 'install a newer Python 3'
python3 -m pip --version >/dev/null 2>&1 || missing "python3 has no pip" \
    'install it (Debian and Ubuntu: `apt install python3-pip`; elsewhere: `python3 -m ensurepip --user`)'

echo "  tools: cargo $cargo, $(c++ --version | head -n 1), python $python with pip"
