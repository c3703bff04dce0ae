//! Every property of librdkafka that concerns a producer, one row each, in the order of its own
//! list; then those of consumers, and those that it does not list.
//!
//! <https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md>

use super::table::{
    Effect, Row, Set, acks, batch_records_max, bootstrap, buffer_memory, client_id, codec,
    connections_max_idle, delivery_timeout, partitioner, retries, sticky,
};
use super::value::Kind;

const INT_MAX: i64 = i32::MAX as i64;

const CODECS: Kind = Kind::Choice(&["none", "gzip", "snappy", "lz4", "zstd"]);

const DEBUG: &[&str] = &[
    "generic",
    "broker",
    "topic",
    "metadata",
    "feature",
    "queue",
    "msg",
    "protocol",
    "cgrp",
    "security",
    "fetch",
    "interceptor",
    "plugin",
    "consumer",
    "admin",
    "eos",
    "mock",
    "assignor",
    "conf",
    "telemetry",
    "all",
];

const ROOTS: Effect = Effect::Rule("tls.roots");
const IDENTITY: Effect = Effect::Rule("tls.identity");
const SASL: Effect = Effect::Rule("sasl");
const OPENSSL: Effect = Effect::Refused("it is a setting of OpenSSL, which is not used");
const KERBEROS: Effect = Effect::Refused("Kerberos needs a library in C");
const OAUTH: Effect = Effect::Refused("OAUTHBEARER is not in this version");
const TRANSACTIONS: Effect = Effect::Refused("there are no transactions");

const fn row(name: &'static str, kind: Kind, default: &'static str, effect: Effect) -> Row {
    Row { name, kind, default, effect }
}

const fn alias(name: &'static str, canonical: &'static str) -> Row {
    row(name, Kind::Text, "", Effect::Alias(canonical))
}

const fn pointer(name: &'static str) -> Row {
    row(name, Kind::Pointer, "", Effect::Callback)
}

const fn shadowed(name: &'static str) -> Row {
    row(name, Kind::Pointer, "", Effect::Shadowed)
}

const fn consumer(name: &'static str) -> Row {
    row(name, Kind::Text, "", Effect::Consumer)
}

const fn number(min: i64, max: i64) -> Kind {
    Kind::Number { min, max, names: &[] }
}

const fn inert(reason: &'static str) -> Effect {
    Effect::Inert(reason)
}

/// A property that is a field, value for value.
macro_rules! sets {
    ($form:ident, $field:ident) => {
        Effect::Sets(stringify!($field), Set::$form(|config| &mut config.$field))
    };
}

/// Those of the client.
pub(super) const GLOBAL: &[Row] = &[
    row("builtin.features", Kind::Text, "", inert("it describes librdkafka's build")),
    row("client.id", Kind::Text, "rdkafka", Effect::Sets("client_id", Set::Other(client_id))),
    row("metadata.broker.list", Kind::Text, "", Effect::Sets("bootstrap", Set::Other(bootstrap))),
    alias("bootstrap.servers", "metadata.broker.list"),
    row("message.max.bytes", number(1000, 1_000_000_000), "1000000", sets!(Size, record_size_max)),
    row(
        "message.copy.max.bytes",
        number(0, 1_000_000_000),
        "65535",
        inert("every record is copied once, into its batch"),
    ),
    row(
        "receive.message.max.bytes",
        number(1000, INT_MAX),
        "100000000",
        sets!(Size, response_size_max),
    ),
    row(
        "max.in.flight.requests.per.connection",
        number(1, 1_000_000),
        "1000000",
        sets!(Size, max_in_flight),
    ),
    alias("max.in.flight", "max.in.flight.requests.per.connection"),
    row(
        "metadata.recovery.strategy",
        Kind::Choice(&["none", "rebootstrap"]),
        "rebootstrap",
        inert("the bootstrap brokers are always asked when no known one answers"),
    ),
    row(
        "metadata.recovery.rebootstrap.trigger.ms",
        number(0, INT_MAX),
        "300000",
        inert("the bootstrap brokers are asked as soon as the known ones have not answered"),
    ),
    row(
        "topic.metadata.refresh.interval.ms",
        number(-1, 3_600_000),
        "300000",
        Effect::Rule("metadata_max_age"),
    ),
    row("metadata.max.age.ms", number(1, 86_400_000), "900000", Effect::Rule("metadata_max_age")),
    row(
        "topic.metadata.refresh.fast.interval.ms",
        number(1, 60_000),
        "100",
        inert("a missing leader is asked for at the pace of retry.backoff.ms"),
    ),
    row("topic.metadata.refresh.fast.cnt", number(0, 1000), "10", Effect::Deprecated),
    row(
        "topic.metadata.refresh.sparse",
        Kind::Flag,
        "true",
        inert("only topics in use are ever asked for"),
    ),
    row(
        "topic.metadata.propagation.max.ms",
        number(0, 3_600_000),
        "30000",
        inert("records wait for an unknown topic until message.timeout.ms"),
    ),
    row(
        "topic.blacklist",
        Kind::Text,
        "",
        inert("only topics that records are sent to are looked at"),
    ),
    row(
        "debug",
        Kind::Flags(DEBUG),
        "",
        inert("the program's own log filter decides what is logged"),
    ),
    row(
        "socket.timeout.ms",
        number(10, 300_000),
        "60000",
        inert("request.timeout.ms bounds every request"),
    ),
    row("socket.blocking.max.ms", number(1, 60_000), "1000", Effect::Deprecated),
    row(
        "socket.send.buffer.bytes",
        number(0, 100_000_000),
        "0",
        inert("the system sizes the buffers of sockets"),
    ),
    row(
        "socket.receive.buffer.bytes",
        number(0, 100_000_000),
        "0",
        inert("the system sizes the buffers of sockets"),
    ),
    row(
        "socket.keepalive.enable",
        Kind::Flag,
        "false",
        inert("requests that get no answer tell that a connection is dead"),
    ),
    row(
        "socket.nagle.disable",
        Kind::Flag,
        "true",
        inert("requests are never held back by the Nagle algorithm"),
    ),
    row(
        "socket.max.fails",
        number(0, 1_000_000),
        "1",
        inert("a connection is closed at the first request that times out"),
    ),
    row(
        "broker.address.ttl",
        number(0, 86_400_000),
        "1000",
        inert("names are resolved anew for each connection"),
    ),
    row(
        "broker.address.family",
        Kind::Choice(&["any", "v4", "v6"]),
        "any",
        inert("every address of a name is tried"),
    ),
    row(
        "socket.connection.setup.timeout.ms",
        number(1000, INT_MAX),
        "30000",
        sets!(Millis, connection_setup_timeout),
    ),
    row(
        "connections.max.idle.ms",
        number(0, INT_MAX),
        "0",
        Effect::Sets("connections_max_idle", Set::Other(connections_max_idle)),
    ),
    row("reconnect.backoff.jitter.ms", number(0, 3_600_000), "0", Effect::Deprecated),
    row("reconnect.backoff.ms", number(0, 3_600_000), "100", sets!(Millis, reconnect_backoff)),
    row(
        "reconnect.backoff.max.ms",
        number(0, 3_600_000),
        "10000",
        sets!(Millis, reconnect_backoff_max),
    ),
    row(
        "statistics.interval.ms",
        number(0, 86_400_000),
        "0",
        inert("there is no periodic statistics event"),
    ),
    row("enabled_events", number(0, INT_MAX), "0", inert("there is no event queue")),
    pointer("error_cb"),
    pointer("throttle_cb"),
    pointer("stats_cb"),
    pointer("log_cb"),
    row(
        "log_level",
        number(0, 7),
        "6",
        inert("the program's own log filter decides what is logged"),
    ),
    row("log.queue", Kind::Flag, "false", inert("there is no log queue")),
    row(
        "log.thread.name",
        Kind::Flag,
        "true",
        inert("the program's own log format decides what is shown"),
    ),
    row("enable.random.seed", Kind::Flag, "true", inert("each producer has a seed of its own")),
    row(
        "log.connection.close",
        Kind::Flag,
        "true",
        inert("the program's own log filter decides what is logged"),
    ),
    pointer("background_event_cb"),
    pointer("socket_cb"),
    pointer("connect_cb"),
    pointer("closesocket_cb"),
    pointer("open_cb"),
    pointer("resolve_cb"),
    pointer("opaque"),
    pointer("default_topic_conf"),
    row(
        "internal.termination.signal",
        number(0, 128),
        "0",
        inert("no thread needs a signal to end"),
    ),
    row("api.version.request", Kind::Flag, "true", Effect::Deprecated),
    row(
        "api.version.request.timeout.ms",
        number(1, 300_000),
        "10000",
        inert("socket.connection.setup.timeout.ms bounds the whole set-up"),
    ),
    row("api.version.fallback.ms", number(0, 604_800_000), "0", Effect::Deprecated),
    row("broker.version.fallback", Kind::Text, "0.10.0", Effect::Deprecated),
    row("allow.auto.create.topics", Kind::Flag, "true", sets!(Flag, allow_auto_create_topics)),
    row(
        "security.protocol",
        Kind::Choice(&["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]),
        "plaintext",
        Effect::Rule("tls, sasl"),
    ),
    row("ssl.cipher.suites", Kind::Text, "", Effect::Rule("tls.cipher_suites")),
    row("ssl.curves.list", Kind::Text, "", OPENSSL),
    row("ssl.sigalgs.list", Kind::Text, "", OPENSSL),
    row("ssl.key.location", Kind::Text, "", IDENTITY),
    row("ssl.key.password", Kind::Secret, "", IDENTITY),
    row("ssl.key.pem", Kind::Secret, "", IDENTITY),
    pointer("ssl_key"),
    row("ssl.certificate.location", Kind::Text, "", IDENTITY),
    row("ssl.certificate.pem", Kind::Text, "", IDENTITY),
    pointer("ssl_certificate"),
    row("ssl.ca.location", Kind::Text, "", ROOTS),
    row("https.ca.location", Kind::Text, "", OAUTH),
    row("https.ca.pem", Kind::Text, "", OAUTH),
    row("ssl.ca.pem", Kind::Text, "", ROOTS),
    pointer("ssl_ca"),
    row("ssl.ca.certificate.stores", Kind::Text, "Root", OPENSSL),
    row("ssl.crl.location", Kind::Text, "", OPENSSL),
    row("ssl.keystore.location", Kind::Text, "", OPENSSL),
    row("ssl.keystore.password", Kind::Secret, "", OPENSSL),
    row("ssl.providers", Kind::Text, "", OPENSSL),
    row("ssl.engine.location", Kind::Text, "", OPENSSL),
    row("ssl.engine.id", Kind::Text, "dynamic", OPENSSL),
    pointer("ssl_engine_callback_data"),
    row(
        "enable.ssl.certificate.verification",
        Kind::Flag,
        "true",
        Effect::Rule("tls.verify_certificates"),
    ),
    row(
        "ssl.endpoint.identification.algorithm",
        Kind::Choice(&["none", "https"]),
        "https",
        Effect::Rule("tls.verify_hostname"),
    ),
    pointer("ssl.certificate.verify_cb"),
    row("sasl.mechanisms", Kind::Text, "GSSAPI", SASL),
    alias("sasl.mechanism", "sasl.mechanisms"),
    row("sasl.kerberos.service.name", Kind::Text, "kafka", KERBEROS),
    row("sasl.kerberos.principal", Kind::Text, "kafkaclient", KERBEROS),
    row("sasl.kerberos.kinit.cmd", Kind::Text, "", KERBEROS),
    row("sasl.kerberos.keytab", Kind::Text, "", KERBEROS),
    row("sasl.kerberos.min.time.before.relogin", number(0, 86_400_000), "60000", KERBEROS),
    row("sasl.username", Kind::Secret, "", SASL),
    row("sasl.password", Kind::Secret, "", SASL),
    row("sasl.oauthbearer.config", Kind::Text, "", OAUTH),
    row("enable.sasl.oauthbearer.unsecure.jwt", Kind::Flag, "false", OAUTH),
    pointer("oauthbearer_token_refresh_cb"),
    row("sasl.oauthbearer.method", Kind::Choice(&["default", "oidc"]), "default", OAUTH),
    row("sasl.oauthbearer.client.id", Kind::Text, "", OAUTH),
    alias("sasl.oauthbearer.client.credentials.client.id", "sasl.oauthbearer.client.id"),
    alias("sasl.oauthbearer.client.credentials.client.secret", "sasl.oauthbearer.client.secret"),
    row("sasl.oauthbearer.client.secret", Kind::Secret, "", OAUTH),
    row("sasl.oauthbearer.scope", Kind::Text, "", OAUTH),
    row("sasl.oauthbearer.extensions", Kind::Text, "", OAUTH),
    row("sasl.oauthbearer.token.endpoint.url", Kind::Text, "", OAUTH),
    row("sasl.oauthbearer.sub.claim.name", Kind::Text, "sub", OAUTH),
    row(
        "sasl.oauthbearer.grant.type",
        Kind::Choice(&["client_credentials", "urn:ietf:params:oauth:grant-type:jwt-bearer"]),
        "client_credentials",
        OAUTH,
    ),
    row("sasl.oauthbearer.assertion.algorithm", Kind::Choice(&["RS256", "ES256"]), "RS256", OAUTH),
    row("sasl.oauthbearer.assertion.private.key.file", Kind::Text, "", OAUTH),
    row("sasl.oauthbearer.assertion.private.key.passphrase", Kind::Secret, "", OAUTH),
    row("sasl.oauthbearer.assertion.private.key.pem", Kind::Secret, "", OAUTH),
    row("sasl.oauthbearer.assertion.file", Kind::Text, "", OAUTH),
    row("sasl.oauthbearer.assertion.claim.aud", Kind::Text, "", OAUTH),
    row("sasl.oauthbearer.assertion.claim.exp.seconds", number(1, INT_MAX), "300", OAUTH),
    row("sasl.oauthbearer.assertion.claim.iss", Kind::Text, "", OAUTH),
    row("sasl.oauthbearer.assertion.claim.jti.include", Kind::Flag, "false", OAUTH),
    row("sasl.oauthbearer.assertion.claim.nbf.seconds", number(0, INT_MAX), "60", OAUTH),
    row("sasl.oauthbearer.assertion.claim.sub", Kind::Text, "", OAUTH),
    row("sasl.oauthbearer.assertion.jwt.template.file", Kind::Text, "", OAUTH),
    row(
        "sasl.oauthbearer.metadata.authentication.type",
        Kind::Choice(&["none", "azure_imds", "aws_iam"]),
        "none",
        OAUTH,
    ),
    row("plugin.library.paths", Kind::Text, "", Effect::Refused("plugins are libraries in C")),
    pointer("interceptors"),
    row("client.rack", Kind::Text, "", inert("a producer writes to leaders, wherever they are")),
    row("transactional.id", Kind::Text, "", TRANSACTIONS),
    row("transaction.timeout.ms", number(1000, INT_MAX), "60000", TRANSACTIONS),
    row("enable.idempotence", Kind::Flag, "false", sets!(Flag, idempotence)),
    row(
        "enable.gapless.guarantee",
        Kind::Flag,
        "false",
        Effect::Refused("a record that fails does not stop the records behind it"),
    ),
    row(
        "queue.buffering.max.messages",
        number(0, INT_MAX),
        "100000",
        inert("the buffer is bounded in bytes, by queue.buffering.max.kbytes"),
    ),
    row(
        "queue.buffering.max.kbytes",
        number(1, INT_MAX),
        "1048576",
        Effect::Sets("buffer_memory", Set::Other(buffer_memory)),
    ),
    row(
        "queue.buffering.max.ms",
        Kind::Fraction { min: 0, max: 900_000 },
        "5",
        sets!(Millis, linger),
    ),
    alias("linger.ms", "queue.buffering.max.ms"),
    row(
        "message.send.max.retries",
        number(0, INT_MAX),
        "2147483647",
        Effect::Sets("retries", Set::Other(retries)),
    ),
    alias("retries", "message.send.max.retries"),
    row("retry.backoff.ms", number(1, 300_000), "100", sets!(Millis, retry_backoff)),
    row("retry.backoff.max.ms", number(1, 300_000), "1000", sets!(Millis, retry_backoff_max)),
    row(
        "queue.buffering.backpressure.threshold",
        number(1, 1_000_000),
        "1",
        inert("a batch grows for as long as its broker is busy"),
    ),
    row("compression.codec", CODECS, "none", Effect::Sets("compression", Set::Other(codec))),
    alias("compression.type", "compression.codec"),
    row(
        "batch.num.messages",
        number(1, 1_000_000),
        "10000",
        Effect::Sets("batch_records_max", Set::Other(batch_records_max)),
    ),
    row("batch.size", number(1, INT_MAX), "1000000", sets!(Size, batch_size)),
    row("delivery.report.only.error", Kind::Flag, "false", inert("every record tells its own end")),
    pointer("dr_cb"),
    pointer("dr_msg_cb"),
    row(
        "sticky.partitioning.linger.ms",
        number(0, 900_000),
        "10",
        Effect::Sets("sticky_partitioning", Set::Other(sticky)),
    ),
    row(
        "client.dns.lookup",
        Kind::Choice(&["use_all_dns_ips", "resolve_canonical_bootstrap_servers_only"]),
        "use_all_dns_ips",
        inert("every address of a name is tried, and none is looked up in reverse"),
    ),
    row("enable.metrics.push", Kind::Flag, "true", inert("no metrics are pushed to brokers")),
];

/// Those of a topic.
pub(super) const TOPIC: &[Row] = &[
    row(
        "request.required.acks",
        Kind::Number { min: -1, max: 1000, names: &[("all", -1)] },
        "-1",
        Effect::Sets("acks", Set::Other(acks)),
    ),
    alias("acks", "request.required.acks"),
    row("request.timeout.ms", number(1, 900_000), "30000", sets!(Millis, request_timeout)),
    row(
        "message.timeout.ms",
        number(0, INT_MAX),
        "300000",
        Effect::Sets("delivery_timeout", Set::Other(delivery_timeout)),
    ),
    alias("delivery.timeout.ms", "message.timeout.ms"),
    row("queuing.strategy", Kind::Choice(&["fifo", "lifo"]), "fifo", Effect::Deprecated),
    row("produce.offset.report", Kind::Flag, "false", Effect::Deprecated),
    row(
        "partitioner",
        Kind::Text,
        "consistent_random",
        Effect::Sets("partitioner", Set::Other(partitioner)),
    ),
    pointer("partitioner_cb"),
    pointer("msg_order_cmp"),
    shadowed("opaque"),
    shadowed("compression.codec"),
    shadowed("compression.type"),
    row("compression.level", number(-1, 12), "-1", Effect::Rule("compression")),
];

/// Those of consumers, which one configuration for both kinds of client may hold.
pub(super) const CONSUMER: &[Row] = &[
    consumer("group.id"),
    consumer("group.instance.id"),
    consumer("partition.assignment.strategy"),
    consumer("session.timeout.ms"),
    consumer("heartbeat.interval.ms"),
    consumer("group.protocol.type"),
    consumer("group.protocol"),
    consumer("group.remote.assignor"),
    consumer("coordinator.query.interval.ms"),
    consumer("max.poll.interval.ms"),
    consumer("enable.auto.commit"),
    consumer("auto.commit.interval.ms"),
    consumer("enable.auto.offset.store"),
    consumer("queued.min.messages"),
    consumer("queued.max.messages.kbytes"),
    consumer("fetch.wait.max.ms"),
    consumer("fetch.queue.backoff.ms"),
    consumer("fetch.message.max.bytes"),
    consumer("max.partition.fetch.bytes"),
    consumer("fetch.max.bytes"),
    consumer("fetch.min.bytes"),
    consumer("fetch.error.backoff.ms"),
    consumer("offset.store.method"),
    consumer("isolation.level"),
    pointer("consume_cb"),
    pointer("rebalance_cb"),
    pointer("offset_commit_cb"),
    consumer("enable.partition.eof"),
    consumer("check.crcs"),
    consumer("auto.commit.enable"),
    consumer("auto.offset.reset"),
    consumer("offset.store.path"),
    consumer("offset.store.sync.interval.ms"),
    consumer("consume.callback.max.messages"),
];

/// Those that librdkafka keeps out of its list.
pub(super) const HIDDEN: &[Row] = &[
    row("client.software.name", Kind::Text, "", inert("brokers are told the name of this library")),
    row(
        "client.software.version",
        Kind::Text,
        "",
        inert("brokers are told this library's version"),
    ),
    row(
        "test.mock.num.brokers",
        Kind::Text,
        "",
        Effect::Refused("there is no mock cluster, start the embedded broker instead"),
    ),
];
