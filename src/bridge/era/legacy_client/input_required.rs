//! `input_required` for a legacy client: the questions become requests to the client, its responses a retry of the request.
//!
//! - A round can have several questions, a request several rounds. `requestState` is echoed byte for byte.
//! - A question the client has no capability for, one that fails, and one that takes too long fail the request.
//! - Questions, rounds and time are limited.
//!
//! Spec: MCP 2026-07-28 basic/patterns/mrtr; 2025-11-25 client/elicitation, client/sampling, client/roots.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::bridge::era::adapter::AdapterActions;
use crate::bridge::era::legacy_client::ForwardedRequest;
use crate::jsonrpc::{self, Kind, Message, RequestId};
use crate::jsonrpc::{notification, request};
use crate::mcp::capabilities::{Capabilities, method};
use crate::mcp::errors;

/// The rounds that wait for the client.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    pub(crate) capabilities: Capabilities,
    made: u64,
    waiting: BTreeMap<RequestId, Round>,
}

/// One round of questions for one request, by the client's id.
#[derive(Debug)]
struct Round {
    call: ForwardedRequest,
    /// Questions that are not answered: the id they were asked under, and the server's key.
    questions: BTreeMap<RequestId, String>,
    answers: Vec<(String, String)>,
    /// The JSON text of `requestState`.
    state: Option<String>,
    until: Instant,
}

/// What follows.
#[derive(Debug)]
pub(crate) enum RoundOutcome {
    /// The client's answers are waited for.
    Waits,
    /// The request fails.
    Failed(RequestId, i64, String),
    /// It fails because the client has not declared this.
    Lacks(RequestId, String, Capabilities),
    /// The request is sent again with these params.
    Again(ForwardedRequest, String),
}

/// More questions are not asked in a round (npm: 8).
const MAX_QUESTIONS: usize = 16;
/// More rounds are not played for a request (npm: 10).
const MAX_ROUNDS: u32 = 10;
/// How long the user may take (npm: 10 minutes).
const INPUT_TIMEOUT: Duration = Duration::from_secs(600);

impl Rounds {
    /// The server needs input for a request.
    pub(crate) fn ask(
        &mut self,
        now: Instant,
        mut call: ForwardedRequest,
        answer: &Message,
        actions: &mut AdapterActions,
    ) -> RoundOutcome {
        call.rounds += 1;
        let id = call.id.clone();
        let fail = |code, what: String| RoundOutcome::Failed(id.clone(), code, what);
        if call.sent.is_none() {
            return fail(
                errors::INTERNAL_ERROR,
                format!(
                    "the server asked for input, which it may not for \"{}\"",
                    call.method
                ),
            );
        }
        if call.rounds > MAX_ROUNDS {
            return fail(
                errors::INTERNAL_ERROR,
                format!("the server asked for input more than {MAX_ROUNDS} times"),
            );
        }
        let part = |name: &str| jsonrpc::member_at(answer.text(), &["result", name]);
        let questions = jsonrpc::members(part("inputRequests").unwrap_or("{}"));
        if questions.len() > MAX_QUESTIONS {
            return fail(
                errors::INTERNAL_ERROR,
                format!("the server asked more than {MAX_QUESTIONS} questions at once"),
            );
        }
        let refused = |(_, question): &(_, &str)| self.capabilities.refuse(question);
        let refused: Vec<_> = questions.iter().filter_map(refused).collect();
        if let Some((what, _)) = refused.first() {
            let lacked: Option<Vec<Capabilities>> =
                refused.iter().map(|(_, lacked)| *lacked).collect();
            return match lacked.map(|all| {
                all.into_iter()
                    .fold(Capabilities::default(), Capabilities::and)
            }) {
                Some(lacked) => RoundOutcome::Lacks(id, what.clone(), lacked),
                None => fail(errors::INTERNAL_ERROR, what.clone()),
            };
        }
        let mut round = Round {
            call,
            questions: BTreeMap::new(),
            answers: Vec::new(),
            state: part("requestState").map(str::to_owned),
            until: now + INPUT_TIMEOUT,
        };
        for (key, question) in questions {
            self.made += 1;
            let asked = RequestId::from_string(&format!(
                "{}input-{}",
                crate::bridge::OWN_PREFIX,
                self.made
            ));
            let method = method(question).unwrap_or_default();
            actions.client(request(&asked, &method, &params(question, self.made)));
            round.questions.insert(asked, key);
        }
        if round.questions.is_empty() {
            return again(round);
        }
        self.waiting.insert(id.clone(), round);
        RoundOutcome::Waits
    }

    /// The client answered something.
    pub(crate) fn answered(
        &mut self,
        id: &RequestId,
        answer: &Message,
        actions: &mut AdapterActions,
    ) -> RoundOutcome {
        let owner = self
            .waiting
            .iter()
            .find(|(_, round)| round.questions.contains_key(id));
        let Some(owner) = owner.map(|(owner, _)| owner.clone()) else {
            return RoundOutcome::Waits;
        };
        let Some(mut round) = self.waiting.remove(&owner) else {
            return RoundOutcome::Waits;
        };
        let key = round.questions.remove(id).unwrap_or_default();
        let result = match (answer.kind(), answer.member("result")) {
            (Kind::Response { failed: false, .. }, Some(result)) => result.to_owned(),
            _ => {
                take_back(&round, actions);
                let words = crate::log::clean(&errors::words(answer), 300);
                return RoundOutcome::Failed(
                    owner,
                    errors::INTERNAL_ERROR,
                    format!("the client did not answer what the server needs to know: {words}"),
                );
            }
        };
        round.answers.push((key, result));
        if round.questions.is_empty() {
            return again(round);
        }
        self.waiting.insert(owner, round);
        RoundOutcome::Waits
    }

    /// The client cancelled a request that waits for itself.
    pub(crate) fn cancel(&mut self, id: &RequestId, actions: &mut AdapterActions) {
        if let Some(round) = self.waiting.remove(id) {
            take_back(&round, actions);
        }
    }

    pub(crate) fn is_open(&self, id: &RequestId) -> bool {
        self.waiting.contains_key(id)
    }

    pub(crate) fn ids(&self) -> Vec<RequestId> {
        self.waiting.keys().cloned().collect()
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        self.waiting.values().map(|round| round.until).min()
    }

    /// The requests that waited too long.
    pub(crate) fn expired(
        &mut self,
        now: Instant,
        actions: &mut AdapterActions,
    ) -> Vec<(RequestId, String)> {
        let late = |(id, round): (&RequestId, &Round)| (round.until <= now).then(|| id.clone());
        let ids: Vec<RequestId> = self.waiting.iter().filter_map(late).collect();
        let what = format!(
            "the client did not answer what the server needs to know within {} s",
            INPUT_TIMEOUT.as_secs()
        );
        ids.into_iter()
            .map(|id| {
                self.cancel(&id, actions);
                (id, what.clone())
            })
            .collect()
    }
}

/// Questions that are not answered yet are not wanted any more.
fn take_back(round: &Round, actions: &mut AdapterActions) {
    for id in round.questions.keys() {
        actions.client(notification(
            "notifications/cancelled",
            &format!("{{\"requestId\":{id}}}"),
        ));
    }
}

fn again(round: Round) -> RoundOutcome {
    let mut params = round
        .call
        .sent
        .as_ref()
        .and_then(|sent| sent.member("params"))
        .unwrap_or("{}")
        .to_owned();
    params = jsonrpc::without_member(&params, "inputResponses");
    params = jsonrpc::without_member(&params, "requestState");
    if !round.answers.is_empty() {
        let answers: Vec<String> = round
            .answers
            .iter()
            .map(|(key, result)| format!("{}:{result}", jsonrpc::quoted(key)))
            .collect();
        params = jsonrpc::replace_member(
            &params,
            "inputResponses",
            &format!("{{{}}}", answers.join(",")),
        );
    }
    if let Some(state) = &round.state {
        params = jsonrpc::replace_member(&params, "requestState", state);
    }
    RoundOutcome::Again(round.call, params)
}

/// The params of a question; 2025-11-25 names each URL elicitation.
fn params(question: &str, number: u64) -> String {
    let params = jsonrpc::member(question, "params")
        .filter(|params| params.starts_with('{'))
        .unwrap_or("{}");
    let is_url = jsonrpc::member(params, "mode") == Some("\"url\"");
    if is_url && jsonrpc::member(params, "elicitationId").is_none() {
        return jsonrpc::replace_member(
            params,
            "elicitationId",
            &format!("\"{}elicitation-{number}\"", crate::bridge::OWN_PREFIX),
        );
    }
    params.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn parse(text: &str) -> Message {
        Message::parse(text).unwrap()
    }

    fn call() -> ForwardedRequest {
        ForwardedRequest {
            id: RequestId::from_text("1").unwrap(),
            method: "tools/call".to_owned(),
            sent: Some(Arc::new(parse(
                r#"{"id":1,"method":"tools/call","params":{"name":"a","n": 1.0}}"#,
            ))),
            rounds: 0,
        }
    }

    fn rounds(capabilities: &str) -> Rounds {
        Rounds {
            capabilities: Capabilities::read(capabilities),
            ..Rounds::default()
        }
    }

    #[test]
    fn the_state_is_echoed_byte_for_byte_and_all_answers_go_back_under_their_keys() {
        let mut rounds = rounds(r#"{"sampling":{},"roots":{}}"#);
        let (now, mut actions) = (Instant::now(), AdapterActions::default());
        let answer = parse(
            r#"{"id":1,"result":{"resultType":"input_required","requestState":"a\u0041\/","inputRequests":{"k\"1":{"method":"roots/list"},"k2":{"method":"sampling/createMessage","params":{"n":1.50}}}}}"#,
        );
        assert!(matches!(
            rounds.ask(now, call(), &answer, &mut actions),
            RoundOutcome::Waits
        ));
        assert_eq!(actions.0.len(), 2);
        let reply = |n: u32, result: &str| {
            parse(&format!(
                r#"{{"id":"mcp-remote-input-{n}","result":{result}}}"#
            ))
        };
        let id = |n: u32| RequestId::from_string(&format!("mcp-remote-input-{n}"));
        assert!(matches!(
            rounds.answered(&id(2), &reply(2, "{\"t\": 1e2}"), &mut actions),
            RoundOutcome::Waits
        ));
        let RoundOutcome::Again(_, params) =
            rounds.answered(&id(1), &reply(1, "{\"roots\":[]}"), &mut actions)
        else {
            panic!("the round is over");
        };
        assert_eq!(
            params,
            r#"{"name":"a","n": 1.0,"inputResponses":{"k2":{"t": 1e2},"k\"1":{"roots":[]}},"requestState":"a\u0041\/"}"#
        );
        assert!(rounds.due().is_none());
    }

    #[test]
    fn a_round_without_questions_is_sent_again_at_once_but_not_for_ever() {
        let mut rounds = rounds("{}");
        let (now, mut actions, mut call) = (Instant::now(), AdapterActions::default(), call());
        let answer =
            parse(r#"{"id":1,"result":{"resultType":"input_required","requestState":"s"}}"#);
        for _ in 0..MAX_ROUNDS {
            let RoundOutcome::Again(again, params) = rounds.ask(now, call, &answer, &mut actions)
            else {
                panic!("it may go on");
            };
            assert_eq!(params, r#"{"name":"a","n": 1.0,"requestState":"s"}"#);
            call = again;
        }
        // What one round said is not said in the next.
        let mut fresh = ForwardedRequest {
            rounds: 0,
            ..call.clone()
        };
        let answer_without =
            parse(r#"{"id":1,"result":{"resultType":"input_required","inputRequests":{}}}"#);
        fresh.sent = Some(Arc::new(parse(
            r#"{"id":1,"method":"tools/call","params":{"name":"a","requestState":"s","inputResponses":{}}}"#,
        )));
        let RoundOutcome::Again(_, params) = rounds.ask(now, fresh, &answer_without, &mut actions)
        else {
            panic!("it may go on");
        };
        assert_eq!(params, r#"{"name":"a"}"#);
        assert!(matches!(
            rounds.ask(now, call, &answer, &mut actions),
            RoundOutcome::Failed(..)
        ));
    }

    #[test]
    fn what_the_client_cannot_do_or_does_not_answer_fails_the_request() {
        let (now, mut actions) = (Instant::now(), AdapterActions::default());
        let answer = parse(
            r#"{"id":1,"result":{"inputRequests":{"a":{"method":"elicitation/create","params":{"mode":"url"}}}}}"#,
        );
        let mut forms = rounds(r#"{"elicitation":{}}"#);
        assert!(matches!(
            forms.ask(now, call(), &answer, &mut actions),
            RoundOutcome::Lacks(_, _, lacked) if lacked.json() == r#"{"elicitation":{"url":{}}}"#
        ));
        let mut urls = rounds(r#"{"elicitation":{"url":{}}}"#);
        assert!(matches!(
            urls.ask(now, call(), &answer, &mut actions),
            RoundOutcome::Waits
        ));
        assert_eq!(urls.expired(now + INPUT_TIMEOUT, &mut actions).len(), 1);
        assert!(!urls.is_open(&RequestId::from_text("1").unwrap()));
    }

    #[test]
    fn all_that_the_client_lacks_for_a_round_is_named_and_only_that() {
        let lacked = |questions: &str| {
            let (now, mut actions) = (Instant::now(), AdapterActions::default());
            let answer = parse(&format!(
                r#"{{"id":1,"result":{{"resultType":"input_required","inputRequests":{{{questions}}}}}}}"#
            ));
            match rounds(r#"{"sampling":{}}"#).ask(now, call(), &answer, &mut actions) {
                RoundOutcome::Lacks(_, _, lacked) => lacked.json(),
                other => panic!("{other:?}"),
            }
        };
        let sample = r#""s":{"method":"sampling/createMessage","params":{"tools":[]}}"#;
        let (form, roots) = (
            r#""f":{"method":"elicitation/create"}"#,
            r#""r":{"method":"roots/list"}"#,
        );
        assert_eq!(lacked(sample), r#"{"sampling":{"tools":{}}}"#);
        assert_eq!(
            lacked(&format!("{roots},{form}")),
            r#"{"elicitation":{"form":{}},"roots":{}}"#
        );
    }
}
