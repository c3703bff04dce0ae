#!/usr/bin/env bash
# The real-Kafka suite: the tests of tests/it named real_kafka against a broker of each version below, one after the other.
#
#   run.sh               install, start, test, stop, per version
#   run.sh VERSION...    the same for these versions
#
# With OTTLA_TEST_BROKERS set, the suite runs once, against that broker (a Redpanda, a cluster), and starts none.
# Needs what broker.sh needs, and kcat.

set -euo pipefail

readonly VERSIONS_DEFAULT=(3.9.2 4.4.0)
readonly CLIENT_VERSION=4.4.0

here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
export OTTLA_REQUIRE_KAFKA=1

main() {
    build
    if [[ -n ${OTTLA_TEST_BROKERS:-} ]]; then
        OTTLA_TEST_KAFKA_LIBS=${OTTLA_TEST_KAFKA_LIBS:-$("$here/broker.sh" install "$CLIENT_VERSION")}
        export OTTLA_TEST_KAFKA_LIBS
        suite "$OTTLA_TEST_BROKERS"
        return
    fi
    work=$(mktemp -d)
    trap 'stop_all; rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM
    if (($# == 0)); then
        set -- "${VERSIONS_DEFAULT[@]}"
    fi
    for version in "$@"; do
        against_version "$version"
    done
}

# Before any broker takes memory. A filter that matches nothing would pass, so it is an error here.
build() {
    if ! cargo test --quiet --test it real_kafka -- --list | grep ': test$' >/dev/null; then
        echo "run.sh: tests/it has no real_kafka test" >&2
        exit 1
    fi
}

against_version() {
    "$here/broker.sh" start "$1" "$work/$1"
    # A subshell keeps one version's environment from the next.
    (
        # shellcheck source=/dev/null
        source "$work/$1/env"
        suite "Apache Kafka $1 at $OTTLA_TEST_BROKERS"
    ) || {
        tail -n 50 "$work/$1/broker.log" >&2
        exit 1
    }
    "$here/broker.sh" stop "$work/$1"
}

suite() {
    echo "== real_kafka against $1"
    cargo test --test it real_kafka -- --nocapture
}

stop_all() {
    for dir in "$work"/*/; do
        "$here/broker.sh" stop "$dir"
    done
}

main "$@"
