#!/usr/bin/env bash
# Every property of src/fuzzing.rs, one after the other or all at once.
#
#   run.sh SECONDS            each for so long, from the corpus on and always by the same seed; nothing kept
#   run.sh SECONDS TARGET...  these only
#
# A finding ends the run with its input, printed and left in fuzz/artifacts. Needs a nightly toolchain, cargo-fuzz and
# a C++ compiler.

set -euo pipefail
cd "$(dirname "$0")"

readonly SECONDS_EACH=${1:?how long, in seconds}
shift
readonly MEMORY=(-rss_limit_mb=1024 -malloc_limit_mb=128 -timeout=20 -max_len=16384)

if [[ $# -eq 0 ]]; then
    mapfile -t targets < <(sed -n 's/^name = "\([a-z_]*\)"$/\1/p' Cargo.toml)
    set -- "${targets[@]}"
fi
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/../target/fuzz}
# No sanitizer: our own code has no unsafe, and without one a target runs many times as often.
cargo +nightly fuzz build --fuzz-dir . --sanitizer none -O
for target; do
    work=$(mktemp -d)
    mkdir -p "artifacts/$target"
    echo "== $target"
    "$CARGO_TARGET_DIR/x86_64-unknown-linux-gnu/release/$target" "$work" "corpus/$target" \
        -seed=1 -max_total_time="$SECONDS_EACH" "${MEMORY[@]}" -artifact_prefix="artifacts/$target/" -print_final_stats=1 \
        2>&1 | grep -E 'stat::number_of_executed_units|stat::peak_rss_mb|ERROR|panicked' || true
    rm -rf "$work"
    if [[ -n $(ls -A "artifacts/$target") ]]; then
        echo "run.sh: $target does not hold: fuzz/artifacts/$target" >&2
        exit 1
    fi
done
