//! New tokens without the user: from a refresh token, or with a grant for programs.
//!
//! - One request at a time: in this process under a lock, across processes under the lease of the store. Whoever comes second
//!   finds the new tokens.
//! - A refresh token is redeemed only at the issuer it came from, by the client it was issued to.
//! - The scope is the granted one; it is left out where the server refuses it (RFC 6749 6: it then stays as it was). A server
//!   that returns no new refresh token keeps the old one valid.
//! - A failure is returned again for a while without a new attempt, so that ten waiting requests do not make ten.
//! - Errors such as `invalid_grant` remove the tokens; any other refusal, also a 400 or 401 without an error code, leaves them,
//!   but needs a new sign-in. `invalid_client` for a client given by hand is an error that names its flag.
//! - Twenty refreshes in half a minute are a loop (npm's limit).
//!
//! Spec: RFC 6749 6; RFC 9700 4.14.2; npm mcp-remote 0.15.1 (refresh lease).
//! Not done here: the requests of programs (`client_credentials.rs`, `jwt_bearer.rs`, `id_jag.rs`).

use super::challenge::Challenge;
use super::discovery::Discovered;
use super::error::{Failure, Step};
use super::registration::Origin;
use super::token_cache::life_in_words;
use super::{Authorizer, Recovered, lock, registration, token};
use crate::error::{Error, Kind};
use crate::log::Level;
use crate::secret::Secret;
use crate::store::{LeaseOutcome, Tokens, UnixMillis};

/// What is remembered from one refresh to the next.
#[derive(Default)]
pub(super) struct RefreshState {
    pub(super) discovered: Option<Discovered>,
    /// The last token obtained here, and when: if the server refuses it too, another refresh will not help.
    refreshed: Option<(Secret, UnixMillis)>,
    failed: Option<Failed>,
    /// The last assertion that the server refused, and how: it is not sent again.
    pub(super) refused_assertion: Option<(Secret, Error)>,
    /// The access token that only a sign-in can replace.
    hopeless: Option<Secret>,
    /// When tokens were refreshed, for the last half minute.
    recent: Vec<UnixMillis>,
}

/// The last failure.
struct Failed {
    error: Error,
    is_passing: bool,
    at: UnixMillis,
    /// How long it is returned without another attempt.
    pause: UnixMillis,
}

impl Authorizer {
    /// Gets other tokens than `used`.
    ///
    /// # Errors
    /// If that failed for a reason that may pass.
    pub(super) fn refresh(&self, used: &Tokens, challenge: Option<&Challenge>) -> Step<Recovered> {
        let mut state = lock(&self.refresh);
        let now = self.env.now();
        if let Some(failed) = &state.failed
            && failed.at.abs_diff(now) < failed.pause
        {
            let error = failed.error.again();
            return Err(if failed.is_passing {
                Failure::Passing(error)
            } else {
                Failure::Final(error)
            });
        }
        if state.hopeless.as_ref() == Some(&used.access_token) {
            return Ok(Recovered::NeedsSignIn);
        }
        state.recent.retain(|at| at.abs_diff(now) < LOOP_TIME);
        if state.recent.len() >= LOOP_COUNT {
            let what = "tokens expire immediately after each refresh; pausing for 30 s";
            return Err(Failure::Passing(Error::new(Kind::SignIn, what)));
        }
        let refreshed = self.refresh_with_lease(&mut state, used, challenge);
        let (error, is_passing) = match &refreshed {
            Err(Failure::Passing(error)) => (error, true),
            Err(Failure::Refused(_, error) | Failure::Final(error)) => (error, false),
            Ok(_) => {
                state.failed = None;
                return refreshed;
            }
        };
        state.failed = Some(Failed {
            error: error.again(),
            is_passing,
            at: self.env.now(),
            pause: pause_after(state.failed.as_ref(), error),
        });
        // The endpoints may have moved.
        state.discovered = None;
        refreshed
    }

    /// Whether these tokens were refreshed by us a moment ago and have not expired since.
    pub(super) fn was_refreshed(&self, tokens: &Tokens) -> bool {
        let now = self.env.now();
        let moment = if self.ends_soon(tokens, now) {
            MIN_LIFE
        } else {
            JUST_REFRESHED
        };
        let state = lock(&self.refresh);
        let refreshed = state.refreshed.as_ref();
        refreshed
            .is_some_and(|(token, at)| *token == tokens.access_token && at.abs_diff(now) < moment)
    }

    fn refresh_with_lease(
        &self,
        state: &mut RefreshState,
        used: &Tokens,
        challenge: Option<&Challenge>,
    ) -> Step<Recovered> {
        let unchanged = || {
            let stored = self.store.tokens();
            stored.is_none_or(|tokens| tokens.access_token == used.access_token)
        };
        let lease = match self.store.lease(unchanged) {
            LeaseOutcome::NotNeeded => {
                self.fresh_tokens();
                return Ok(Recovered::Again);
            }
            LeaseOutcome::Busy => {
                let what = "another instance has been refreshing the tokens for too long";
                return Err(Failure::Passing(Error::new(Kind::SignIn, what)));
            }
            LeaseOutcome::Held(lease) => Some(lease),
            LeaseOutcome::Uncoordinated => None,
        };
        let renew_lease = || {
            if let Some(lease) = &lease {
                lease.renew();
            }
        };
        let mut request = || {
            if let Some(provider) = &self.provider {
                self.use_id_jag(provider, state, used, challenge, renew_lease)
            } else if let Some(file) = &self.config.oauth.workload_token {
                self.use_workload_token(file, state, used, challenge, renew_lease)
            } else if self.config.oauth.client_credentials {
                self.use_client_credentials(state, used, challenge, renew_lease)
            } else {
                self.use_refresh_token(state, used, challenge, renew_lease)
            }
        };
        match &lease {
            Some(lease) => lease.while_renewed(request),
            None => request(),
        }
    }

    pub(super) fn discovered(
        &self,
        state: &RefreshState,
        challenge: Option<&Challenge>,
    ) -> Step<Discovered> {
        let discovered = match &state.discovered {
            Some(discovered) => discovered.clone(),
            None => self.discover(challenge.and_then(|it| it.resource_metadata.as_ref()))?,
        };
        self.bind_if_asked(&discovered, challenge.unwrap_or(&Challenge::default()))?;
        Ok(discovered)
    }

    fn use_refresh_token(
        &self,
        state: &mut RefreshState,
        used: &Tokens,
        challenge: Option<&Challenge>,
        renew_lease: impl Fn(),
    ) -> Step<Recovered> {
        // Read again: only the newest refresh token may be redeemed.
        let Some(current) = self.fresh_tokens() else {
            return Ok(Recovered::NeedsSignIn);
        };
        if current.access_token != used.access_token {
            return Ok(Recovered::Again);
        }
        let discovered = self.discovered(state, challenge)?;
        if !current.is_from(discovered.issuer()) {
            let why = match current.issuer {
                Some(_) => "the server uses another authorization server now",
                None => "no record tells which authorization server issued the stored tokens",
            };
            let text = format!("{why}: a new sign-in is needed");
            self.env.say(Level::Info, &text);
            state.hopeless = Some(current.access_token);
            return Ok(Recovered::NeedsSignIn);
        }
        let (oauth, store) = (&self.config.oauth, &self.store);
        let now = self.env.now();
        let Some(client) = registration::known(oauth, store, &discovered, None, now)? else {
            state.hopeless = Some(current.access_token);
            return Ok(Recovered::NeedsSignIn);
        };
        let endpoint = self.endpoint(&discovered, &client);
        let _under_way = self.under_way();
        let redeemed = self.with_resource(&discovered, |resource| {
            redeem(endpoint, &current, resource, &renew_lease)
        });
        let tokens = match redeemed {
            Ok(tokens) => tokens,
            // The client given by hand is wrong, which says nothing about the refresh token (RFC 6749 5.2).
            Err(Failure::Refused(code, error))
                if code == "invalid_client"
                    && matches!(client.origin, Origin::Static | Origin::Document) =>
            {
                return Err(Failure::Final(error));
            }
            Err(Failure::Refused(code, error)) => {
                let text = format!("{}: a new sign-in is needed", error.what());
                self.env.say(Level::Info, &text);
                state.discovered = None;
                if is_over(&code) {
                    store.remove_tokens();
                    let failure = Failure::Refused(code, error);
                    if registration::needs_replacement(store, &client, &failure, None) {
                        store.remove_client_info();
                    }
                    self.fresh_tokens();
                } else {
                    // It will not get better, but the tokens may still be valid.
                    state.hopeless = Some(current.access_token);
                }
                return Ok(Recovered::NeedsSignIn);
            }
            Err(failure) => return Err(failure),
        };
        match store.tokens() {
            Some(stored) if stored.access_token == current.access_token => {}
            Some(_) => {
                // A sign-in ended meanwhile: its tokens are kept, their scope may be wider.
                self.fresh_tokens();
                return Ok(Recovered::Again);
            }
            // The user signed out meanwhile: the new tokens are not stored.
            None => {
                self.fresh_tokens();
                return Ok(Recovered::NeedsSignIn);
            }
        }
        registration::bind(store, &discovered, &client);
        Ok(self.keep_refreshed(state, tokens, discovered, "refreshed"))
    }

    /// Keeps the tokens of a program, unless the user has signed out since `before`.
    pub(super) fn keep_for_program(
        &self,
        state: &mut RefreshState,
        before: Option<&Tokens>,
        tokens: Tokens,
        discovered: Discovered,
        client: &registration::Client,
    ) -> Step<Recovered> {
        if before.is_some() && self.store.tokens().is_none() {
            self.fresh_tokens();
            let what = "the user signed out while new tokens were requested; they are not stored";
            return Err(Failure::new(what));
        }
        registration::bind(&self.store, &discovered, client);
        Ok(self.keep_refreshed(state, tokens, discovered, "as a program"))
    }

    pub(super) fn keep_refreshed(
        &self,
        state: &mut RefreshState,
        tokens: Tokens,
        discovered: Discovered,
        how: &str,
    ) -> Recovered {
        let tokens = self.keep(tokens, discovered.issuer());
        let life = life_in_words(&tokens);
        self.env.found("sign-in", &format!("{how}: {life}"));
        let now = self.env.now();
        state.refreshed = Some((tokens.access_token, now));
        state.recent.push(now);
        state.discovered = Some(discovered);
        Recovered::Again
    }
}

/// Redeems the refresh token; calls `before_each` before each request.
fn redeem(
    endpoint: token::Endpoint<'_>,
    tokens: &Tokens,
    resource: Option<&str>,
    before_each: &impl Fn(),
) -> Step<Tokens> {
    let Some(refresh_token) = &tokens.refresh_token else {
        return Err(Failure::new("there is no refresh token"));
    };
    let request = |scope: Option<&str>| {
        before_each();
        let mut form = vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token.expose()),
        ];
        form.extend(scope.map(|scope| ("scope", scope)));
        form.extend(resource.map(|resource| ("resource", resource)));
        token::request(endpoint, &form, "refreshing the sign-in")
    };
    let scope = tokens.scope.as_deref();
    let fresh = match request(scope) {
        Err(failure) if scope.is_some() && failure.code() == Some("invalid_scope") => request(None),
        result => result,
    }?;
    Ok(Tokens {
        refresh_token: fresh.refresh_token.or_else(|| tokens.refresh_token.clone()),
        id_token: fresh.id_token.or_else(|| tokens.id_token.clone()),
        scope: fresh.scope.or_else(|| tokens.scope.clone()),
        requested_scope: tokens.requested_scope.clone(),
        issuer: tokens.issuer.clone(),
        ..fresh
    })
}

/// Whether this error code ends the sign-in. Other refusals are no reason to remove the tokens.
fn is_over(code: &str) -> bool {
    matches!(
        code,
        "invalid_grant"
            | "invalid_token"
            | "invalid_client"
            | "unauthorized_client"
            | "invalid_scope"
    )
}

/// The pause before the next attempt: doubles after each failure, or as long as the server requests, within limits.
fn pause_after(before: Option<&Failed>, error: &Error) -> UnixMillis {
    let pause = before.map_or(FIRST_PAUSE, |failed| failed.pause.saturating_mul(2));
    let requested = error
        .retry_after()
        .map_or(0, |seconds| seconds.saturating_mul(1000));
    pause.min(MAX_PAUSE).max(requested.min(MAX_RETRY_AFTER))
}

const FIRST_PAUSE: UnixMillis = 2_000;
/// A request is retried for twice as long, so that each gets an attempt of its own.
const MAX_PAUSE: UnixMillis = 4_000;
const MAX_RETRY_AFTER: UnixMillis = 300_000;
const JUST_REFRESHED: UnixMillis = 30_000;
/// Tokens that live for less are not refreshed for each request.
const MIN_LIFE: UnixMillis = 1_000;
const LOOP_TIME: UnixMillis = 30_000;
const LOOP_COUNT: usize = 20;

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::super::environment::{Content, Environment, Fetch};
    use super::super::scripted_environment::{self, Scripted};
    use super::*;
    use crate::store::ClientInfo;
    use crate::store::test_dir::TestDir;

    /// An authorizer whose tokens ended long ago, with a registration; its metadata is scripted.
    fn authorizer(env: &Scripted) -> Authorizer {
        authorizer_in(env, None)
    }

    fn authorizer_in(env: &Scripted, base: Option<&Path>) -> Authorizer {
        let authorizer = scripted_environment::authorizer_in(env, base);
        let store = &authorizer.store;
        let tokens = Tokens {
            access_token: Secret::new("t0"),
            token_type: "Bearer".to_owned(),
            refresh_token: Some(Secret::new("r0")),
            scope: Some("a".to_owned()),
            expires_at: Some(1),
            issuer: Some("https://a.test".to_owned()),
            ..Tokens::default()
        };
        store.save_tokens(tokens, env.now());
        store.save_client_info(&ClientInfo {
            client_id: "c".to_owned(),
            redirect_uris: vec!["http://localhost:1/oauth/callback".to_owned()],
            ..ClientInfo::default()
        });
        discovery(env);
        authorizer
    }

    fn discovery(env: &Scripted) {
        env.answer(200, r#"{"resource":"https://a.test/mcp"}"#);
        env.answer(
            200,
            r#"{"issuer":"https://a.test","token_endpoint":"https://a.test/token"}"#,
        );
    }

    fn refused(authorizer: &Authorizer) -> Step<Recovered> {
        let used = authorizer.present_bearer();
        authorizer.recover(used.as_ref(), &Challenge::default())
    }

    fn forms(env: &Scripted) -> Vec<String> {
        let sent = env.sent();
        let form = |fetch: &Fetch| match &fetch.body {
            Content::Form(form) => Some(form.expose().to_owned()),
            _ => None,
        };
        sent.iter().filter_map(form).collect()
    }

    #[test]
    fn a_token_that_lives_for_seconds_is_refreshed_each_time_without_a_sign_in() {
        let env = Scripted::new();
        let authorizer = authorizer(&env);
        for round in 1..=3 {
            env.answer(
                200,
                &format!(r#"{{"access_token":"t{round}","token_type":"bearer","expires_in":5}}"#),
            );
            assert!(matches!(refused(&authorizer), Ok(Recovered::Again)));
            // The server may end it a little before we expect that.
            env.sleep(Duration::from_millis([6_000, 4_800, 0][round - 1]));
        }
    }

    #[test]
    fn client_credentials_ahead_of_time_ask_for_the_scope_they_had() {
        let env = Scripted::new();
        let mut authorizer = authorizer(&env);
        let info = r#"{"client_id":"c","client_secret":"s"}"#;
        authorizer.config.oauth.client_credentials = true;
        authorizer.config.oauth.static_client_info = Some(Secret::new(info));
        env.answer(200, r#"{"access_token":"t1","token_type":"bearer"}"#);
        assert_eq!(authorizer.bearer().unwrap().token, Secret::new("t1"));
        assert!(forms(&env)[0].contains("scope=a"));
        assert_eq!(
            authorizer.store.tokens().unwrap().scope.as_deref(),
            Some("a")
        );
    }

    #[test]
    fn a_token_that_is_refused_although_it_was_just_refreshed_needs_a_sign_in() {
        let env = Scripted::new();
        let authorizer = authorizer(&env);
        env.answer(
            200,
            r#"{"access_token":"t1","token_type":"bearer","expires_in":3600}"#,
        );
        assert!(matches!(refused(&authorizer), Ok(Recovered::Again)));
        assert!(matches!(refused(&authorizer), Ok(Recovered::NeedsSignIn)));
    }

    #[test]
    fn a_refusal_without_a_usual_code_needs_a_sign_in_and_discards_nothing() {
        for (status, body) in [
            (400, r#"{"error":"unsupported_grant_type"}"#),
            (400, r#"{"error_code":"refresh_token_not_found"}"#),
            (400, r#"{"error":{"message":"no"}}"#),
            (401, "Unauthorized"),
            (200, r#"{"error":"bad_refresh_token"}"#),
        ] {
            let env = Scripted::new();
            let authorizer = authorizer(&env);
            env.answer(status, body);
            for _ in 0..3 {
                assert!(matches!(refused(&authorizer), Ok(Recovered::NeedsSignIn)));
            }
            assert_eq!(forms(&env).len(), 1, "{body}");
            assert!(authorizer.store.tokens().is_some());
        }
    }

    #[test]
    fn a_refusal_that_will_pass_needs_no_sign_in() {
        for body in [
            r#"{"error":"temporarily_unavailable"}"#,
            r#"{"error":"rate_limit_exceeded"}"#,
        ] {
            let env = Scripted::new();
            let authorizer = authorizer(&env);
            env.answer(400, body);
            assert!(matches!(refused(&authorizer), Err(Failure::Passing(_))));
        }
    }

    #[test]
    fn a_wrong_client_given_by_hand_is_named_and_costs_no_tokens() {
        let env = Scripted::new();
        let mut authorizer = authorizer(&env);
        let info = r#"{"client_id":"c","client_secret":"wrong"}"#;
        authorizer.config.oauth.static_client_info = Some(Secret::new(info));
        env.answer(401, r#"{"error":"invalid_client"}"#);
        let failure = refused(&authorizer).unwrap_err();
        let hint = failure.error().hint().unwrap_or_default();
        assert!(hint.contains("--static-oauth-client-info"), "{hint}");
        assert!(authorizer.store.tokens().is_some());
    }

    #[test]
    fn a_dead_grant_is_found_dead_once() {
        let env = Scripted::new();
        let authorizer = authorizer(&env);
        let tokens = authorizer.store.tokens().unwrap();
        env.answer(400, r#"{"error":"invalid_grant"}"#);
        for _ in 0..10 {
            let renewed = authorizer.refresh(&tokens, None);
            assert!(matches!(renewed, Ok(Recovered::NeedsSignIn)));
        }
        assert_eq!(env.sent().len(), 3);
        assert!(authorizer.store.tokens().is_none());
    }

    #[test]
    fn a_scope_or_a_resource_that_is_refused_is_left_out() {
        let env = Scripted::new();
        let authorizer = authorizer(&env);
        env.answer(400, r#"{"error":"invalid_scope"}"#);
        env.answer(
            400,
            r#"{"error":"invalid_target","error_description":"AADSTS9010010: no"}"#,
        );
        env.answer(200, r#"{"access_token":"t1","token_type":"bearer"}"#);
        assert!(matches!(refused(&authorizer), Ok(Recovered::Again)));
        let forms = forms(&env);
        assert!(forms[0].contains("scope=a") && forms[0].contains("resource="));
        assert!(!forms[1].contains("scope=") && forms[1].contains("resource="));
        assert!(!forms[2].contains("resource="));
        assert_eq!(
            authorizer.store.notes().resource_refused_by.as_deref(),
            Some("https://a.test")
        );
    }

    #[test]
    fn the_lease_is_renewed_before_each_request_for_tokens() {
        let (env, dir) = (Scripted::new(), TestDir::new());
        let authorizer = authorizer_in(&env, Some(dir.path()));
        env.answer(400, r#"{"error":"invalid_scope"}"#);
        env.answer(200, r#"{"access_token":"t1","token_type":"bearer"}"#);
        let name = format!("{}_refresh_in_progress.json", authorizer.store.hash());
        let path = dir.path().join("mcp-remote-v1").join(name);
        let read = |path: &Path| -> serde_json::Value {
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
        };
        // The first response takes longer than a lease lasts.
        let first = path.clone();
        env.before_answer(3, move || {
            let mut lease = read(&first);
            lease["at"] = 1.into();
            std::fs::write(&first, lease.to_string()).unwrap();
        });
        let at = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&at);
        env.before_answer(4, move || {
            seen.store(read(&path)["at"].as_u64().unwrap(), Ordering::SeqCst);
        });
        assert!(matches!(refused(&authorizer), Ok(Recovered::Again)));
        assert!(at.load(Ordering::SeqCst) > 1);
    }

    #[test]
    fn tokens_of_a_refresh_under_way_are_not_stored_after_a_sign_out() {
        let env = Scripted::new();
        let authorizer = authorizer(&env);
        env.answer(200, r#"{"access_token":"t1","token_type":"bearer"}"#);
        let store = Arc::clone(&authorizer.store);
        env.before_answer(3, move || store.forget().unwrap());
        assert!(matches!(refused(&authorizer), Ok(Recovered::NeedsSignIn)));
        assert_eq!(authorizer.store.tokens(), None);
    }

    #[test]
    fn tokens_of_a_program_are_not_stored_after_a_sign_out() {
        let env = Scripted::new();
        let mut authorizer = authorizer(&env);
        let info = r#"{"client_id":"c","client_secret":"s"}"#;
        authorizer.config.oauth.client_credentials = true;
        authorizer.config.oauth.static_client_info = Some(Secret::new(info));
        env.answer(200, r#"{"access_token":"t1","token_type":"bearer"}"#);
        let store = Arc::clone(&authorizer.store);
        env.before_answer(3, move || store.forget().unwrap());
        let failure = refused(&authorizer).unwrap_err();
        assert!(failure.error().what().contains("signed out"));
        assert_eq!(authorizer.store.tokens(), None);
    }

    #[test]
    fn a_pinned_issuer_is_the_only_one_that_gets_client_credentials() {
        for (pinned, sent) in [("https://a.test", 1), ("https://b.test=https://b.test", 0)] {
            let env = Scripted::new();
            let mut authorizer = authorizer(&env);
            let info = r#"{"client_id":"c","client_secret":"s"}"#;
            authorizer.config.oauth.client_credentials = true;
            authorizer.config.oauth.accept_issuer = Some(pinned.to_owned());
            authorizer.config.oauth.static_client_info = Some(Secret::new(info));
            env.answer(200, r#"{"access_token":"t1","token_type":"bearer"}"#);
            assert_eq!(refused(&authorizer).is_ok(), sent == 1);
            assert_eq!(forms(&env).len(), sent);
        }
    }

    #[test]
    fn a_token_endpoint_in_trouble_is_left_alone_for_longer_each_time() {
        let env = Scripted::new();
        let authorizer = authorizer(&env);
        let passing = || matches!(refused(&authorizer), Err(Failure::Passing(_)));
        env.answer_with(503, Some(Duration::from_secs(60)), "");
        assert!(passing() && passing());
        assert_eq!(env.sent().len(), 3);
        env.sleep(Duration::from_secs(59));
        assert!(passing());
        env.sleep(Duration::from_secs(2));
        discovery(&env);
        env.answer(200, r#"{"access_token":"t1","token_type":"bearer"}"#);
        assert!(matches!(refused(&authorizer), Ok(Recovered::Again)));
    }

    #[test]
    fn tokens_of_a_sign_in_that_ended_meanwhile_are_not_overwritten() {
        let env = Scripted::new();
        let authorizer = authorizer(&env);
        env.answer(200, r#"{"access_token":"t1","token_type":"bearer"}"#);
        let store = Arc::clone(&authorizer.store);
        env.before_answer(3, move || {
            let tokens = Tokens {
                access_token: Secret::new("wide"),
                token_type: "Bearer".to_owned(),
                ..Tokens::default()
            };
            store.save_tokens(tokens, 1);
        });
        assert!(matches!(refused(&authorizer), Ok(Recovered::Again)));
        assert_eq!(
            authorizer.present_bearer().unwrap().token,
            Secret::new("wide")
        );
    }
}
