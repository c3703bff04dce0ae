#!/usr/bin/env bash
# OTLP as we write and receive it, judged by the OpenTelemetry Collector's own code: src/exporter/otlp/tests/oracle.rs and
# tests/it/senders.rs against the program in oracle/, which is built here.
#
#   run.sh
#
# The program is kept in $OTTLA_CACHE, else $XDG_CACHE_HOME/ottla, else ~/.cache/ottla. Needs Go, and its module proxy
# the first time. With OTTLA_OTLP_SEED set, other requests are made up than usually.

set -euo pipefail

readonly CACHE="${OTTLA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ottla}"
readonly TESTS=(exporter::otlp::tests::oracle senders::)

here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."

main() {
    if ! command -v go >/dev/null; then
        echo 'skipped: Go is not installed'
        return
    fi
    if ! (cd "$here/oracle" && go mod download); then
        echo "skipped: the Collector's modules cannot be fetched"
        return
    fi
    mkdir -p "$CACHE"
    (cd "$here/oracle" && go build -mod=readonly -o "$CACHE/otlp-oracle" .)
    for tests in "${TESTS[@]}"; do
        # A filter that matches nothing would pass.
        if ! cargo test --quiet --locked --lib --test it "$tests" -- --list | grep ': test$' >/dev/null; then
            echo "run.sh: no test is named $tests" >&2
            exit 1
        fi
    done
    OTTLA_OTLP_ORACLE=$CACHE/otlp-oracle cargo test --locked --lib --test it -- "${TESTS[@]}"
}

main "$@"
