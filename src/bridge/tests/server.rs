//! The simulated server: what it does with each exchange, good and bad.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Rng;
use super::simulation::{Happening, Schedule};
use crate::bridge::{
    Content, End, EventId, Exchange, ExchangeId, Head, HttpRequest, Progress, Refusal, SessionId,
    Stage,
};
use crate::error::{Error, Kind};
use crate::jsonrpc::{self, Message, RequestId};
use crate::mcp::meta;
use crate::mcp::subscriptions::{ACKNOWLEDGED, LISTEN};
use crate::oauth::challenge::Challenge;
use crate::url::Url;

/// What the server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    StreamableHttp,
    HttpSse,
    /// 2026-07-28: no session, no `initialize`.
    Modern,
    Neither,
}

pub(super) struct Server {
    speaks: Speaks,
    faults: u64,
    has_sessions: bool,
    has_get_stream: bool,
    session: u64,
    tokens: u64,
    told: u64,
    away_until: Option<Instant>,
    needs_sign_in: bool,
    /// Answers that can be fetched by resuming after this event.
    resumable: BTreeMap<String, RequestId>,
    sse_stream: Option<ExchangeId>,
    get_stream: Option<ExchangeId>,
}

const STATUSES: &[u16] = &[
    400, 401, 403, 404, 405, 406, 409, 410, 415, 429, 500, 501, 502, 503, 504, 418,
];

impl Server {
    pub(super) fn new(rng: &mut Rng) -> Server {
        Server {
            speaks: rng.pick(&[
                Speaks::StreamableHttp,
                Speaks::StreamableHttp,
                Speaks::HttpSse,
                Speaks::HttpSse,
                Speaks::Modern,
                Speaks::Modern,
                Speaks::Neither,
            ]),
            faults: rng.pick(&[0, 5, 20, 60]),
            has_sessions: rng.chance(80),
            has_get_stream: rng.chance(70),
            session: 0,
            tokens: 0,
            told: 0,
            away_until: None,
            needs_sign_in: rng.chance(20),
            resumable: BTreeMap::new(),
            sse_stream: None,
            get_stream: None,
        }
    }

    /// From now on it does what it should.
    pub(super) fn behaves(&mut self) {
        self.faults = 0;
        self.away_until = None;
        self.needs_sign_in = false;
    }

    pub(super) fn works(&self) -> bool {
        self.speaks != Speaks::Neither
    }

    pub(super) fn signed_in(&mut self) {
        self.needs_sign_in = false;
    }

    /// An exchange begins.
    pub(super) fn opened(
        &mut self,
        at: Instant,
        id: ExchangeId,
        exchange: &Exchange,
        rng: &mut Rng,
        schedule: &mut Schedule,
    ) {
        let mut plan = Plan {
            at: at + rng.millis(0, 60),
            modern: self.speaks == Speaks::Modern,
            id,
            schedule,
        };
        if self.faults > 0 && rng.chance(3) {
            match rng.below(3) {
                0 => self.session += 1,
                1 => self.away_until = Some(at + rng.while_()),
                _ => self.needs_sign_in = true,
            }
        }
        if self.away_until.is_some_and(|until| at < until) {
            let stage = rng.pick(&[Stage::NotSent, Stage::NotSent, Stage::Unanswered]);
            return plan.broken(stage);
        }
        let stale = self.has_sessions
            && self.speaks != Speaks::Modern
            && exchange
                .session
                .as_ref()
                .is_some_and(|session| *session.0 != *self.session_text());
        match &exchange.action {
            HttpRequest::EndSession => match rng.below(4) {
                0 => {}
                1 => plan.progress(Progress::Opened(head(Content::Nothing))),
                2 => plan.refused(405, None, false),
                _ => plan.accepted(),
            },
            _ if self.needs_sign_in => plan.refused(401, None, true),
            _ if stale => {
                let status = rng.pick(&[404, 404, 400, 401]);
                plan.refused(status, None, status == 401)
            }
            HttpRequest::Listen { http_sse: true, .. } => self.sse_stream(&mut plan, rng),
            HttpRequest::Listen {
                after: Some(after), ..
            } if self.resumable.contains_key(&after.0) => self.resumed(&mut plan, after, rng),
            HttpRequest::Listen {
                after: Some(after), ..
            } if after.0.starts_with('e') => plan.refused(404, None, false),
            HttpRequest::Listen { .. } => self.get_stream(&mut plan, rng),
            HttpRequest::Post {
                message, endpoint, ..
            } => match (self.speaks, endpoint) {
                (Speaks::StreamableHttp, None) => self.post(&mut plan, message, rng),
                (Speaks::Modern, None) => self.modern_post(&mut plan, message, rng),
                (Speaks::HttpSse, Some(_)) => self.sse_post(&mut plan, message, rng),
                _ => plan.refused(rng.pick(&[400, 404, 405]), None, false),
            },
        }
    }

    fn session_text(&self) -> String {
        format!("s{}", self.session)
    }

    fn head(&mut self, content: Content, message: &Message) -> Head {
        let session = if message.method() == Some("initialize") && self.has_sessions {
            self.session += 1;
            Some(SessionId(self.session_text().into()))
        } else {
            None
        };
        Head { session, content }
    }

    fn post(&mut self, plan: &mut Plan<'_>, message: &Message, rng: &mut Rng) {
        let faulty = rng.chance(self.faults);
        let jsonrpc::Kind::Request { id, .. } = message.kind() else {
            return match faulty.then(|| rng.below(4)) {
                None => plan.accepted(),
                Some(0) => {}
                Some(1) => plan.progress(Progress::Opened(head(Content::Nothing))),
                Some(2) => plan.broken(any_stage(rng)),
                Some(_) => plan.refused(rng.pick(STATUSES), None, rng.chance(10)),
            };
        };
        if !plan.modern && message.method() == Some(LISTEN) {
            // It has never heard of it.
            plan.progress(Progress::Opened(head(Content::Json)));
            plan.event(None, error(id, -32601));
            return plan.progress(Progress::Ended(End::Complete));
        }
        let content = rng.pick(&[Content::Json, Content::Stream]);
        if !faulty {
            plan.at += rng.millis(0, 3000);
            let opening = self.head(content, message);
            plan.progress(Progress::Opened(opening));
            if content == Content::Stream {
                self.chatter(plan, rng);
            }
            plan.event(None, answer(id));
            return plan.progress(Progress::Ended(End::Complete));
        }
        match rng.below(17) {
            16 => {
                plan.accepted();
                plan.at += rng.while_();
                if let Some(stream) = self.get_stream {
                    plan.id = stream;
                    plan.event(None, answer(id));
                }
                return;
            }
            0..4 => {
                let body = rng.pick(&[None, Some(id.clone()), Some(RequestId::null())]);
                let status = rng.pick(STATUSES);
                return plan.refused(status, body, status == 401 || rng.chance(5));
            }
            4..6 => return plan.broken(any_stage(rng)),
            6 => return,
            _ => {}
        }
        plan.at += rng.while_();
        let opening = self.head(content, message);
        plan.progress(Progress::Opened(opening));
        match rng.below(12) {
            0 => {}
            1 => plan.progress(Progress::Ended(End::Complete)),
            2 => plan.broken(Stage::Answering),
            3 => {
                plan.progress(Progress::Event {
                    id: None,
                    parsed: Message::read("{]".to_owned()),
                });
                plan.progress(Progress::Ended(End::Complete));
            }
            4 => {
                plan.event(None, answer(&RequestId::from_string("else")));
                plan.progress(Progress::Ended(End::Complete));
            }
            5 => {
                let text = "{\"id\":null,\"error\":{\"code\":1,\"message\":\"m\"}}";
                plan.event(None, text.to_owned());
                plan.progress(Progress::Ended(End::Complete));
            }
            6 => {
                for _ in 0..3 {
                    plan.event(None, answer(id));
                }
                plan.at += rng.while_();
                plan.progress(Progress::Ended(End::Complete));
            }
            7 => plan.event(None, format!("[{},{}]", answer(id), answer(id))),
            _ => {
                self.break_off(plan, id, rng);
            }
        }
    }

    /// A server of the modern era: what is legacy it refuses, the rest is like all posts.
    fn modern_post(&mut self, plan: &mut Plan<'_>, message: &Message, rng: &mut Rng) {
        let jsonrpc::Kind::Request { id, method } = message.kind() else {
            return plan.accepted();
        };
        if !message.text().contains("2026-07-28") {
            let error =
                "{\"code\":-32022,\"message\":\"no\",\"data\":{\"supported\":[\"2026-07-28\"]}}";
            let text = format!("{{\"id\":{id},\"error\":{error}}}");
            return plan.refused_with(400, Message::parse(&text).ok());
        }
        match method.as_str() {
            LISTEN => self.subscription(plan, id, message, rng),
            "tools/call" if rng.chance(20) => {
                let question = "{\"k\":{\"method\":\"roots/list\"}}";
                let result = format!(
                    "{{\"resultType\":\"input_required\",\"inputRequests\":{question},\"requestState\":\"s\"}}"
                );
                plan.progress(Progress::Opened(head(Content::Json)));
                plan.event(None, format!("{{\"id\":{id},\"result\":{result}}}"));
                plan.progress(Progress::Ended(End::Complete));
            }
            _ => self.post(plan, message, rng),
        }
    }

    fn subscription(
        &mut self,
        plan: &mut Plan<'_>,
        id: &RequestId,
        message: &Message,
        rng: &mut Rng,
    ) {
        if rng.chance(self.faults) {
            match rng.below(5) {
                0 => return plan.refused(rng.pick(STATUSES), None, rng.chance(10)),
                1 => return plan.broken(any_stage(rng)),
                2 => return,
                _ => plan.progress(Progress::Opened(head(Content::Stream))),
            }
            if rng.chance(50) {
                plan.event(None, error(id, -32603));
            }
            return plan.progress(Progress::Ended(End::Complete));
        }
        let filter = jsonrpc::member_at(message.text(), &["params", "notifications"]);
        let meta = format!("\"_meta\":{{\"{}\":{id}}}", meta::SUBSCRIPTION_ID);
        plan.progress(Progress::Opened(head(Content::Stream)));
        plan.event(
            None,
            format!(
                "{{\"method\":\"{ACKNOWLEDGED}\",\"params\":{{{meta},\"notifications\":{}}}}}",
                filter.unwrap_or("{}")
            ),
        );
        for _ in 0..rng.below(4) {
            plan.at += rng.while_();
            plan.event(
                None,
                change(rng, &format!("{{{meta},\"uri\":\"file:///a\"}}")),
            );
        }
        if self.faults > 0 {
            plan.at += rng.while_() * 4;
            match rng.below(4) {
                0 => return plan.broken(Stage::Answering),
                1 => plan.event(
                    None,
                    format!("{{\"id\":{id},\"result\":{{\"resultType\":\"complete\",{meta}}}}}"),
                ),
                _ => {}
            }
            plan.progress(Progress::Ended(End::Complete));
        }
    }

    /// The stream breaks or ends after an event with an id; the response waits for a resumption.
    fn break_off(&mut self, plan: &mut Plan<'_>, id: &RequestId, rng: &mut Rng) {
        self.tokens += 1;
        let token = format!("e{}", self.tokens);
        self.resumable.insert(token.clone(), id.clone());
        if rng.chance(30) {
            let pause = rng.pick(&[0, 10, 2000, 100_000]);
            plan.progress(Progress::Retry(Duration::from_millis(pause)));
        }
        plan.progress(Progress::EventId(EventId(token)));
        plan.at += rng.while_();
        match rng.below(3) {
            0 => plan.broken(Stage::Answering),
            _ => plan.progress(Progress::Ended(End::Complete)),
        }
    }

    fn resumed(&mut self, plan: &mut Plan<'_>, after: &EventId, rng: &mut Rng) {
        let Some(id) = self.resumable.get(&after.0).cloned() else {
            return;
        };
        if rng.chance(self.faults) {
            match rng.below(6) {
                0 => return plan.refused(rng.pick(STATUSES), None, false),
                1 => return plan.broken(any_stage(rng)),
                2 => return,
                _ => {}
            }
            plan.progress(Progress::Opened(head(Content::Stream)));
            return self.break_off(plan, &id, rng);
        }
        self.resumable.remove(&after.0);
        plan.progress(Progress::Opened(head(Content::Stream)));
        plan.event(None, answer(&id));
        plan.progress(Progress::Ended(End::Complete));
    }

    fn get_stream(&mut self, plan: &mut Plan<'_>, rng: &mut Rng) {
        if !self.has_get_stream || self.speaks != Speaks::StreamableHttp {
            return plan.refused(405, None, false);
        }
        if rng.chance(self.faults) && rng.chance(50) {
            match rng.below(3) {
                0 => return plan.refused(rng.pick(STATUSES), None, rng.chance(10)),
                1 => return plan.broken(any_stage(rng)),
                _ => return,
            }
        }
        self.get_stream = Some(plan.id);
        plan.progress(Progress::Opened(head(Content::Stream)));
        self.chatter(plan, rng);
        if self.faults > 0 {
            plan.at += rng.while_();
            plan.progress(Progress::Ended(End::Complete));
        }
    }

    fn sse_stream(&mut self, plan: &mut Plan<'_>, rng: &mut Rng) {
        if self.speaks != Speaks::HttpSse {
            let status = rng.pick(&[404, 405, 400, 503]);
            return plan.refused(status, None, false);
        }
        if rng.chance(self.faults) && rng.chance(60) {
            match rng.below(6) {
                0 => return plan.refused(rng.pick(STATUSES), None, rng.chance(10)),
                1 => return plan.broken(any_stage(rng)),
                2 => return,
                3 => return plan.progress(Progress::Opened(head(Content::Stream))),
                4 => {
                    plan.progress(Progress::Opened(head(Content::Stream)));
                    let error = Error::new(Kind::PeerMisbehaved, "a bad endpoint");
                    return plan.progress(Progress::Endpoint(Err(error)));
                }
                _ => {}
            }
        }
        self.sse_stream = Some(plan.id);
        plan.progress(Progress::Opened(head(Content::Stream)));
        let endpoint = Url::parse("https://a.test/messages").unwrap();
        plan.progress(Progress::Endpoint(Ok(endpoint)));
        if self.faults > 0 {
            plan.at += rng.while_() * 4;
            plan.progress(Progress::Ended(End::Complete));
        }
    }

    fn sse_post(&mut self, plan: &mut Plan<'_>, message: &Message, rng: &mut Rng) {
        let faulty = rng.chance(self.faults);
        match faulty.then(|| rng.below(8)) {
            Some(0) => return,
            Some(1) => return plan.broken(any_stage(rng)),
            Some(2) => return plan.refused(rng.pick(STATUSES), None, rng.chance(10)),
            _ => {}
        }
        plan.accepted();
        let (jsonrpc::Kind::Request { id, .. }, Some(stream)) = (message.kind(), self.sse_stream)
        else {
            return;
        };
        if faulty && rng.chance(40) {
            return;
        }
        let mut answering = Plan {
            at: plan.at
                + if self.faults > 0 {
                    rng.while_()
                } else {
                    rng.millis(0, 3000)
                },
            modern: false,
            id: stream,
            schedule: plan.schedule,
        };
        self.chatter(&mut answering, rng);
        answering.event(None, answer(id));
        if faulty {
            answering.event(None, answer(id));
        }
    }

    /// Notifications and requests of the server, numbered.
    fn chatter(&mut self, plan: &mut Plan<'_>, rng: &mut Rng) {
        let first = self.told;
        for _ in 0..rng.below(3) {
            self.told += 1;
            let n = self.told;
            let text = match rng.below(4) {
                3 if !plan.modern => change(rng, "{\"uri\":\"file:///a/b\"}"),
                0 => format!("{{\"id\":\"srv-{n}\",\"method\":\"roots/list\"}}"),
                _ => format!(
                    "{{\"method\":\"notifications/message\",\"params\":{{\"stream\":{first},\"n\":{n}}}}}"
                ),
            };
            plan.event(None, text);
        }
    }
}

/// What one exchange will bring, in its order.
struct Plan<'a> {
    at: Instant,
    modern: bool,
    id: ExchangeId,
    schedule: &'a mut Schedule,
}

impl Plan<'_> {
    fn progress(&mut self, progress: Progress) {
        self.schedule
            .add(self.at, Happening::Progress(self.id, progress));
        self.at += Duration::from_micros(10);
    }

    fn event(&mut self, id: Option<EventId>, text: String) {
        let text = if self.modern && !text.contains("resultType") {
            modern(text)
        } else {
            text
        };
        let parsed = Message::read(text);
        self.progress(Progress::Event { id, parsed });
    }

    fn accepted(&mut self) {
        self.progress(Progress::Opened(head(Content::Nothing)));
        self.progress(Progress::Ended(End::Complete));
    }

    fn broken(&mut self, stage: Stage) {
        let error = Error::new(Kind::Network, "cut");
        self.progress(Progress::Ended(End::Broken(error, stage)));
    }

    fn refused_with(&mut self, status: u16, answer: Option<Message>) {
        self.progress(Progress::Refused(Refusal {
            status,
            retry_after: None,
            needs_sign_in: None,
            had_credentials: false,
            answer,
            error: Arc::new(Error::new(Kind::Http(status), "refused")),
        }));
    }

    fn refused(&mut self, status: u16, about: Option<RequestId>, needs_sign_in: bool) {
        let answer = about.map(|id| {
            let text = format!("{{\"id\":{id},\"error\":{{\"code\":-32000,\"message\":\"no\"}}}}");
            Message::parse(&text).unwrap()
        });
        self.progress(Progress::Refused(Refusal {
            status,
            had_credentials: self.id.0.is_multiple_of(2),
            retry_after: (status == 429).then(|| Duration::from_secs(self.id.0 % 40)),
            needs_sign_in: needs_sign_in
                .then(|| Box::new(Challenge::of(std::iter::empty::<&str>()))),
            answer,
            error: Arc::new(Error::new(Kind::Http(status), "refused")),
        }));
    }
}

fn head(content: Content) -> Head {
    Head {
        session: None,
        content,
    }
}

/// The same from a modern server.
fn modern(text: String) -> String {
    let result = "\"result\":{\"resultType\":\"complete\",\"supportedVersions\":[\"2026-07-28\"],";
    text.replace("\"result\":{", result)
}

fn answer(id: &RequestId) -> String {
    // What either era wants to see.
    let result = "{\"protocolVersion\":\"2025-11-25\",\"capabilities\":{\"tools\":{\"listChanged\":true},\"resources\":{\"subscribe\":true}}}";
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}")
}

fn error(id: &RequestId, code: i64) -> String {
    format!("{{\"id\":{id},\"error\":{{\"code\":{code},\"message\":\"no\"}}}}")
}

fn change(rng: &mut Rng, params: &str) -> String {
    let method = rng.pick(&["tools/list_changed", "resources/updated"]);
    format!("{{\"method\":\"notifications/{method}\",\"params\":{params}}}")
}

fn any_stage(rng: &mut Rng) -> Stage {
    rng.pick(&[
        Stage::NotSent,
        Stage::Hopeless,
        Stage::Unanswered,
        Stage::Answering,
    ])
}
