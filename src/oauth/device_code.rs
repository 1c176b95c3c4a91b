//! The device authorization grant: the user signs in on any device, with a code.
//!
//! - The URL and the code are printed; the URL contains the code where the server provides such a URL. A URL at another site than
//!   the authorization server's comes with a warning.
//! - The token endpoint is polled as often as the server allows: every 5 s by default, 5 s slower after each `slow_down`, half
//!   as often after each network error.
//!
//! Flags: `--device-code`.
//! Spec: RFC 8628 3.1 to 3.5.

use std::time::Duration;

use url::Url;

use super::challenge::Challenge;
use super::error::{Failure, Step, of_response};
use super::registration::{self, Wanted};
use super::{Authorizer, scope, token};
use crate::error::{Error, Kind};
use crate::log::clean;
use crate::secret::Secret;
use crate::store::{Object, Tokens, UnixMillis};
use crate::url::{from_network, same_origin, shown};

impl Authorizer {
    pub(super) fn with_device_code(&self, challenge: &Challenge) -> Step<()> {
        let discovered = self.discover(challenge.resource_metadata.as_ref())?;
        self.check_for_user()?;
        let mut scope = self.requested_scope(&discovered, challenge);
        self.bind_anew(&discovered, challenge)?;
        let (oauth, store) = (&self.config.oauth, &self.store);
        let (client, issued) = loop {
            let wanted = Wanted {
                redirect_uri: None,
                grant: GRANT,
                scope: scope.as_deref(),
            };
            let client = registration::obtain(&*self.env, oauth, store, &discovered, wanted)?;
            let endpoint = self.endpoint(&discovered, &client);
            let begun = self.with_resource(&discovered, |resource| {
                begin(endpoint, wanted.scope, resource, self.config.allow_http)
            });
            let failure = match begun {
                Ok(issued) => break (client, issued),
                Err(failure) => failure,
            };
            if registration::needs_replacement(store, &client, &failure, wanted.scope) {
                store.remove_client_info();
                continue;
            }
            scope = match self.scope_instead(&discovered, challenge, wanted.scope, &failure) {
                None if failure.is_about_scope() => {
                    let supported = discovered.server.scopes.as_deref();
                    return Err(failure.map(|error| scope::with_way_out(error, supported)));
                }
                None => return Err(failure),
                instead => instead,
            };
        };
        let warning = foreign(&issued.url, discovered.issuer());
        let text = format!("{}{}", issued.text, warning.unwrap_or_default());
        self.env.show_url(&issued.url, &text);
        let endpoint = self.endpoint(&discovered, &client);
        let resource = self.resource(&discovered);
        // Another instance may be first, with a code of its own.
        let is_done = || self.has_new_tokens();
        if let Some(tokens) = wait(endpoint, &issued, resource.as_deref(), is_done)? {
            registration::bind(store, &discovered, &client);
            self.finish_sign_in(tokens, &discovered, scope.as_deref(), challenge);
        }
        Ok(())
    }
}

/// A warning if the code is to be entered at another site than the authorization server's (RFC 8628 5.4).
fn foreign(url: &Url, issuer: &str) -> Option<String> {
    let is_its_own = Url::parse(issuer).is_ok_and(|issuer| same_origin(&issuer, url));
    (!is_its_own).then(|| {
        format!(
            "\nwarning: this address is at another site than the authorization server \"{}\"; enter the code only if you expect that",
            clean(issuer, 200)
        )
    })
}

/// A device code that the user is asked to confirm.
#[derive(Debug)]
struct Issued {
    device_code: Secret,
    /// What the user opens.
    url: Url,
    /// The message to the user.
    text: String,
    interval: Duration,
    life: UnixMillis,
}

/// Requests a device code.
fn begin(
    endpoint: token::Endpoint<'_>,
    scope: Option<&str>,
    resource: Option<&str>,
    allow_http: bool,
) -> Step<Issued> {
    let Some(url) = endpoint.server.device_authorization_endpoint.clone() else {
        let what = format!(
            "authorization server {} does not support device codes",
            endpoint.server.name()
        );
        let error = Error::new(Kind::SignIn, what).with_hint("leave --device-code out");
        return Err(Failure::Final(error));
    };
    let mut form = Vec::new();
    form.extend(scope.map(|scope| ("scope", scope)));
    form.extend(resource.map(|resource| ("resource", resource)));
    let doing = "requesting a device code";
    let (request, response) = token::post(endpoint, url, &form, doing)?;
    let object = response.object().unwrap_or_default();
    if !(200..300).contains(&response.status) || object.contains_key("error") {
        return Err(of_response(doing, &request, &response));
    }
    read(&object, allow_http)
        .map_err(|why| Failure::new(format!("{doing} failed: {} {why}", shown(&request.url))))
}

fn read(object: &Object, allow_http: bool) -> Result<Issued, String> {
    let text = |name: &str| object.get(name).and_then(|value| value.as_str());
    let number = |name: &str| match object.get(name) {
        Some(serde_json::Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_u64(),
        None => None,
    };
    let device_code = text("device_code").ok_or("responded without a device_code")?;
    let code = clean(
        text("user_code").ok_or("responded without a user_code")?,
        100,
    );
    // `verification_url` is the name in early drafts of RFC 8628; some servers still use it.
    let plain = text("verification_uri").or(text("verification_url"));
    let plain = plain.ok_or("responded without a verification_uri")?;
    let plain = from_network(plain, allow_http)
        .map_err(|why| format!("returned a URL that is refused: {why}"))?;
    let complete = text("verification_uri_complete")
        .and_then(|text| from_network(text, allow_http).ok())
        .unwrap_or_else(|| plain.clone());
    let text = format!(
        "Please authorize this client by visiting:\n{complete}\nand make sure that the code is: {code}"
    );
    Ok(Issued {
        device_code: Secret::new(device_code),
        url: complete,
        text,
        interval: Duration::from_secs(number("interval").unwrap_or(5).clamp(1, 60)),
        life: number("expires_in").unwrap_or(1800).clamp(1, 7200) * 1000,
    })
}

/// Waits until the user has confirmed the code. No tokens if `is_done` becomes true first.
fn wait(
    endpoint: token::Endpoint<'_>,
    issued: &Issued,
    resource: Option<&str>,
    is_done: impl Fn() -> bool,
) -> Step<Option<Tokens>> {
    let until = endpoint.env.now().saturating_add(issued.life);
    let mut interval = issued.interval;
    let mut form = vec![
        ("grant_type", GRANT),
        ("device_code", issued.device_code.expose()),
    ];
    form.extend(resource.map(|resource| ("resource", resource)));
    loop {
        endpoint.env.sleep(interval);
        if is_done() {
            return Ok(None);
        }
        if endpoint.env.now() >= until {
            return Err(Failure::new("the device code was not confirmed in time"));
        }
        match token::request(endpoint, &form, "signing in with the device code") {
            Ok(tokens) => return Ok(Some(tokens)),
            Err(Failure::Refused(code, _)) if code == "authorization_pending" => {}
            Err(Failure::Refused(code, _)) if code == "slow_down" => {
                interval += Duration::from_secs(5);
            }
            Err(Failure::Refused(code, _)) if code == "expired_token" => {
                return Err(Failure::new("the device code was not confirmed in time"));
            }
            Err(Failure::Passing(_)) => interval = (interval * 2).min(Duration::from_secs(60)),
            Err(failure) => return Err(failure),
        }
    }
}

/// `grant_type` of this grant.
const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

#[cfg(test)]
mod tests {
    use super::super::discovery::server_metadata::{ServerMetadata, read as read_server};
    use super::super::registration::Client;
    use super::*;
    use crate::oauth::scripted_environment::Scripted;

    fn server() -> ServerMetadata {
        let text = r#"{"issuer":"https://as.test","token_endpoint":"https://as.test/t","device_authorization_endpoint":"https://as.test/d"}"#;
        read_server(
            serde_json::from_str(text).unwrap(),
            &Url::parse("https://as.test").unwrap(),
            false,
        )
        .unwrap()
    }

    fn endpoint<'a>(
        env: &'a Scripted,
        server: &'a ServerMetadata,
        client: &'a Client,
    ) -> token::Endpoint<'a> {
        token::Endpoint {
            env,
            server,
            client,
            key: None,
            dpop: None,
            trusted: false,
        }
    }

    #[test]
    fn the_server_is_asked_until_the_code_is_confirmed_and_slower_when_it_says_so() {
        let (env, server, client) = (Scripted::new(), server(), Client::default());
        env.answer(200, r#"{"device_code":"d","user_code":"AB-CD","verification_uri":"https://as.test/go","interval":2}"#);
        for code in [
            "authorization_pending",
            "slow_down",
            "authorization_pending",
        ] {
            env.answer(400, &format!(r#"{{"error":"{code}"}}"#));
        }
        env.answer(200, r#"{"access_token":"t","token_type":"Bearer"}"#);
        let endpoint = endpoint(&env, &server, &client);
        let issued = begin(endpoint, None, None, false).unwrap();
        assert!(issued.text.contains("https://as.test/go") && issued.text.contains("AB-CD"));
        assert!(wait(endpoint, &issued, None, || false).is_ok());
        assert_eq!(env.slept(), [2, 2, 7, 7].map(Duration::from_secs));
        let done = wait(endpoint, &issued, None, || true).unwrap();
        assert!(done.is_none() && env.sent().len() == 5);
    }

    #[test]
    fn a_code_for_another_site_comes_with_a_warning_that_names_the_issuer() {
        let url = |text: &str| Url::parse(text).unwrap();
        assert_eq!(
            foreign(&url("https://as.test/go"), "https://as.test/t"),
            None
        );
        let warning = foreign(&url("https://evil.test/go"), "https://as.test").unwrap();
        assert!(warning.contains("https://as.test"), "{warning}");
        assert!(foreign(&url("https://as.test:8443/go"), "https://as.test").is_some());
    }

    #[test]
    fn a_code_that_nobody_confirms_ends_in_time() {
        let (env, server, client) = (Scripted::new(), server(), Client::default());
        env.answer(200, r#"{"device_code":"d","user_code":"A","verification_uri":"https://as.test/go","expires_in":12}"#);
        for _ in 0..3 {
            env.answer(400, r#"{"error":"authorization_pending"}"#);
        }
        let endpoint = endpoint(&env, &server, &client);
        let issued = begin(endpoint, None, None, false).unwrap();
        let failure = wait(endpoint, &issued, None, || false).unwrap_err();
        assert!(failure.error().what().contains("not confirmed in time"));
    }

    #[test]
    fn a_response_without_its_members_is_refused() {
        for bad in [
            "{}",
            r#"{"device_code":"d","user_code":"A"}"#,
            r#"{"device_code":"d","user_code":"A","verification_uri":"javascript:x"}"#,
        ] {
            let (env, server, client) = (Scripted::new(), server(), Client::default());
            env.answer(200, bad);
            assert!(
                begin(endpoint(&env, &server, &client), None, None, false).is_err(),
                "{bad}"
            );
        }
    }
}
