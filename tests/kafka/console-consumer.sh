#!/usr/bin/env bash
# Apache Kafka's own console consumer, checking every batch's CRC. Arguments are the consumer's own:
#
#   console-consumer.sh --topic TOPIC --from-beginning --max-messages N --timeout-ms MS
#
# Reads OTTLA_TEST_BROKERS and OTTLA_TEST_KAFKA_LIBS, which `broker.sh start` writes to its env file.

set -euo pipefail

: "${OTTLA_TEST_BROKERS:?the brokers to read from, host:port}"
: "${OTTLA_TEST_KAFKA_LIBS:?a folder of Kafka jars, see broker.sh install}"

# Kafka 4.2 renamed two options, and announces the old names on standard output, among the records.
property=--consumer-property
formatter=--property
if ! compgen -G "$OTTLA_TEST_KAFKA_LIBS/kafka-tools-3.*.jar" >/dev/null; then
    property=--command-property
    formatter=--formatter-property
fi
arguments=()
for argument; do
    [[ $argument == --property ]] && argument=$formatter
    arguments+=("$argument")
done

# check.crcs is the consumer's default; stated because a reader that skips it proves nothing.
exec java -Xmx256m -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp "$OTTLA_TEST_KAFKA_LIBS/*" \
    org.apache.kafka.tools.consumer.ConsoleConsumer \
    --bootstrap-server "$OTTLA_TEST_BROKERS" "$property" check.crcs=true "${arguments[@]}"
