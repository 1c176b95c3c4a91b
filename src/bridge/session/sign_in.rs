//! Requests during a sign-in.
//!
//! - A request that needs a sign-in waits for it, and so does everything the client sends after it.
//! - A request that needs more scope waits alone: the token is valid for the others.
//! - After `--auth-timeout`, requests get an error with the URL to open. The sign-in goes on; requests after its end work.
//! - A request that is refused again after two sign-ins gets an error: a step-up may need one, and tokens can be stale.
//! - A stream that needs a sign-in opens no browser: it waits for the next request.
//!
//! Flags: `--auth-timeout`.
//! Spec: MCP 2026-07-28 basic/authorization (Scope Challenge Handling: retry limits).
//! Not done here: the sign-in itself (`oauth`).

use std::time::Instant;

use crate::bridge::request::table::RequestState;
use crate::bridge::{Action, Bridge};
use crate::error::{Error, Kind, Result};
use crate::jsonrpc::RequestId;
use crate::log::Level;
use crate::oauth::challenge::Challenge;

/// The sign-in that is under way.
#[derive(Debug, Default)]
pub(crate) struct SignIn {
    state: SignInState,
    /// Without it no request can succeed.
    blocks: bool,
    /// The address the user must open.
    url: Option<String>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum SignInState {
    #[default]
    Idle,
    /// Requests wait for it until then.
    Waited(Instant),
    /// It goes on; requests are answered with the address.
    Background,
}

/// A request is sent again after so many sign-ins.
const MAX_SIGN_INS: u32 = 2;

impl Bridge {
    /// Whether messages may leave.
    pub(crate) fn is_signed_in(&self) -> bool {
        !self.sign_in.blocks
    }

    /// Lets a refused request wait for a sign-in; false if it has had its share of them.
    pub(crate) fn wait_for_sign_in(&mut self, id: &RequestId, challenge: &Challenge) -> bool {
        let stopping = self.shutdown.is_some();
        let Some(open) = self.requests.find(id) else {
            return false;
        };
        if stopping || open.sign_ins >= MAX_SIGN_INS {
            return false;
        }
        open.sign_ins += 1;
        // The user decides how long it takes now.
        open.deadline = None;
        if self.session.is_initialize(id) {
            self.session.reset();
            self.defer_first(id);
        } else if challenge.is_insufficient_scope() {
            open.state = RequestState::AwaitsSignIn { resumes: false };
        } else {
            self.defer(id);
        }
        self.start_sign_in(challenge);
        true
    }

    /// The stream of a response needs a sign-in: it is resumed after it; false if there have been enough of them.
    pub(crate) fn resume_after_sign_in(&mut self, id: &RequestId, challenge: &Challenge) -> bool {
        let suspended = self.wait_for_sign_in(id, challenge);
        if let Some(open) = self.requests.find(id)
            && suspended
        {
            open.state = RequestState::AwaitsSignIn { resumes: true };
        }
        suspended
    }

    /// Something all requests wait for was refused: the stream of HTTP+SSE, a new session.
    /// False if nobody waits, or nobody may wait any longer.
    pub(crate) fn all_wait_for_sign_in(&mut self, challenge: &Challenge) -> bool {
        let mut any = false;
        for id in self
            .requests
            .ids_where(|open| open.state == RequestState::Deferred)
        {
            if let Some(open) = self.requests.find(&id)
                && open.sign_ins < MAX_SIGN_INS
            {
                open.sign_ins += 1;
                open.deadline = None;
                any = true;
            }
        }
        let may = any && self.shutdown.is_none();
        if may {
            self.start_sign_in(challenge);
        }
        may
    }

    pub(crate) fn start_sign_in(&mut self, challenge: &Challenge) {
        if self.sign_in.state == SignInState::Idle {
            self.sign_in = SignIn {
                state: SignInState::Waited(self.now + self.settings.auth_timeout),
                blocks: false,
                url: None,
            };
            self.out.push_back(Action::SignIn(challenge.clone()));
        }
        self.sign_in.blocks |= !challenge.is_insufficient_scope();
    }

    pub(crate) fn sign_in_url(&mut self, url: String) {
        self.sign_in.url = Some(url);
    }

    /// The sign-in has ended.
    pub(crate) fn signed_in(&mut self, result: Result<()>) {
        self.sign_in = SignIn::default();
        match result {
            Ok(()) => {
                let limit = self.settings.request_timeout;
                for id in self
                    .requests
                    .ids_where(|open| open.deadline.is_none() && !open.is_subscription())
                {
                    if let Some(open) = self.requests.find(&id) {
                        open.deadline = limit.map(|limit| self.now + limit);
                        // The user took the time, not the server: the limit for retries starts anew.
                        if open.sign_ins > 0 || open.state == RequestState::Deferred {
                            open.since = self.now;
                        }
                    }
                }
                self.notes_wait_anew();
                self.send_awaiting();
                self.get_stream_after_sign_in();
            }
            Err(error) => {
                let doctor = &self.settings.doctor;
                let error = match error.hint() {
                    Some(_) => error,
                    None => error.with_hint(format!("to sign in: {doctor}")),
                };
                self.failed(Level::Error, format!("not signed in: {error}"));
                self.fail_all_deferred(&error);
                self.fail_awaiting(&error);
                self.drop_deliveries("there is no sign-in");
            }
        }
    }

    /// Answers those who have waited long enough.
    pub(crate) fn sign_in_is_due(&mut self) {
        if matches!(self.sign_in.state, SignInState::Waited(until) if until <= self.now) {
            self.sign_in.state = SignInState::Background;
        }
        if self.sign_in.state == SignInState::Background {
            let error = self.sign_in_needed();
            self.fail_awaiting(&error);
            if self.sign_in.blocks {
                self.fail_all_deferred(&error);
            }
        }
    }

    fn send_awaiting(&mut self) {
        for id in self.awaiting() {
            match self.requests.find(&id).map(|open| open.state) {
                Some(RequestState::AwaitsSignIn { resumes: true }) => self.resume_request(&id),
                Some(_) | None => self.defer(&id),
            }
        }
    }

    fn fail_awaiting(&mut self, error: &Error) {
        for id in self.awaiting() {
            self.fail(&id, error.again());
        }
    }

    fn awaiting(&self) -> Vec<RequestId> {
        let awaits = |state| matches!(state, RequestState::AwaitsSignIn { .. });
        self.requests.ids_where(|open| awaits(open.state))
    }

    pub(crate) fn sign_in_due(&self) -> Option<Instant> {
        match self.sign_in.state {
            SignInState::Waited(until) => Some(until),
            SignInState::Idle | SignInState::Background => None,
        }
    }

    /// The error for whoever cannot wait for the sign-in.
    pub(crate) fn sign_in_needed(&self) -> Error {
        let server = &self.settings.server;
        let waited = self.settings.auth_timeout.as_secs();
        let error = |what| Error::new(Kind::SignIn, what);
        match &self.sign_in.url {
            Some(url) => error(format!(
                "{server} needs a sign-in, which was not completed within {waited} s (--auth-timeout): open {url} in a browser"
            ))
            .with_hint("then try again"),
            None => error(format!(
                "{server} needs a sign-in, which was not completed within {waited} s (--auth-timeout)"
            ))
            .with_hint(format!("to sign in: {}", self.settings.doctor)),
        }
    }
}
