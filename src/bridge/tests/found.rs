//! What the simulation has found, each as a short schedule of its own.

use std::time::{Duration, Instant};

use crate::bridge::{
    Action, Bridge, Content, End, Event, Exchange, ExchangeId, Head, HttpRequest, Progress,
    Refusal, SessionId, Settings, Stage, Transport,
};
use crate::config::{Config, Protocol, Strategy};
use crate::error::{Error, Kind};
use crate::jsonrpc::Message;
use crate::oauth::challenge::Challenge;
use crate::url::Url;

const INITIALIZE: &str = r#"{"id":0,"method":"initialize"}"#;
const INITIALIZED: &str = r#"{"method":"notifications/initialized"}"#;

/// A bridge and its clock.
pub(super) struct Bench {
    pub(super) bridge: Bridge,
    now: Instant,
    /// What it asked for and nobody looked at yet.
    asked: Vec<Action>,
}

impl Bench {
    pub(super) fn new(strategy: Strategy) -> Bench {
        Bench::with(strategy, |_| {})
    }

    pub(super) fn with(strategy: Strategy, change: impl Fn(&mut Settings)) -> Bench {
        let config = Config::new(Url::parse("https://a.test/mcp").unwrap());
        let mut settings = Settings::new(&config, None::<Transport>, None, 1);
        settings.strategy = strategy;
        change(&mut settings);
        let now = Instant::now();
        Bench {
            bridge: Bridge::new(settings, now),
            now,
            asked: Vec::new(),
        }
    }

    /// After the handshake over Streamable HTTP, without a GET stream.
    pub(super) fn connected(change: impl Fn(&mut Settings)) -> Bench {
        let mut bench = Bench::connected_with_get_stream(change);
        let get_stream = bench.opened();
        bench.progress(get_stream, refused(405, false));
        bench
    }

    /// The same while the GET stream is being opened.
    pub(super) fn connected_with_get_stream(change: impl Fn(&mut Settings)) -> Bench {
        let mut bench = Bench::with(Strategy::HttpOnly, change);
        let post = bench.client(INITIALIZE);
        let session = Some(SessionId("s".into()));
        let content = Content::Json;
        bench.progress(post, Progress::Opened(Head { session, content }));
        bench.answer(post, "0");
        bench.progress(post, Progress::Ended(End::Complete));
        let note = bench.client(INITIALIZED);
        bench.progress(note, Progress::Ended(End::Complete));
        bench
    }

    pub(super) fn handle(&mut self, input: Event) {
        self.bridge.handle(self.now, input);
        while let Some(output) = self.bridge.poll() {
            self.asked.push(output);
        }
    }

    pub(super) fn progress(&mut self, id: ExchangeId, progress: Progress) {
        self.handle(Event::Progress(id, vec![progress]));
    }

    pub(super) fn answer(&mut self, exchange: ExchangeId, id: &str) {
        let text = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}");
        let parsed = Message::read(text);
        self.progress(exchange, Progress::Event { id: None, parsed });
    }

    /// Says this line; gives the exchange that follows.
    pub(super) fn client(&mut self, line: &str) -> ExchangeId {
        self.handle(Event::Client(Message::read(line.to_owned())));
        self.opened()
    }

    /// The exchange that was asked for last.
    pub(super) fn opened(&mut self) -> ExchangeId {
        self.all_opened().last().copied().expect("an exchange")
    }

    /// The exchanges that were asked for.
    pub(super) fn all_opened(&mut self) -> Vec<ExchangeId> {
        self.carry_out(|output| match output {
            Action::Open(id, _) => Some(*id),
            _ => None,
        })
    }

    pub(super) fn posts(&mut self) -> Vec<String> {
        self.carry_out(|output| match output {
            Action::Open(
                _,
                Exchange {
                    action: HttpRequest::Post { message, .. },
                    ..
                },
            ) => Some(message.text().to_owned()),
            _ => None,
        })
    }

    /// The request that was posted last, and its id as it was sent.
    pub(super) fn last_request(&mut self) -> Option<(ExchangeId, String)> {
        let posted = self.carry_out(|output| match output {
            Action::Open(
                id,
                Exchange {
                    action: HttpRequest::Post { message, .. },
                    ..
                },
            ) => Some((*id, message.member("id")?.to_owned())),
            _ => None,
        });
        posted.last().cloned()
    }

    pub(super) fn answers(&mut self) -> Vec<String> {
        self.carry_out(|output| match output {
            Action::Respond(text) => Some(text.clone()),
            Action::Client(message) => Some(message.text().to_owned()),
            _ => None,
        })
    }

    pub(super) fn carry_out<T>(&mut self, wanted: impl Fn(&Action) -> Option<T>) -> Vec<T> {
        let found = self.asked.iter().filter_map(&wanted).collect();
        self.asked.retain(|output| wanted(output).is_none());
        found
    }

    /// Time goes on, with every waking that was asked for.
    pub(super) fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        let mut wakings = 0;
        while let Some(at) = self.bridge.deadline().filter(|at| *at <= end) {
            wakings += 1;
            assert!(wakings < 1000, "it spins");
            self.now = self.now.max(at);
            self.handle(Event::Time);
        }
        self.now = end;
    }
}

pub(super) fn refused(status: u16, needs_sign_in: bool) -> Progress {
    let challenge = Challenge::of(std::iter::empty::<&str>());
    Progress::Refused(Refusal {
        status,
        retry_after: None,
        had_credentials: false,
        needs_sign_in: needs_sign_in.then(|| Box::new(challenge)),
        answer: None,
        error: std::sync::Arc::new(Error::new(Kind::Http(status), "refused")),
    })
}

/// A 401 for a token that was sent.
fn refused_credentials() -> Progress {
    match refused(401, true) {
        Progress::Refused(refusal) => Progress::Refused(Refusal {
            had_credentials: true,
            ..refusal
        }),
        other => other,
    }
}

pub(super) fn head(content: Content) -> Progress {
    Progress::Opened(Head {
        session: None,
        content,
    })
}

#[test]
fn notifications_that_wait_for_one_another_cost_no_time_of_the_processor() {
    let mut bench = Bench::connected(|_| {});
    let first = bench.client(r#"{"method":"notifications/a"}"#);
    bench.handle(Event::Client(Message::read(
        r#"{"method":"notifications/b"}"#.into(),
    )));
    bench.wait(Duration::from_secs(11));
    let second = bench.opened();
    bench.progress(first, refused(401, true));
    bench.progress(second, refused(401, true));
    bench.handle(Event::SignedIn(Ok(())));
    // One runs and brings nothing, the other waits for its turn.
    bench.wait(Duration::from_secs(9));
}

#[test]
fn a_stream_that_opens_and_names_no_endpoint_keeps_nobody_waiting() {
    let mut bench = Bench::new(Strategy::SseOnly);
    let stream = bench.client(INITIALIZE);
    bench.progress(stream, head(Content::Stream));
    bench.wait(Duration::from_secs(15));
    assert_eq!(bench.answers().len(), 1);
}

#[test]
fn the_end_of_the_session_is_not_waited_for_once_its_answer_has_begun() {
    let mut bench = Bench::connected(|_| {});
    bench.handle(Event::Stop);
    let delete = bench.opened();
    bench.progress(delete, head(Content::Nothing));
    bench.wait(Duration::from_millis(900));
    assert!(matches!(bench.asked.last(), Some(Action::Exit)));
}

#[test]
fn a_reinitialize_without_response_ends_in_errors() {
    for content in [None, Some(Content::Stream)] {
        let mut bench = Bench::connected(|_| {});
        let call = bench.client(r#"{"id":1,"method":"tools/list"}"#);
        bench.progress(call, refused(404, false));
        let renewal = bench.opened();
        bench.handle(Event::Client(Message::read(
            r#"{"id":2,"method":"ping"}"#.into(),
        )));
        if let Some(content) = content {
            bench.progress(renewal, head(content));
        }
        bench.wait(Duration::from_secs(40));
        assert_eq!(
            bench.answers().len(),
            3,
            "the answer to initialize, two errors"
        );
    }
}

#[test]
fn over_http_sse_a_reinitialize_without_response_ends_in_errors() {
    let mut bench = Bench::new(Strategy::SseOnly);
    let endpoint = || Progress::Endpoint(Ok(Url::parse("https://a.test/m").unwrap()));
    let stream = bench.client(INITIALIZE);
    bench.progress(stream, head(Content::Stream));
    bench.progress(stream, endpoint());
    bench.answer(stream, "0");
    bench.progress(stream, Progress::Ended(End::Complete));
    bench.wait(Duration::from_secs(1));
    let stream = bench.opened();
    bench.progress(stream, head(Content::Stream));
    bench.progress(stream, endpoint());
    let renewal = bench.opened();
    bench.progress(renewal, Progress::Ended(End::Complete));
    bench.handle(Event::Client(Message::read(
        r#"{"id":2,"method":"ping"}"#.into(),
    )));
    bench.answers();
    bench.wait(Duration::from_secs(40));
    assert_eq!(bench.answers().len(), 1);
}

#[test]
fn a_request_that_comes_on_the_way_out_is_answered_and_not_sent() {
    let mut bench = Bench::connected(|_| {});
    bench.answers();
    bench.handle(Event::Stop);
    bench.handle(Event::Client(Message::read(
        r#"{"id":7,"method":"tools/list"}"#.into(),
    )));
    assert_eq!(bench.posts(), Vec::<String>::new());
    assert!(bench.answers()[0].contains(r#""id":7,"error""#));
}

#[test]
fn answers_for_a_server_that_is_away_do_not_pile_up() {
    let mut bench = Bench::new(Strategy::SseOnly);
    let stream = bench.client(INITIALIZE);
    bench.progress(stream, refused(503, false));
    for _ in 0..100 {
        bench.handle(Event::Client(Message::read(
            r#"{"id":"s","result":{}}"#.into(),
        )));
    }
    bench.wait(Duration::from_secs(61));
    assert_eq!(bench.bridge.deliveries.len(), 0);
}

#[test]
fn pings_that_are_not_answered_do_not_pile_up() {
    let mut bench = Bench::connected(|settings| {
        settings.ping_interval = Some(Duration::from_secs(1));
        settings.headers_timeout = None;
    });
    bench.wait(Duration::from_secs(300));
    assert!(bench.bridge.exchanges.len() <= 1);
}

#[test]
fn an_id_that_is_used_again_does_not_take_the_place_of_the_cancelled_one() {
    let mut bench = Bench::new(Strategy::HttpOnly);
    let post = bench.client(INITIALIZE);
    let cancel = r#"{"method":"notifications/cancelled","params":{"requestId":1}}"#;
    for line in [
        r#"{"id":1,"method":"a"}"#,
        r#"{"id":2,"method":"b"}"#,
        cancel,
        r#"{"id":1,"method":"c"}"#,
    ] {
        bench.handle(Event::Client(Message::read(line.into())));
    }
    bench.progress(post, head(Content::Json));
    bench.answer(post, "0");
    bench.progress(post, Progress::Ended(End::Complete));
    let posts = bench.posts();
    assert_eq!(
        posts,
        [r#"{"id":2,"method":"b"}"#, r#"{"id":1,"method":"c"}"#]
    );
}

#[test]
fn a_cancelled_call_that_the_server_never_ends_is_let_go_and_a_late_answer_still_comes() {
    let mut bench = Bench::connected(|_| {});
    let calls = [1, 2].map(|id| {
        let call = bench.client(&format!(r#"{{"id":{id},"method":"tools/call"}}"#));
        bench.progress(call, head(Content::Stream));
        let note = bench.client(&format!(
            r#"{{"method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#
        ));
        bench.progress(note, Progress::Ended(End::Complete));
        call
    });
    bench.answers();
    bench.wait(Duration::from_secs(9));
    bench.answer(calls[0], "1");
    assert_eq!(bench.answers(), [r#"{"jsonrpc":"2.0","id":1,"result":{}}"#]);
    let closed = |bench: &mut Bench| {
        bench.carry_out(|output| match output {
            Action::Close(id) => Some(*id),
            _ => None,
        })
    };
    assert_eq!(closed(&mut bench), []);
    bench.wait(Duration::from_secs(2));
    assert_eq!(closed(&mut bench), [calls[1]]);
    assert_eq!(bench.answers(), Vec::<String>::new());
    assert_eq!(bench.posts(), Vec::<String>::new());
}

#[test]
fn nothing_is_sent_again_while_a_person_signs_in() {
    let mut bench = Bench::connected(|_| {});
    let first = bench.client(r#"{"id":1,"method":"tools/list"}"#);
    let second = bench.client(r#"{"id":2,"method":"tools/list"}"#);
    let error = Error::new(Kind::Network, "refused");
    bench.progress(first, Progress::Ended(End::Broken(error, Stage::NotSent)));
    bench.progress(second, refused(401, true));
    bench.posts();
    bench.wait(Duration::from_secs(5));
    assert_eq!(bench.posts(), Vec::<String>::new());
    bench.handle(Event::SignedIn(Ok(())));
    assert_eq!(bench.posts().len(), 2);
}

/// A legacy client of a modern server, after the handshake.
fn legacy_at_modern() -> Bench {
    let mut bench = Bench::with(Strategy::HttpOnly, |settings| {
        settings.protocol = Protocol::Modern;
    });
    let discover = bench.client(INITIALIZE);
    let text = r#"{"id":"mcp-remote-discover-m1","result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{}}}"#;
    let parsed = Message::read(text.to_owned());
    bench.progress(discover, head(Content::Json));
    bench.progress(discover, Progress::Event { id: None, parsed });
    bench.progress(discover, Progress::Ended(End::Complete));
    assert!(bench.answers()[0].contains(r#""id":0,"result""#));
    bench
}

#[test]
fn an_answer_is_not_lost_when_the_client_begins_anew_meanwhile() {
    let mut bench = legacy_at_modern();
    let call = bench.client(r#"{"id":25,"method":"tools/list"}"#);
    bench.client(r#"{"id":26,"method":"initialize"}"#);
    bench.progress(call, head(Content::Json));
    bench.answer(call, "25");
    assert!(bench.answers()[0].contains(r#""id":25"#));
}

#[test]
fn a_number_id_that_the_server_spells_as_a_string_is_accepted() {
    let mut bench = Bench::connected(|_| {});
    bench.answers();
    let call = bench.client(r#"{"id":1,"method":"tools/call"}"#);
    bench.progress(call, head(Content::Json));
    bench.answer(call, r#""1""#);
    assert!(bench.answers()[0].contains(r#""id":1,"result""#));
}

#[test]
fn a_late_duplicate_does_not_respond_to_a_later_request_with_the_same_id() {
    let mut bench = Bench::connected(|_| {});
    bench.answers();
    let first = bench.client(r#"{"id":1,"method":"tools/call"}"#);
    let other = bench.client(r#"{"id":2,"method":"tools/call"}"#);
    bench.progress(first, head(Content::Stream));
    bench.progress(other, head(Content::Stream));
    bench.answer(first, "1");
    assert_eq!(bench.answers().len(), 1);
    let again = bench.client(r#"{"id":1,"method":"tools/call"}"#);
    bench.progress(again, head(Content::Stream));
    bench.answer(first, "1");
    bench.answer(first, "2");
    assert_eq!(bench.answers(), Vec::<String>::new());
    // The stream of a request that is still open may carry the response to another one.
    bench.answer(other, "1");
    bench.answer(other, "2");
    assert_eq!(bench.answers().len(), 2);
}

/// A connection whose GET stream is open, and a call that the server has accepted with 202.
fn accepted_call() -> (Bench, ExchangeId) {
    let mut bench = Bench::connected_with_get_stream(|_| {});
    let stream = bench.opened();
    bench.progress(stream, head(Content::Stream));
    let call = bench.client(r#"{"id":1,"method":"tools/call"}"#);
    bench.progress(call, head(Content::Nothing));
    bench.answers();
    bench.progress(call, Progress::Ended(End::Complete));
    assert_eq!(bench.answers(), Vec::<String>::new());
    (bench, stream)
}

#[test]
fn a_call_accepted_with_202_gets_its_response_from_the_get_stream() {
    let (mut bench, stream) = accepted_call();
    bench.wait(Duration::from_secs(100));
    bench.answer(stream, "1");
    assert!(bench.answers()[0].contains(r#""id":1,"result""#));
}

#[test]
fn a_call_accepted_with_202_gets_one_error_when_the_get_stream_ends_or_brings_nothing() {
    let (mut bench, stream) = accepted_call();
    bench.progress(stream, Progress::Ended(End::Complete));
    assert!(bench.answers()[0].contains("without ever answering"));
    let (mut bench, _) = accepted_call();
    bench.wait(Duration::from_secs(301));
    assert!(bench.answers()[0].contains("without ever answering"));
}

#[test]
fn what_the_client_sends_without_a_response_is_retried_after_429_and_503() {
    for status in [429, 503] {
        for line in [
            r#"{"id":"s","result":{}}"#,
            r#"{"method":"notifications/roots/list_changed"}"#,
        ] {
            let mut bench = Bench::connected(|_| {});
            let post = bench.client(line);
            bench.progress(post, refused(status, false));
            bench.posts();
            bench.wait(Duration::from_secs(1));
            assert_eq!(bench.posts(), [line], "{status}");
        }
    }
}

#[test]
fn a_new_session_is_asked_for_again_after_503() {
    let mut bench = Bench::connected(|_| {});
    let call = bench.client(r#"{"id":1,"method":"tools/list"}"#);
    bench.progress(call, refused(404, false));
    let initialize = bench.opened();
    bench.progress(initialize, refused(503, false));
    bench.wait(Duration::from_secs(1));
    assert!(bench.posts()[0].contains("initialize"));
}

#[test]
fn over_http_sse_a_request_waits_for_the_sign_in_whatever_happened_before() {
    let mut bench = Bench::new(Strategy::SseOnly);
    let stream = bench.client(INITIALIZE);
    let error = Error::new(Kind::Network, "refused");
    bench.progress(stream, Progress::Ended(End::Broken(error, Stage::NotSent)));
    bench.wait(Duration::from_secs(1));
    let stream = bench.opened();
    bench.progress(stream, refused(401, true));
    bench.wait(Duration::from_secs(13));
    assert_eq!(bench.answers(), Vec::<String>::new());
    bench.handle(Event::SignedIn(Ok(())));
    // The first attempt after it fails as well, and is not the last.
    let stream = bench.opened();
    let error = Error::new(Kind::Network, "refused");
    bench.progress(stream, Progress::Ended(End::Broken(error, Stage::NotSent)));
    assert_eq!(bench.answers(), Vec::<String>::new());
}

#[test]
fn a_ping_before_initialize_is_answered_where_the_server_refuses_it() {
    let mut bench = Bench::new(Strategy::HttpFirst);
    let ping = bench.client(r#"{"id":1,"method":"ping"}"#);
    bench.progress(ping, refused(400, false));
    assert_eq!(bench.answers(), [r#"{"jsonrpc":"2.0","id":1,"result":{}}"#]);
    let ping = bench.client(r#"{"id":2,"method":"ping"}"#);
    bench.progress(ping, head(Content::Json));
    let error = Message::read(r#"{"id":2,"error":{"code":-32602,"message":"not yet"}}"#.into());
    let event = |parsed| Progress::Event { id: None, parsed };
    bench.progress(ping, event(error));
    assert_eq!(bench.answers(), [r#"{"jsonrpc":"2.0","id":2,"result":{}}"#]);
    // The transport is still to be found.
    let post = bench.client(INITIALIZE);
    bench.progress(post, head(Content::Json));
    bench.answer(post, "0");
    assert!(bench.answers()[0].contains("result"));
}

#[test]
fn a_second_initialize_ends_the_first_session_and_its_get_stream() {
    let mut bench = Bench::connected_with_get_stream(|_| {});
    let stream = bench.opened();
    bench.progress(stream, head(Content::Stream));
    let again = Message::read(r#"{"id":9,"method":"initialize"}"#.into());
    bench.handle(Event::Client(again));
    let ended = |output: &Action| match output {
        Action::Open(
            _,
            Exchange {
                action: HttpRequest::EndSession,
                session: Some(session),
                ..
            },
        ) => Some(session.0.to_string()),
        _ => None,
    };
    assert_eq!(bench.carry_out(ended), ["s"]);
    let closed = |output: &Action| match output {
        Action::Close(id) => Some(*id),
        _ => None,
    };
    assert_eq!(bench.carry_out(closed), [stream]);
}

#[test]
fn a_401_for_good_credentials_leads_to_one_new_session_before_a_sign_in() {
    let signs_in = |output: &Action| matches!(output, Action::SignIn(_)).then_some(());
    for works in [true, false] {
        let mut bench = Bench::connected(|_| {});
        let call = bench.client(r#"{"id":1,"method":"tools/call"}"#);
        bench.progress(call, refused_credentials());
        let (initialize, id) = bench.last_request().unwrap();
        assert_eq!(bench.carry_out(signs_in).len(), 0);
        if !works {
            bench.progress(initialize, refused_credentials());
            assert_eq!(bench.carry_out(signs_in).len(), 1);
            continue;
        }
        bench.progress(initialize, head(Content::Json));
        bench.answer(initialize, &id);
        let note = bench.opened();
        bench.progress(note, Progress::Ended(End::Complete));
        bench.wait(Duration::from_secs(1));
        assert!(bench.posts()[0].contains("tools/call"));
        assert_eq!(bench.carry_out(signs_in).len(), 0);
    }
}

#[test]
fn over_http_sse_a_404_for_a_call_opens_stream_and_session_anew() {
    let mut bench = Bench::new(Strategy::SseOnly);
    let endpoint = || Progress::Endpoint(Ok(Url::parse("https://a.test/m").unwrap()));
    let stream = bench.client(INITIALIZE);
    bench.progress(stream, head(Content::Stream));
    bench.progress(stream, endpoint());
    bench.answer(stream, "0");
    bench.wait(Duration::from_millis(1));
    let accepted = bench.client(r#"{"id":1,"method":"tools/call"}"#);
    bench.progress(accepted, Progress::Ended(End::Complete));
    let call = bench.client(r#"{"id":2,"method":"tools/call"}"#);
    bench.answers();
    bench.progress(call, refused(404, false));
    let answers = bench.answers();
    assert!(answers[0].contains(r#""id":1,"error""#), "{answers:?}");
    let stream = bench.opened();
    bench.progress(stream, head(Content::Stream));
    bench.progress(stream, endpoint());
    let (_, initialize) = bench.last_request().unwrap();
    bench.answer(stream, &initialize);
    let note = bench.opened();
    bench.progress(note, Progress::Ended(End::Complete));
    bench.wait(Duration::from_secs(1));
    assert!(bench.posts()[0].contains(r#""id":2"#));
}

#[test]
fn a_call_refused_with_400_is_sent_again_only_if_a_ping_shows_that_the_session_is_gone() {
    for ping_works in [true, false] {
        let mut bench = Bench::connected(|_| {});
        let call = bench.client(r#"{"id":1,"method":"tools/call"}"#);
        bench.answers();
        bench.progress(call, refused(400, false));
        let (ping, id) = bench.last_request().unwrap();
        assert!(id.contains("keepalive"), "{id}");
        if ping_works {
            bench.progress(ping, head(Content::Json));
            assert!(bench.answers()[0].contains(r#""id":1,"error""#));
            bench.answer(ping, &id);
            bench.progress(ping, Progress::Ended(End::Complete));
            bench.wait(Duration::from_secs(1));
            assert_eq!(bench.posts(), Vec::<String>::new());
        } else {
            bench.progress(ping, refused(400, false));
            assert!(bench.posts()[0].contains("initialize"));
        }
        assert_eq!(bench.answers(), Vec::<String>::new());
    }
}

#[test]
fn progress_extends_the_time_limit_of_its_request_up_to_ten_times() {
    let mut bench = Bench::connected(|settings| {
        settings.request_timeout = Some(Duration::from_secs(10));
    });
    let call =
        bench.client(r#"{"id":1,"method":"tools/call","params":{"_meta":{"progressToken":"p"}}}"#);
    let other = bench.client(r#"{"id":2,"method":"tools/call"}"#);
    bench.progress(call, head(Content::Stream));
    bench.progress(other, head(Content::Stream));
    bench.answers();
    let mut failed_at = Vec::new();
    for round in 1..=30 {
        bench.wait(Duration::from_secs(4));
        let text = r#"{"method":"notifications/progress","params":{"progressToken":"p"}}"#;
        let parsed = Message::read(text.into());
        bench.progress(call, Progress::Event { id: None, parsed });
        let answers = bench.answers();
        let errors = answers.iter().filter(|line| line.contains("error"));
        failed_at.extend(errors.map(|_| round * 4));
    }
    assert_eq!(failed_at, [12, 100]);
}

#[test]
fn reserved_ids_are_refused_in_every_era() {
    let mut bench = legacy_at_modern();
    let line = r#"{"id":"mcp-remote-listen-m2","method":"tools/list"}"#;
    bench.handle(Event::Client(Message::read(line.to_owned())));
    assert_eq!(bench.posts(), Vec::<String>::new());
    assert!(bench.answers()[0].contains("reserved"));
}

#[test]
fn an_answer_to_a_second_attempt_has_the_clients_id_whatever_the_era_turns_out_to_be() {
    let mut bench = Bench::new(Strategy::HttpOnly);
    let line = r#"{"id":14,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
    let first = bench.client(line);
    bench.progress(first, head(Content::Stream));
    bench.progress(first, Progress::Ended(End::Complete));
    for _ in 0..3 {
        let Some((id, wire)) = bench.last_request() else {
            break;
        };
        bench.progress(id, head(Content::Json));
        bench.answer(id, &wire);
        bench.progress(id, Progress::Ended(End::Complete));
    }
    let answers = bench.answers();
    assert_eq!(answers.len(), 1);
    assert!(answers[0].contains(r#""id":14,"#), "{answers:?}");
}

#[test]
fn a_request_that_waits_for_the_client_is_answered_when_the_client_begins_anew() {
    let mut bench = legacy_at_modern();
    bench.client(r#"{"id":9,"method":"initialize","params":{"capabilities":{"roots":{}}}}"#);
    bench.handle(Event::Client(Message::read(
        r#"{"id":10,"method":"tools/list"}"#.into(),
    )));
    bench.client(r#"{"id":11,"method":"initialize"}"#);
    let answers = bench.answers();
    assert!(
        answers
            .iter()
            .any(|answer| answer.contains(r#""id":10,"error""#)),
        "{answers:?}"
    );
}
