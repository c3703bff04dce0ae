#!/usr/bin/env bash
# A Rust with the static musl target, for machines that cannot download one: `rustup target add` is the usual way.
#
#   sysroot.sh [x86_64|aarch64]...    make what is missing (x86_64, if none is named); print the folder
#
# The folder is kept in $OTTLA_CACHE, else $XDG_CACHE_HOME/ottla, else ~/.cache/ottla. In it, bin/rustc and bin/cargo
# know the target. From Debian: its rustc, cargo and sources of the standard library, musl's objects and libc.a, and
# LLVM's unwinder; the standard library is compiled once, some minutes per architecture. Needs Debian 12 as root.

set -euo pipefail

readonly CACHE="${OTTLA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ottla}"
readonly HOST=x86_64-unknown-linux-gnu
readonly PACKAGES=(rustc-web cargo-web rust-web-src binutils lld llvm-14)

readonly HOME_OF_ALL="$CACHE/musl-1"

main() {
    local arch
    [[ $# -gt 0 ]] || set -- x86_64
    for arch; do
        case $arch in
            x86_64 | aarch64) ;;
            *) echo "sysroot.sh: unknown architecture $arch: x86_64 or aarch64" >&2 && exit 2 ;;
        esac
    done
    install_packages >&2
    make_root
    for arch; do
        [[ -d $HOME_OF_ALL/lib/rustlib/$arch-unknown-linux-musl ]] || make_target "$arch" >&2
    done
    echo "$HOME_OF_ALL"
}

install_packages() {
    local missing=() package
    for package in "${PACKAGES[@]}"; do
        dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
    done
    if ((${#missing[@]})); then
        apt-get update -q
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
    fi
}

# Debian's own sysroot, by links, with room for more targets.
make_root() {
    local base entry tool
    base=$(/usr/bin/rustc --print sysroot)
    mkdir -p "$HOME_OF_ALL/lib/rustlib" "$HOME_OF_ALL/bin"
    for entry in etc src "$HOST"; do
        ln -sfn "$base/lib/rustlib/$entry" "$HOME_OF_ALL/lib/rustlib/$entry"
    done
    for tool in rustc rustdoc; do
        printf '#!/bin/sh\nexec /usr/bin/%s --sysroot %q "$@"\n' "$tool" "$HOME_OF_ALL" >"$HOME_OF_ALL/bin/$tool"
        chmod +x "$HOME_OF_ALL/bin/$tool"
    done
    ln -sfn /usr/bin/cargo "$HOME_OF_ALL/bin/cargo"
}

# Everything is made beside its place, so that a folder under its final name is whole.
make_target() {
    local arch=$1 target=$1-unknown-linux-musl place="$HOME_OF_ALL/lib/rustlib" work
    work=$(mktemp -d "$CACHE/partial-musl.XXXXXX")
    # shellcheck disable=SC2064
    trap "rm -rf '$work' '$place/$target'" EXIT
    mkdir -p "$place/$target/lib/self-contained"
    fetch_objects "$arch" "$work" "$place/$target/lib/self-contained"
    compile_std "$target" "$work"
    find "$work/target/$target/release/deps" -name '*.rlib' ! -name 'libsysroot-*' \
        -exec cp {} "$place/$target/lib/" \;
    trap - EXIT
    rm -rf "$work"
}

# crt objects, libc.a and libunwind.a of the architecture, which need not be the host's.
fetch_objects() {
    local arch=$1 work=$2 into=$3 debian tuple_musl tuple_gnu apt
    case $arch in
        x86_64) debian=amd64 ;;
        aarch64) debian=arm64 ;;
    esac
    tuple_musl=$arch-linux-musl
    tuple_gnu=$arch-linux-gnu
    mkdir -p "$work/lists/partial" "$work/packages"
    apt=(-oAPT::Sandbox::User=root "-oAPT::Architecture=$debian" "-oAPT::Architectures=$debian" "-oDir::State::Lists=$work/lists")
    apt-get "${apt[@]}" update -qq
    (
        cd "$work/packages"
        apt-get "${apt[@]}" download -qq "musl-dev:$debian" "libgcc-12-dev:$debian" "libunwind-14-dev:$debian"
        for package in *.deb; do
            dpkg-deb -x "$package" .
        done
    )
    cp "$work/packages/usr/lib/$tuple_musl/"{crt1,rcrt1,Scrt1,crti,crtn}.o \
        "$work/packages/usr/lib/$tuple_musl/libc.a" \
        "$work/packages/usr/lib/gcc/$tuple_gnu/12/"{crtbegin,crtbeginS,crtend,crtendS}.o "$into/"
    # Debian's unwinder calls one function of glibc, only on its way to abort.
    llvm-objcopy-14 --redefine-sym __fprintf_chk=abort --remove-section .deplibs \
        "$work/packages/usr/lib/llvm-14/lib/libunwind.a" "$into/libunwind.a"
}

compile_std() {
    local target=$1 work=$2
    mkdir -p "$work/std/src"
    echo '#![no_std]' >"$work/std/src/lib.rs"
    printf '[package]\nname = "sysroot"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n' >"$work/std/Cargo.toml"
    # As Rust's own build does: the crate that aborts must itself be one that aborts.
    # shellcheck disable=SC2016
    printf '%s\n' '#!/bin/bash' 'rustc=$1' 'shift' \
        'case " $* " in *" --crate-name panic_abort "*) set -- "$@" -Cpanic=abort ;; esac' \
        'exec "$rustc" "$@"' >"$work/wrapper"
    chmod +x "$work/wrapper"
    (
        cd "$work/std"
        env -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS RUSTC="$HOME_OF_ALL/bin/rustc" RUSTC_BOOTSTRAP=1 \
            RUSTC_WRAPPER="$work/wrapper" RUSTFLAGS=-Cembed-bitcode=yes CARGO_TARGET_DIR="$work/target" \
            /usr/bin/cargo build --release -q -Zbuild-std=std,panic_abort,panic_unwind,proc_macro,test \
            --target "$target"
    )
}

main "$@"
