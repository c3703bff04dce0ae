#!/usr/bin/env bash
# The static binary: built without a C compiler, static indeed, small enough, and at work in an empty root.
#
#   run.sh [x86_64|aarch64]...   x86_64, if none is named
#
# By rustup's target, or by sysroot.sh where it cannot be had. aarch64 runs under qemu. Prints where each binary is. What
# cannot be run here says why.

set -euo pipefail

readonly SIZE_MAX=13500000

here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."

main() {
    local arch binary
    [[ $# -gt 0 ]] || set -- x86_64
    for arch; do
        build "$arch"
        binary=target/$arch-unknown-linux-musl/release/ottla
        check_static "$binary"
        check_empty_root "$arch" "$binary"
    done
}

# Nobody's C compiler: whoever asks for one fails. The linker is LLVM's, which links and does not compile.
build() {
    local target=$1-unknown-linux-musl linker root
    linker=CARGO_TARGET_$(tr '[:lower:]-' '[:upper:]_' <<<"$target")_LINKER
    export CC=/bin/false CXX=/bin/false CMAKE=/bin/false
    if has_target "$target"; then
        env "$linker=rust-lld" cargo build --locked --release --target "$target"
    else
        root=$("$here/sysroot.sh" "$1")
        env "PATH=$root/bin:$PATH" "RUSTC=$root/bin/rustc" "$linker=ld.lld" \
            cargo build --locked --release --target "$target"
    fi
}

has_target() {
    local folder
    folder=$(rustc --print sysroot)/lib/rustlib/$1
    [[ -d $folder ]] || timeout 120 rustup target add "$1" >/dev/null 2>&1 || true
    [[ -d $folder ]]
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

# Nothing there but the program: no libc, no certificates, no /etc, no /proc. On another processor, qemu, static itself,
# is there too.
check_empty_root() {
    local root run=(/ottla demo)
    ((EUID == 0)) || { echo 'skipped: an empty root needs the right to chroot' && return; }
    root=$(mktemp -d)
    cp "$2" "$root/ottla"
    if [[ $1 != "$(uname -m)" ]]; then
        find_qemu "$1" || { echo "skipped: qemu-$1-static is not here, and cannot be installed" && return; }
        cp "$(command -v "qemu-$1-static")" "$root/qemu"
        run=(/qemu "${run[@]}")
    fi
    chroot "$root" "${run[@]}" | tail -n 5
    rm -rf "$root"
}

find_qemu() {
    command -v "qemu-$1-static" >/dev/null || {
        apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q qemu-user-static
    } >/dev/null 2>&1 || true
    command -v "qemu-$1-static" >/dev/null
}

main "$@"
