#!/usr/bin/env bash
# Captures the golden bytes anew: batches/ from three clients, responses/ and requests/ from real brokers.
#
#   capture.sh
#
# Needs what tests/kafka/broker.sh needs, Go, and Python with venv. ../README.md says what the files are.

set -euo pipefail

readonly BROKER_VERSIONS=(3.9.2 4.4.0)
readonly BATCHES_FROM=4.4.0
readonly CONFLUENT_KAFKA=2.16.1

capture=$(cd "$(dirname "$0")" && pwd)
golden=$(dirname "$capture")
broker="$golden/../kafka/broker.sh"
work=$(mktemp -d)

clean_up() {
    local run
    for run in "$work"/run-*/; do
        "$broker" stop "$run"
    done
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

java_run() {
    local program=$1
    shift
    java -Xmx256m -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp "$OTTLA_TEST_KAFKA_LIBS/*" \
        "$capture/$program" "$@"
}

write_batches() {
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check "confluent-kafka==$CONFLUENT_KAFKA"
    java_run Batches.java "$OTTLA_TEST_BROKERS" "$golden/records.json"
    "$work/venv/bin/python" "$capture/batches.py" "$OTTLA_TEST_BROKERS" "$golden/records.json"
    (cd "$capture/franz" && go run . "$OTTLA_TEST_BROKERS" "$golden/records.json")
}

# The broker stores a batch as it came, but for its base offset (zero here) and partition leader epoch.
copy_batches() {
    local topic log
    for log in "$1"/data/{java,librdkafka,franz}-*-0/00000000000000000000.log; do
        topic=$(basename "$(dirname "$log")")
        # A batch's length field, at byte 8, counts what comes after it.
        if (($(od -An -j8 -N4 -tu4 --endian=big "$log") + 12 != $(stat -c %s "$log"))); then
            echo "capture.sh: $topic is not one batch" >&2
            exit 1
        fi
        cp "$log" "$golden/batches/${topic%-0}.bin"
    done
}

rm -rf "$golden/batches" "$golden/responses" "$golden/requests"
mkdir -p "$golden/batches"

"$broker" start "$BATCHES_FROM" "$work/run-batches"
# shellcheck source=/dev/null
source "$work/run-batches/env"
write_batches
copy_batches "$work/run-batches"
"$broker" stop "$work/run-batches"
libs=$OTTLA_TEST_KAFKA_LIBS

for version in "${BROKER_VERSIONS[@]}"; do
    "$broker" start "$version" "$work/run-$version"
    # shellcheck source=/dev/null
    source "$work/run-$version/env"
    # One client's message classes for every broker: those of the newest.
    OTTLA_TEST_KAFKA_LIBS=$libs
    java_run Responses.java "$OTTLA_TEST_BROKERS" "$golden/batches/java-none.bin" \
        "$golden/responses/kafka-$version" "$golden/requests"
    "$broker" stop "$work/run-$version"
done
