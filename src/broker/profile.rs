//! Profiles: which broker the embedded one passes for.
//!
//! Decides, for each broker, which versions it advertises and serves, and where its answers differ
//! from those of the newest Kafka. Pure. What is the same for all of them is in the handlers.
//!
//! ```text
//!                              Kafka 4     Kafka 3.9   Kafka 2     Redpanda
//! ApiVersions of a version     35, and     35, and     35, and     35, and
//!   not served, as v0            key 18      key 18      nothing     all keys
//! another API of a version     closes the connection, all of them
//!   not served
//! unknown producer,            taken       taken       59          taken
//!   sequence not 0
//! record that is none          87          87          2           87
//! disk full                    56          56          56          8
//! log start offset             told        told        told        -1
//! unknown topics               created     created     created     unknown
//! new topics of no number      defaults    defaults    37, 38      defaults
//! ```
//!
//! Sources: Apache Kafka 4.4.0, 3.9.2 and 2.1 (`RequestContext.parseRequest`, `SocketServer`,
//! `ProducerAppendInfo.checkSequence`); Redpanda 24.3 (`kafka/server/handlers`); KIP-511.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::dispatch::Api;
use crate::protocol::ErrorCode;

/// A broker to pass for.
///
/// ```
/// use ottla::broker::{Api, Profile};
///
/// assert_eq!("redpanda".parse(), Ok(Profile::Redpanda));
/// assert_eq!(Profile::Redpanda.advertised(Api::Produce), 0..=7);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Profile {
    /// Apache Kafka 4.4.
    #[default]
    Kafka4,
    /// Apache Kafka 3.9.
    Kafka39,
    /// Apache Kafka 2.1: nothing is flexible yet, and a producer must begin at sequence 0.
    Kafka2,
    /// Redpanda 24.3: an old Produce beside newer control messages.
    Redpanda,
}

/// A name that is no profile's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no broker profile has this name")]
pub struct UnknownProfile;

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 4] = [Self::Kafka4, Self::Kafka39, Self::Kafka2, Self::Redpanda];

    /// Its name on a command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kafka4 => "kafka4",
            Self::Kafka39 => "kafka3.9",
            Self::Kafka2 => "kafka2",
            Self::Redpanda => "redpanda",
        }
    }

    /// The versions that it says it serves: the real broker's, as far up as the embedded broker
    /// goes.
    pub fn advertised(self, api: Api) -> RangeInclusive<i16> {
        let (min, max) = self.real(api);
        min..=max.min(*api.versions().end())
    }

    /// The versions that it does serve. It advertises lower ones too, as Kafka 4 does with Produce
    /// (KAFKA-18659): librdkafka takes a broker that does not list Produce v0 for one that cannot
    /// compress.
    pub(crate) fn served(self, api: Api) -> RangeInclusive<i16> {
        let (advertised, known) = (self.advertised(api), api.versions());
        *advertised.start().max(known.start())..=*advertised.end()
    }

    /// The first and last version that the real broker advertises.
    const fn real(self, api: Api) -> (i16, i16) {
        let by_profile = match api {
            Api::Produce => [(0, 13), (0, 11), (0, 7), (0, 7)],
            Api::Fetch => [(4, 18), (0, 17), (0, 10), (4, 11)],
            Api::ListOffsets => [(1, 11), (0, 9), (0, 4), (0, 4)],
            Api::Metadata => [(0, 13), (0, 12), (0, 7), (0, 8)],
            Api::FindCoordinator => [(0, 6), (0, 6), (0, 2), (0, 3)],
            Api::SaslHandshake => [(0, 1), (0, 1), (0, 1), (0, 1)],
            Api::ApiVersions => [(0, 5), (0, 4), (0, 2), (0, 3)],
            Api::CreateTopics => [(2, 7), (0, 7), (0, 3), (0, 6)],
            Api::InitProducerId => [(0, 5), (0, 5), (0, 1), (0, 3)],
            Api::SaslAuthenticate => [(0, 2), (0, 2), (0, 0), (0, 2)],
        };
        by_profile[self as usize]
    }

    /// What it lists to a client whose version of ApiVersions it does not serve.
    pub(crate) const fn listed_when_too_new(self) -> &'static [Api] {
        match self {
            Self::Kafka4 | Self::Kafka39 => &[Api::ApiVersions],
            Self::Kafka2 => &[],
            Self::Redpanda => &Api::ALL,
        }
    }

    /// Whether asking for an unknown topic creates it unless the configuration says otherwise.
    pub const fn auto_creates_topics(self) -> bool {
        !matches!(self, Self::Redpanda)
    }

    /// Whether the partitions and replicas of a topic may be left to it (KIP-464): Kafka 2.4 and later.
    pub(crate) const fn fills_in_topics(self) -> bool {
        !matches!(self, Self::Kafka2)
    }

    /// Whether a producer that the log does not know must begin at sequence 0, or is told that it
    /// is unknown. Kafka takes any sequence since 2.4, Redpanda since 24.3.
    pub(crate) const fn refuses_unknown_producers(self) -> bool {
        matches!(self, Self::Kafka2)
    }

    /// Whether Produce is answered with the offset that the log begins at.
    pub(crate) const fn tells_log_start(self) -> bool {
        !matches!(self, Self::Redpanda)
    }

    /// Whether SCRAM's last message must repeat the broker's nonce and nothing else. Kafka before 4
    /// and Redpanda take one with more in front of it, as librdkafka sends before 2.6.1.
    pub(crate) const fn compares_nonces(self) -> bool {
        matches!(self, Self::Kafka4)
    }

    /// What it answers to every batch while its disk is full. Kafka takes the disk out of service;
    /// Redpanda says that it is not available.
    pub(crate) const fn disk_full(self) -> ErrorCode {
        match self {
            Self::Redpanda => ErrorCode::BROKER_NOT_AVAILABLE,
            _ => ErrorCode::KAFKA_STORAGE_ERROR,
        }
    }

    /// What it answers where the newest Kafka refuses a batch with `code`.
    pub(crate) const fn refusal(self, code: ErrorCode) -> ErrorCode {
        match (self, code) {
            // Before KIP-467 a record that is none was a kind of corruption.
            (Self::Kafka2, ErrorCode::INVALID_RECORD) => ErrorCode::CORRUPT_MESSAGE,
            _ => code,
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(name: &str) -> Result<Self, UnknownProfile> {
        Self::ALL.into_iter().find(|profile| profile.name() == name).ok_or(UnknownProfile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_serves_what_it_advertises_from_some_version_on() {
        for profile in Profile::ALL {
            assert_eq!(profile.name().parse(), Ok(profile));
            for api in Api::ALL {
                let (advertised, served) = (profile.advertised(api), profile.served(api));
                assert!(!served.is_empty(), "{profile} {api:?}");
                assert_eq!(advertised.end(), served.end());
                assert!(advertised.start() <= served.start());
            }
        }
        assert_eq!("kafka".parse::<Profile>(), Err(UnknownProfile));
    }

    #[test]
    fn the_ranges_of_kafka_are_what_it_says_itself() {
        for (profile, frame) in [
            (
                Profile::Kafka4,
                &include_bytes!("../../tests/golden/responses/kafka-4.4.0/api-versions-v0.bin")[..],
            ),
            (
                Profile::Kafka39,
                include_bytes!("../../tests/golden/responses/kafka-3.9.2/api-versions-v0.bin"),
            ),
        ] {
            // Correlation id, error code and count; then key, first and last version of each API.
            let ranges = frame[10..].chunks_exact(6).map(|range| {
                let [key, min, max] =
                    [0, 2, 4].map(|at| i16::from_be_bytes([range[at], range[at + 1]]));
                (key, (min, max))
            });
            let real: Vec<_> = ranges.collect();
            for api in Api::ALL {
                assert!(real.contains(&(api.key(), profile.real(api))), "{api:?} of {profile}");
            }
        }
    }

    #[test]
    fn kafka_2_has_no_flexible_version() {
        for (api, flexible_from) in [
            (Api::Produce, 9),
            (Api::Fetch, 12),
            (Api::ListOffsets, 6),
            (Api::Metadata, 9),
            (Api::FindCoordinator, 3),
            (Api::ApiVersions, 3),
            (Api::CreateTopics, 5),
            (Api::InitProducerId, 2),
        ] {
            assert!(*Profile::Kafka2.served(api).end() < flexible_from, "{api:?}");
        }
    }
}
