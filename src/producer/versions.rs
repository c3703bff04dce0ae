//! What a broker and ottla both speak.

use crate::protocol::messages::ApiKey;
use std::ops::RangeInclusive;

/// An API that no producer can do without, and of which there is no version in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the broker speaks no version of {0} that ottla speaks")]
pub(crate) struct NoCommonVersion(pub(super) ApiKey);

/// What a broker speaks, of what ottla calls.
#[derive(Debug, Clone, Copy)]
pub(super) struct Versions {
    /// By place in [`ApiKey::ALL`].
    ranges: [Option<(i16, i16)>; ApiKey::ALL.len()],
}

impl Versions {
    pub(super) fn new(
        offered: impl IntoIterator<Item = (i16, RangeInclusive<i16>)>,
    ) -> Result<Self, NoCommonVersion> {
        let mut ranges = [None; ApiKey::ALL.len()];
        for (key, range) in offered {
            if let Some(place) = ApiKey::ALL.iter().position(|api| *api as i16 == key) {
                ranges[place] = Some((*range.start(), *range.end()));
            }
        }
        let versions = Self { ranges };
        for api in [ApiKey::Metadata, ApiKey::Produce] {
            versions.choose(api).ok_or(NoCommonVersion(api))?;
        }
        Ok(versions)
    }

    /// The highest version of `api` that both sides speak.
    pub(super) fn choose(&self, api: ApiKey) -> Option<i16> {
        self.choose_within(api, i16::MAX)
    }

    /// Which Kafka speaks so, as far as one can tell: by the highest version of Produce, which most
    /// releases raised. Others pass for the Kafka that they are compatible with.
    pub(super) fn looks_like(&self) -> &'static str {
        let highest = |api| self.offered(api).map_or(-1, |(_, max)| max);
        match (highest(ApiKey::Produce), highest(ApiKey::ApiVersions)) {
            (13.., _) => "Apache Kafka 4.1 or later",
            (12, _) => "Apache Kafka 4.0",
            (11, _) => "Apache Kafka 3.8 or 3.9",
            (10, _) => "Apache Kafka 3.7",
            (9, _) => "Apache Kafka 2.8 to 3.6",
            (8, _) => "Apache Kafka 2.4 to 2.7",
            // Apache Kafka raised Produce before it raised ApiVersions so far.
            (..8, 3..) => "Redpanda",
            (7, _) => "Apache Kafka 2.1 to 2.3",
            _ => "Apache Kafka before 2.1",
        }
    }

    /// The lowest and the highest version of `api` that the broker speaks.
    fn offered(&self, api: ApiKey) -> Option<(i16, i16)> {
        let place = ApiKey::ALL.iter().position(|known| *known == api)?;
        self.ranges[place]
    }

    /// The highest version of `api` that both sides speak and that is not above `cap`.
    pub(super) fn choose_within(&self, api: ApiKey, cap: i16) -> Option<i16> {
        let (theirs_min, theirs_max) = self.offered(api)?;
        let ours = api.versions();
        let version = theirs_max.min(*ours.end()).min(cap);
        (version >= *ours.start() && version >= theirs_min).then_some(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_version_is_chosen_within_a_cap() {
        let versions = Versions::new([(0, 3..=99), (3, 2..=2)]).unwrap();
        assert_eq!(versions.choose(ApiKey::Produce), Some(13));
        assert_eq!(versions.choose_within(ApiKey::Produce, 12), Some(12));
        assert_eq!(versions.choose_within(ApiKey::Produce, 2), None);
        assert_eq!(versions.choose(ApiKey::Metadata), Some(2));
        assert_eq!(versions.choose(ApiKey::InitProducerId), None);
    }

    #[test]
    fn brokers_look_like_the_release_that_raised_produce_last() {
        for (produce, api_versions, expected) in [
            (13, 5, "Apache Kafka 4.1 or later"),
            (12, 4, "Apache Kafka 4.0"),
            (11, 4, "Apache Kafka 3.8 or 3.9"),
            (9, 3, "Apache Kafka 2.8 to 3.6"),
            (7, 3, "Redpanda"),
            (7, 2, "Apache Kafka 2.1 to 2.3"),
            (5, 1, "Apache Kafka before 2.1"),
        ] {
            let versions = Versions::new([(0, 0..=produce), (3, 0..=7), (18, 0..=api_versions)]);
            assert_eq!(versions.unwrap().looks_like(), expected);
        }
    }

    #[test]
    fn a_broker_without_a_version_in_common_is_named_with_the_api() {
        for (ranges, api) in [
            (vec![(0, 3..=9)], ApiKey::Metadata),
            (vec![(0, 0..=2), (3, 0..=9)], ApiKey::Produce),
            (vec![(0, 99..=100), (3, 0..=9)], ApiKey::Produce),
            (vec![(0, RangeInclusive::new(7, 3)), (3, 0..=9)], ApiKey::Produce),
        ] {
            let error = Versions::new(ranges.clone()).unwrap_err();
            assert_eq!(error, NoCommonVersion(api), "{ranges:?}");
        }
    }
}
