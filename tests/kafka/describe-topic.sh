#!/usr/bin/env bash
# A topic as Apache Kafka's own tool describes it: partitions, replicas, and its own configuration.
#
#   describe-topic.sh TOPIC
#
# Reads OTTLA_TEST_BROKERS and OTTLA_TEST_KAFKA_LIBS, which `broker.sh start` writes to its env file.

set -euo pipefail

: "${1:?the topic}"
: "${OTTLA_TEST_BROKERS:?the brokers to ask, host:port}"
: "${OTTLA_TEST_KAFKA_LIBS:?a folder of Kafka jars, see broker.sh install}"

exec java -Xmx256m -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp "$OTTLA_TEST_KAFKA_LIBS/*" \
    org.apache.kafka.tools.TopicCommand \
    --bootstrap-server "$OTTLA_TEST_BROKERS" --describe --topic "$1"
