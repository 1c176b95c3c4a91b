//! New tokens without a person: a refresh, or client credentials again. One at a time.
//!
//! - In this process under a lock, across processes under the lease of the store; whoever comes second finds the new tokens.
//! - A refresh token is redeemed only at the issuer it came from, by the client it was given to.
//! - A failure is remembered for a while, longer each time, so that ten waiting requests do not make ten attempts.
//! - A refusal by any other code than `invalid_grant` and its kin leaves the tokens where they are, but only a person can help.
//! - Twenty refreshes in half a minute are a loop (npm's brake).
//!
//! Spec: RFC 6749 6; RFC 9700 4.14.2; npm mcp-remote 0.15.1 (refresh lease).

use super::authorization_code::is_resource_refused;
use super::challenge::Challenge;
use super::failure::{Failure, Step};
use super::sign_in::life_in_words;
use super::{Authorizer, Discovered, Recovered, Turn};
use super::{client_credentials, lock, refresh, registration};
use crate::error::{Error, Kind};
use crate::log::Level;
use crate::store::{LeaseOutcome, Tokens, UnixMillis};

/// A renewal that failed.
pub(super) struct Failed {
    error: Error,
    is_passing: bool,
    at: UnixMillis,
    /// How long it is answered without another attempt.
    pause: UnixMillis,
}

impl Authorizer {
    /// Gets other tokens than `used`.
    ///
    /// # Errors
    /// If that failed for a reason that may pass.
    pub(super) fn renew(&self, used: &Tokens, challenge: Option<&Challenge>) -> Step<Recovered> {
        let mut turn = lock(&self.turn);
        let now = self.world.now();
        if let Some(failed) = &turn.failed
            && failed.at.abs_diff(now) < failed.pause
        {
            return Err(match failed.is_passing {
                true => Failure::Passing(failed.error.again()),
                false => Failure::Final(failed.error.again()),
            });
        }
        if turn.hopeless.as_ref() == Some(&used.access_token) {
            return Ok(Recovered::NeedsSignIn);
        }
        turn.renewals.retain(|at| at.abs_diff(now) < BRAKE_TIME);
        if turn.renewals.len() >= BRAKE_COUNT {
            let what = "the tokens end as soon as they are refreshed: no more refreshes are tried for half a minute";
            return Err(Failure::Passing(Error::new(Kind::SignIn, what)));
        }
        let renewed = self.renew_in_turn(&mut turn, used, challenge);
        let (error, is_passing) = match &renewed {
            Err(Failure::Passing(error)) => (error, true),
            Err(Failure::Refused(_, error) | Failure::Final(error)) => (error, false),
            Ok(_) => {
                turn.failed = None;
                return renewed;
            }
        };
        turn.failed = Some(Failed {
            error: error.again(),
            is_passing,
            at: self.world.now(),
            pause: pause_after(turn.failed.as_ref(), error),
        });
        // The endpoints may have moved.
        turn.discovered = None;
        renewed
    }

    fn renew_in_turn(
        &self,
        turn: &mut Turn,
        used: &Tokens,
        challenge: Option<&Challenge>,
    ) -> Step<Recovered> {
        let unchanged = || match self.store.tokens() {
            Some(tokens) => tokens.access_token == used.access_token,
            None => true,
        };
        let lease = match self.store.lease(unchanged) {
            LeaseOutcome::NotNeeded => {
                self.fresh_tokens();
                return Ok(Recovered::Again);
            }
            LeaseOutcome::Busy => {
                let what = "another instance has been refreshing the sign-in for too long";
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
        match self.config.oauth.client_credentials {
            true => self.ask_again(turn, used, challenge, renew_lease),
            false => self.redeem(turn, used, challenge, renew_lease),
        }
    }

    fn discovered(&self, turn: &Turn, challenge: Option<&Challenge>) -> Step<Discovered> {
        if let Some(discovered) = &turn.discovered {
            return Ok(discovered.clone());
        }
        self.discover(challenge.and_then(|challenge| challenge.resource_metadata.as_ref()))
    }

    fn ask_again(
        &self,
        turn: &mut Turn,
        used: &Tokens,
        challenge: Option<&Challenge>,
        renew_lease: impl Fn(),
    ) -> Step<Recovered> {
        let discovered = self.discovered(turn, challenge)?;
        renew_lease();
        let scope = match challenge {
            Some(challenge) => self.scope(&discovered, challenge),
            // Ahead of time nobody says what is needed: what was needed until now.
            None => registration::pinned_scope(&self.config.oauth)
                .or_else(|| used.scope.clone())
                .or_else(|| self.scope(&discovered, &Challenge::default())),
        };
        let tokens = self.credentials(&discovered, scope.as_deref())?;
        let tokens = Tokens {
            // RFC 6749 5.1: not said means as asked for.
            scope: tokens.scope.or(scope),
            ..tokens
        };
        Ok(self.renewed(turn, tokens, discovered))
    }

    fn redeem(
        &self,
        turn: &mut Turn,
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
        let discovered = self.discovered(turn, challenge)?;
        if current.issuer.is_none() {
            self.store.bind_tokens(discovered.issuer());
        }
        if !current.may_be_from(discovered.issuer()) {
            self.world.say(
                Level::Info,
                "the server uses another authorization server now: a new sign-in is needed",
            );
            turn.hopeless = Some(current.access_token);
            return Ok(Recovered::NeedsSignIn);
        }
        let (oauth, store) = (&self.config.oauth, &self.store);
        let now = self.world.now();
        let Some(client) = registration::known(oauth, store, &discovered, None, now)? else {
            turn.hopeless = Some(current.access_token);
            return Ok(Recovered::NeedsSignIn);
        };
        let endpoint = self.endpoint(&discovered, &client);
        let _under_way = self.under_way();
        let redeemed = self.with_resource(&discovered, |resource| {
            refresh::redeem(endpoint, &current, resource, &renew_lease)
        });
        let tokens = match redeemed {
            Ok(tokens) => tokens,
            Err(failure) if refresh::is_over(&failure) => {
                self.sign_in_is_over(&failure, client.origin.is_replaceable());
                turn.discovered = None;
                return Ok(Recovered::NeedsSignIn);
            }
            Err(Failure::Refused(_, error)) => {
                // It will not get better, but what is stored is not known to be worthless.
                let text = format!("{}: a new sign-in is needed", error.what());
                self.world.say(Level::Info, &text);
                turn.hopeless = Some(current.access_token);
                turn.discovered = None;
                return Ok(Recovered::NeedsSignIn);
            }
            Err(failure) => return Err(failure),
        };
        match self.store.tokens() {
            Some(stored) if stored.access_token == current.access_token => {}
            Some(_) => {
                // A sign-in has ended meanwhile: its tokens count, they may hold more.
                self.fresh_tokens();
                return Ok(Recovered::Again);
            }
            // The user has signed out meanwhile: the new tokens are not stored.
            None => {
                self.fresh_tokens();
                return Ok(Recovered::NeedsSignIn);
            }
        }
        registration::bind(store, &discovered, &client);
        Ok(self.renewed(turn, tokens, discovered))
    }

    fn renewed(&self, turn: &mut Turn, tokens: Tokens, discovered: Discovered) -> Recovered {
        let tokens = self.keep(tokens, Some(discovered.issuer()));
        let how = match self.config.oauth.client_credentials {
            true => "as a program",
            false => "refreshed",
        };
        let life = life_in_words(&tokens);
        self.world.found("sign-in", &format!("{how}: {life}"));
        let now = self.world.now();
        turn.renewed = Some((tokens.access_token, now));
        turn.renewals.push(now);
        turn.discovered = Some(discovered);
        Recovered::Again
    }

    /// Asks with the resource parameter; once more without it, where the authorization server is known to refuse it.
    pub(super) fn with_resource<T>(
        &self,
        discovered: &Discovered,
        ask: impl Fn(Option<&str>) -> Step<T>,
    ) -> Step<T> {
        let resource = self.resource(discovered);
        match ask(resource.as_deref()) {
            Err(failure) if resource.is_some() && is_resource_refused(&failure) => {
                self.store
                    .update_notes(|notes| notes.omit_resource = Some(true));
                ask(None)
            }
            answered => answered,
        }
    }

    /// The authorization server has ended it: what it does not accept any more is removed.
    fn sign_in_is_over(&self, failure: &Failure, replaceable: bool) {
        let text = format!("{}: a new sign-in is needed", failure.error().what());
        self.world.say(Level::Info, &text);
        self.store.remove_tokens();
        if failure.is_unknown_client() && replaceable {
            self.store.remove_client_info();
        }
        self.fresh_tokens();
    }

    fn credentials(&self, discovered: &Discovered, scope: Option<&str>) -> Step<Tokens> {
        let now = self.world.now();
        let (oauth, store) = (&self.config.oauth, &self.store);
        let known = registration::known(oauth, store, discovered, None, now)?;
        let proves = |client: &registration::Client| client.secret.is_some() || self.key.is_some();
        let Some(client) = known.filter(proves) else {
            let error = Error::new(
                Kind::Config,
                "--client-credentials needs a client with a secret or a key",
            );
            return Err(Failure::Final(error.with_hint(
                "pass it with --static-oauth-client-info '{\"client_id\":\"…\",\"client_secret\":\"…\"}', or with --client-assertion-key",
            )));
        };
        let endpoint = self.endpoint(discovered, &client);
        let tokens = self.with_resource(discovered, |resource| {
            client_credentials::request(endpoint, scope, resource)
        })?;
        registration::bind(store, discovered, &client);
        Ok(tokens)
    }
}

/// The pause before the next attempt: twice as long after each failure, and as long as the server asks for, within reason.
fn pause_after(before: Option<&Failed>, error: &Error) -> UnixMillis {
    let pause = before.map_or(FIRST_PAUSE, |failed| failed.pause.saturating_mul(2));
    let asked = error
        .retry_after()
        .map_or(0, |seconds| seconds.saturating_mul(1000));
    pause.min(MOST_PAUSE).max(asked.min(MOST_ASKED))
}

/// How long a failure is answered without another attempt.
const FIRST_PAUSE: UnixMillis = 2_000;
/// A request is kept trying for twice as long: each gets an attempt of its own.
const MOST_PAUSE: UnixMillis = 4_000;
const MOST_ASKED: UnixMillis = 300_000;
/// npm's brake: so many new tokens within this time are a loop.
const BRAKE_TIME: UnixMillis = 30_000;
const BRAKE_COUNT: usize = 20;

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::super::scripted_world::{self, Scripted};
    use super::super::world::{Content, Fetch, World};
    use super::*;
    use crate::secret::Secret;
    use crate::store::ClientInfo;
    use crate::store::test_dir::TestDir;

    /// An authorizer whose tokens ended long ago, with a registration; its metadata is laid down as answers.
    fn authorizer(world: &Scripted) -> Authorizer {
        authorizer_in(world, None)
    }

    fn authorizer_in(world: &Scripted, base: Option<&Path>) -> Authorizer {
        let authorizer = scripted_world::authorizer_in(world, base);
        let store = &authorizer.store;
        let tokens = Tokens {
            access_token: Secret::new("t0"),
            token_type: "Bearer".to_owned(),
            refresh_token: Some(Secret::new("r0")),
            scope: Some("a".to_owned()),
            expires_at: Some(1),
            ..Tokens::default()
        };
        store.save_tokens(tokens, world.now());
        store.save_client_info(&ClientInfo {
            client_id: "c".to_owned(),
            redirect_uris: vec!["http://localhost:1/oauth/callback".to_owned()],
            ..ClientInfo::default()
        });
        discovery(world);
        authorizer
    }

    fn discovery(world: &Scripted) {
        world.answer(200, r#"{"resource":"https://a.test/mcp"}"#);
        world.answer(
            200,
            r#"{"issuer":"https://a.test","token_endpoint":"https://a.test/token"}"#,
        );
    }

    fn refused(authorizer: &Authorizer) -> Step<Recovered> {
        let used = authorizer.present_bearer();
        authorizer.recover(used.as_ref(), &Challenge::default())
    }

    fn forms(world: &Scripted) -> Vec<String> {
        let sent = world.sent();
        let form = |fetch: &Fetch| match &fetch.body {
            Content::Form(form) => Some(form.expose().to_owned()),
            _ => None,
        };
        sent.iter().filter_map(form).collect()
    }

    #[test]
    fn a_token_that_lives_for_seconds_is_refreshed_each_time_and_asks_nobody() {
        let world = Scripted::new();
        let authorizer = authorizer(&world);
        for round in 1..=3 {
            world.answer(
                200,
                &format!(r#"{{"access_token":"t{round}","token_type":"bearer","expires_in":5}}"#),
            );
            assert!(matches!(refused(&authorizer), Ok(Recovered::Again)));
            // The server may end it a little before we expect that.
            world.sleep(Duration::from_millis([6_000, 4_800, 0][round - 1]));
        }
    }

    #[test]
    fn client_credentials_ahead_of_time_ask_for_the_scope_they_had() {
        let world = Scripted::new();
        let mut authorizer = authorizer(&world);
        let info = r#"{"client_id":"c","client_secret":"s"}"#;
        authorizer.config.oauth.client_credentials = true;
        authorizer.config.oauth.static_client_info = Some(Secret::new(info));
        world.answer(200, r#"{"access_token":"t1","token_type":"bearer"}"#);
        assert_eq!(authorizer.bearer(), Some(Secret::new("t1")));
        assert!(forms(&world)[0].contains("scope=a"));
        assert_eq!(
            authorizer.store.tokens().unwrap().scope.as_deref(),
            Some("a")
        );
    }

    #[test]
    fn a_token_that_is_refused_although_it_was_just_renewed_needs_a_person() {
        let world = Scripted::new();
        let authorizer = authorizer(&world);
        world.answer(
            200,
            r#"{"access_token":"t1","token_type":"bearer","expires_in":3600}"#,
        );
        assert!(matches!(refused(&authorizer), Ok(Recovered::Again)));
        assert!(matches!(refused(&authorizer), Ok(Recovered::NeedsSignIn)));
    }

    #[test]
    fn a_refusal_by_an_unusual_code_needs_a_person_and_discards_nothing() {
        let world = Scripted::new();
        let authorizer = authorizer(&world);
        world.answer(400, r#"{"error":"unsupported_grant_type"}"#);
        for _ in 0..3 {
            assert!(matches!(refused(&authorizer), Ok(Recovered::NeedsSignIn)));
        }
        assert_eq!(forms(&world).len(), 1);
        assert!(authorizer.store.tokens().is_some());
    }

    #[test]
    fn a_dead_grant_is_found_dead_once() {
        let world = Scripted::new();
        let authorizer = authorizer(&world);
        let tokens = authorizer.store.tokens().unwrap();
        world.answer(400, r#"{"error":"invalid_grant"}"#);
        for _ in 0..10 {
            let renewed = authorizer.renew(&tokens, None);
            assert!(matches!(renewed, Ok(Recovered::NeedsSignIn)));
        }
        assert_eq!(world.sent().len(), 3);
        assert!(authorizer.store.tokens().is_none());
    }

    #[test]
    fn a_scope_or_a_resource_that_is_refused_is_left_out() {
        let world = Scripted::new();
        let authorizer = authorizer(&world);
        world.answer(400, r#"{"error":"invalid_scope"}"#);
        world.answer(
            400,
            r#"{"error":"invalid_target","error_description":"AADSTS9010010: no"}"#,
        );
        world.answer(200, r#"{"access_token":"t1","token_type":"bearer"}"#);
        assert!(matches!(refused(&authorizer), Ok(Recovered::Again)));
        let forms = forms(&world);
        assert!(forms[0].contains("scope=a") && forms[0].contains("resource="));
        assert!(!forms[1].contains("scope=") && forms[1].contains("resource="));
        assert!(!forms[2].contains("resource="));
        assert_eq!(authorizer.store.notes().omit_resource, Some(true));
    }

    #[test]
    fn the_lease_is_renewed_before_each_request_for_tokens() {
        let (world, dir) = (Scripted::new(), TestDir::new());
        let authorizer = authorizer_in(&world, Some(dir.path()));
        world.answer(400, r#"{"error":"invalid_scope"}"#);
        world.answer(200, r#"{"access_token":"t1","token_type":"bearer"}"#);
        let name = format!("{}_refresh_in_progress.json", authorizer.store.hash());
        let path = dir.path().join("mcp-remote-v1").join(name);
        let read = |path: &Path| -> serde_json::Value {
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
        };
        // The first answer takes longer than a lease lasts.
        let first = path.clone();
        world.before_answer(3, move || {
            let mut lease = read(&first);
            lease["at"] = 1.into();
            std::fs::write(&first, lease.to_string()).unwrap();
        });
        let at = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&at);
        world.before_answer(4, move || {
            seen.store(read(&path)["at"].as_u64().unwrap(), Ordering::SeqCst);
        });
        assert!(matches!(refused(&authorizer), Ok(Recovered::Again)));
        assert!(at.load(Ordering::SeqCst) > 1);
    }

    #[test]
    fn tokens_of_a_refresh_under_way_are_not_stored_after_a_sign_out() {
        let world = Scripted::new();
        let authorizer = authorizer(&world);
        world.answer(200, r#"{"access_token":"t1","token_type":"bearer"}"#);
        let store = Arc::clone(&authorizer.store);
        world.before_answer(3, move || store.forget().unwrap());
        assert!(matches!(refused(&authorizer), Ok(Recovered::NeedsSignIn)));
        assert_eq!(authorizer.store.tokens(), None);
    }

    #[test]
    fn a_token_endpoint_in_trouble_is_left_alone_for_longer_each_time() {
        let world = Scripted::new();
        let authorizer = authorizer(&world);
        let passing = || matches!(refused(&authorizer), Err(Failure::Passing(_)));
        world.answer_with(503, Some(Duration::from_secs(60)), "");
        assert!(passing() && passing());
        assert_eq!(world.sent().len(), 3);
        world.sleep(Duration::from_secs(59));
        assert!(passing());
        world.sleep(Duration::from_secs(2));
        discovery(&world);
        world.answer(200, r#"{"access_token":"t1","token_type":"bearer"}"#);
        assert!(matches!(refused(&authorizer), Ok(Recovered::Again)));
    }

    #[test]
    fn tokens_of_a_sign_in_that_ended_meanwhile_are_not_overwritten() {
        let world = Scripted::new();
        let authorizer = authorizer(&world);
        world.answer(200, r#"{"access_token":"t1","token_type":"bearer"}"#);
        let store = Arc::clone(&authorizer.store);
        world.before_answer(3, move || {
            let tokens = Tokens {
                access_token: Secret::new("wide"),
                token_type: "Bearer".to_owned(),
                ..Tokens::default()
            };
            store.save_tokens(tokens, 1);
        });
        assert!(matches!(refused(&authorizer), Ok(Recovered::Again)));
        assert_eq!(authorizer.present_bearer(), Some(Secret::new("wide")));
    }
}
