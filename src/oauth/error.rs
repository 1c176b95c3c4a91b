//! Why a step of the sign-in failed, and whether it is retried.
//!
//! - A temporary failure (network, 429, 5xx) is retried twice, opens no browser and discards nothing.
//! - A request that redeems a code or a refresh token is not sent again if its response was lost: the server may have redeemed
//!   it, and would treat the second request as theft.
//! - OAuth errors are told apart by their code (RFC 6749 5.2).
//! - Error text from the server is shown without the secrets of the request.
//!
//! Spec: RFC 6749 4.1.2, 5.2; RFC 9700 4.14.2; RFC 9110 9.2.2, 15.6 (5xx; 15.6.5: a gateway's), RFC 6585 4 (429).

use std::time::Duration;

use super::environment::{Environment, Fetch, Fetched};
use crate::error::{Error, Kind};
use crate::log::clean;
use crate::store::{Object, UnixMillis};
use crate::url::shown;

/// Why a step failed.
#[derive(Debug)]
pub enum Failure {
    /// Temporary: nothing is wrong with what is stored.
    Passing(Error),
    /// The authorization server refused, with this error code; with the status of a 400 or 401 that carries no code.
    Refused(String, Error),
    /// Any other failure.
    Final(Error),
}

impl Failure {
    /// A final failure.
    pub fn new(what: impl Into<String>) -> Failure {
        Failure::Final(Error::new(Kind::SignIn, what))
    }

    /// The error.
    pub fn into_error(self) -> Error {
        match self {
            Failure::Passing(error) | Failure::Refused(_, error) | Failure::Final(error) => error,
        }
    }

    /// The error.
    pub fn error(&self) -> &Error {
        match self {
            Failure::Passing(error) | Failure::Refused(_, error) | Failure::Final(error) => error,
        }
    }

    /// The OAuth error code.
    pub fn code(&self) -> Option<&str> {
        match self {
            Failure::Refused(code, _) => Some(code),
            Failure::Passing(_) | Failure::Final(_) => None,
        }
    }

    /// Whether the server refused because of the scope, or of a missing one.
    pub fn is_about_scope(&self) -> bool {
        match self {
            Failure::Refused(code, error) => {
                code != "access_denied" && error.what().to_lowercase().contains("scope")
            }
            Failure::Passing(_) | Failure::Final(_) => false,
        }
    }

    /// The same failure with its error changed.
    pub fn map(self, change: impl FnOnce(Error) -> Error) -> Failure {
        match self {
            Failure::Passing(error) => Failure::Passing(change(error)),
            Failure::Refused(code, error) => Failure::Refused(code, change(error)),
            Failure::Final(error) => Failure::Final(change(error)),
        }
    }

    /// Whether the server does not know the client (RFC 6749 5.2).
    pub fn is_unknown_client(&self) -> bool {
        matches!(self.code(), Some("invalid_client" | "unauthorized_client"))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error.kind() {
            Kind::Network | Kind::Timeout => Failure::Passing(error),
            _ => Failure::Final(error),
        }
    }
}

/// The result of a step.
pub type Step<T> = Result<T, Failure>;

/// Whether a status is temporary.
pub fn is_passing(status: u16) -> bool {
    status == 429 || status >= 500
}

/// Sends a request; retries a temporary failure twice, with growing pauses, within the time of a lease.
///
/// # Errors
/// If it still fails. A response with any other status is not an error here.
pub fn fetch(env: &dyn Environment, request: &Fetch, what: &str) -> Step<Fetched> {
    let mut pause = FIRST_PAUSE;
    let mut tries = 0;
    let began = env.now();
    let is_spent = |may_have_arrived| may_have_arrived && request.is_good_for_once();
    let response = loop {
        tries += 1;
        let fetched = env.fetch(request);
        let is_early = env.now().saturating_sub(began) <= LAST_TRY;
        let again = tries <= RETRIES && is_early;
        let wait = match fetched {
            Ok(response) if !is_passing(response.status) => return Ok(response),
            Ok(response) => match response.retry_after.unwrap_or(pause) {
                wait if again && wait <= MAX_PAUSE && !is_spent(response.status == LOST) => wait,
                _ => break response,
            },
            Err(unanswered) => {
                let is_spent = is_spent(unanswered.may_have_arrived);
                match Failure::from(unanswered.error) {
                    Failure::Passing(_) if again && !is_spent => pause,
                    failure => return Err(failure),
                }
            }
        };
        env.sleep(wait);
        pause *= 2;
    };
    let error = Error::new(
        Kind::SignIn,
        format!(
            "{what} {} answered {}",
            shown(&request.url),
            response.status
        ),
    )
    .with_retry_after(response.retry_after.map(|after| after.as_secs()));
    Err(Failure::Passing(with_detail(error, request, &response)))
}

/// A gateway sends this when the server has the request and has not responded in time.
const LOST: u16 = 504;
const RETRIES: u32 = 2;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// No retry begins later than this after the first request, so that nobody waits long for a server in trouble. A document that
/// timed out after 10 s is asked for once more.
const LAST_TRY: UnixMillis = 12_000;

/// The error of a response: the server's error code and description, else its status.
pub fn of_response(doing: &str, request: &Fetch, response: &Fetched) -> Failure {
    let object = response.object().unwrap_or_default();
    let code = object.get("error").and_then(|code| code.as_str());
    let Some(code) = code.map(|code| clean(&request.without_secrets(code), 100)) else {
        let what = format!(
            "{doing} failed: {} answered {}",
            shown(&request.url),
            response.status
        );
        let error = with_detail(Error::new(Kind::SignIn, what), request, response);
        return match response.status {
            status if is_passing(status) => Failure::Passing(error),
            400 | 401 => Failure::Refused(response.status.to_string(), error),
            _ => Failure::Final(error),
        };
    };
    let description = described(&object).map(|text| request.without_secrets(text));
    let error = Error::new(Kind::SignIn, refusal(doing, &code, description.as_deref()));
    if names_passing_trouble(&code) || is_passing(response.status) {
        Failure::Passing(error)
    } else {
        Failure::Refused(code, error)
    }
}

/// Whether an error code is temporary, whatever the status: the two of RFC 6749 4.1.2.1, and those that servers use for limits.
fn names_passing_trouble(code: &str) -> bool {
    let code = code.to_ascii_lowercase();
    matches!(
        code.as_str(),
        "temporarily_unavailable" | "server_error" | "internal_server_error" | "internal_error"
    ) || code.contains("rate_limit")
        || code.contains("too_many_requests")
}

/// One sentence from an OAuth error.
pub fn refusal(doing: &str, code: &str, description: Option<&str>) -> String {
    match description.map(|text| clean(text, 300)) {
        Some(text) if !text.is_empty() => {
            format!("{doing} was refused: {} ({text})", clean(code, 100))
        }
        _ => format!("{doing} was refused: {}", clean(code, 100)),
    }
}

fn described(object: &Object) -> Option<&str> {
    object.get("error_description")?.as_str()
}

/// Adds the first line of a response that is not an OAuth error; it is sent to the client and not logged.
fn with_detail(error: Error, request: &Fetch, response: &Fetched) -> Error {
    let text = request.without_secrets(response.body.expose().trim_start());
    let line = clean(text.lines().next().unwrap_or_default(), 120);
    if line.is_empty() || line.starts_with('<') {
        error
    } else {
        error.with_detail(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::environment::Unanswered;
    use crate::oauth::scripted_environment::Scripted;
    use crate::secret::Secret;
    use url::Url;

    #[test]
    fn a_server_that_asks_for_a_long_pause_is_not_asked_again() {
        let env = Scripted::new();
        env.answer_with(429, Some(Duration::from_secs(60)), "");
        let request = Fetch::document(Url::parse("https://a.test/").unwrap());
        let failure = fetch(&env, &request, "it").unwrap_err();
        assert!(matches!(failure, Failure::Passing(_)), "{failure:?}");
        assert_eq!((env.sent().len(), env.slept().len()), (1, 0));
    }

    fn form(text: &str) -> Fetch {
        Fetch::form(
            Url::parse("https://a.test/token").unwrap(),
            Secret::new(text),
        )
    }

    #[test]
    fn what_is_valid_once_is_not_sent_again_if_its_response_was_lost() {
        let lost = |may_have_arrived| Unanswered {
            error: Error::new(Kind::Timeout, "no response in time"),
            may_have_arrived,
        };
        for (text, may_have_arrived, sent) in [
            ("grant_type=authorization_code&code=x", true, 1),
            ("grant_type=refresh_token&refresh_token=x", true, 1),
            ("grant_type=refresh_token&refresh_token=x", false, 2),
            ("grant_type=client_credentials&client_id=code", true, 2),
        ] {
            let env = Scripted::new();
            env.lose(lost(may_have_arrived));
            env.answer(200, "{}");
            let fetched = fetch(&env, &form(text), "it");
            assert_eq!(
                (fetched.is_ok(), env.sent().len()),
                (sent == 2, sent),
                "{text}"
            );
        }
        for (status, sent) in [(504, 1), (503, 2)] {
            let env = Scripted::new();
            env.answer(status, "");
            env.answer(200, "{}");
            let fetched = fetch(&env, &form("refresh_token=x"), "it");
            assert_eq!((fetched.is_ok(), env.sent().len()), (sent == 2, sent));
        }
    }

    #[test]
    fn a_document_that_took_too_long_is_waited_for_once_more() {
        let env = Scripted::new();
        env.takes(Duration::from_millis(10_100));
        for _ in 0..2 {
            env.lose(Error::new(Kind::Timeout, "no response in time").into());
        }
        let document = Fetch::document(Url::parse("https://a.test/").unwrap());
        let began = env.now();
        assert!(fetch(&env, &document, "it").is_err());
        assert_eq!(env.sent().len(), 2);
        assert!(env.now() - began < 30_000);
    }

    #[test]
    fn tries_end_before_a_lease_does() {
        let env = Scripted::new();
        env.takes(Duration::from_secs(9));
        for _ in 0..3 {
            env.answer(503, "");
        }
        let began = env.now();
        assert!(fetch(&env, &form("refresh_token=x"), "it").is_err());
        assert_eq!(env.sent().len(), 2);
        assert!(env.now() - began < 30_000);
    }
}
