//! Where a request's records go, and with which headers.
//!
//! Decides which topic counts: the one that the request's header names, then the one that a
//! resource's attribute names, then the signal's own. Senders name topics of the list of allowed
//! ones only: a header that names another is refused, as it is the sender's doing; an attribute that
//! does is passed over, as others' resources may be in the same request.

use super::config::OtlpConfig;
use super::schema::Signal;
use super::sending::ExportError;
use crate::producer::Header;

/// What came with a request: HTTP headers, or gRPC metadata.
#[derive(Debug, Clone, Default)]
pub struct Metadata<'a> {
    pairs: Vec<(&'a str, &'a [u8])>,
}

impl<'a> FromIterator<(&'a str, &'a [u8])> for Metadata<'a> {
    /// Names in small letters, as HTTP/2 has them.
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a [u8])>>(pairs: I) -> Self {
        Self { pairs: pairs.into_iter().collect() }
    }
}

impl<'a> Metadata<'a> {
    fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.pairs.iter().filter(move |(found, _)| *found == name).map(|(_, value)| *value)
    }
}

/// The way of one request.
#[derive(Debug)]
pub(super) struct Route<'a> {
    config: &'a OtlpConfig,
    signal: Signal,
    /// The topic that its sender named.
    named: Option<&'a str>,
    headers: Vec<Header<'a>>,
}

impl<'a> Route<'a> {
    pub(super) fn of(
        config: &'a OtlpConfig,
        signal: Signal,
        metadata: &Metadata<'a>,
    ) -> Result<Self, ExportError> {
        let named = config.topic_from_header.as_deref().and_then(|name| metadata.all(name).next());
        let named = match named {
            None => None,
            Some(topic) => Some(allowed(config, topic).ok_or_else(|| ExportError::Topic {
                topic: String::from_utf8_lossy(topic).chars().take(249).collect(),
            })?),
        };
        let mut headers: Vec<_> = config
            .record_headers
            .iter()
            .map(|(key, value)| Header { key, value: Some(value.as_bytes()) })
            .collect();
        for name in &config.headers_from_metadata {
            headers
                .extend(metadata.all(name).map(|value| Header { key: name, value: Some(value) }));
        }
        if config.content_type_header {
            let value = config.format.content_type().as_bytes();
            headers.push(Header { key: "content-type", value: Some(value) });
        }
        Ok(Self { config, signal, named, headers })
    }

    /// The topic of a record whose resources name this one.
    pub(super) fn topic(&self, of_resource: Option<&str>) -> &'a str {
        let of_resource = || of_resource.and_then(|topic| allowed(self.config, topic.as_bytes()));
        self.named.or_else(of_resource).unwrap_or_else(|| self.config.topics.of(self.signal))
    }

    pub(super) fn headers(&self) -> &[Header<'a>] {
        &self.headers
    }

    /// What headers take of a record, at most.
    pub(super) fn headers_size(&self) -> usize {
        let size =
            |header: &Header<'_>| header.key.len() + header.value.map_or(0, <[u8]>::len) + 10;
        self.headers.iter().map(size).sum()
    }
}

fn allowed<'a>(config: &'a OtlpConfig, topic: &[u8]) -> Option<&'a str> {
    config.allowed_topics.iter().find(|allowed| allowed.as_bytes() == topic).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::producer::ProducerConfig;

    fn config() -> OtlpConfig {
        let mut config = OtlpConfig::new(ProducerConfig::new(["localhost:9092"]).unwrap());
        config.topic_from_header = Some("x-topic".into());
        config.allowed_topics = vec!["tenant-a".into(), "tenant-b".into()];
        config.record_headers = vec![("source".into(), "edge".into())];
        config.headers_from_metadata = vec!["x-tenant".into()];
        config.content_type_header = true;
        config
    }

    #[test]
    fn a_header_goes_before_an_attribute_and_an_attribute_before_the_signals_topic() {
        let config = config();
        let route = |pairs: &[(&'static str, &'static [u8])]| {
            Route::of(&config, Signal::Logs, &pairs.iter().copied().collect())
        };
        let named = route(&[("x-topic", b"tenant-b")]).unwrap();
        assert_eq!(named.topic(Some("tenant-a")), "tenant-b");
        let unnamed = route(&[]).unwrap();
        assert_eq!(unnamed.topic(Some("tenant-a")), "tenant-a");
        assert_eq!(unnamed.topic(Some("another")), "otlp_logs");
        assert_eq!(unnamed.topic(None), "otlp_logs");
        let error = route(&[("x-topic", b"__consumer_offsets")]).unwrap_err();
        assert!(error.to_string().contains("\"__consumer_offsets\" is not one that senders may"));
    }

    #[test]
    fn headers_are_those_of_every_record_then_those_of_the_request() {
        let config = config();
        let pairs = [("x-tenant", &b"a"[..]), ("x-other", b"o"), ("x-tenant", b"b")];
        let route = Route::of(&config, Signal::Traces, &pairs.into_iter().collect()).unwrap();
        let headers: Vec<_> =
            route.headers().iter().map(|header| (header.key, header.value.unwrap())).collect();
        let expected: [(&str, &[u8]); 4] = [
            ("source", b"edge"),
            ("x-tenant", b"a"),
            ("x-tenant", b"b"),
            ("content-type", b"application/x-protobuf"),
        ];
        assert_eq!(headers, expected);
        assert!(route.headers_size() > 60);
    }
}
