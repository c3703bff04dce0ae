//! Faults over TCP, stage by stage.

use super::*;

#[tokio::test]
async fn each_produce_fault_comes_up_once_and_in_order() {
    let broker = start(1).await;
    broker.create_topic("a", 1).unwrap();
    for fault in [
        ProduceFault::Refuse(ErrorCode(9999)),
        ProduceFault::StoreAndAnswer(ErrorCode::REQUEST_TIMED_OUT),
        ProduceFault::DisconnectBefore,
        ProduceFault::DisconnectAfter,
    ] {
        broker.inject("a", 0, fault);
    }
    let mut client = Client::connect(&broker, 1).await;
    assert_eq!(client.produce(&produce("a", b"1")).await.error_code, 9999);
    let unsure = client.produce(&produce("a", b"2")).await.error_code;
    assert_eq!(unsure, ErrorCode::REQUEST_TIMED_OUT.0);
    for value in [b"3", b"4"] {
        assert!(client.ask(&produce("a", value), 9).await.is_none());
        client = Client::connect(&broker, 1).await;
    }
    assert_eq!(client.produce(&produce("a", b"5")).await.base_offset, 2);
    assert_eq!(values(&broker, "a"), [&b"2"[..], b"4", b"5"]);
}

#[tokio::test]
async fn request_faults_refuse_disconnect_and_fall_silent() {
    let broker = start(1).await;
    let mut client = Client::connect(&broker, 1).await;
    let request = InitProducerIdRequest::default().with_transactional_id(None);
    let refuse = RequestFault::Refuse(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
    broker.inject_request(Api::InitProducerId, refuse);
    let refused = client.ask(&request, 4).await.unwrap().error_code;
    assert_eq!(refused, ErrorCode::CLUSTER_AUTHORIZATION_FAILED.0);
    broker.inject_request(Api::InitProducerId, RequestFault::Delay(Duration::from_millis(1)));
    assert_eq!(client.ask(&request, 4).await.unwrap().error_code, 0);
    broker.inject_request(Api::InitProducerId, RequestFault::Silence);
    client.send(&request, 4).await;
    let silence = timeout(Duration::from_millis(50), client.stream.read_u8()).await;
    assert!(silence.is_err());
    let mut client = Client::connect(&broker, 1).await;
    broker.inject_request(Api::InitProducerId, RequestFault::Disconnect);
    assert!(client.ask(&request, 4).await.is_none());
}

#[tokio::test]
async fn a_throttle_is_told_to_producers() {
    let broker = start(1).await;
    broker.create_topic("a", 1).unwrap();
    broker.throttle(Duration::from_millis(500));
    let mut client = Client::connect(&broker, 1).await;
    assert_eq!(client.ask(&produce("a", b"v"), 9).await.unwrap().throttle_time_ms, 500);
    broker.clear_faults();
    assert_eq!(client.ask(&produce("a", b"v"), 9).await.unwrap().throttle_time_ms, 0);
}

#[tokio::test]
async fn a_node_may_hang_or_close_instead_of_serving() {
    let broker = start(2).await;
    broker.admit(1, Admission::Hang);
    let mut client = Client::connect(&broker, 1).await;
    client.send(&MetadataRequest::default(), 9).await;
    let silence = timeout(Duration::from_millis(50), client.stream.read_u8()).await;
    assert!(silence.is_err());
    broker.admit(1, Admission::Close);
    let mut client = Client::connect(&broker, 1).await;
    assert!(client.stream.read_u8().await.is_err());
    let mut other = Client::connect(&broker, 2).await;
    assert!(other.ask(&MetadataRequest::default(), 9).await.is_some());
    broker.clear_faults();
    let mut client = Client::connect(&broker, 1).await;
    assert!(client.ask(&MetadataRequest::default(), 9).await.is_some());
    broker.shutdown().await;
}

#[tokio::test]
async fn an_answer_may_miss_repeat_or_add_a_partition() {
    let broker = start(1).await;
    broker.create_topic("a", 1).unwrap();
    let mut client = Client::connect(&broker, 1).await;
    for (fault, named) in [
        (ProduceFault::OmitAnswer, &[][..]),
        (ProduceFault::RepeatAnswer, &[0, 0]),
        (ProduceFault::StrayAnswer, &[i32::MAX, 0]),
    ] {
        broker.inject("a", 0, fault);
        let response = client.ask(&produce("a", b"v"), 9).await.unwrap();
        let answers = response.responses[0].partition_responses.iter();
        assert_eq!(answers.map(|answer| answer.index).collect::<Vec<_>>(), named);
    }
    assert_eq!(broker.accepted("a").len(), 3);
}

/// The topic as it is described next.
async fn described(client: &mut Client) -> Vec<(i32, i16, i32, i32)> {
    let topic = MetadataRequestTopic::default().with_name(Some(topic_name("a")));
    let request = MetadataRequest::default().with_topics(Some(vec![topic]));
    let response = client.ask(&request, 12).await.unwrap();
    assert_eq!(response.topics[0].error_code, 0);
    let partitions = response.topics[0].partitions.iter();
    let told = partitions
        .map(|part| (part.partition_index, part.error_code, part.leader_id.0, part.leader_epoch));
    told.collect()
}

#[tokio::test]
async fn a_topic_may_be_described_wrongly_once() {
    let broker = start(2).await;
    let mut client = Client::connect(&broker, 1).await;
    broker.inject_metadata("a", MetadataFault::NoPartitions);
    broker.inject_metadata("a", MetadataFault::Omit(vec![0]));
    broker.inject_metadata("a", MetadataFault::Leaderless(vec![1, 7]));
    broker.create_topic("a", 2).unwrap();
    let truth = vec![(0, 0, 1, 0), (1, 0, 2, 0)];
    assert_eq!(described(&mut client).await, []);
    assert_eq!(described(&mut client).await, truth[1..]);
    assert_eq!(described(&mut client).await, [truth[0], (1, 5, -1, 0)]);
    assert_eq!(described(&mut client).await, truth);
    broker.inject_metadata("a", MetadataFault::Refuse(ErrorCode::LEADER_NOT_AVAILABLE));
    let all = MetadataRequest::default().with_topics(None);
    let refused = client.ask(&all, 12).await.unwrap().topics.swap_remove(0);
    assert_eq!((refused.error_code, refused.partitions.len()), (5, 0));
}

#[tokio::test]
async fn stale_metadata_names_the_leaders_of_its_epoch() {
    let broker = start(3).await;
    broker.create_topic("a", 2).unwrap();
    let mut client = Client::connect(&broker, 1).await;
    broker.move_leader("a", 0, 2).unwrap();
    broker.move_leader("a", 0, 3).unwrap();
    let truth = [(0, 0, 3, 2), (1, 0, 2, 0)];
    broker.inject_metadata("a", MetadataFault::Stale(1));
    assert_eq!(described(&mut client).await, [(0, 0, 2, 1), truth[1]]);
    broker.serve_stale_metadata("a", 0);
    broker.inject_metadata("a", MetadataFault::Stale(9));
    assert_eq!(described(&mut client).await, truth, "an epoch that has not passed is the present");
    for _ in 0..2 {
        assert_eq!(described(&mut client).await, [(0, 0, 1, 0), truth[1]]);
    }
    broker.clear_faults();
    assert_eq!(described(&mut client).await, truth);
}

#[tokio::test]
async fn an_answer_may_be_late_slow_doubled_cut_or_anothers() {
    let broker = start(1).await;
    broker.create_topic("a", 1).unwrap();
    let mut client = Client::connect(&broker, 1).await;
    for fault in [
        AnswerFault::AfterNext,
        AnswerFault::Trickle(3, Duration::from_micros(100)),
        AnswerFault::Repeat,
        AnswerFault::CorrelationId(99),
        AnswerFault::Cut(11),
    ] {
        broker.inject_answer(Api::Produce, fault);
    }
    for _ in 0..5 {
        client.send(&produce("a", b"v"), 9).await;
    }
    for expected in [1, 0, 2, 2, 99] {
        let (correlation_id, response) = client.receive::<ProduceResponse>(9).await.unwrap();
        assert_eq!(correlation_id, expected);
        assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    }
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest.len(), 11);
    assert_eq!(broker.accepted("a").len(), 5);
}
