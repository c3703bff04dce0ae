//! ApiVersions, key 18: which versions of which APIs are served.
//!
//! v1 throttle time; v3 flexible, and the client's software name and version, which are checked; v4
//! allows features with a minimum of 0. The response header is never flexible. A version that is not
//! served is answered as v0 with UNSUPPORTED_VERSION and what the profile lists then, by KIP-511 the
//! range of this API.

use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};

use super::{Outcome, Scope, Serve};
use crate::broker::dispatch::Api;
use crate::broker::profile::Profile;
use crate::protocol::ErrorCode;
use crate::protocol::shape::{Field, Layout, Shape};

impl Serve for ApiVersionsRequest {
    const SHAPE: Shape = Shape {
        versions: 0..=4,
        flexible_from: 3,
        fields: &[Field::since(3, Layout::Text), Field::since(3, Layout::Text)],
    };

    fn serve(&self, scope: &mut Scope<'_>) -> Outcome<ApiVersionsResponse> {
        let names = [&self.client_software_name, &self.client_software_version];
        if scope.version >= 3 && !names.into_iter().all(|name| is_software_name(name)) {
            return Outcome::Answer(self.refuse(scope, ErrorCode::INVALID_REQUEST));
        }
        scope.door.tell_versions();
        let keys = advertised(scope.profile, &Api::ALL);
        Outcome::Answer(ApiVersionsResponse::default().with_api_keys(keys))
    }

    fn refuse(&self, _: &Scope<'_>, code: ErrorCode) -> ApiVersionsResponse {
        ApiVersionsResponse::default().with_error_code(code.0)
    }
}

/// The answer to a version that is not served.
pub(crate) fn too_new(profile: Profile) -> ApiVersionsResponse {
    ApiVersionsResponse::default()
        .with_error_code(ErrorCode::UNSUPPORTED_VERSION.0)
        .with_api_keys(advertised(profile, profile.listed_when_too_new()))
}

fn advertised(profile: Profile, apis: &[Api]) -> Vec<ApiVersion> {
    let versions = |api: &Api| {
        let range = profile.advertised(*api);
        ApiVersion::default()
            .with_api_key(api.key())
            .with_min_version(*range.start())
            .with_max_version(*range.end())
    };
    apis.iter().map(versions).collect()
}

/// KIP-511: letters, digits, dots and hyphens, and neither of the latter at an end.
fn is_software_name(name: &str) -> bool {
    let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let is_outer = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    is_outer(bytes.first()) && is_outer(bytes.last()) && bytes.iter().all(is_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_are_letters_digits_and_inner_dots_or_hyphens() {
        for name in ["a", "ottla", "apache-kafka-java", "2.0.2"] {
            assert!(is_software_name(name), "{name}");
        }
        for name in ["", "-a", "a.", "a b", "ottla/1", "é"] {
            assert!(!is_software_name(name), "{name}");
        }
    }
}
