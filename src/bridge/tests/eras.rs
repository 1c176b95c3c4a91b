//! Rules of the eras that take long or are rare.

mod random;

use std::time::{Duration, Instant};

use crate::bridge::era::adapter::{
    Adapter as _, AdapterAction, AdapterActions, AdapterEvent, FailureSource,
};
use crate::bridge::era::legacy_client::LegacyToModern;
use crate::bridge::era::modern_client::ModernToLegacy;
use crate::bridge::{
    Action, Bridge, Content, End, Event, ExchangeId, Head, HttpRequest, Progress, Settings,
};
use crate::config::{Protocol, Strategy};
use crate::jsonrpc::{self, Kind, Message, RequestId};

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"elicitation":{"url":{}},"roots":{}}}"#;

fn parse(text: &str) -> Message {
    Message::parse(text).unwrap()
}

/// What the actions send to the server, and to the client.
fn sent(actions: &[AdapterAction]) -> (Vec<String>, Vec<String>) {
    let (mut server, mut client) = (Vec::new(), Vec::new());
    for action in actions {
        match action {
            AdapterAction::Server(message) => server.push(message.text().to_owned()),
            AdapterAction::Client(message) => client.push(message.text().to_owned()),
            AdapterAction::Cancel(id) => server.push(format!("cancel {id}")),
            AdapterAction::Since(_)
            | AdapterAction::Warn(_)
            | AdapterAction::EraKnown(_)
            | AdapterAction::GiveUp { .. } => {}
        }
    }
    (server, client)
}

/// A modern client at a legacy server, past the handshake.
struct Pair {
    adapter: ModernToLegacy,
    now: Instant,
}

impl Pair {
    fn new() -> Pair {
        Pair::offering("{}")
    }

    fn offering(capabilities: &str) -> Pair {
        let now = Instant::now();
        let mut adapter = ModernToLegacy::new(7);
        let discover = format!(r#"{{"id":0,"method":"server/discover","params":{{{META}}}}}"#);
        let (asked, _) = sent(&adapter.client_sent(now, parse(&discover)));
        let mut pair = Pair { adapter, now };
        let id = jsonrpc::member(&asked[0], "id").unwrap().to_owned();
        let result = format!(r#""result":{{"capabilities":{capabilities}}}"#);
        let (_, told) = pair.answer(&id, &result);
        assert!(told[0].contains("supportedVersions"));
        pair
    }

    /// The client calls a tool; gives the id the call has at the server.
    fn call(&mut self, id: u32, more: &str) -> String {
        let (server, _) = self.client(id, more);
        jsonrpc::member(&server[0], "id").unwrap().to_owned()
    }

    fn client(&mut self, id: u32, more: &str) -> (Vec<String>, Vec<String>) {
        let call =
            format!(r#"{{"id":{id},"method":"tools/call","params":{{"name":"a"{more},{META}}}}}"#);
        sent(&self.adapter.client_sent(self.now, parse(&call)))
    }

    fn answer(&mut self, id: &str, body: &str) -> (Vec<String>, Vec<String>) {
        let message = parse(&format!(r#"{{"id":{id},{body}}}"#));
        let source = FailureSource::Local;
        sent(
            &self
                .adapter
                .handle_event(self.now, AdapterEvent::Response { message, source }),
        )
    }

    /// The server asks for roots under this id.
    fn ask(&mut self, id: &str, on: Option<&str>) -> (Vec<String>, Vec<String>) {
        let message = parse(&format!(r#"{{"id":"{id}","method":"roots/list"}}"#));
        let on = on.and_then(RequestId::from_text);
        sent(
            &self
                .adapter
                .handle_event(self.now, AdapterEvent::Message { message, on }),
        )
    }

    fn pass(&mut self, time: Duration) -> (Vec<String>, Vec<String>) {
        self.now += time;
        sent(&self.adapter.is_due(self.now))
    }

    /// The round the client is told of now: its `requestState` and the only key.
    fn round(&mut self) -> (String, String) {
        let (_, client) = self.pass(Duration::from_millis(20));
        let part = |name| jsonrpc::member_at(&client[0], &["result", name]).unwrap();
        let questions = jsonrpc::members(part("inputRequests"));
        (part("requestState").to_owned(), questions[0].0.clone())
    }
}

#[test]
fn an_error_that_asks_for_a_visit_becomes_a_round_and_the_request_is_sent_again() {
    let mut pair = Pair::new();
    let wire = pair.call(1, "");
    let error = r#""error":{"code":-32042,"message":"m","data":{"elicitations":[{"mode":"url","url":"https://a.test","message":"m","elicitationId":"e"}]}}"#;
    let (_, client) = pair.answer(&wire, error);
    assert!(client.is_empty());
    let (_, client) = pair.pass(Duration::from_millis(20));
    let part = |name| jsonrpc::member_at(&client[0], &["result", name]).unwrap();
    let (state, questions) = (
        part("requestState"),
        jsonrpc::members(part("inputRequests")),
    );
    let (key, question) = questions[0].clone();
    assert_eq!(
        question,
        r#"{"method":"elicitation/create","params":{"mode":"url","url":"https://a.test","message":"m"}}"#
    );
    let retry =
        format!(r#","requestState":{state},"inputResponses":{{"{key}":{{"action":"accept"}}}}"#);
    let (server, _) = pair.client(2, &retry);
    assert_eq!(
        jsonrpc::member_at(&server[0], &["params"]),
        Some(r#"{"name":"a"}"#)
    );
    let again = jsonrpc::member(&server[0], "id").unwrap().to_owned();
    assert_ne!(again, wire);
    let (_, client) = pair.answer(&again, r#""result":{"content":[]}"#);
    assert!(client[0].starts_with(r#"{"id":2,"#), "{client:?}");
    // Without addresses, or for a client that cannot be asked, it is an error of its own revision.
    let wire = pair.call(3, "");
    let (_, client) = pair.answer(&wire, r#""error":{"code":-32042,"message":"m"}"#);
    assert!(client[0].contains("-32021"), "{client:?}");
    let plain = META.replace(r#""url":{}"#, "");
    let call = format!(r#"{{"id":4,"method":"tools/call","params":{{"name":"a",{plain}}}}}"#);
    let (server, _) = sent(&pair.adapter.client_sent(pair.now, parse(&call)));
    let wire = jsonrpc::member(&server[0], "id").unwrap().to_owned();
    let (_, client) = pair.answer(&wire, error);
    assert!(client[0].contains("requiredCapabilities"), "{client:?}");
}

#[test]
fn what_does_not_fit_into_the_queue_before_the_handshake_is_answered() {
    let now = Instant::now();
    let mut modern = ModernToLegacy::new(7);
    let mut legacy = LegacyToModern::new("https://a.test".to_owned(), false);
    legacy.client_sent(
        now,
        parse(r#"{"id":"i","method":"initialize","params":{}}"#),
    );
    for id in 0..10_100 {
        let list = parse(&format!(
            r#"{{"id":{id},"method":"tools/list","params":{{{META}}}}}"#
        ));
        let (_, to_modern) = sent(&modern.client_sent(now, list.clone()));
        let (_, to_legacy) = sent(&legacy.client_sent(now, list));
        for told in [&to_modern, &to_legacy] {
            let is_refused = told.iter().any(|answer| answer.contains("too many"));
            assert!(
                told.len() < 2 && is_refused == (told.len() == 1),
                "{told:?}"
            );
        }
        assert_eq!(
            (to_modern.len(), to_legacy.len()),
            match id {
                0..9_999 => (0, 0),
                9_999 => (0, 1),
                _ => (1, 1),
            }
        );
    }
}

#[test]
fn an_error_after_a_question_the_client_cannot_be_asked_names_what_it_lacks() {
    let mut pair = Pair::new();
    let ask = |pair: &mut Pair, wire: &str| {
        let question = r#"{"id":"q","method":"sampling/createMessage","params":{"tools":[]}}"#;
        let on = RequestId::from_text(wire);
        let news = AdapterEvent::Message {
            message: parse(question),
            on,
        };
        let (server, client) = sent(&pair.adapter.handle_event(pair.now, news));
        assert!(server[0].contains("-32601"), "{server:?}");
        assert!(client.is_empty(), "{client:?}");
    };
    let wire = pair.call(1, "");
    ask(&mut pair, &wire);
    let (_, client) = pair.answer(&wire, r#""error":{"code":-32603,"message":"no model"}"#);
    let needed = r#""error":{"code":-32021,"message":"no model","data":{"requiredCapabilities":{"sampling":{"tools":{}}}}}"#;
    assert!(client[0].contains(needed), "{client:?}");
    // It can do without.
    let wire = pair.call(2, "");
    ask(&mut pair, &wire);
    let (_, client) = pair.answer(&wire, r#""result":{"content":[]}"#);
    assert!(client[0].contains(r#""content":[]"#), "{client:?}");
    let wire = pair.call(3, "");
    let (_, client) = pair.answer(&wire, r#""error":{"code":-32603,"message":"no"}"#);
    assert!(client[0].contains("-32603"), "{client:?}");
}

#[test]
fn a_log_level_that_does_not_exist_is_an_error() {
    let mut pair = Pair::new();
    let loud = META.replace(
        r#""_meta":{"#,
        r#""_meta":{"io.modelcontextprotocol/logLevel":"loud","#,
    );
    let call = format!(r#"{{"id":4,"method":"tools/call","params":{{"name":"a",{loud}}}}}"#);
    let (server, client) = sent(&pair.adapter.client_sent(pair.now, parse(&call)));
    assert!(server.is_empty(), "{server:?}");
    assert!(client[0].contains("-32602"), "{client:?}");
}

#[test]
fn a_request_without_what_every_modern_one_declares_is_an_error() {
    let mut pair = Pair::new();
    for meta in [
        "",
        r#""_meta":{}"#,
        r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#,
        r#""_meta":{"io.modelcontextprotocol/clientCapabilities":{}}"#,
    ] {
        let list = format!(r#"{{"id":4,"method":"tools/list","params":{{{meta}}}}}"#);
        let (server, client) = sent(&pair.adapter.client_sent(pair.now, parse(&list)));
        assert!(server.is_empty(), "{server:?}");
        assert!(client[0].contains("-32602"), "{client:?}");
        assert!(client[0].contains("is missing"), "{client:?}");
    }
}

#[test]
fn an_update_goes_to_whom_it_concerns() {
    let mut subscriptions =
        crate::bridge::era::modern_client::subscriptions::Subscriptions::default();
    let mut actions = AdapterActions::default();
    let offers = r#"{"capabilities":{"resources":{"subscribe":true}}}"#;
    for (id, uri) in [("1", "file:///a"), ("2", "file:///ab")] {
        let listen = parse(&format!(
            r#"{{"id":{id},"method":"subscriptions/listen","params":{{"notifications":{{"resourceSubscriptions":["{uri}"]}}}}}}"#
        ));
        subscriptions.open(
            &RequestId::from_text(id).unwrap(),
            &listen,
            offers,
            &mut actions,
        );
    }
    for (uri, concerned) in [
        ("file:///a", 1),
        ("file:///a/b", 1),
        ("file:///ab", 1),
        ("file:///abc", 0),
    ] {
        let mut actions = AdapterActions::default();
        let method = "notifications/resources/updated";
        let updated = parse(&format!(
            r#"{{"method":"{method}","params":{{"uri":"{uri}"}}}}"#
        ));
        assert!(subscriptions.message(method, &updated, &mut actions));
        assert_eq!(actions.0.len(), concerned, "{uri}");
    }
}

#[test]
fn a_resource_is_watched_once_for_all_who_want_it_and_questions_about_it_do_not_race() {
    let mut pair = Pair::offering(r#"{"resources":{"subscribe":true}}"#);
    let listen = |pair: &mut Pair, id: u32| {
        let listen = format!(
            r#"{{"id":{id},"method":"subscriptions/listen","params":{{"notifications":{{"resourceSubscriptions":["file:///a"]}},{META}}}}}"#
        );
        sent(&pair.adapter.client_sent(pair.now, parse(&listen))).0
    };
    let close = |pair: &mut Pair, id: u32| {
        let cancel =
            format!(r#"{{"method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#);
        sent(&pair.adapter.client_sent(pair.now, parse(&cancel))).0
    };
    let nothing = Vec::<String>::new();
    let id = |text: &str| jsonrpc::member(text, "id").unwrap().to_owned();
    let asked = listen(&mut pair, 1);
    assert!(asked[0].contains("resources/subscribe"), "{asked:?}");
    pair.answer(&id(&asked[0]), r#""result":{}"#);
    assert_eq!(listen(&mut pair, 2), nothing);
    assert_eq!(close(&mut pair, 1), nothing);
    let asked = close(&mut pair, 2);
    assert!(asked[0].contains("resources/unsubscribe"), "{asked:?}");
    // Wanted again before that is answered: it is asked for afterwards.
    assert_eq!(listen(&mut pair, 3), nothing);
    let (asked, _) = pair.answer(&id(&asked[0]), r#""result":{}"#);
    assert!(asked[0].contains("resources/subscribe"), "{asked:?}");
}

#[test]
fn a_resource_the_server_does_not_agree_to_watch_is_named() {
    let warned = |agreed: &str| {
        let mut subscriptions =
            crate::bridge::era::legacy_client::subscriptions::Subscriptions::default();
        subscriptions.offered(r#"{"capabilities":{"resources":{"subscribe":true}}}"#);
        let mut actions = AdapterActions::default();
        let id = RequestId::from_text("1").unwrap();
        assert!(subscriptions.set(id.clone(), "file:///a".to_owned(), true, &mut actions));
        subscriptions.open(Instant::now(), &id, &mut actions);
        let acknowledged = parse(&format!(
            r#"{{"method":"notifications/subscriptions/acknowledged","params":{{"notifications":{agreed}}}}}"#
        ));
        subscriptions.message(&id, &acknowledged, &mut actions);
        let (_, client) = sent(&actions.0);
        assert_eq!(client, [r#"{"jsonrpc":"2.0","id":1,"result":{}}"#]);
        let said = |action: &AdapterAction| matches!(action, AdapterAction::Warn(text) if text.contains("file:///a"));
        actions.0.iter().any(said)
    };
    assert!(warned("{}"));
    assert!(warned(r#"{"resourceSubscriptions":["file:///b"]}"#));
    assert!(!warned(r#"{"resourceSubscriptions":["file:///a"]}"#));
}

#[test]
fn a_subscription_too_many_is_refused() {
    let mut subscriptions =
        crate::bridge::era::legacy_client::subscriptions::Subscriptions::default();
    subscriptions.offered(r#"{"capabilities":{"resources":{"subscribe":true}}}"#);
    let mut actions = AdapterActions::default();
    for number in 0..=10_000 {
        let id = RequestId::from_string(&number.to_string());
        subscriptions.set(id, format!("file:///{number}"), true, &mut actions);
    }
    let (_, client) = sent(&actions.0);
    assert_eq!(client.len(), 1, "{client:?}");
    assert!(client[0].contains("more than 10000"), "{client:?}");
}

#[test]
fn a_question_on_no_stream_belongs_to_the_last_request_and_one_without_a_request_is_refused() {
    let mut pair = Pair::new();
    let (server, _) = pair.ask("q0", None);
    assert!(server[0].contains("-32601"), "{server:?}");
    pair.call(1, "");
    pair.call(2, "");
    pair.ask("q1", None);
    let (_, client) = pair.pass(Duration::from_millis(20));
    assert!(client[0].contains(r#""id":2,"#), "{client:?}");
}

#[test]
fn parked_requests_are_given_up_when_nobody_comes_back_or_they_are_too_many_or_too_large() {
    let gives_up = |server: &[String], question: &str, wire: &str| {
        assert!(
            server[0].contains(question) && server[0].contains("error"),
            "{server:?}"
        );
        assert_eq!(server.get(1), Some(&format!("cancel {wire}")));
    };
    let mut pair = Pair::new();
    let first = pair.call(1, "");
    pair.ask("q1", Some(&first));
    let (state, _) = pair.round();
    let (server, _) = pair.pass(Duration::from_secs(601));
    gives_up(&server, "q1", &first);
    for state in [&state, "\"another instance's\"", "1"] {
        let (server, client) = pair.client(2, &format!(r#","requestState":{state}"#));
        assert!(client[0].contains("-32602"), "{client:?}");
        assert!(
            server.is_empty(),
            "it would be carried out twice: {server:?}"
        );
    }

    let wires: Vec<String> = (10..75).map(|id| pair.call(id, "")).collect();
    for (number, wire) in wires.iter().enumerate() {
        pair.ask(&format!("n{number}"), Some(wire));
        let (server, _) = pair.pass(Duration::from_millis(20));
        match number {
            64 => gives_up(&server, "n0", &wires[0]),
            _ => assert!(server.is_empty(), "{number}"),
        }
    }

    let mut pair = Pair::new();
    let wires = [pair.call(1, ""), pair.call(2, "")];
    for wire in &wires {
        pair.ask(&format!("l{wire}").replace('"', ""), Some(wire));
        pair.round();
    }
    let large = format!(r#""result":{{"content":"{}"}}"#, "x".repeat(40 << 20));
    assert!(pair.answer(&wires[0], &large).0.is_empty());
    // The older one goes; it is answered at the server, so there is nothing to cancel.
    let (server, _) = pair.answer(&wires[1], &large);
    assert_eq!(server.len(), 1, "{server:?}");
}

fn settings() -> Settings {
    Settings {
        server: "https://s.test/".to_owned(),
        doctor: "mcp-remote-client https://a.test/mcp".to_owned(),
        strategy: Strategy::HttpOnly,
        remembered: None,
        protocol: Protocol::Detect,
        remembered_era: None,
        ignore_tools: Vec::new(),
        allow_tools: Vec::new(),
        get_stream: true,
        ping_interval: None,
        request_timeout: None,
        auth_timeout: Duration::from_secs(60),
        headers_timeout: Some(Duration::from_secs(300)),
        body_timeout: None,
        body_timeout_on_streams: false,
        says_failures: true,
        seed: 1,
    }
}

/// What leaves, and the lines for the client.
fn drain(bridge: &mut Bridge) -> (Vec<(ExchangeId, String, RequestId)>, Vec<String>) {
    let (mut opened, mut lines) = (Vec::new(), Vec::new());
    while let Some(output) = bridge.poll() {
        match output {
            Action::Open(exchange, open) => {
                let (method, id) = match &open.action {
                    HttpRequest::Post { message, .. } => match message.kind() {
                        Kind::Request { id, method } => (method.clone(), id.clone()),
                        _ => (message.method().unwrap().to_owned(), RequestId::null()),
                    },
                    _ => ("GET".to_owned(), RequestId::null()),
                };
                opened.push((exchange, method, id));
            }
            Action::Client(message) => lines.push(message.text().to_owned()),
            Action::Respond(text) => lines.push(text),
            _ => {}
        }
    }
    (opened, lines)
}

#[test]
fn a_server_that_never_answers_the_probe_is_tried_with_the_older_handshake() {
    let now = Instant::now();
    let mut bridge = Bridge::new(settings(), now);
    let discover =
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{{{META}}}}}"#);
    bridge.handle(now, Event::Client(Message::read(discover)));
    let (opened, _) = drain(&mut bridge);
    assert_eq!(opened[0].1, "server/discover");
    let now = now + Duration::from_secs(8);
    assert!(bridge.deadline().is_some_and(|at| at <= now));
    bridge.handle(now, Event::Time);
    let (_, lines) = drain(&mut bridge);
    assert!(lines[0].contains("-32001"), "{lines:?}");
    // A client of both eras sends `initialize` itself; for this one it is sent.
    let discover =
        format!(r#"{{"jsonrpc":"2.0","id":2,"method":"server/discover","params":{{{META}}}}}"#);
    bridge.handle(now, Event::Client(Message::read(discover)));
    let (opened, _) = drain(&mut bridge);
    let (exchange, method, id) = &opened[0];
    assert_eq!(method, "initialize");
    let head = Head {
        session: None,
        content: Content::Json,
    };
    bridge.handle(
        now,
        Event::Progress(*exchange, vec![Progress::Opened(head)]),
    );
    let parsed = Message::read(format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"protocolVersion":"2025-11-25","capabilities":{{}},"serverInfo":{{"name":"s"}}}}}}"#
    ));
    bridge.handle(
        now,
        Event::Progress(*exchange, vec![Progress::Event { id: None, parsed }]),
    );
    let (_, lines) = drain(&mut bridge);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("supportedVersions"));
    // The first request is not waited for any longer, and whatever comes of it is nobody's.
    let late = now + Duration::from_secs(40);
    bridge.handle(late, Event::Time);
    assert!(drain(&mut bridge).1.is_empty());
}

#[test]
fn a_server_that_is_asked_first_and_says_nothing_is_given_initialize_and_may_still_be_modern() {
    let mut now = Instant::now();
    let settings = Settings {
        protocol: Protocol::Auto,
        ..settings()
    };
    let mut bridge = Bridge::new(settings, now);
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#.to_owned();
    bridge.handle(now, Event::Client(Message::read(initialize)));
    let (opened, _) = drain(&mut bridge);
    assert_eq!(opened[0].1, "server/discover");
    now += Duration::from_secs(10);
    assert_eq!(bridge.deadline(), Some(now));
    bridge.handle(now, Event::Time);
    let (opened, lines) = drain(&mut bridge);
    assert!(lines.is_empty(), "{lines:?}");
    let (exchange, method, id) = &opened[0];
    assert_eq!(
        (method.as_str(), id),
        ("initialize", &RequestId::from_text("1").unwrap())
    );
    let head = Head {
        session: None,
        content: Content::Json,
    };
    bridge.handle(
        now,
        Event::Progress(*exchange, vec![Progress::Opened(head)]),
    );
    let parsed = Message::read(
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"","data":{"supported":["2026-07-28"]}}}"#
            .to_owned(),
    );
    let event = Progress::Event { id: None, parsed };
    bridge.handle(now, Event::Progress(*exchange, vec![event]));
    let (opened, lines) = drain(&mut bridge);
    assert!(lines.is_empty(), "{lines:?}");
    assert_eq!(opened[0].1, "server/discover");
}

#[test]
fn a_probe_is_not_given_longer_than_any_request_may_take() {
    let now = Instant::now();
    let mut bridge = Bridge::new(
        Settings {
            request_timeout: Some(Duration::from_secs(5)),
            ..settings()
        },
        now,
    );
    let discover =
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{{{META}}}}}"#);
    bridge.handle(now, Event::Client(Message::read(discover)));
    bridge.handle(now + Duration::from_secs(5), Event::Time);
    let (_, lines) = drain(&mut bridge);
    assert!(
        lines.len() == 1 && lines[0].contains("within 5 s"),
        "{lines:?}"
    );
}

#[test]
fn a_server_that_is_asked_first_and_initialize_after_it_share_the_time_of_one_request() {
    let start = Instant::now();
    let settings = Settings {
        protocol: Protocol::Auto,
        request_timeout: Some(Duration::from_secs(6)),
        ..settings()
    };
    let mut bridge = Bridge::new(settings, start);
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#.to_owned();
    bridge.handle(start, Event::Client(Message::read(initialize)));
    assert_eq!(drain(&mut bridge).0[0].1, "server/discover");
    bridge.handle(start + Duration::from_secs(3), Event::Time);
    let (opened, lines) = drain(&mut bridge);
    assert_eq!((opened[0].1.as_str(), lines.len()), ("initialize", 0));
    assert_eq!(bridge.deadline(), Some(start + Duration::from_secs(6)));
    bridge.handle(start + Duration::from_secs(6), Event::Time);
    let (_, lines) = drain(&mut bridge);
    assert!(
        lines.len() == 1 && lines[0].contains("within 6 s"),
        "{lines:?}"
    );
}

#[test]
fn nothing_is_said_of_a_request_that_is_cancelled_while_it_waits_for_the_handshake() {
    let mut adapter = ModernToLegacy::new(7);
    let now = Instant::now();
    let mut say = |text: &str| sent(&adapter.client_sent(now, parse(text)));
    let (server, _) = say(&format!(
        r#"{{"id":1,"method":"subscriptions/listen","params":{{"notifications":{{}},{META}}}}}"#
    ));
    say(&format!(
        r#"{{"id":2,"method":"tools/list","params":{{{META}}}}}"#
    ));
    say(r#"{"method":"notifications/cancelled","params":{"requestId":1}}"#);
    let id = jsonrpc::member(&server[0], "id").unwrap();
    let message = parse(&format!(
        r#"{{"id":{id},"result":{{"capabilities":{{}}}}}}"#
    ));
    let source = FailureSource::Server;
    let (server, client) =
        sent(&adapter.handle_event(now, AdapterEvent::Response { message, source }));
    assert!(client.is_empty(), "{client:?}");
    assert_eq!(server.len(), 2, "{server:?}");
    assert!(server[1].contains("tools/list"), "{server:?}");
}

#[test]
fn what_waits_for_a_handshake_has_no_more_time_for_that() {
    let start = Instant::now();
    let settings = Settings {
        protocol: Protocol::Legacy,
        request_timeout: Some(Duration::from_secs(6)),
        ..settings()
    };
    let mut bridge = Bridge::new(settings, start);
    let list = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{{META}}}}}"#);
    bridge.handle(start, Event::Client(Message::read(list)));
    let (exchange, method, id) = drain(&mut bridge).0.remove(0);
    assert_eq!(method, "initialize");
    let now = start + Duration::from_secs(4);
    let parsed = Message::read(format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"protocolVersion":"2025-11-25","capabilities":{{}}}}}}"#
    ));
    let content = Content::Json;
    for progress in [
        Progress::Opened(Head {
            session: None,
            content,
        }),
        Progress::Event { id: None, parsed },
    ] {
        bridge.handle(now, Event::Progress(exchange, vec![progress]));
    }
    let (opened, _) = drain(&mut bridge);
    assert_eq!(opened[0].1, "notifications/initialized");
    bridge.handle(
        now,
        Event::Progress(opened[0].0, vec![Progress::Ended(End::Complete)]),
    );
    bridge.handle(start + Duration::from_secs(6), Event::Time);
    let (_, lines) = drain(&mut bridge);
    assert!(
        lines.len() == 1 && lines[0].contains("tools/list") && lines[0].contains("within 6 s"),
        "{lines:?}"
    );
}

#[test]
fn a_standing_stream_that_is_back_without_event_ids_may_have_missed_something() {
    let mut now = Instant::now();
    let mut bridge = Bridge::new(
        Settings {
            protocol: Protocol::Legacy,
            ..settings()
        },
        now,
    );
    let open = |content| {
        Progress::Opened(Head {
            session: None,
            content,
        })
    };
    let listen = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{{"notifications":{{"toolsListChanged":true}},{META}}}}}"#
    );
    bridge.handle(now, Event::Client(Message::read(listen)));
    let (opened, _) = drain(&mut bridge);
    let (exchange, _, id) = opened[0].clone();
    let parsed = Message::read(format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"protocolVersion":"2025-11-25","capabilities":{{"tools":{{"listChanged":true}}}}}}}}"#
    ));
    bridge.handle(now, Event::Progress(exchange, vec![open(Content::Json)]));
    let event = Progress::Event { id: None, parsed };
    bridge.handle(now, Event::Progress(exchange, vec![event]));
    bridge.handle(
        now,
        Event::Progress(exchange, vec![Progress::Ended(End::Complete)]),
    );
    let (opened, lines) = drain(&mut bridge);
    assert!(lines[0].contains("acknowledged"), "{lines:?}");
    assert_eq!(opened[0].1, "notifications/initialized");
    let exchange = opened[0].0;
    bridge.handle(now, Event::Progress(exchange, vec![open(Content::Nothing)]));
    bridge.handle(
        now,
        Event::Progress(exchange, vec![Progress::Ended(End::Complete)]),
    );
    for told in [0, 1, 0] {
        let (opened, _) = drain(&mut bridge);
        let (exchange, what, _) = &opened[0];
        assert_eq!(what, "GET");
        bridge.handle(now, Event::Progress(*exchange, vec![open(Content::Stream)]));
        let (_, lines) = drain(&mut bridge);
        assert_eq!(lines.len(), told, "{lines:?}");
        assert!(lines.iter().all(|line| line.contains("list_changed")));
        // The second one ends at once.
        now += Duration::from_secs(if told == 0 { 60 } else { 0 });
        bridge.handle(
            now,
            Event::Progress(*exchange, vec![Progress::Ended(End::Complete)]),
        );
        now += Duration::from_secs(9);
        bridge.handle(now, Event::Time);
    }
}

#[test]
fn a_server_that_refuses_the_version_it_names_is_asked_once_more() {
    let mut adapter = LegacyToModern::new("s".to_owned(), false);
    let now = Instant::now();
    let initialize = r#"{"id":1,"method":"initialize","params":{"capabilities":{}}}"#;
    let (mut server, _) = sent(&adapter.client_sent(now, parse(initialize)));
    for round in 0..2 {
        assert!(server[0].contains("server/discover"), "{server:?}");
        let id = jsonrpc::member(&server[0], "id").unwrap();
        let message = parse(&format!(
            r#"{{"id":{id},"error":{{"code":-32022,"message":"m","data":{{"supported":["2026-07-28"]}}}}}}"#
        ));
        let source = FailureSource::Server;
        let (next, client) =
            sent(&adapter.handle_event(now, AdapterEvent::Response { message, source }));
        assert_eq!(client.len(), round, "{client:?}");
        server = next;
    }
    assert!(server.is_empty());
}

/// The server answers a POST with this JSON body; gives the lines for the client and what is sent next.
fn answer_json(
    bridge: &mut Bridge,
    now: Instant,
    exchange: ExchangeId,
    body: &str,
) -> (Vec<(ExchangeId, String, RequestId)>, Vec<String>) {
    let head = Head {
        session: None,
        content: Content::Json,
    };
    let parsed = Message::read(body.to_owned());
    let progress = vec![
        Progress::Opened(head),
        Progress::Event { id: None, parsed },
        Progress::Ended(End::Complete),
    ];
    bridge.handle(now, Event::Progress(exchange, progress));
    drain(bridge)
}

#[test]
fn hidden_tools_stay_hidden_whichever_era_the_first_response_shows() {
    let now = Instant::now();
    for (result, kept) in [
        ("", r#""tools":[{"name":"read"}]"#),
        (
            r#""resultType":"complete","#,
            r#""tools":[{"name":"read"}]"#,
        ),
    ] {
        let mut settings = settings();
        settings.ignore_tools = vec!["delete*".to_owned()];
        let mut bridge = Bridge::new(settings, now);
        let list = format!(r#"{{"id":1,"method":"tools/list","params":{{{META}}}}}"#);
        bridge.handle(now, Event::Client(Message::read(list)));
        let (opened, _) = drain(&mut bridge);
        let body = format!(
            r#"{{"id":1,"result":{{{result}"tools":[{{"name":"read"}},{{"name":"delete_all"}}]}}}}"#
        );
        let (_, lines) = answer_json(&mut bridge, now, opened[0].0, &body);
        assert!(lines[0].contains(kept), "{lines:?}");
        assert!(!lines[0].contains("delete_all"), "{lines:?}");
        // A hidden tool is not called, by a request or by a notification.
        for id in ["", r#""id":2,"#] {
            let call =
                format!(r#"{{{id}"method":"tools/call","params":{{"name":"delete_all",{META}}}}}"#);
            bridge.handle(now, Event::Client(Message::read(call)));
            let (opened, lines) = drain(&mut bridge);
            assert!(
                opened.iter().all(|(_, method, _)| method != "tools/call"),
                "{opened:?}"
            );
            let mut answered = lines;
            for (exchange, method, id) in opened {
                if method == "initialize" {
                    let result = r#"{"protocolVersion":"2025-11-25","capabilities":{}}"#;
                    let body = format!(r#"{{"id":{id},"result":{result}}}"#);
                    let (opened, lines) = answer_json(&mut bridge, now, exchange, &body);
                    assert_eq!(opened.len(), 1, "{opened:?}");
                    answered.extend(lines);
                }
            }
            assert_eq!(answered.len(), usize::from(!id.is_empty()), "{answered:?}");
            assert!(answered.iter().all(|line| line.contains("error")));
        }
    }
}

#[test]
fn a_client_of_both_eras_falls_back_by_itself_and_one_of_the_modern_era_is_remembered() {
    let now = Instant::now();
    let discover =
        |id: u32| format!(r#"{{"id":{id},"method":"server/discover","params":{{{META}}}}}"#);
    let learned = |bridge: &mut Bridge| {
        let (mut learned, mut opened, mut lines) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(action) = bridge.poll() {
            match action {
                Action::Learned(era) => learned.push(era),
                Action::Open(exchange, open) => {
                    if let HttpRequest::Post { message, .. } = &open.action {
                        opened.push((exchange, message.text().to_owned()));
                    }
                }
                Action::Client(message) => lines.push(message.text().to_owned()),
                Action::Respond(text) => lines.push(text),
                _ => {}
            }
        }
        (learned, opened, lines)
    };
    let legacy = Some(crate::mcp::version::Era::Legacy);
    let refuse = |bridge: &mut Bridge, body: &str| {
        bridge.handle(now, Event::Client(Message::read(discover(1))));
        let (_, opened, _) = learned(bridge);
        assert!(opened[0].1.contains("server/discover"), "{opened:?}");
        let head = Head {
            session: None,
            content: Content::Json,
        };
        let parsed = Message::read(body.to_owned());
        let progress = vec![
            Progress::Opened(head),
            Progress::Event { id: None, parsed },
            Progress::Ended(End::Complete),
        ];
        bridge.handle(now, Event::Progress(opened[0].0, progress));
        learned(bridge)
    };
    for (body, code) in [
        (
            r#"{"id":1,"error":{"code":-32000,"message":"no session"}}"#,
            "-32000",
        ),
        (
            r#"{"id":1,"error":{"code":-32022,"message":"","data":{"supported":["2025-11-25"]}}}"#,
            "-32601",
        ),
        (
            r#"{"id":1,"result":{"supportedVersions":["2025-11-25"]}}"#,
            "-32601",
        ),
    ] {
        // The client of both eras: its own `initialize` goes to the server, and the note is removed.
        let mut bridge = Bridge::new(settings(), now);
        let (noted, opened, lines) = refuse(&mut bridge, body);
        assert_eq!((noted, opened), (vec![legacy], Vec::new()));
        assert!(lines.len() == 1 && lines[0].contains(code), "{lines:?}");
        let initialize = r#"{"id":2,"method":"initialize","params":{"x":1}}"#;
        bridge.handle(now, Event::Client(Message::read(initialize.to_owned())));
        let (noted, opened, lines) = learned(&mut bridge);
        assert_eq!((noted, lines), (vec![None], Vec::new()));
        assert_eq!(opened[0].1, initialize);
        // The client of the modern era goes on, and is translated for.
        let mut bridge = Bridge::new(settings(), now);
        refuse(&mut bridge, body);
        let list = format!(r#"{{"id":2,"method":"tools/list","params":{{{META}}}}}"#);
        bridge.handle(now, Event::Client(Message::read(list)));
        let (_, opened, _) = learned(&mut bridge);
        assert!(opened[0].1.contains("initialize"), "{opened:?}");
    }
    // At its second start it is not refused.
    let stored = || Settings {
        remembered_era: legacy,
        ..settings()
    };
    let mut bridge = Bridge::new(stored(), now);
    bridge.handle(now, Event::Client(Message::read(discover(1))));
    let (_, opened, lines) = learned(&mut bridge);
    assert!(opened[0].1.contains("initialize"), "{opened:?}");
    assert!(lines.is_empty(), "{lines:?}");
    // The process that probed was another one.
    let mut bridge = Bridge::new(stored(), now);
    let initialize = r#"{"id":1,"method":"initialize","params":{}}"#.to_owned();
    bridge.handle(now, Event::Client(Message::read(initialize)));
    let (noted, opened, _) = learned(&mut bridge);
    assert_eq!((noted, opened.len()), (vec![None], 1));
}
