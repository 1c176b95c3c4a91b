//! An environment for tests: scripted responses in their order, and a clock that moves when the code sleeps.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use url::Url;

use super::Authorizer;
use super::browser::Opened;
use super::environment::{Environment, Fetch, Fetched, Unanswered};
use crate::config::{Config, LogConfig};
use crate::error::{Error, Kind, Result};
use crate::log::{Level, Log};
use crate::secret::Secret;
use crate::store::{ServerHash, Store, UnixMillis};

#[derive(Clone)]
pub(crate) struct Scripted(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    answers: VecDeque<std::result::Result<Fetched, Unanswered>>,
    sent: Vec<Fetch>,
    slept: Vec<Duration>,
    now: UnixMillis,
    fetched: usize,
    before: Vec<(usize, Box<dyn FnOnce() + Send>)>,
    takes: Duration,
}

impl Scripted {
    pub(crate) fn new() -> Scripted {
        Scripted(Arc::new(Mutex::new(State {
            now: 1_000_000_000_000,
            ..State::default()
        })))
    }

    pub(crate) fn answer(&self, status: u16, body: &str) {
        self.answer_with(status, None, body);
    }

    pub(crate) fn answer_with(&self, status: u16, retry_after: Option<Duration>, body: &str) {
        let answer = Fetched {
            status,
            retry_after,
            dpop_nonce: None,
            body: Secret::new(body),
        };
        self.0.lock().unwrap().answers.push_back(Ok(answer));
    }

    /// A response with a `DPoP-Nonce`.
    pub(crate) fn answer_with_nonce(&self, status: u16, nonce: &str, body: &str) {
        self.answer(status, body);
        let mut state = self.0.lock().unwrap();
        if let Some(Ok(answer)) = state.answers.back_mut() {
            answer.dpop_nonce = Some(nonce.to_owned());
        }
    }

    /// The next request gets no response.
    pub(crate) fn lose(&self, why: Unanswered) {
        self.0.lock().unwrap().answers.push_back(Err(why));
    }

    /// From now on each response takes this long.
    pub(crate) fn takes(&self, time: Duration) {
        self.0.lock().unwrap().takes = time;
    }

    /// Runs this before the response of this number is returned.
    pub(crate) fn before_answer(&self, number: usize, happens: impl FnOnce() + Send + 'static) {
        self.0
            .lock()
            .unwrap()
            .before
            .push((number, Box::new(happens)));
    }

    pub(crate) fn sent(&self) -> Vec<Fetch> {
        std::mem::take(&mut self.0.lock().unwrap().sent)
    }

    pub(crate) fn slept(&self) -> Vec<Duration> {
        std::mem::take(&mut self.0.lock().unwrap().slept)
    }
}

/// An authorizer for https://a.test/mcp that keeps everything in memory.
pub(crate) fn authorizer(env: &Scripted) -> Authorizer {
    authorizer_in(env, None)
}

/// The same with its store below this directory.
pub(crate) fn authorizer_in(env: &Scripted, base: Option<&Path>) -> Authorizer {
    let config = Config::new(Url::parse("https://a.test/mcp").unwrap());
    let hash = ServerHash::parse("94baabe3c3fadb285b26c035e4e86046").unwrap();
    let silent = LogConfig {
        silent: true,
        ..LogConfig::default()
    };
    let store = Store::open(
        base.map(Path::to_owned),
        &hash,
        Arc::new(Log::open(silent).unwrap()),
    );
    Authorizer::new(Box::new(env.clone()), &config, Arc::new(store), None).unwrap()
}

impl Environment for Scripted {
    fn fetch(&self, fetch: &Fetch) -> std::result::Result<Fetched, Unanswered> {
        let mut state = self.0.lock().unwrap();
        state.fetched += 1;
        let fetched = state.fetched;
        let now = |(number, _): &mut (usize, _)| *number == fetched;
        let happens: Vec<_> = state.before.extract_if(.., now).collect();
        happens.into_iter().for_each(|(_, happens)| happens());
        state.now += u64::try_from(state.takes.as_millis()).unwrap();
        state.sent.push(Fetch {
            url: fetch.url.clone(),
            body: fetch.body.clone(),
            authorization: fetch.authorization.clone(),
            dpop: fetch.dpop.clone(),
            follow: fetch.follow,
            trusted: fetch.trusted,
        });
        let unscripted = || Err(Error::new(Kind::Bug, format!("unscripted: {}", fetch.url)).into());
        state.answers.pop_front().unwrap_or_else(unscripted)
    }

    fn now(&self) -> UnixMillis {
        self.0.lock().unwrap().now
    }

    fn sleep(&self, time: Duration) {
        let mut state = self.0.lock().unwrap();
        state.now += u64::try_from(time.as_millis()).unwrap();
        state.slept.push(time);
    }

    fn random(&self, buffer: &mut [u8]) -> Result<()> {
        buffer.fill(7);
        Ok(())
    }

    fn open_browser(&self, _: &Url) -> Opened {
        Opened::NoBrowser("this is a test".to_owned())
    }

    fn say(&self, _: Level, _: &str) {}

    fn show_url(&self, _: &Url, _: &str) {}

    fn signed_in(&self) {}

    fn found(&self, _: &'static str, _: &str) {}

    fn is_by_hand(&self) -> bool {
        false
    }

    fn pasted(&self) -> Option<String> {
        None
    }
}
