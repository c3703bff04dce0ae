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

    /// The highest version of `api` that both sides speak and that is not above `cap`.
    pub(super) fn choose_within(&self, api: ApiKey, cap: i16) -> Option<i16> {
        let place = ApiKey::ALL.iter().position(|known| *known == api)?;
        let (theirs_min, theirs_max) = self.ranges[place]?;
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
