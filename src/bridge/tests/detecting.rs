//! Servers that say nothing, or are away, and what waits for them.

use std::time::Duration;

use super::found::{Bench, head, refused};
use crate::bridge::{Action, Content, End, Event, ExchangeId, Progress};
use crate::config::Strategy;
use crate::jsonrpc::Message;
use crate::log::Level;
use crate::url::Url;

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

fn request(id: u32, method: &str) -> String {
    format!(r#"{{"id":{id},"method":"{method}","params":{{"name":"a",{META}}}}}"#)
}

fn methods(bench: &mut Bench) -> Vec<String> {
    let method = |text: &String| Message::parse(text).unwrap().method().unwrap().to_owned();
    bench.posts().iter().map(method).collect()
}

fn opened(output: &Action) -> Option<ExchangeId> {
    match output {
        Action::Open(id, _) => Some(*id),
        _ => None,
    }
}

/// The whole response to a request: a result or an error.
fn answer(bench: &mut Bench, exchange: ExchangeId, id: &str, body: &str) {
    let parsed = Message::read(format!("{{\"id\":{id},{body}}}"));
    bench.progress(exchange, head(Content::Json));
    bench.progress(exchange, Progress::Event { id: None, parsed });
    bench.progress(exchange, Progress::Ended(End::Complete));
}

const INITIALIZED: &str =
    r#""result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"s"}}"#;

#[test]
fn a_first_request_that_brings_nothing_holds_the_others_back_for_a_while_only() {
    let mut bench = Bench::new(Strategy::HttpFirst);
    let call = bench.client(&request(1, "tools/call"));
    bench.handle(Event::Client(Message::read(request(2, "ping/pong"))));
    bench.handle(Event::Client(Message::read(request(3, "tools/list"))));
    bench.wait(Duration::from_secs(7));
    assert_eq!(methods(&mut bench), Vec::<String>::new());
    bench.wait(Duration::from_secs(2));
    let (other, id) = bench.last_request().unwrap();
    assert_eq!(id, "2");
    // It shows that the server is legacy; so what was refused meanwhile is said again in its way.
    bench.progress(other, refused(400, false));
    let (initialize, id) = bench.last_request().unwrap();
    answer(&mut bench, initialize, &id, INITIALIZED);
    let initialized = bench.carry_out(opened);
    bench.progress(initialized[0], head(Content::Nothing));
    bench.progress(initialized[0], Progress::Ended(End::Complete));
    bench.wait(Duration::from_secs(1));
    bench.posts();
    bench.progress(call, refused(400, false));
    let (again, id) = bench.last_request().unwrap();
    answer(&mut bench, again, &id, r#""result":{"content":[]}"#);
    let answers = bench.answers();
    assert!(
        answers
            .iter()
            .any(|answer| answer.starts_with(r#"{"id":1,"result""#)),
        "{answers:?}"
    );
}

#[test]
fn a_server_that_says_nothing_to_a_modern_request_is_tried_with_the_older_handshake() {
    let mut bench = Bench::new(Strategy::HttpFirst);
    bench.client(&request(1, "tools/list"));
    bench.posts();
    bench.wait(Duration::from_secs(9));
    let (initialize, id) = bench.last_request().unwrap();
    assert!(id.contains("initialize"), "{id}");
    answer(&mut bench, initialize, &id, INITIALIZED);
    bench.wait(Duration::from_secs(11));
    let (list, id) = bench.last_request().unwrap();
    assert_eq!(id, "1");
    answer(&mut bench, list, "1", r#""result":{"tools":[]}"#);
    assert!(bench.answers()[0].contains(r#""resultType":"complete""#));
}

#[test]
fn a_server_that_was_only_slow_is_asked_again_without_a_limit() {
    let mut bench = Bench::new(Strategy::HttpFirst);
    bench.client(&request(1, "tools/list"));
    bench.posts();
    bench.wait(Duration::from_secs(9));
    let (initialize, id) = bench.last_request().unwrap();
    let unsupported =
        r#""error":{"code":-32022,"message":"m","data":{"supported":["2026-07-28"]}}"#;
    answer(&mut bench, initialize, &id, unsupported);
    let (list, id) = bench.last_request().unwrap();
    assert_eq!(id, "1");
    bench.wait(Duration::from_secs(200));
    assert_eq!(bench.answers(), Vec::<String>::new());
    answer(
        &mut bench,
        list,
        "1",
        r#""result":{"resultType":"complete","tools":[]}"#,
    );
    assert_eq!(bench.answers().len(), 1);
}

#[test]
fn an_answer_that_has_begun_may_take_its_time() {
    let mut bench = Bench::new(Strategy::HttpFirst);
    let list = bench.client(&request(1, "tools/list"));
    bench.posts();
    bench.progress(list, head(Content::Stream));
    bench.wait(Duration::from_secs(60));
    assert_eq!(methods(&mut bench), Vec::<String>::new());
    assert_eq!(bench.answers(), Vec::<String>::new());
}

#[test]
fn notifications_do_not_wait_for_a_server_that_is_away_for_ever_and_not_in_any_number() {
    let mut bench = Bench::new(Strategy::SseOnly);
    let stream = bench.client(r#"{"method":"notifications/a"}"#);
    let endpoint = Url::parse("https://a.test/messages").unwrap();
    bench.progress(stream, head(Content::Stream));
    bench.progress(stream, Progress::Endpoint(Ok(endpoint)));
    bench.progress(stream, Progress::Ended(End::Complete));
    let note = bench.opened();
    bench.progress(note, Progress::Ended(End::Complete));
    for _ in 0..1100 {
        let note = r#"{"method":"notifications/b"}"#.to_owned();
        bench.handle(Event::Client(Message::read(note)));
    }
    let lost = |bench: &mut Bench, why: &str| {
        let said = bench.carry_out(|output| match output {
            Action::Say(Level::Warn, text) if text.contains("not delivered") => Some(text.clone()),
            _ => None,
        });
        assert!(said.iter().all(|text| text.contains(why)), "{said:?}");
        said.len()
    };
    assert_eq!(lost(&mut bench, "too many"), 100);
    for _ in 0..61 {
        bench.wait(Duration::from_secs(1));
        for stream in bench.carry_out(opened) {
            bench.progress(stream, refused(503, false));
        }
    }
    assert_eq!(lost(&mut bench, "in time"), 1000);
}
