//! Streams that end, break or stay open, each as a short schedule.

use std::time::Duration;

use super::found::{Bench, head, refused};
use crate::bridge::era::adapter::{AdapterAction, AdapterActions};
use crate::bridge::{Action, Content, End, Event, EventId, ExchangeId, Progress, Settings, Stage};
use crate::config::Strategy;
use crate::error::{Error, Kind};
use crate::jsonrpc::{Message, RequestId};

/// What a modern request carries.
const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}"#;
/// More URIs than any client asks for.
const MANY: usize = 20_000;

impl Bench {
    fn event(&mut self, exchange: ExchangeId, text: String) {
        let parsed = Message::read(text);
        self.progress(exchange, Progress::Event { id: None, parsed });
    }

    /// The server acknowledges a subscription with a list of its own.
    fn acknowledge(&mut self, stream: ExchangeId) {
        let list = vec!["\"\""; MANY].join(",");
        let filter = format!("{{\"resourceSubscriptions\":[{list}],\"toolsListChanged\":true}}");
        self.event(
            stream,
            format!(
                "{{\"method\":\"notifications/subscriptions/acknowledged\",\"params\":{{\"notifications\":{filter}}}}}"
            ),
        );
    }
}

/// A modern client of a modern server, with an open subscription to one resource.
fn modern_with_subscription() -> (Bench, ExchangeId) {
    modern_with_subscription_and(|_| {})
}

fn modern_with_subscription_and(change: impl Fn(&mut Settings)) -> (Bench, ExchangeId) {
    let mut bench = Bench::with(Strategy::HttpOnly, change);
    let discover = bench.client(&format!(
        r#"{{"id":0,"method":"server/discover","params":{{{META}}}}}"#
    ));
    bench.progress(discover, head(Content::Json));
    bench.event(
        discover,
        r#"{"id":0,"result":{"supportedVersions":["2026-07-28"]}}"#.to_owned(),
    );
    bench.progress(discover, ended());
    let stream = bench.client(&format!(
        r#"{{"id":1,"method":"subscriptions/listen","params":{{"notifications":{{"resourceSubscriptions":["a:b"]}},{META}}}}}"#
    ));
    bench.progress(stream, head(Content::Stream));
    bench.acknowledge(stream);
    bench.answers();
    (bench, stream)
}

fn ended() -> Progress {
    Progress::Ended(crate::bridge::End::Complete)
}

#[test]
fn a_subscription_opened_again_tells_of_what_the_client_asked_for_not_of_what_the_server_lists() {
    let (mut bench, stream) = modern_with_subscription();
    bench.acknowledge(stream);
    assert_eq!(bench.answers(), Vec::<String>::new());
    bench.progress(stream, ended());
    bench.wait(Duration::from_secs(3));
    let stream = bench.opened();
    bench.progress(stream, head(Content::Stream));
    bench.acknowledge(stream);
    let told = bench.answers();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("a:b"), "{told:?}");
    bench.acknowledge(stream);
    assert_eq!(bench.answers(), Vec::<String>::new());
}

#[test]
fn a_large_notification_is_not_copied_for_each_subscription() {
    let mut subscriptions =
        crate::bridge::era::modern_client::subscriptions::Subscriptions::default();
    let mut actions = AdapterActions::default();
    let listen = r#"{"id":1,"method":"subscriptions/listen","params":{"notifications":{"resourceSubscriptions":["a:b"],"toolsListChanged":true}}}"#;
    let listen = Message::parse(listen).unwrap();
    let offers =
        r#"{"capabilities":{"resources":{"subscribe":true},"tools":{"listChanged":true}}}"#;
    for id in 0..200 {
        let id = RequestId::from_text(&id.to_string()).unwrap();
        subscriptions.open(&id, &listen, offers, &mut actions);
    }
    let padding = "x".repeat(1 << 20);
    for (method, uri) in [
        ("notifications/resources/updated", "a:b"),
        ("notifications/tools/list_changed", ""),
    ] {
        let mut actions = AdapterActions::default();
        let message =
            format!(r#"{{"method":"{method}","params":{{"uri":"{uri}","padding":"{padding}"}}}}"#);
        let message = Message::parse(&message).unwrap();
        assert!(subscriptions.message(method, &message, &mut actions));
        let sizes = actions.0.iter().map(|action| match action {
            AdapterAction::Client(message) => message.text().len(),
            _ => 0,
        });
        assert_eq!(sizes.clone().count(), 200);
        assert!(sizes.sum::<usize>() < padding.len());
    }
}

#[test]
fn a_legacy_client_is_told_of_what_it_subscribed_to_once_for_each_stream() {
    let mut subscriptions =
        crate::bridge::era::legacy_client::subscriptions::Subscriptions::default();
    subscriptions.offered(r#"{"capabilities":{"resources":{"subscribe":true}}}"#);
    let mut actions = AdapterActions::default();
    let list = vec!["\"\""; MANY].join(",");
    let acknowledged = Message::parse(&format!(
        r#"{{"method":"notifications/subscriptions/acknowledged","params":{{"notifications":{{"resourceSubscriptions":[{list}]}}}}}}"#
    ))
    .unwrap();
    let ended = Message::parse(r#"{"id":1,"result":{}}"#).unwrap();
    let now = std::time::Instant::now();
    let id = RequestId::from_text("1").unwrap();
    subscriptions.set(id.clone(), "a:b".to_owned(), true, &mut actions);
    subscriptions.open(now, &id, &mut actions);
    subscriptions.message(&id, &acknowledged, &mut actions);
    subscriptions.ended(now, &id, &ended, false, &mut actions);
    subscriptions.open(now, &id, &mut actions);
    let mut actions = AdapterActions::default();
    for _ in 0..3 {
        subscriptions.message(&id, &acknowledged, &mut actions);
    }
    let told = actions.0.iter();
    let told = told.filter(|action| matches!(action, AdapterAction::Client(_)));
    assert_eq!(told.count(), 1);
    let warned = actions.0.iter();
    let warned = warned.filter(|action| matches!(action, AdapterAction::Warn(_)));
    assert_eq!(warned.count(), 1);
}

#[test]
fn a_subscription_that_the_server_ends_after_seconds_is_opened_again_with_growing_bounded_pauses() {
    let mut subscriptions =
        crate::bridge::era::legacy_client::subscriptions::Subscriptions::default();
    subscriptions.offered(r#"{"capabilities":{"tools":{"listChanged":true}}}"#);
    let parse = |text: &str| Message::parse(text).unwrap();
    let acknowledged = parse(r#"{"method":"notifications/subscriptions/acknowledged"}"#);
    let ended = parse(r#"{"id":1,"result":{}}"#);
    let failed = parse(r#"{"id":1,"error":{"code":-32603,"message":"worker restarted"}}"#);
    let id = RequestId::from_text("1").unwrap();
    let mut now = std::time::Instant::now();
    let mut pauses = Vec::new();
    for number in 0..50 {
        let mut actions = AdapterActions::default();
        subscriptions.open(now, &id, &mut actions);
        // Sometimes the host fails to open it; that does not end the subscription either.
        if number % 5 == 1 {
            subscriptions.ended(now, &id, &failed, true, &mut actions);
        } else {
            subscriptions.message(&id, &acknowledged, &mut actions);
            now += Duration::from_secs(3);
            subscriptions.ended(now, &id, &ended, false, &mut actions);
        }
        let due = subscriptions.due().expect("given up");
        pauses.push((due - now).as_secs());
        now = due;
    }
    assert_eq!(&pauses[..5], [4, 8, 16, 32, 32]);
    assert_eq!(pauses.iter().max(), Some(&32));
}

#[test]
fn a_modern_clients_subscription_is_opened_again_with_growing_bounded_pauses() {
    let (mut bench, mut stream) = modern_with_subscription();
    let mut pauses = Vec::new();
    for _ in 0..12 {
        bench.progress(stream, ended());
        let mut pause = 0;
        stream = loop {
            bench.wait(Duration::from_secs(1));
            pause += 1;
            if let Some((stream, _)) = bench.last_request() {
                break stream;
            }
            assert!(pause < 60, "given up after {pauses:?}");
        };
        pauses.push(pause);
        bench.progress(stream, head(Content::Stream));
        bench.acknowledge(stream);
    }
    assert!(pauses[4] > pauses[0], "{pauses:?}");
    assert!(pauses[11] <= 37, "{pauses:?}");
}

#[test]
fn a_subscription_has_no_time_limit_after_a_sign_in_either() {
    let (mut bench, _) = modern_with_subscription_and(|settings| {
        settings.request_timeout = Some(Duration::from_secs(5));
    });
    let call = bench.client(&format!(
        r#"{{"id":2,"method":"tools/call","params":{{"name":"t",{META}}}}}"#
    ));
    bench.progress(call, refused(403, true));
    bench.handle(Event::SignedIn(Ok(())));
    bench.wait(Duration::from_secs(60));
    let answers = bench.answers();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(answers[0].contains(r#""id":2,"#), "{answers:?}");
}

/// A call whose stream ended after an event with an id; resumed as `resume` says, for as long as the call is open or `limit`.
/// Gives the responses, the seconds it took, and the number of resumptions.
fn resumed(
    limit: Duration,
    resume: impl Fn(&mut Bench, ExchangeId, u64),
) -> (Vec<String>, u64, u64) {
    let mut bench = Bench::connected(|_| {});
    bench.answers();
    let call = bench.client(r#"{"id":2,"method":"tools/call","params":{"name":"t"}}"#);
    bench.progress(call, head(Content::Stream));
    bench.progress(call, Progress::EventId(EventId("e1".to_owned())));
    bench.progress(call, ended());
    let (mut seconds, mut resumptions) = (0, 0);
    while seconds < limit.as_secs() {
        bench.wait(Duration::from_secs(1));
        seconds += 1;
        for stream in bench.all_opened() {
            resumptions += 1;
            resume(&mut bench, stream, resumptions);
        }
        let answers = bench.answers();
        if !answers.is_empty() {
            return (answers, seconds, resumptions);
        }
    }
    (Vec::new(), seconds, resumptions)
}

#[test]
fn resumptions_that_bring_no_event_end_in_one_error() {
    let hour = Duration::from_secs(3600);
    let broken = |stage| Progress::Ended(End::Broken(Error::new(Kind::Network, "gone"), stage));
    let empty = resumed(hour, |bench, stream, _| {
        bench.progress(stream, head(Content::Stream));
        bench.progress(stream, ended());
    });
    let replayed = resumed(hour, |bench, stream, _| {
        bench.progress(stream, head(Content::Stream));
        bench.progress(stream, Progress::EventId(EventId("e1".to_owned())));
        bench.progress(stream, ended());
    });
    let gone = resumed(hour, |bench, stream, _| {
        bench.progress(stream, broken(Stage::NotSent));
    });
    let cut = resumed(hour, |bench, stream, _| {
        bench.progress(stream, broken(Stage::Unanswered));
    });
    let refused = resumed(hour, |bench, stream, _| {
        bench.progress(stream, refused(409, false));
    });
    for (answers, seconds, resumptions) in [empty, replayed, gone, cut, refused] {
        assert_eq!(answers.len(), 1, "{answers:?}");
        assert!(answers[0].contains("could not be resumed"), "{answers:?}");
        assert!((10..45).contains(&seconds), "{seconds} s");
        assert!((3..20).contains(&resumptions), "{resumptions}");
    }
}

#[test]
fn a_resumption_refused_for_now_is_tried_again() {
    for status in [409, 429, 500, 503, 524, 530] {
        let (answers, ..) = resumed(Duration::from_secs(60), |bench, stream, number| {
            if number < 3 {
                return bench.progress(stream, refused(status, false));
            }
            bench.progress(stream, head(Content::Stream));
            bench.answer(stream, "2");
        });
        assert!(answers[0].contains("result"), "{status}: {answers:?}");
    }
}

#[test]
fn streams_that_a_proxy_cuts_while_they_are_idle_are_resumed_for_minutes() {
    let (answers, ..) = resumed(Duration::from_secs(600), |bench, stream, _| {
        bench.progress(stream, head(Content::Stream));
        bench.wait(Duration::from_secs(30));
        bench.progress(stream, ended());
    });
    assert_eq!(answers, Vec::<String>::new());
}

/// A session whose GET stream is open; gives the stream.
fn with_get_stream() -> (Bench, ExchangeId) {
    let mut bench = Bench::connected_with_get_stream(|_| {});
    let stream = bench.opened();
    bench.progress(stream, head(Content::Stream));
    (bench, stream)
}

#[test]
fn a_get_stream_that_was_open_is_tried_again_after_any_refusal_but_405() {
    for status in [400, 403, 409, 410, 429, 500, 502, 520, 524, 530] {
        let (mut bench, stream) = with_get_stream();
        bench.progress(stream, ended());
        let mut tries = 0;
        for _ in 0..300 {
            bench.wait(Duration::from_secs(1));
            for stream in bench.all_opened() {
                tries += 1;
                bench.progress(stream, refused(status, false));
            }
        }
        // Often enough to be back soon, and not in a circle.
        assert!((8..30).contains(&tries), "{status}: {tries}");
    }
    let (mut bench, stream) = with_get_stream();
    bench.progress(stream, ended());
    bench.wait(Duration::from_secs(2));
    let stream = bench.opened();
    bench.progress(stream, refused(405, false));
    bench.wait(Duration::from_secs(300));
    assert!(bench.all_opened().is_empty());
}

#[test]
fn a_get_stream_answered_without_a_body_is_not_asked_for_again() {
    let mut bench = Bench::connected_with_get_stream(|_| {});
    let stream = bench.opened();
    bench.progress(stream, head(Content::Nothing));
    bench.progress(stream, ended());
    bench.wait(Duration::from_secs(300));
    assert!(bench.all_opened().is_empty());
}

#[test]
fn a_get_stream_may_send_its_headers_with_the_first_event() {
    let mut bench = Bench::connected_with_get_stream(|settings| {
        settings.headers_timeout = Some(Duration::from_secs(2));
    });
    let stream = bench.opened();
    bench.wait(Duration::from_secs(3600));
    assert!(bench.all_opened().is_empty());
    bench.progress(stream, head(Content::Stream));
    let text = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    bench.event(stream, text.to_owned());
    assert_eq!(bench.answers().last().map(String::as_str), Some(text));
}

#[test]
fn streams_that_stay_open_after_the_response_make_room_for_new_requests() {
    let mut bench = Bench::connected(|_| {});
    let slow = bench.client(r#"{"id":"slow","method":"tools/call","params":{"name":"t"}}"#);
    bench.progress(slow, head(Content::Stream));
    let mut closed = Vec::new();
    for id in 0..1000 {
        let call = bench.client(&format!(
            r#"{{"id":{id},"method":"tools/call","params":{{"name":"t"}}}}"#
        ));
        bench.progress(call, head(Content::Stream));
        bench.answer(call, &id.to_string());
        closed.extend(bench.carry_out(|action| match action {
            Action::Close(exchange) => Some(*exchange),
            _ => None,
        }));
        assert!(id as usize - closed.len() < 256, "{} of {id}", closed.len());
    }
    assert!(!closed.contains(&slow));
    assert!(closed.is_sorted());
}
