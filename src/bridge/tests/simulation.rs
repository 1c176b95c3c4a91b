//! Hours of virtual time under random schedules; what must hold at every step is checked at every step.
//!
//! `SIMULATION_SEEDS=FIRST..END cargo test --release --lib simulat` runs others than the usual seeds.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use super::Rng;
use super::client::Client;
use super::server::Server;
use crate::bridge::request::table::RequestState;
use crate::bridge::{
    Action, Bridge, Event, Exchange, ExchangeId, HttpRequest, Progress, Settings, Transport,
};
use crate::config::{Protocol, Strategy};
use crate::error::{Error, Kind};
use crate::jsonrpc::{self, Message, RequestId};
use crate::mcp::version::Era;

/// Something that will happen.
pub(super) enum Happening {
    Progress(ExchangeId, Progress),
    Other(Event),
    ClientSpeaks,
}

#[derive(Default)]
pub(super) struct Schedule {
    next: u64,
    coming: BTreeMap<(Instant, u64), Happening>,
}

impl Schedule {
    pub(super) fn add(&mut self, at: Instant, happening: Happening) {
        self.next += 1;
        self.coming.insert((at, self.next), happening);
    }

    fn next_at(&self) -> Option<Instant> {
        self.coming.keys().next().map(|(at, _)| *at)
    }
}

struct Simulation {
    rng: Rng,
    now: Instant,
    start: Instant,
    bridge: Bridge,
    settings: Settings,
    client: Client,
    server: Server,
    schedule: Schedule,
    open: HashSet<ExchangeId>,
    over: HashSet<ExchangeId>,
    signing_in: bool,
    held_since: HashMap<RequestId, Instant>,
    first_sent: (u64, u64),
    sent: HashSet<u64>,
    last_told: HashMap<String, u64>,
    opened_now: (Option<Instant>, u32),
    leaves_by: Option<Instant>,
    gone: bool,
    spins: u32,
    /// Nobody begins anything new.
    quiet: bool,
    calm: bool,
    trace: Vec<String>,
}

type Check = Result<(), String>;

fn settings(rng: &mut Rng) -> Settings {
    let seconds = |rng: &mut Rng, from: &[u64]| match rng.pick(from) {
        0 => None,
        seconds => Some(Duration::from_secs(seconds)),
    };
    let protocol = rng.pick(&[
        Protocol::Detect,
        Protocol::Detect,
        Protocol::Auto,
        Protocol::Legacy,
        Protocol::Modern,
    ]);
    let strategy = rng.pick(&[
        Strategy::HttpFirst,
        Strategy::HttpFirst,
        Strategy::SseFirst,
        Strategy::HttpOnly,
        Strategy::SseOnly,
    ]);
    Settings {
        server: "https://a.test/mcp".to_owned(),
        doctor: "mcp-remote-client https://a.test/mcp".to_owned(),
        strategy: match protocol {
            Protocol::Modern => Strategy::HttpOnly,
            _ => strategy,
        },
        remembered: rng.pick(&[
            None,
            None,
            Some(Transport::HttpSse),
            Some(Transport::StreamableHttp),
        ]),
        protocol,
        remembered_era: rng.pick(&[None, None, Some(Era::Legacy), Some(Era::Modern)]),
        ignore_tools: Vec::new(),
        allow_tools: Vec::new(),
        get_stream: true,
        ping_interval: seconds(rng, &[0, 0, 1, 30]),
        request_timeout: seconds(rng, &[0, 0, 5, 100]),
        auth_timeout: Duration::from_secs(30),
        headers_timeout: seconds(rng, &[0, 20, 300]),
        body_timeout: seconds(rng, &[0, 20, 300]),
        body_timeout_on_streams: rng.chance(30),
        says_failures: true,
        seed: rng.next(),
    }
}

impl Simulation {
    fn new(seed: u64) -> Simulation {
        let mut rng = Rng(seed);
        let now = Instant::now();
        let settings = settings(&mut rng);
        let modern = rng.chance(25);
        Simulation {
            bridge: Bridge::new(settings.clone(), now),
            settings,
            client: Client::new(modern),
            server: Server::new(&mut rng),
            now,
            start: now,
            rng,
            schedule: Schedule::default(),
            open: HashSet::new(),
            over: HashSet::new(),
            signing_in: false,
            held_since: HashMap::new(),
            first_sent: (0, 0),
            sent: HashSet::new(),
            last_told: HashMap::new(),
            opened_now: (None, 0),
            leaves_by: None,
            gone: false,
            spins: 0,
            quiet: false,
            calm: false,
            trace: Vec::new(),
        }
    }

    fn note(&mut self, text: String) {
        let at = self.now.duration_since(self.start).as_secs_f64();
        self.trace.push(format!("{at:>10.3} {text}"));
    }

    /// The whole life of one bridge.
    fn live(&mut self) -> Check {
        let chaos = self.now + Duration::from_secs(60) * self.rng.below(60) as u32;
        let mut at = self.now;
        while at < chaos {
            self.schedule.add(at, Happening::ClientSpeaks);
            at += self.rng.while_() * 2;
        }
        self.run_until(chaos.max(self.now) + Duration::from_secs(1))?;
        if self.rng.chance(60) {
            self.calm_down()?;
        }
        self.end_everything()
    }

    /// The server behaves, what hung is cut: everything must be answered, and nothing may be left.
    fn calm_down(&mut self) -> Check {
        self.note("-- calm".to_owned());
        self.calm = true;
        self.server.behaves();
        self.schedule.coming.retain(|_, happening| {
            matches!(
                happening,
                Happening::Progress(..) | Happening::Other(Event::SignedIn(_))
            )
        });
        if self.signing_in {
            self.schedule
                .add(self.now, Happening::Other(Event::SignedIn(Ok(()))));
        }
        for round in 0..4 {
            let mut open: Vec<ExchangeId> = self.open.iter().copied().collect();
            open.sort();
            for id in open {
                let end = crate::bridge::End::Broken(
                    Error::new(Kind::Network, "cut to calm down"),
                    crate::bridge::Stage::Answering,
                );
                let at = self.now + Duration::from_secs(400 * u64::from(round == 3));
                self.schedule
                    .add(at, Happening::Progress(id, Progress::Ended(end)));
            }
            self.run_until(self.now + Duration::from_secs(500))?;
        }
        self.end_listening()?;
        self.quiet = true;
        self.run_until(self.now + Duration::from_secs(500))?;
        let unanswered = self.client.unanswered();
        if !unanswered.is_empty() {
            return Err(format!("never answered: {unanswered:?}"));
        }
        self.end_listening()?;
        self.nothing_is_left()?;
        let line = self.client.request(&mut Rng(self.rng.next()), "tools/list");
        self.say(&line)?;
        self.run_until(self.now + Duration::from_secs(60))?;
        self.quiet = false;
        let last = self.trace.iter().rev().find(|line| line.contains("  < "));
        let worked = last.is_some_and(|line| line.contains("\"result\""));
        // A transport that was confirmed, or asked for, is not left for another.
        if self.server.works() && !worked && !self.client.unanswered().is_empty() {
            return Err("the next request does not work".to_owned());
        }
        for _ in 0..self.rng.below(3) * u64::from(self.client.modern) {
            let line = self.client.listen(&mut self.rng);
            self.say(&line)?;
        }
        self.run_until(self.now + Duration::from_secs(60))
    }

    fn end_listening(&mut self) -> Check {
        while self.client.listens() {
            let line = self.client.end_listening(&mut self.rng);
            self.say(&line)?;
        }
        Ok(())
    }

    fn nothing_is_left(&self) -> Check {
        let tables = [
            self.bridge.requests.ids_where(|open| !open.is_own).len(),
            self.bridge.deferred.len(),
            // A ping may be under way, and a response to what the server asked beside it. One stream stays.
            self.bridge.deliveries.len().saturating_sub(1),
            self.bridge.exchanges.len().saturating_sub(3),
        ];
        if tables != [0; 4] {
            return Err(format!(
                "left in the tables: {tables:?}\n{:#?}",
                self.bridge
            ));
        }
        Ok(())
    }

    fn end_everything(&mut self) -> Check {
        let bound = match self.rng.below(4) {
            0 => {
                self.other(Event::Stop)?;
                1_000
            }
            1 => {
                self.client.hears = false;
                self.other(Event::OutputClosed)?;
                1_000
            }
            _ => {
                self.other(Event::ClientClosed)?;
                11_000
            }
        };
        self.leaves_by = Some(self.now + Duration::from_millis(bound));
        if bound == 1_000 && !self.gone {
            for _ in 0..self.rng.below(4) {
                let at = self.now + self.rng.millis(0, 400);
                self.schedule.add(at, Happening::ClientSpeaks);
            }
        }
        self.run_until(self.now + Duration::from_secs(20))?;
        if self.gone {
            Ok(())
        } else {
            Err("it does not leave".to_owned())
        }
    }

    fn run_until(&mut self, end: Instant) -> Check {
        while !self.gone {
            let deadline = self.bridge.deadline();
            let next = [self.schedule.next_at(), deadline]
                .into_iter()
                .flatten()
                .min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = self.now.max(end);
                return Ok(());
            };
            self.now = self.now.max(next);
            if self.leaves_by.is_none() && !self.quiet && self.rng.below(3000) == 0 {
                // The lid of the laptop was closed.
                self.held_since.clear();
                self.now += self.rng.millis(1_000, 30_000_000);
                self.note("-- sleep".to_owned());
            }
            let first = self.schedule.next_at();
            if deadline.is_some_and(|at| at <= self.now && first.is_none_or(|first| at <= first)) {
                self.other(Event::Time)?;
                continue;
            }
            let Some((_, happening)) = self.schedule.coming.pop_first() else {
                continue;
            };
            match happening {
                Happening::Other(input) => self.other(input)?,
                Happening::ClientSpeaks => {
                    let line = self.client.speaks(&mut self.rng);
                    self.tell(&line)?;
                }
                Happening::Progress(id, progress) => self.progress(id, progress)?,
            }
        }
        Ok(())
    }

    fn progress(&mut self, id: ExchangeId, progress: Progress) -> Check {
        let cut = !self.open.contains(&id);
        // Late news of a cut exchange may still be in the inbox; after its last news there is none.
        if self.over.contains(&id) || cut && self.rng.chance(70) {
            return Ok(());
        }
        if matches!(progress, Progress::Refused(_) | Progress::Ended(_)) {
            self.over.insert(id);
            self.open.remove(&id);
        }
        self.note(format!("news of {}: {progress:?}", id.0));
        self.handle(Event::Progress(id, vec![progress]))
    }

    fn say(&mut self, line: &str) -> Check {
        self.client.take_note(line);
        self.tell(line)
    }

    fn tell(&mut self, line: &str) -> Check {
        self.note(format!("  > {line}"));
        self.handle(Event::Client(Message::read(line.to_owned())))
    }

    fn other(&mut self, input: Event) -> Check {
        if matches!(input, Event::SignedIn(_)) {
            if !std::mem::take(&mut self.signing_in) {
                return Ok(());
            }
            self.server.signed_in();
        }
        if !matches!(input, Event::Time) {
            self.note(format!("{input:?}"));
        }
        self.handle(input)
    }

    fn handle(&mut self, input: Event) -> Check {
        let is_time = matches!(input, Event::Time);
        self.bridge.handle(self.now, input);
        let mut any = false;
        while let Some(output) = self.bridge.poll() {
            any = true;
            self.carry_out(output)?;
            if self.gone {
                return self.left();
            }
        }
        let due = self.bridge.deadline().is_some_and(|at| at <= self.now);
        self.spins = if is_time && !any && due {
            self.spins + 1
        } else {
            0
        };
        if self.spins > 2 {
            return Err(format!("it spins\n{:#?}", self.bridge));
        }
        if self.leaves_by.is_some_and(|by| self.now > by) {
            return Err("it leaves late".to_owned());
        }
        self.nobody_is_forgotten()
    }

    fn left(&self) -> Check {
        if self.bridge.deadline().is_some_and(|at| at <= self.now) {
            return Err("it is gone and still wants to be woken".to_owned());
        }
        let owed = [self.client.unanswered(), self.client.unended()].concat();
        match owed {
            owed if owed.is_empty() => Ok(()),
            owed => Err(format!("gone without an answer to {owed:?}")),
        }
    }

    /// A request that was not sent yet waits for a bounded time.
    fn nobody_is_forgotten(&mut self) -> Check {
        let held = self
            .bridge
            .requests
            .ids_where(|open| open.state == RequestState::Deferred);
        let now = self.now;
        self.held_since.retain(|id, _| held.contains(id));
        let Some(headers) = self.settings.headers_timeout else {
            return Ok(());
        };
        let most = headers * 3 + self.settings.auth_timeout * 3 + Duration::from_secs(120);
        for id in held {
            let since = *self.held_since.entry(id.clone()).or_insert(now);
            // After a sleep of the machine the due times come first.
            if now > since + most && self.bridge.deadline().is_none_or(|at| at > now) {
                return Err(format!("{id} is held for ever\n{:#?}", self.bridge));
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, output: Action) -> Check {
        match output {
            Action::Client(message) => {
                self.note(format!("  < {}", message.text()));
                self.reset_silence_limit(&message)
            }
            Action::Respond(text) => {
                self.note(format!("  < {text}"));
                let message = Message::parse(&text).map_err(|e| format!("{text}: {e}"))?;
                self.reset_silence_limit(&message)
            }
            Action::Open(id, exchange) => self.opened(id, &exchange),
            Action::Close(id) => {
                self.note(format!("close {}", id.0));
                match self.open.remove(&id) {
                    true => Ok(()),
                    false => Err(format!("closed {} which was not open", id.0)),
                }
            }
            Action::SignIn(_) => self.sign_in(),
            Action::Exit => {
                self.note("exit".to_owned());
                self.gone = true;
                Ok(())
            }
            Action::Say(_, text) => {
                self.note(format!("says: {text}"));
                Ok(())
            }
            Action::TransportKnown { .. } | Action::Learned(_) => Ok(()),
        }
    }

    fn reset_silence_limit(&mut self, message: &Message) -> Check {
        match message.kind() {
            jsonrpc::Kind::Response { id, failed } => {
                if id
                    .as_string()
                    .is_some_and(|id| id.starts_with("mcp-remote-keep"))
                {
                    return Err("the answer to a ping of ours reached the client".to_owned());
                }
                self.client.answered(id, *failed)
            }
            jsonrpc::Kind::Request { id, .. } => {
                if self.rng.chance(70) && self.leaves_by.is_none() && !self.quiet {
                    let text = format!("{{\"id\":{id},\"result\":{{}}}}");
                    let input = Event::Client(Message::read(text));
                    let at = self.now + self.rng.while_();
                    self.schedule.add(at, Happening::Other(input));
                }
                Ok(())
            }
            jsonrpc::Kind::Notification { .. } => {
                let adapted = self.bridge.is_adapting();
                self.client.told(message, adapted)?;
                let params = message.member("params").unwrap_or_default();
                let stream = jsonrpc::member(params, "stream").unwrap_or_default();
                let n = number(params);
                match self.last_told.insert(stream.to_owned(), n) {
                    Some(before) if before >= n && n > 0 => Err(format!("{n} came after {before}")),
                    _ => Ok(()),
                }
            }
        }
    }

    fn opened(&mut self, id: ExchangeId, exchange: &Exchange) -> Check {
        self.note(format!("open {}: {}", id.0, shown(exchange)));
        self.opened_now = match self.opened_now {
            (Some(at), count) if at == self.now => (Some(at), count + 1),
            _ => (Some(self.now), 1),
        };
        if self.opened_now.1 > 300 {
            return Err("it opens exchanges without end".to_owned());
        }
        if !self.open.insert(id) || self.over.contains(&id) {
            return Err("an exchange is opened twice".to_owned());
        }
        if let HttpRequest::Post { message, .. } = &exchange.action {
            self.in_order(message)?;
        }
        self.server
            .opened(self.now, id, exchange, &mut self.rng, &mut self.schedule);
        Ok(())
    }

    /// Messages leave for the first time in the client's order; what is tried again may be late.
    fn in_order(&mut self, message: &Message) -> Check {
        let n = number(message.member("params").unwrap_or_default());
        if n == 0 || !self.sent.insert(n) {
            return Ok(());
        }
        let last = match message.kind() {
            jsonrpc::Kind::Request { .. } => &mut self.first_sent.0,
            _ => &mut self.first_sent.1,
        };
        if std::mem::replace(last, n) > n {
            return Err(format!("{n} was overtaken"));
        }
        Ok(())
    }

    fn sign_in(&mut self) -> Check {
        self.note("sign in".to_owned());
        if std::mem::replace(&mut self.signing_in, true) {
            return Err("two sign-ins at once".to_owned());
        }
        let url = Event::SignInUrl("https://as.test/authorize".to_owned());
        self.schedule.add(self.now, Happening::Other(url));
        let result = match self.rng.below(4) {
            0 => Err(Error::new(Kind::SignIn, "declined")),
            1 if !self.calm && self.rng.chance(50) => return Ok(()),
            _ => Ok(()),
        };
        let at = self.now + self.rng.while_();
        self.schedule
            .add(at, Happening::Other(Event::SignedIn(result)));
        Ok(())
    }
}

fn number(params: &str) -> u64 {
    let n = jsonrpc::member(params, "n").unwrap_or_default();
    n.parse().unwrap_or(0)
}

fn shown(exchange: &Exchange) -> String {
    match &exchange.action {
        HttpRequest::Post { message, .. } => format!("POST {}", message.text()),
        other => format!("{other:?}"),
    }
}

#[test]
fn under_random_schedules_every_request_is_answered_once_and_nothing_is_left() {
    let seeds = std::env::var("SIMULATION_SEEDS").ok();
    let seeds = seeds.as_deref().and_then(|text| text.split_once(".."));
    let seeds = match seeds {
        Some((first, end)) => first.parse().unwrap()..end.parse().unwrap(),
        None if cfg!(debug_assertions) => 0..500,
        None => 0..4000_u64,
    };
    let mut failures = Vec::new();
    for seed in seeds {
        let mut simulation = Simulation::new(seed);
        if let Err(error) = simulation.live() {
            if failures.is_empty() {
                let from = simulation.trace.len().saturating_sub(150);
                let trace = simulation.trace[from..].join("\n");
                eprintln!("{:?}\n{trace}\n{error}", simulation.settings);
            }
            failures.push(format!(
                "seed {seed}: {}",
                error.lines().next().unwrap_or_default()
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
