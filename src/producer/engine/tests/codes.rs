//! Every code that a broker may answer for a batch, once, three times and for ever, on the first, the
//! middle and the last of five batches in flight.
//!
//! The table is written down here a second time, by hand and by what is seen, not by verdicts: a
//! slip in one of the two is found.

use super::broker::BatchFault;
use super::world::{World, ms, outcome};
use crate::producer::completion::{Cause, Completion, DeliveryError, Waited};
use crate::producer::engine::Notice;
use crate::protocol::ErrorCode;
use std::time::Duration;

/// What a producer does about a batch that is answered with a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    /// Takes it for delivered, at an unknown offset.
    Accept,
    /// Sends it again until its time is over; then it is not in the log.
    Retry,
    /// Sends it again until its time is over; then it may be in the log.
    RetryUnsure,
    /// Sends it again so many times.
    RetryTimes(u32),
    /// Numbers it anew, under the next epoch or another id, until its time is over.
    Renumber,
    /// Gives it up: it is not in the log.
    Fail,
    /// Gives it up: it may be in the log.
    FailUnsure,
    /// Gives itself up.
    Stop,
}

/// Code, name in the specification, action.
const TABLE: [(i16, Does); 57] = [
    (-1, Does::FailUnsure),    // UNKNOWN_SERVER_ERROR
    (2, Does::RetryTimes(3)),  // CORRUPT_MESSAGE
    (3, Does::Retry),          // UNKNOWN_TOPIC_OR_PARTITION
    (5, Does::Retry),          // LEADER_NOT_AVAILABLE
    (6, Does::Retry),          // NOT_LEADER_OR_FOLLOWER
    (7, Does::RetryUnsure),    // REQUEST_TIMED_OUT
    (8, Does::Retry),          // BROKER_NOT_AVAILABLE
    (9, Does::Retry),          // REPLICA_NOT_AVAILABLE
    (10, Does::Fail),          // MESSAGE_TOO_LARGE, of a single record
    (13, Does::RetryUnsure),   // NETWORK_EXCEPTION
    (14, Does::Retry),         // COORDINATOR_LOAD_IN_PROGRESS
    (15, Does::Retry),         // COORDINATOR_NOT_AVAILABLE
    (16, Does::Retry),         // NOT_COORDINATOR
    (17, Does::Fail),          // INVALID_TOPIC_EXCEPTION
    (18, Does::Fail),          // RECORD_LIST_TOO_LARGE, of a single record
    (19, Does::Retry),         // NOT_ENOUGH_REPLICAS
    (20, Does::RetryUnsure),   // NOT_ENOUGH_REPLICAS_AFTER_APPEND
    (21, Does::Fail),          // INVALID_REQUIRED_ACKS
    (29, Does::Fail),          // TOPIC_AUTHORIZATION_FAILED
    (31, Does::Fail),          // CLUSTER_AUTHORIZATION_FAILED
    (32, Does::Fail),          // INVALID_TIMESTAMP
    (33, Does::Fail),          // UNSUPPORTED_SASL_MECHANISM
    (34, Does::Fail),          // ILLEGAL_SASL_STATE
    (35, Does::RetryTimes(1)), // UNSUPPORTED_VERSION
    (41, Does::Retry),         // NOT_CONTROLLER
    (42, Does::Fail),          // INVALID_REQUEST
    (43, Does::Fail),          // UNSUPPORTED_FOR_MESSAGE_FORMAT
    (44, Does::Fail),          // POLICY_VIOLATION
    (45, Does::Renumber),      // OUT_OF_ORDER_SEQUENCE_NUMBER
    (46, Does::Accept),        // DUPLICATE_SEQUENCE_NUMBER
    (47, Does::Renumber),      // INVALID_PRODUCER_EPOCH
    (48, Does::Fail),          // INVALID_TXN_STATE
    (49, Does::Renumber),      // INVALID_PRODUCER_ID_MAPPING
    (51, Does::Retry),         // CONCURRENT_TRANSACTIONS
    (53, Does::Stop),          // TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    (56, Does::Retry),         // KAFKA_STORAGE_ERROR
    (58, Does::Fail),          // SASL_AUTHENTICATION_FAILED
    (59, Does::Renumber),      // UNKNOWN_PRODUCER_ID
    (72, Does::Retry),         // LISTENER_NOT_FOUND
    (74, Does::Retry),         // FENCED_LEADER_EPOCH
    (75, Does::Retry),         // UNKNOWN_LEADER_EPOCH
    (76, Does::Fail),          // UNSUPPORTED_COMPRESSION_TYPE
    (78, Does::Retry),         // OFFSET_NOT_AVAILABLE
    (80, Does::Retry),         // PREFERRED_LEADER_NOT_AVAILABLE
    (83, Does::Retry),         // ELIGIBLE_LEADERS_NOT_AVAILABLE
    (84, Does::Retry),         // ELECTION_NOT_NEEDED
    (87, Does::Fail),          // INVALID_RECORD
    (88, Does::Fail),          // UNSTABLE_OFFSET_COMMIT: not for Produce
    (89, Does::Retry),         // THROTTLING_QUOTA_EXCEEDED
    (90, Does::Stop),          // PRODUCER_FENCED
    (100, Does::Retry),        // UNKNOWN_TOPIC_ID
    (103, Does::Retry),        // INCONSISTENT_TOPIC_ID
    (120, Does::Fail),         // TRANSACTION_ABORTABLE
    (129, Does::Fail),         // REBOOTSTRAP_REQUIRED: not for Produce
    (134, Does::Fail),         // none yet
    (9999, Does::Fail),        // none
    (-2, Does::Fail),          // none
];

/// For how many transmissions a code is answered.
const TIMES: [u32; 3] = [1, 3, u32::MAX];

/// Of five batches in flight.
const PLACES: [usize; 3] = [0, 2, 4];

const VALUES: [&str; 5] = ["a", "b", "c", "d", "e"];

const DELIVERY_TIMEOUT: Duration = Duration::from_secs(120);

struct Case {
    world: World,
    code: ErrorCode,
    place: usize,
    records: Vec<Completion>,
    /// For messages.
    name: String,
}

impl Case {
    fn new(code: ErrorCode, does: Does, times: u32, place: usize) -> Self {
        let mut world = World::one(|config| config.batch_records_max = 1);
        let first = world.send(0, "first");
        world.end_of(&first).unwrap();
        world.run(Duration::from_secs(1));
        world.sent.clear();
        let fault = match does {
            Does::Accept => BatchFault::StoreAndAnswer(code),
            _ => BatchFault::Refuse(code),
        };
        world.cluster.value_faults.insert(VALUES[place].to_owned(), (fault, times));
        let records = world.send_batches(&VALUES);
        assert_eq!(world.produced().len(), 5, "five in flight");
        let name = format!("{} x {times} at {place}, expected {does:?}", code.0);
        Self { world, code, place, records, name }
    }

    /// How often the batch was sent.
    fn transmissions(&self) -> u32 {
        let values = self.world.produced().into_iter().flat_map(|sent| &sent.batches);
        let same = values.filter(|(_, batch)| batch.values[0] == VALUES[self.place]).count();
        u32::try_from(same).unwrap()
    }

    fn target_delivered(&mut self) {
        let end = self.world.end_of(&self.records[self.place]);
        assert!(end.is_ok(), "{}: {end:?}", self.name);
    }

    /// How the batch failed. `at_once`: long before its time was over.
    fn target_failed(&mut self, at_once: bool) -> DeliveryError {
        let began = self.world.elapsed();
        let end = self.world.end_of(&self.records[self.place]);
        let error = end.expect_err(&self.name);
        let waited = self.world.elapsed() - began;
        let expected =
            if at_once { waited < Duration::from_secs(2) } else { waited == DELIVERY_TIMEOUT };
        assert!(expected, "{}: after {waited:?}", self.name);
        error
    }

    /// All but the batch in question are delivered; what is in the log is in order.
    fn others_delivered(&mut self, with_target: bool) {
        for (place, record) in self.records.iter().enumerate() {
            let end = self.world.end_of(record);
            assert!(place == self.place || end.is_ok(), "{}: {place}: {end:?}", self.name);
        }
        let stays = |place: &usize| with_target || *place != self.place;
        let expected = (0..5).filter(stays).map(|place| VALUES[place]);
        let expected: Vec<_> = ["first"].into_iter().chain(expected).collect();
        assert_eq!(self.world.cluster.stored(0), expected, "{}", self.name);
        assert_eq!(self.world.budget.used(), 0, "{}", self.name);
    }

    /// Those before the batch are delivered, those behind it had no time left, and a later record
    /// finds its way.
    fn the_way_is_open_again(&mut self) {
        for (place, record) in self.records.iter().enumerate() {
            let end = outcome(record).expect(&self.name);
            assert_eq!(end.is_ok(), place < self.place, "{}: {place}: {end:?}", self.name);
        }
        let later = self.world.send(0, "later");
        let end = self.world.end_of(&later);
        assert!(end.is_ok(), "{}: {end:?}", self.name);
        let before = VALUES.into_iter().take(self.place);
        let expected: Vec<_> = ["first"].into_iter().chain(before).chain(["later"]).collect();
        assert_eq!(self.world.cluster.stored(0), expected, "{}", self.name);
        assert_eq!(self.world.budget.used(), 0, "{}", self.name);
        let sent = self.world.produced().len();
        assert!(sent < 400, "{}: {sent} requests in two minutes", self.name);
    }

    fn rejected(&mut self, transmissions: u32) {
        let error = self.target_failed(true);
        let DeliveryError::Rejected { code, .. } = &error else { panic!("{}: {error}", self.name) };
        assert_eq!(*code, self.code, "{}", self.name);
        assert!(error.to_string().contains(&self.code.to_string()), "{error}");
        self.others_delivered(false);
        assert_eq!(self.transmissions(), transmissions, "{}", self.name);
    }

    /// The code is the last thing that is known of the batch.
    fn blames_the_code(&self, cause: Option<&Cause>) {
        assert_eq!(cause, Some(&Cause::from(self.code)), "{}", self.name);
    }
}

fn check(code: ErrorCode, does: Does, times: u32, place: usize) {
    let mut case = Case::new(code, does, times, place);
    match does {
        Does::Accept => {
            case.target_delivered();
            case.others_delivered(true);
            let delivered = case.world.end_of(&case.records[place]).unwrap();
            assert_eq!((delivered.offset, case.transmissions()), (None, 1), "{}", case.name);
        }
        Does::Retry | Does::RetryUnsure | Does::Renumber if times < 4 => {
            case.target_delivered();
            case.others_delivered(true);
            // What the next batch vouches for need not be sent again.
            let most = times + 1 + u32::from(does == Does::Renumber && place > 0);
            assert!((times..=most).contains(&case.transmissions()), "{}", case.name);
        }
        Does::Retry | Does::Renumber => {
            let error = case.target_failed(false);
            let DeliveryError::Expired { waited, cause, .. } = error else {
                panic!("{}: {error}", case.name)
            };
            assert_eq!(waited, Waited::Retry, "{}", case.name);
            case.blames_the_code(cause.as_ref());
            case.the_way_is_open_again();
        }
        Does::RetryUnsure => {
            let error = case.target_failed(false);
            let DeliveryError::Unknown { cause, .. } = error else {
                panic!("{}: {error}", case.name)
            };
            case.blames_the_code(cause.as_ref());
            case.the_way_is_open_again();
        }
        Does::RetryTimes(max) if times <= max => {
            case.target_delivered();
            case.others_delivered(true);
        }
        Does::RetryTimes(max) => case.rejected(max + 1),
        Does::Fail => case.rejected(1),
        Does::FailUnsure => {
            let error = case.target_failed(true);
            assert!(error.may_be_written(), "{}: {error}", case.name);
            case.others_delivered(false);
            assert_eq!(case.transmissions(), 1, "{}", case.name);
        }
        Does::Stop => stops(case),
    }
}

fn stops(mut case: Case) {
    let error = case.target_failed(true);
    let DeliveryError::Fatal(cause) = &error else { panic!("{}: {error}", case.name) };
    case.blames_the_code(Some(cause));
    case.world.run(ms(500));
    for (place, record) in case.records.iter().enumerate() {
        match outcome(record).expect(&case.name) {
            Ok(_) => assert!(place < case.place, "{}", case.name),
            // They were in flight.
            Err(error) => assert!(place == case.place || error.may_be_written(), "{}", case.name),
        }
    }
    let later = case.world.send(0, "later");
    assert!(matches!(case.world.end_of(&later), Err(DeliveryError::Fatal(_))), "{}", case.name);
    assert_eq!(case.world.budget.used(), 0, "{}", case.name);
}

/// F26
#[test]
fn every_code_does_what_the_table_says_wherever_and_however_often_it_comes() {
    for (code, does) in TABLE {
        for times in TIMES {
            for place in PLACES {
                check(ErrorCode(code), does, times, place);
            }
        }
    }
}

/// F31
#[test]
fn a_code_that_nobody_knows_is_shown_by_its_number() {
    let mut world = World::one(|_| {});
    world.cluster.fault(0, BatchFault::Refuse(ErrorCode(9999)));
    let record = world.send(0, "a");
    let error = world.end_of(&record).unwrap_err();
    assert!(matches!(error, DeliveryError::Rejected { code: ErrorCode(9999), .. }));
    assert!(error.to_string().contains("9999"), "{error}");
}

/// F27, F59
#[test]
fn a_disk_that_is_full_for_ten_seconds_costs_ten_seconds() {
    let mut world = World::one(|config| config.batch_records_max = 1);
    let full = (BatchFault::Refuse(ErrorCode::BROKER_NOT_AVAILABLE), u32::MAX);
    world.cluster.value_faults.insert("a".to_owned(), full);
    let records = world.send_batches(&["a", "b"]);
    world.run(Duration::from_secs(10));
    world.cluster.value_faults.clear();
    world.all_delivered(&records);
    assert!((10_000..11_300).contains(&world.elapsed().as_millis()), "{:?}", world.elapsed());
    assert!(world.produced().len() < 25, "{} requests", world.produced().len());
    assert_eq!(world.cluster.stored(0), ["a", "b"]);
}

/// F26
#[test]
fn a_broker_that_refuses_its_own_version_is_asked_again_what_it_speaks() {
    let mut world = World::one(|config| config.batch_records_max = 1);
    let first = world.send(0, "first");
    world.end_of(&first).unwrap();
    world.sent.clear();
    world.cluster.versions.insert(0, (3, 7));
    world.cluster.fault(0, BatchFault::Refuse(ErrorCode::UNSUPPORTED_VERSION));
    let records = world.send_batches(&["a", "b"]);
    world.all_delivered(&records);
    assert_eq!(world.cluster.stored(0), ["first", "a", "b"]);
    let versions: Vec<_> = world.produced().iter().map(|sent| sent.version).collect();
    assert_eq!(versions, [12, 12, 7, 7]);
}

/// F26, F34
#[test]
fn a_refusal_for_want_of_rights_does_not_outlast_them() {
    for code in [ErrorCode::TOPIC_AUTHORIZATION_FAILED, ErrorCode::CLUSTER_AUTHORIZATION_FAILED] {
        let mut world = World::one(|config| config.batch_records_max = 1);
        world.cluster.fault(0, BatchFault::Refuse(code));
        let refused = world.send(0, "a");
        let error = world.end_of(&refused).unwrap_err();
        assert!(matches!(error, DeliveryError::Rejected { code: told, .. } if told == code));
        let granted = world.send_batches(&["b", "c"]);
        world.all_delivered(&granted);
        assert_eq!(world.cluster.stored(0), ["b", "c"]);
    }
}

/// F26
#[test]
fn a_doubt_of_its_bytes_is_not_the_end_of_a_batch_that_was_retried_before() {
    let mut world = World::one(|config| config.batch_records_max = 1);
    let codes = [[ErrorCode::NOT_ENOUGH_REPLICAS; 5].as_slice(), &[ErrorCode::CORRUPT_MESSAGE; 3]];
    for code in codes.concat() {
        world.cluster.fault(0, BatchFault::Refuse(code));
    }
    let record = world.send(0, "a");
    world.end_of(&record).unwrap();
}

/// F26
#[test]
fn each_retry_is_told_with_its_cause() {
    let mut world = World::one(|_| {});
    world.cluster.fault(0, BatchFault::Refuse(ErrorCode::NOT_ENOUGH_REPLICAS));
    let record = world.send(0, "a");
    world.end_of(&record).unwrap();
    let told = world.notices.iter().find_map(|notice| match notice {
        Notice::Retrying { attempts, cause, .. } => Some((*attempts, cause.clone())),
        _ => None,
    });
    assert_eq!(told, Some((1, Cause::from(ErrorCode::NOT_ENOUGH_REPLICAS))));
}

/// F26, F36
#[test]
fn without_idempotence_a_word_about_numbers_is_final() {
    for code in [45, 47, 49, 59].map(ErrorCode) {
        let mut world = World::one(|config| {
            config.batch_records_max = 1;
            config.idempotence = false;
        });
        world.cluster.value_faults.insert("b".to_owned(), (BatchFault::Refuse(code), 1));
        let records = world.send_batches(&["a", "b", "c"]);
        let error = world.end_of(&records[1]).unwrap_err();
        assert!(matches!(error, DeliveryError::Rejected { code: told, .. } if told == code));
        world.all_delivered(&records[2..]);
        assert_eq!(world.cluster.stored(0), ["a", "c"]);
    }
}
