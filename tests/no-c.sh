#!/usr/bin/env bash
# Fails if the crate's tree of normal and build dependencies can compile or link C: a crate that builds C or looks for
# a C library, a crate named as a binding to one, or any crate with a `links` key. There is no allow-list. Development dependencies are not looked at.
#
#   no-c.sh
#
# Looks at the default features, at none and at those for the OpenTelemetry SDK, for glibc and for musl; neither target needs to be installed.

set -euo pipefail
cd "$(dirname "$0")/.."

readonly TARGETS=(x86_64-unknown-linux-gnu x86_64-unknown-linux-musl)
readonly C_BUILDERS='^(cc|cmake|bindgen|pkg-config|vcpkg|system-deps|[^ ]*-sys) '

# One line "name vVERSION" per crate of the tree.
tree() {
    cargo tree --locked --edges normal,build --prefix none --format '{p}' --target "$@" |
        awk '{ print $1, $2 }' | sort -u
}

# The same, for every crate in the lock file that claims to link a native library.
linking() {
    cargo metadata --locked --format-version 1 | python3 -c '
import json, sys
for package in json.load(sys.stdin)["packages"]:
    if package["links"]:
        print(package["name"], "v" + package["version"])
' | sort -u
}

failed=0
links=$(linking)
for target in "${TARGETS[@]}"; do
    for features in '' --no-default-features --features=otel-sdk; do
        crates=$(tree "$target" ${features:+"$features"})
        bad=$(
            grep -E "$C_BUILDERS" <<<"$crates" || true
            comm -12 <(echo "$crates") <(echo "$links")
        )
        label="$target, ${features:-default features}: $(wc -l <<<"$crates") crates"
        if [[ -n $bad ]]; then
            printf 'C in the tree of %s\n%s\n' "$label" "$(sort -u <<<"$bad")" >&2
            failed=1
        else
            echo "no C in the tree of $label"
        fi
    done
done
exit "$failed"
