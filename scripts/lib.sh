# shellcheck shell=bash
# What the scripts share. Sourced, with the working directory at the root of the repository.

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "$0: $*"
    exit 1
}

# Rust itself is not installed behind anybody's back.
need_cargo() {
    if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH="$HOME/.cargo/bin:$PATH"
    fi
    command -v cargo >/dev/null || fail "cargo is missing. Install Rust as https://rustup.rs says; rustup then fetches
the toolchain that rust-toolchain.toml names by itself."
}

# need_packages COMMAND=PACKAGE…: installs the Debian packages of the commands that are missing, or says which they are.
need_packages() {
    local pair missing=()
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    # One entry may name several packages.
    read -r -a missing <<<"${missing[*]}"
    if ! command -v apt-get >/dev/null; then
        fail "missing here, under the names that Debian gives them: ${missing[*]}"
    fi
    if [ "$(id -u)" -ne 0 ]; then
        fail "some packages are missing; install them with
    sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}"
    fi
    say "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; } </dev/null >/dev/null ||
        fail "apt-get could not install ${missing[*]}"
}
