//! Enterprise-managed authorization: the company's identity provider decides about access to the server.
//!
//! 1. The user signs in at the provider once (authorization code with PKCE, or a device code). This sign-in is stored under the
//!    provider: all servers that name it share it. Its own [`Authorizer`] keeps and refreshes it.
//! 2. The id token is exchanged there for an ID-JAG: a JWT for the server's authorization server, if the company's policy allows.
//! 3. The ID-JAG is redeemed at the server's authorization server (`jwt_bearer.rs`). The user is never sent there.
//!
//! - Only the provider gets the id token, only an ID-JAG leaves it: another token in its place is not passed on.
//! - The user named the provider: it may be on any network, and need not list S256, which many providers leave out.
//! - A refusal by policy is an error that says who decided, and opens no browser.
//!
//! Flags: `--enterprise-idp`, `--enterprise-client-info`, `--enterprise-id-token`.
//! Spec: MCP extension "Enterprise-Managed Authorization" (SEP-990) 3 to 5; draft-ietf-oauth-identity-assertion-authz-grant;
//! RFC 8693 2; RFC 7523 2.1; OpenID Connect Core 1.0 3.1, 11; OpenID Connect Discovery 1.0 4.

use std::sync::Arc;

use super::challenge::Challenge;
use super::discovery::Discovered;
use super::environment::Environment;
use super::error::{Failure, Step, of_response};
use super::jwt_bearer::{self, read_jwt, redeem};
use super::refresh::RefreshState;
use super::registration::{self, Client, Wanted};
use super::{Authorizer, Recovered, lock, token};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::log::clean;
use crate::secret::Secret;
use crate::store::{Store, Tokens, id_token};
use crate::url::{from_network, shown};

impl Authorizer {
    /// The authorizer for the sign-in at the identity provider, if one is configured.
    pub(super) fn provider(
        env: &Arc<dyn Environment>,
        config: &Config,
        store: &Store,
    ) -> Result<Option<Box<Authorizer>>> {
        let Some(issuer) = &config.oauth.enterprise_idp else {
            return Ok(None);
        };
        let mut config = config.clone();
        config.server = from_network(issuer, false).map_err(|why| {
            Error::new(
                Kind::Usage,
                format!("--enterprise-idp cannot be used: {why}"),
            )
        })?;
        config.server_text.clone_from(issuer);
        config.headers.clear();
        config.headers_typed.clear();
        let oauth = &mut config.oauth;
        oauth.static_client_info = oauth.enterprise_client_info.take();
        oauth.enterprise_idp = None;
        oauth.scope = Some("openid".to_owned());
        oauth.disable_resource = true;
        oauth.accept_missing_s256 = true;
        oauth.use_id_token = false;
        oauth.static_client_metadata = None;
        oauth.client_metadata_url = None;
        oauth.client_assertion_key = None;
        oauth.accept_issuer = None;
        // All servers share the sign-in, whatever else they are started with.
        let authorize_params = std::mem::take(&mut oauth.authorize_params);
        let store = Arc::new(store.beside(&config));
        config.oauth.authorize_params = authorize_params;
        if !matches!(registration::static_client(&config.oauth), Ok(Some(_))) {
            let what = "--enterprise-client-info has no \"client_id\"";
            return Err(Error::new(Kind::Usage, what));
        }
        Ok(Some(Box::new(Authorizer {
            env: Arc::clone(env),
            config,
            store,
            key: None,
            cache: Default::default(),
            refresh: Default::default(),
            history: Default::default(),
            under_way: Default::default(),
            provider: None,
            is_provider: true,
            dpop: Default::default(),
        })))
    }

    /// Signs in with the provider's consent; the user signs in there first if that is necessary.
    pub(super) fn with_provider(&self, provider: &Authorizer, challenge: &Challenge) -> Step<()> {
        let used = self.store.tokens().unwrap_or_default();
        if let Recovered::Again = self.refresh(&used, Some(challenge))? {
            return Ok(());
        }
        let signed_in = provider.sign_in(&Challenge::default());
        signed_in.map_err(|error| Failure::from(with_own_flag(&error)))?;
        match self.refresh(&used, Some(challenge))? {
            Recovered::Again => Ok(()),
            Recovered::NeedsSignIn => Err(Failure::new(format!(
                "the identity provider \"{}\" returned no valid id token, or the MCP server refuses each new token",
                provider.name()
            ))),
        }
    }

    /// Gets tokens with an ID-JAG; `renew_lease` is called before each request.
    pub(super) fn use_id_jag(
        &self,
        provider: &Authorizer,
        state: &mut RefreshState,
        used: &Tokens,
        challenge: Option<&Challenge>,
        renew_lease: impl Fn(),
    ) -> Step<Recovered> {
        let id_token = match &self.config.oauth.enterprise_id_token {
            Some(file) => Some(read_jwt(file, "--enterprise-id-token")?),
            None => provider.valid_id_token()?,
        };
        let Some(id_token) = id_token else {
            return Ok(Recovered::NeedsSignIn);
        };
        let discovered = self.discovered(state, challenge)?;
        let scope = self.scope_of_program(&discovered, used, challenge);
        let (oauth, store) = (&self.config.oauth, &self.store);
        let wanted = Wanted {
            redirect_uri: None,
            grant: jwt_bearer::GRANT,
            scope: scope.as_deref(),
        };
        let client = registration::obtain(&*self.env, oauth, store, &discovered, wanted)?;
        let before = store.tokens();
        renew_lease();
        let resource = self.resource(&discovered);
        let granted = provider.exchange(&Exchange {
            id_token: &id_token,
            audience: discovered.issuer(),
            resource: resource.as_deref().unwrap_or(self.config.server.as_str()),
            scope: scope.as_deref(),
        })?;
        let scope = granted.scope.or(scope);
        renew_lease();
        let redeemed = self.with_resource(&discovered, |resource| {
            let endpoint = self.endpoint(&discovered, &client);
            let doing = "redeeming the grant of the identity provider (ID-JAG)";
            redeem(endpoint, &granted.id_jag, scope.as_deref(), resource, doing)
        });
        let tokens = redeemed.map_err(|failure| {
            if registration::needs_replacement(store, &client, &failure, None) {
                store.remove_client_info();
            }
            decided_by_server(failure, &discovered, provider.name())
        })?;
        let tokens = Tokens {
            // The provider decides again each time.
            refresh_token: None,
            // RFC 6749 5.1: not stated means as requested.
            scope: tokens.scope.or(scope),
            ..tokens
        };
        self.keep_for_program(state, before.as_ref(), tokens, discovered, &client)
    }

    /// The issuer of this provider, as it was typed.
    fn name(&self) -> &str {
        &self.config.server_text
    }

    /// The id token of the sign-in at this provider, refreshed if it ends soon; `None` if the user must sign in there.
    fn valid_id_token(&self) -> Step<Option<Secret>> {
        let Some(tokens) = self.fresh_tokens() else {
            return Ok(None);
        };
        let valid = |tokens: &Tokens| {
            let id_token = tokens.id_token.clone()?;
            let end = id_token::expiry(&id_token);
            let is_over = end.is_some_and(|end| end <= self.env.now().saturating_add(MARGIN));
            (!is_over).then_some(id_token)
        };
        let client = registration::static_client(&self.config.oauth)?.unwrap_or_default();
        let bound = self.store.notes().static_client;
        let is_ours = bound.is_none_or(|bound| bound.client_id == client.id);
        let mut found = valid(&tokens).filter(|_| is_ours);
        if found.is_none()
            && is_ours
            && tokens.refresh_token.is_some()
            && let Recovered::Again = self.refresh(&tokens, None)?
        {
            found = self.fresh_tokens().as_ref().and_then(valid);
        }
        if found.is_none() {
            let tokens = self.fresh_tokens();
            lock(&self.cache).refused = tokens.map(|tokens| tokens.access_token);
        }
        Ok(found)
    }

    /// Exchanges the id token for an ID-JAG at this provider.
    fn exchange(&self, exchange: &Exchange<'_>) -> Step<Granted> {
        let known = lock(&self.refresh).discovered.clone();
        let discovered = match known {
            Some(discovered) => discovered,
            None => self.discover(None)?,
        };
        lock(&self.refresh).discovered = Some(discovered.clone());
        let client = registration::static_client(&self.config.oauth)?.unwrap_or_default();
        let endpoint = self.endpoint(&discovered, &client);
        let mut form = vec![
            ("grant_type", TOKEN_EXCHANGE),
            ("requested_token_type", ID_JAG),
            ("audience", exchange.audience),
            ("resource", exchange.resource),
            ("subject_token", exchange.id_token.expose()),
            ("subject_token_type", ID_TOKEN),
        ];
        form.extend(exchange.scope.map(|scope| ("scope", scope)));
        let doing = format!("access through the identity provider \"{}\"", self.name());
        let url = endpoint.server.token()?.clone();
        let (request, response) = token::post(endpoint, url, &form, &doing)?;
        let object = response.object().unwrap_or_default();
        if !(200..300).contains(&response.status) || object.contains_key("error") {
            let failure = of_response(&doing, &request, &response);
            return Err(self.decided_by_provider(failure, exchange, &client));
        }
        let text = |name: &str| object.get(name).and_then(|value| value.as_str());
        let id_jag = text("access_token").filter(|token| !token.is_empty());
        match (id_jag, text("issued_token_type")) {
            (Some(id_jag), Some(ID_JAG)) => Ok(Granted {
                id_jag: Secret::new(id_jag),
                scope: text("scope").map(str::to_owned),
            }),
            // Any other token is for the provider's own resources, and no other server may see it.
            _ => Err(Failure::new(format!(
                "the identity provider \"{}\" returned no ID-JAG ({}): it does not support enterprise-managed authorization, or not for this client",
                self.name(),
                shown(&request.url)
            ))),
        }
    }

    /// The provider has refused the exchange.
    fn decided_by_provider(
        &self,
        failure: Failure,
        exchange: &Exchange<'_>,
        client: &Client,
    ) -> Failure {
        let name = self.name();
        let hint = match failure.code() {
            None => return failure,
            Some("invalid_client") => {
                "check the client that was given with --enterprise-client-info".to_owned()
            }
            Some("invalid_grant") if self.config.oauth.enterprise_id_token.is_none() => format!(
                "the company's policy there decides; ask its administrator to allow client \"{}\" the server \"{}\", or sign in there again after: mcp-remote-client {name} --logout",
                clean(&client.id, 100),
                clean(exchange.resource, 200)
            ),
            Some(_) => format!(
                "the company's policy there decides; ask its administrator to allow client \"{}\" the server \"{}\"",
                clean(&client.id, 100),
                clean(exchange.resource, 200)
            ),
        };
        failure.map(|error| error.with_hint(hint))
    }
}

/// What is exchanged, and for whom.
struct Exchange<'a> {
    id_token: &'a Secret,
    audience: &'a str,
    resource: &'a str,
    scope: Option<&'a str>,
}

/// What the provider has granted.
struct Granted {
    id_jag: Secret,
    /// If it is not the requested one.
    scope: Option<String>,
}

/// The scope of the sign-in at the provider: `offline_access` unless the provider does not know it.
pub(super) fn scope_at_provider(discovered: &Discovered) -> String {
    let listed = discovered.server.scopes.as_deref();
    let is_known = listed.is_none_or(|all| all.iter().any(|one| one == "offline_access"));
    if is_known {
        "openid offline_access".to_owned()
    } else {
        "openid".to_owned()
    }
}

/// The server's authorization server has refused the ID-JAG.
fn decided_by_server(failure: Failure, discovered: &Discovered, provider: &str) -> Failure {
    if failure.code().is_none() {
        return failure;
    }
    let hint = format!(
        "the server's authorization server \"{}\" decides this: it must trust \"{provider}\", and know the client that the grant is for (--static-oauth-client-info)",
        clean(discovered.issuer(), 200)
    );
    failure.map(|error| error.with_hint(hint))
}

/// The sign-in at the provider reads its client from another flag.
fn with_own_flag(error: &Error) -> Error {
    let own = |text: &str| text.replace("--static-oauth-client-info", "--enterprise-client-info");
    let what = format!("at the identity provider: {}", own(error.what()));
    let changed = Error::new(error.kind(), what);
    match error.hint() {
        Some(hint) => changed.with_hint(own(hint)),
        None => changed,
    }
}

/// How long before its end an id token is refreshed, in milliseconds.
const MARGIN: u64 = 30_000;
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
