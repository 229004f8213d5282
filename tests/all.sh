#!/usr/bin/env bash
# Everything that must hold before a change lands: formatting, lints, all tests.
set -euo pipefail
cd "$(dirname "$0")/.."
# The real programs that tests drive. On Debian they are installed here; a test whose program is missing
# fails, it does not skip.
missing=()
command -v curl > /dev/null || missing+=(curl)
command -v logrotate > /dev/null || missing+=(logrotate)
python3 -c 'import venv, ensurepip' 2> /dev/null || missing+=(python3 python3-venv)
if ((${#missing[@]})) && command -v apt-get > /dev/null; then
    apt-get update
    apt-get install --yes --no-install-recommends "${missing[@]}"
fi
cargo fmt --all --check
cargo clippy --workspace --all-targets --locked -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet
cargo test --workspace --locked
