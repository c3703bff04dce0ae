//! From a frame to its handler, and from the handler's answer to a frame.
//!
//! Decides which APIs exist, and which bytes are a request at all. Requests are decoded by
//! `kafka-protocol`, which shares no code with the producer; a frame reaches its decoder only in the
//! shape of its API. Pure.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{
    ApiVersionsRequest, CreateTopicsRequest, FetchRequest, FindCoordinatorRequest,
    InitProducerIdRequest, ListOffsetsRequest, MetadataRequest, ProduceRequest, RequestHeader,
    ResponseHeader, SaslAuthenticateRequest, SaslHandshakeRequest,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion};

use super::State;
use super::handlers::{Outcome, Scope, Serve, too_new_api_versions};
use super::profile::Profile;
use super::security::Door;
use crate::protocol::{DecodeError, ErrorCode};

/// An API that the embedded broker serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are the protocol's")]
pub enum Api {
    Produce = 0,
    Fetch = 1,
    ListOffsets = 2,
    Metadata = 3,
    FindCoordinator = 10,
    SaslHandshake = 17,
    ApiVersions = 18,
    CreateTopics = 19,
    InitProducerId = 22,
    SaslAuthenticate = 36,
}

impl Api {
    /// Every API served, by key.
    pub const ALL: [Self; 10] = [
        Self::Produce,
        Self::Fetch,
        Self::ListOffsets,
        Self::Metadata,
        Self::FindCoordinator,
        Self::SaslHandshake,
        Self::ApiVersions,
        Self::CreateTopics,
        Self::InitProducerId,
        Self::SaslAuthenticate,
    ];

    /// Its number in the protocol.
    pub const fn key(self) -> i16 {
        self as i16
    }

    /// The versions that the embedded broker knows. A profile may serve fewer of them.
    pub fn versions(self) -> RangeInclusive<i16> {
        match self {
            Self::Produce => ProduceRequest::SHAPE.versions,
            Self::Fetch => FetchRequest::SHAPE.versions,
            Self::ListOffsets => ListOffsetsRequest::SHAPE.versions,
            Self::Metadata => MetadataRequest::SHAPE.versions,
            Self::FindCoordinator => FindCoordinatorRequest::SHAPE.versions,
            Self::SaslHandshake => SaslHandshakeRequest::SHAPE.versions,
            Self::ApiVersions => ApiVersionsRequest::SHAPE.versions,
            Self::CreateTopics => CreateTopicsRequest::SHAPE.versions,
            Self::InitProducerId => InitProducerIdRequest::SHAPE.versions,
            Self::SaslAuthenticate => SaslAuthenticateRequest::SHAPE.versions,
        }
    }
}

/// A frame that is no request which the broker serves.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// It ends within its header.
    #[error("request header is cut off")]
    Header,
    /// The broker has no such API, or not in this version.
    #[error("api key {key} is not served in version {version}")]
    Api {
        /// The key.
        key: i16,
        /// The version.
        version: i16,
    },
    /// Its counts and lengths do not fit its bytes.
    #[error(transparent)]
    Shape(#[from] DecodeError),
    /// `kafka-protocol` cannot decode it.
    #[error("{0}")]
    Decode(String),
}

/// A request, decoded.
pub(crate) struct Call {
    pub(crate) api: Api,
    /// `None` if that of the request is not served, and it is refused in version 0.
    pub(crate) served_version: Option<i16>,
    profile: Profile,
    correlation_id: i32,
    request: Box<dyn Answer>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("api", &self.api)
            .field("served_version", &self.served_version)
            .finish_non_exhaustive()
    }
}

/// What the connection does about a request.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Writes these bytes, so much later.
    Frame(Bytes, Duration),
    /// Writes these bytes, and closes.
    Last(Bytes),
    /// Goes on to the next request.
    Silent,
    /// Closes.
    Close,
    /// Asks again when something was stored.
    NotYet,
}

impl Reply {
    /// The same, and the connection closed behind it.
    pub(crate) fn and_close(self) -> Self {
        match self {
            Self::Frame(bytes, _) => Self::Last(bytes),
            other => other,
        }
    }
}

impl Call {
    /// Decodes a frame as `profile` does.
    ///
    /// # Errors
    ///
    /// `RequestError` when it is no request that the broker serves. Nothing but closing the
    /// connection says so: an answer would need the layout of an unknown request.
    pub(crate) fn decode(frame: Bytes, profile: Profile) -> Result<Self, RequestError> {
        let mut front = &frame[..];
        let key = front.try_get_i16().map_err(|_| RequestError::Header)?;
        let version = front.try_get_i16().map_err(|_| RequestError::Header)?;
        let correlation_id = front.try_get_i32().map_err(|_| RequestError::Header)?;
        let api = Api::ALL.into_iter().find(|api| api.key() == key);
        let api = api.ok_or(RequestError::Api { key, version })?;
        if !profile.served(api).contains(&version) {
            // The one refusal that every client can read, since it is how versions are found.
            return match api {
                Api::ApiVersions => {
                    let request = Box::new(TooNew);
                    Ok(Self { api, served_version: None, profile, correlation_id, request })
                }
                _ => Err(RequestError::Api { key, version }),
            };
        }
        let request: Box<dyn Answer> = match api {
            Api::Produce => decode::<ProduceRequest>(frame, version)?,
            Api::Fetch => decode::<FetchRequest>(frame, version)?,
            Api::ListOffsets => decode::<ListOffsetsRequest>(frame, version)?,
            Api::Metadata => decode::<MetadataRequest>(frame, version)?,
            Api::FindCoordinator => decode::<FindCoordinatorRequest>(frame, version)?,
            Api::SaslHandshake => decode::<SaslHandshakeRequest>(frame, version)?,
            Api::ApiVersions => decode::<ApiVersionsRequest>(frame, version)?,
            Api::CreateTopics => decode::<CreateTopicsRequest>(frame, version)?,
            Api::InitProducerId => decode::<InitProducerIdRequest>(frame, version)?,
            Api::SaslAuthenticate => decode::<SaslAuthenticateRequest>(frame, version)?,
        };
        Ok(Self { api, served_version: Some(version), profile, correlation_id, request })
    }

    /// Serves the request on `node`. `is_last_call` if it shall not wait any longer.
    pub(crate) fn answer(
        &self,
        state: &mut State,
        door: &mut Door,
        node: i32,
        is_last_call: bool,
    ) -> Reply {
        let mut scope = self.scope(state, door, node, is_last_call);
        self.request.answer(&mut scope, self.correlation_id)
    }

    /// The answer that says `code` and nothing else.
    pub(crate) fn refuse(
        &self,
        state: &mut State,
        door: &mut Door,
        node: i32,
        code: ErrorCode,
    ) -> Reply {
        let scope = self.scope(state, door, node, true);
        self.request.refuse(&scope, self.correlation_id, code)
    }

    fn scope<'a>(
        &self,
        state: &'a mut State,
        door: &'a mut Door,
        node: i32,
        is_last_call: bool,
    ) -> Scope<'a> {
        let version = self.served_version.unwrap_or_default();
        Scope { state, door, profile: self.profile, node, version, is_last_call }
    }

    /// How long it may wait.
    pub(crate) fn patience(&self) -> Duration {
        self.request.patience()
    }
}

fn decode<R: Serve + Answer + 'static>(
    mut frame: Bytes,
    version: i16,
) -> Result<Box<dyn Answer>, RequestError> {
    let failed = |error| RequestError::Decode(format!("{error}"));
    RequestHeader::decode(&mut frame, R::header_version(version)).map_err(failed)?;
    R::SHAPE.check(version, &frame)?;
    let request = R::decode(&mut frame, version).map_err(failed)?;
    Ok(Box::new(request))
}

/// A request whose type no longer matters.
trait Answer: Send + Sync {
    fn answer(&self, scope: &mut Scope<'_>, correlation_id: i32) -> Reply;
    fn refuse(&self, scope: &Scope<'_>, correlation_id: i32, code: ErrorCode) -> Reply;
    fn patience(&self) -> Duration;
}

impl<R> Answer for R
where
    R: Serve + Send + Sync,
    R::Response: Encodable + HeaderVersion,
{
    fn answer(&self, scope: &mut Scope<'_>, correlation_id: i32) -> Reply {
        let version = scope.version;
        match self.serve(scope) {
            Outcome::Answer(response) => encode(&response, version, correlation_id, Duration::ZERO),
            Outcome::Late(response, delay) => encode(&response, version, correlation_id, delay),
            Outcome::AnswerAndClose(response) => {
                encode(&response, version, correlation_id, Duration::ZERO).and_close()
            }
            Outcome::Silent => Reply::Silent,
            Outcome::Close => Reply::Close,
            Outcome::NotYet => Reply::NotYet,
        }
    }

    fn refuse(&self, scope: &Scope<'_>, correlation_id: i32, code: ErrorCode) -> Reply {
        let response = Serve::refuse(self, scope, code);
        encode(&response, scope.version, correlation_id, Duration::ZERO)
    }

    fn patience(&self) -> Duration {
        Serve::patience(self)
    }
}

/// An ApiVersions request of a version that is not served, whatever its body.
struct TooNew;

impl Answer for TooNew {
    fn answer(&self, scope: &mut Scope<'_>, correlation_id: i32) -> Reply {
        encode(&too_new_api_versions(scope.profile), scope.version, correlation_id, Duration::ZERO)
    }

    fn refuse(&self, scope: &Scope<'_>, correlation_id: i32, code: ErrorCode) -> Reply {
        let response = too_new_api_versions(scope.profile).with_error_code(code.0);
        encode(&response, scope.version, correlation_id, Duration::ZERO)
    }

    fn patience(&self) -> Duration {
        Duration::ZERO
    }
}

/// A response as a frame, its length in front.
fn encode<R: Encodable + HeaderVersion>(
    response: &R,
    version: i16,
    correlation_id: i32,
    delay: Duration,
) -> Reply {
    let mut out = BytesMut::new();
    out.put_u32(0);
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    let encoded = header
        .encode(&mut out, R::header_version(version))
        .and_then(|()| response.encode(&mut out, version));
    let Ok(length) = u32::try_from(out.len() - 4) else {
        return Reply::Close;
    };
    if let Err(error) = encoded {
        tracing::error!(%error, version, "embedded broker cannot encode its response");
        return Reply::Close;
    }
    out[..4].copy_from_slice(&length.to_be_bytes());
    Reply::Frame(out.freeze(), delay)
}
