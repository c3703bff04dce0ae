//! One file per API: what its versions are, how its requests are laid out, and what is answered.
//!
//! A handler is pure: it sees the request and the state of the cluster, and says what should happen
//! to the connection. Waiting, writing and closing are the listener's.

use std::time::Duration;

use kafka_protocol::protocol::Request;

use super::State;
use super::profile::Profile;
use super::security::Door;
use crate::protocol::ErrorCode;
use crate::protocol::shape::Shape;

mod api_versions;
pub(crate) use api_versions::too_new as too_new_api_versions;

mod metadata;

mod create_topics;

mod init_producer_id;

mod produce;

mod fetch;

mod list_offsets;

mod find_coordinator;

mod sasl_handshake;

mod sasl_authenticate;

/// A request that the broker serves.
pub(crate) trait Serve: Request {
    /// The versions served, and the layout that bytes must have before they are decoded.
    const SHAPE: Shape;

    /// Serves the request.
    fn serve(&self, scope: &mut Scope<'_>) -> Outcome<Self::Response>;

    /// The response that says `code` wherever it has an error code, and nothing else.
    fn refuse(&self, scope: &Scope<'_>, code: ErrorCode) -> Self::Response;

    /// How long the request may wait for an answer with more in it.
    fn patience(&self) -> Duration {
        Duration::ZERO
    }
}

/// What a handler sees beside the request.
#[derive(Debug)]
pub(crate) struct Scope<'a> {
    pub(crate) state: &'a mut State,
    /// The connection's door.
    pub(crate) door: &'a mut Door,
    /// The broker to pass for.
    pub(crate) profile: Profile,
    /// The node that was asked.
    pub(crate) node: i32,
    /// Version of the request.
    pub(crate) version: i16,
    /// Whether the request's patience is at its end.
    pub(crate) is_last_call: bool,
}

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Outcome<R> {
    /// It is answered.
    Answer(R),
    /// It is answered so much later.
    Late(R, Duration),
    /// It is answered, and its connection is closed.
    AnswerAndClose(R),
    /// It has no answer.
    Silent,
    /// Its connection is closed.
    Close,
    /// It may be served again when something was stored.
    NotYet,
}
