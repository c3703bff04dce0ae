#!/usr/bin/env bash
# The static binary: built without a C compiler, static indeed, small enough, and at work in an empty root.
#
#   run.sh            x86_64, by rustup's target, or by sysroot.sh where there is none
#
# Prints the path of the binary last. What cannot be run here says why.

set -euo pipefail

readonly TARGET=x86_64-unknown-linux-musl
readonly SIZE_MAX=12000000

here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."

# Nobody's C compiler: whoever asks for one fails. The linker is LLVM's, which links and does not compile.
build() {
    export CC=/bin/false CXX=/bin/false CMAKE=/bin/false
    if [[ -d $(rustc --print sysroot)/lib/rustlib/$TARGET ]]; then
        CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER=rust-lld cargo build --locked --release --target "$TARGET"
    else
        root=$("$here/sysroot.sh" x86_64)
        PATH=$root/bin:$PATH RUSTC=$root/bin/rustc CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER=ld.lld \
            cargo build --locked --release --target "$TARGET"
    fi
}

# A section of dynamic libraries would name what has to be there besides.
check_static() {
    local needed size
    needed=$(readelf -d "$1" | grep NEEDED || true)
    [[ -z $needed ]] || { echo "run.sh: not static: $needed" >&2 && exit 1; }
    ! readelf -l "$1" | grep -q INTERP || { echo 'run.sh: it wants an interpreter' >&2 && exit 1; }
    size=$(stat -c %s "$1")
    echo "$1: static, $size bytes"
    ((size <= SIZE_MAX)) || { echo "run.sh: more than $SIZE_MAX bytes" >&2 && exit 1; }
}

# Nothing there but the program: no libc, no certificates, no /etc, no /proc.
check_empty_root() {
    local root
    root=$(mktemp -d)
    cp "$1" "$root/ottla"
    if ((EUID == 0)); then
        chroot "$root" /ottla demo | tail -n 5
    else
        echo 'skipped: an empty root needs the right to chroot'
    fi
    rm -rf "$root"
}

build
binary=target/$TARGET/release/ottla
check_static "$binary"
"$binary" demo >/dev/null
check_empty_root "$binary"
