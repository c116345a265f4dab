# shellcheck shell=bash
# Functions for the scripts beside this file, which source it.

say() {
    printf '%s\n' "$*" >&2
}

fail() {
    say "$(basename "$0"): $*"
    exit 1
}

# The comment at the top of a script is its help.
print_help() {
    sed -n '2,/^[^#]/ { s/^# \{0,1\}//p; }' "$0"
}

has() {
    command -v "$1" > /dev/null 2>&1
}

# Runs a command as root, or fails where that would take a password.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif has sudo && sudo -n true 2> /dev/null; then
        sudo -n "$@"
    else
        return 1
    fi
}

# install APT DNF BREW: installs packages, under the names they have for each package manager. What the managers
# print goes to standard error. Fails where there is none of them, or no right to use it.
install() {
    # shellcheck disable=SC2086 # each name may be several packages
    if has apt-get; then
        # The package lists of a fresh machine are empty.
        apt_install $1 || { as_root apt-get -qq update >&2 && apt_install $1; }
    elif has dnf; then
        as_root dnf -q -y install $2 >&2
    elif has brew; then
        brew install --quiet $3 >&2
    else
        return 1
    fi
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -y -o Dpkg::Use-Pty=0 --no-install-recommends install "$@" >&2
}

# Makes sure of cargo, and of the C compiler without which it cannot link.
use_cargo() {
    has cargo || PATH=$PATH:$HOME/.cargo/bin
    has cargo || fail "cargo is missing: install Rust, with rustup or as the packages cargo, rustfmt and clippy"
    has cc || install "gcc libc6-dev" gcc gcc || fail "cc is missing, and Rust needs it to link: install a C compiler"
}

# Makes sure of OpenSSL, for the feature tls: of its headers, and of the program, which makes the tests' certificates.
use_openssl() {
    if ! has openssl || ! has pkg-config || ! pkg-config --exists openssl; then
        install "openssl libssl-dev pkg-config" "openssl openssl-devel pkgconf-pkg-config" "openssl pkgconf" \
            || fail "OpenSSL's headers are missing, and the feature tls needs them: install libssl-dev and pkg-config"
    fi
}
