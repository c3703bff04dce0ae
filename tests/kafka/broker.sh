#!/usr/bin/env bash
# A single-node Apache Kafka for tests, from Maven, in KRaft mode, on loopback ports that the system picks.
#
#   broker.sh install VERSION     fetch Kafka VERSION into the cache, unless it is there; print its libs folder
#   broker.sh start VERSION DIR   start a broker whose every file is in DIR, wait until it answers, write DIR/env
#   broker.sh stop DIR            stop the broker of DIR; nothing to stop is not an error
#
# DIR/env sets OTTLA_TEST_BROKERS, OTTLA_TEST_SASL_SSL and OTTLA_TEST_SSL (the same broker, of a user "user" with the
# password "pencil", and of clients with a certificate of tests/tls/ca.pem), and OTTLA_TEST_KAFKA_LIBS (the Java clients
# and tools, for console-consumer.sh).
# The cache is $OTTLA_CACHE, else $XDG_CACHE_HOME/ottla, else ~/.cache/ottla. Needs Java 17, Maven and perl.

set -euo pipefail

readonly READY_SECONDS_MAX=90
readonly STOP_SECONDS_MAX=30
readonly START_ATTEMPTS_MAX=3
# A login is good for so long: tests outlast it a few times.
readonly LOGIN_MS=2000
TLS=$(cd "$(dirname "$0")/../tls" && pwd)
readonly TLS
readonly CACHE="${OTTLA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ottla}"
# Sixteen bytes in unpadded base64, as Kafka wants them.
readonly CLUSTER_ID=b3R0bGEtdGVzdC1rYWZrYQ

die() {
    echo "broker.sh: $*" >&2
    exit 1
}

usage() {
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

# Fills a temporary folder and renames it at the end, so that a folder under its final name is always complete.
install_kafka() {
    local version=$1 home="$CACHE/kafka-$1" partial
    if [[ ! -d $home ]]; then
        mkdir -p "$CACHE"
        partial=$(mktemp -d "$CACHE/partial-kafka-$version.XXXXXX")
        write_pom "$version" >"$partial/pom.xml"
        if ! (cd "$partial" && mvn -B -q -Dstyle.color=never dependency:copy-dependencies \
            -DincludeScope=runtime -DoutputDirectory="$partial/libs") >"$partial/maven.log" 2>&1; then
            cat "$partial/maven.log" >&2
            rm -rf "$partial"
            die "maven could not fetch kafka $version"
        fi
        # Another install may have finished first; its folder is as good as ours.
        mv -T "$partial" "$home" 2>/dev/null || rm -rf "$partial"
    fi
    echo "$home/libs"
}

# One logger for every version: Kafka 3 binds SLF4J to reload4j, Kafka 4's artifact binds it to nothing.
write_pom() {
    cat <<POM
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>ottla.test</groupId>
  <artifactId>kafka-libs</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>$1</version>
      <exclusions>
        <exclusion><groupId>org.slf4j</groupId><artifactId>slf4j-reload4j</artifactId></exclusion>
      </exclusions>
    </dependency>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka-tools</artifactId>
      <version>$1</version>
      <exclusions>
        <exclusion><groupId>org.slf4j</groupId><artifactId>slf4j-reload4j</artifactId></exclusion>
      </exclusions>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
POM
}

# A port picked here can be taken before Kafka binds it, so a broker that dies early is tried again on other ports.
start_broker() {
    local version=$1 dir libs attempt
    libs=$(install_kafka "$version")
    mkdir -p "$2"
    dir=$(cd "$2" && pwd)
    if owned_pid "$dir" >/dev/null; then
        die "a broker already runs in $dir"
    fi
    for ((attempt = 1; attempt <= START_ATTEMPTS_MAX; attempt++)); do
        if launch "$libs" "$dir"; then
            return
        fi
        stop_broker "$dir"
        grep -q 'Address already in use' "$dir/broker.log" || break
    done
    cat "$dir/broker.log" >&2
    die "kafka $version did not start"
}

launch() {
    local libs=$1 dir=$2 ports
    mapfile -t ports < <(free_ports 4)
    rm -rf "$dir/data" "$dir/env"
    write_properties "$dir" "${ports[@]}" >"$dir/server.properties"
    # Kafka wants the key and its certificate in one file.
    cat "$TLS/server.key" "$TLS/server.pem" >"$dir/server.pem"
    : >"$dir/broker.log"
    java -Xmx256m -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$libs/*" kafka.tools.StorageTool \
        format --cluster-id "$CLUSTER_ID" --config "$dir/server.properties" \
        --add-scram 'SCRAM-SHA-256=[name=user,password=pencil]' \
        --add-scram 'SCRAM-SHA-512=[name=user,password=pencil]' >>"$dir/broker.log" 2>&1 || return 1
    setsid java -Xmx512m -XX:+UseSerialGC -Djava.awt.headless=true \
        -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -Dorg.slf4j.simpleLogger.showDateTime=true \
        -cp "$libs/*" kafka.Kafka "$dir/server.properties" >>"$dir/broker.log" 2>&1 </dev/null &
    echo $! >"$dir/pid"
    # Until the child has become Java, its command line is still this script's.
    until owned_pid "$dir" >/dev/null; do
        kill -0 $! 2>/dev/null || return 1
        sleep 0.01
    done
    wait_until_ready "$dir" "${ports[0]}" || return 1
    cat >"$dir/env" <<ENV
export OTTLA_TEST_BROKERS=127.0.0.1:${ports[0]}
export OTTLA_TEST_SASL_SSL=127.0.0.1:${ports[2]}
export OTTLA_TEST_SSL=127.0.0.1:${ports[3]}
export OTTLA_TEST_KAFKA_LIBS=$(printf %q "$libs")
ENV
}

# All the sockets are open at once, so that no port comes twice.
free_ports() {
    perl -MIO::Socket::INET -e '
        my @sockets = map { IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 0, Listen => 1) or die $! }
            1 .. shift;
        print $_->sockport, "\n" for @sockets;
    ' "$1"
}

# Internal topics with one replica, no first-join delay: a single node that serves consumers at once.
write_properties() {
    local dir=$1 broker_port=$2 controller_port=$3 sasl_ssl_port=$4 ssl_port=$5
    cat <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller_port
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$broker_port,CONTROLLER://127.0.0.1:$controller_port,\
SASL_SSL://127.0.0.1:$sasl_ssl_port,SSL://127.0.0.1:$ssl_port
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL
ssl.keystore.type=PEM
ssl.keystore.location=$dir/server.pem
ssl.truststore.type=PEM
ssl.truststore.location=$TLS/ca.pem
listener.name.ssl.ssl.client.auth=required
listener.name.sasl_ssl.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
user_user="pencil";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
connections.max.reauth.ms=$LOGIN_MS
log.dirs=$dir/data
num.partitions=1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.retention.ms=-1
PROPERTIES
}

# Ready means that the broker lists itself: its socket is open a little before it may lead a partition.
wait_until_ready() {
    local dir=$1 port=$2 deadline=$((SECONDS + READY_SECONDS_MAX))
    while ((SECONDS < deadline)); do
        owned_pid "$dir" >/dev/null || return 1
        if (($(broker_count "$port") > 0)); then
            return
        fi
        sleep 0.2
    done
    echo "no answer within $READY_SECONDS_MAX s" >>"$dir/broker.log"
    return 1
}

# Metadata v1 (null client id, no topics) answers size(4) correlation(4) broker_count(4).
# The child shell holds the socket, so that a failed connect says nothing and nothing stays open.
broker_count() {
    local hex
    # shellcheck disable=SC2016
    hex=$(timeout 2 bash -c '
        exec 3<>"/dev/tcp/127.0.0.1/$1" &&
        printf "\0\0\0\x0e\0\x03\0\x01\0\0\0\x01\xff\xff\0\0\0\0" >&3 &&
        head -c 12 <&3 | od -An -v -tx1 | tr -d " \n"' probe "$1" 2>/dev/null) || true
    if [[ ${#hex} -eq 24 ]]; then
        echo $((16#${hex:16:8}))
    else
        echo 0
    fi
}

# The process id may belong to somebody else by now, so it must still run our configuration.
owned_pid() {
    local dir=$1 pid
    [[ -f $dir/pid ]] || return 1
    pid=$(<"$dir/pid")
    tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qxF "$dir/server.properties" || return 1
    echo "$pid"
}

stop_broker() {
    local dir pid deadline=$((SECONDS + STOP_SECONDS_MAX))
    dir=$(cd "$1" 2>/dev/null && pwd) || return 0
    pid=$(owned_pid "$dir") || return 0
    kill "$pid"
    while owned_pid "$dir" >/dev/null; do
        if ((SECONDS >= deadline)); then
            kill -KILL "$pid" 2>/dev/null || true
            break
        fi
        sleep 0.1
    done
    rm -f "$dir/pid" "$dir/env"
}

case "${1:-} $#" in
    'install 2') install_kafka "$2" ;;
    'start 3') start_broker "$2" "$3" ;;
    'stop 2') stop_broker "$2" ;;
    *) usage ;;
esac
