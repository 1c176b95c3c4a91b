//! `mcp-remote-client`: lists the stored sign-ins and ends them.
//!
//! - `--list` shows every server with something in the store; `--status URL` shows one.
//! - `--logout` revokes the tokens if the authorization server supports that, removes them in any case, and reports what
//!   could not be revoked.
//!
//! Flags: `--list`, `--status`, `--logout`, `--all`.
//! Spec: RFC 7009.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use url::Url;

use crate::blocking::Blocking;
use crate::config::Config;
use crate::error::Result;
use crate::log::{Level, Log, clean};
use crate::store::{Listed, Store};
use crate::transport::{self, SignedOut};

/// Prints every server with something in the store.
///
/// # Errors
/// If the directory cannot be read.
pub fn list(config: &Config, json: bool, log: &Arc<Log>) -> Result<ExitCode> {
    let all = stored(config, log)?;
    if json {
        let all: Vec<Value> = all.iter().map(document).collect();
        print(&format!("{:#}", Value::Array(all)));
        return Ok(ExitCode::SUCCESS);
    }
    if all.is_empty() {
        print("no sign-ins are stored");
    }
    for one in &all {
        print(&format!("{}  {}{}", name(one), describe(one), used(one)));
    }
    Ok(ExitCode::SUCCESS)
}

/// Exit code of `--status`: not signed in.
const NOT_SIGNED_IN: u8 = 3;

/// Prints whether the server can be used without a new sign-in. The exit code is 0 if so, and 3 if not.
pub fn status(config: &Config, json: bool, log: Arc<Log>) -> ExitCode {
    let listed = Store::for_config(config, log).listed();
    if json {
        print(&format!("{:#}", document(&listed)));
    } else {
        let name = name_of(config);
        print(&format!("{name}  {}{}", describe(&listed), used(&listed)));
    }
    if is_usable(&listed) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NOT_SIGNED_IN)
    }
}

/// Signs out of one server.
pub fn logout(config: &Config, json: bool, log: &Arc<Log>) -> ExitCode {
    let store = Arc::new(Store::for_config(config, Arc::clone(log)));
    let ended = sign_out(config, store, &name_of(config), log);
    if json {
        let server = crate::url::shown(&config.server);
        let profile = config.profile.as_deref();
        print(&format!("{:#}", ended.document(Some(&server), profile)));
    }
    ended.report(&name_of(config), json, log)
}

/// Signs out of every server.
///
/// # Errors
/// If the directory cannot be read.
pub fn logout_all(config: &Config, json: bool, log: &Arc<Log>) -> Result<ExitCode> {
    let mut worst = ExitCode::SUCCESS;
    let mut documents = Vec::new();
    let all = stored(config, log)?;
    if all.is_empty() && !json {
        print("no sign-ins are stored");
    }
    for one in &all {
        let store = Store::open(config.store_dir.clone(), &one.hash, Arc::clone(log));
        let store = Arc::new(store);
        let ended = match one.url.as_deref().map(Url::parse) {
            Some(Ok(server)) => {
                let config = Config {
                    server,
                    ..config.clone()
                };
                sign_out(&config, store, &name(one), log)
            }
            // npm does not note the address: nobody can be asked to revoke.
            Some(Err(_)) | None => {
                let _lease = store.lease_for_logout();
                Ended::new(&store, "removed", false)
            }
        };
        documents.push(ended.document(one.url.as_deref(), one.profile.as_deref()));
        let code = ended.report(&name(one), json, log);
        if code != ExitCode::SUCCESS {
            worst = code;
        }
    }
    if json {
        print(&format!("{:#}", Value::Array(documents)));
    }
    Ok(worst)
}

fn sign_out(config: &Config, store: Arc<Store>, name: &str, log: &Arc<Log>) -> Ended {
    // An instance that is refreshing would store its tokens after the old ones were revoked and removed.
    let _lease = store.lease_for_logout();
    let (what, revoked) = match transport::revoke(config, Arc::clone(&store), Arc::clone(log)) {
        Ok(SignedOut::WasNot) => ("there were no tokens", false),
        Ok(SignedOut::Revoked) => ("revoked and removed", true),
        Ok(SignedOut::Removed) => (
            "removed (the authorization server does not support revocation; the tokens stay valid until they expire)",
            false,
        ),
        Err(error) => {
            log.say(
                Level::Warn,
                &format!("{name}: the tokens could not be revoked: {error}"),
            );
            ("removed, but not revoked", false)
        }
    };
    Ended::new(&store, what, revoked)
}

/// How a sign-in was ended.
struct Ended {
    what: &'static str,
    revoked: bool,
    removed: Result<()>,
}

impl Ended {
    /// Removes what is stored.
    fn new(store: &Store, what: &'static str, revoked: bool) -> Ended {
        let removed = store.forget();
        Ended {
            what,
            revoked,
            removed,
        }
    }

    fn report(&self, name: &str, json: bool, log: &Arc<Log>) -> ExitCode {
        match &self.removed {
            Ok(()) if json => ExitCode::SUCCESS,
            Ok(()) => {
                print(&format!("{name}  {}", self.what));
                ExitCode::SUCCESS
            }
            Err(error) => {
                log.say(Level::Error, &format!("{name}: {error}"));
                ExitCode::FAILURE
            }
        }
    }

    fn document(&self, server: Option<&str>, profile: Option<&str>) -> Value {
        json!({
            "server": server,
            "profile": profile,
            "removed": self.removed.is_ok(),
            "revoked": self.revoked,
            "result": self.what,
        })
    }
}

fn stored(config: &Config, log: &Arc<Log>) -> Result<Vec<Listed>> {
    match &config.store_dir {
        Some(base) => Store::list(base, log),
        None => Ok(Vec::new()),
    }
}

fn name(listed: &Listed) -> String {
    match &listed.url {
        Some(url) => with_profile(url, listed.profile.as_deref()),
        None => format!("(stored by npm mcp-remote as {})", listed.hash),
    }
}

fn name_of(config: &Config) -> String {
    let url = crate::url::shown(&config.server);
    with_profile(&url, config.profile.as_deref())
}

fn with_profile(url: &str, profile: Option<&str>) -> String {
    match profile {
        Some(profile) => format!("{url} --profile {}", clean(profile, 64)),
        None => url.to_owned(),
    }
}

fn is_usable(listed: &Listed) -> bool {
    listed.has_tokens
        && (listed.has_refresh_token || listed.expires_at.is_none_or(|at| at > now_millis()))
}

/// The state of a sign-in as text.
pub(super) fn describe(listed: &Listed) -> String {
    if !listed.has_tokens {
        let registered = if listed.has_client_info {
            "registered, "
        } else {
            ""
        };
        return format!("{registered}not signed in");
    }
    let account = listed.account.as_deref();
    let account = account.map_or(String::new(), |account| format!(" as {account}"));
    let life = match listed.expires_at {
        None => format!("signed in{account}, the token has no known expiry"),
        Some(at) => match at.checked_sub(now_millis()) {
            Some(left) => format!(
                "signed in{account}, the token expires in {}",
                duration(left / 1000)
            ),
            None if listed.has_refresh_token => {
                format!("signed in{account}, the token has expired")
            }
            None => {
                return format!(
                    "signed out{account}: the token has expired and cannot be refreshed"
                );
            }
        },
    };
    if listed.has_refresh_token {
        format!("{life} and is refreshed automatically")
    } else {
        format!("{life} and cannot be refreshed")
    }
}

/// When it was last used. If the clock was set back: just now.
fn used(listed: &Listed) -> String {
    let ago = listed
        .last_use
        .map(|at| now_millis().saturating_sub(at) / 60_000);
    match ago {
        None => String::new(),
        Some(0) => "; used just now".to_owned(),
        Some(minutes) => format!("; last used {} ago", duration(minutes.saturating_mul(60))),
    }
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn document(listed: &Listed) -> Value {
    json!({
        "server": listed.url,
        "profile": listed.profile,
        "account": listed.account,
        "hash": listed.hash.to_string(),
        "signedIn": is_usable(listed),
        "refreshable": listed.has_refresh_token,
        "expiresAt": listed.expires_at,
        "lastUsed": listed.last_use,
        "scope": listed.scope,
        "issuer": listed.issuer,
    })
}

pub(super) fn now_millis() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A closed stdout (`| head`) is not an error.
fn print(line: &str) {
    writeln!(Blocking(std::io::stdout()), "{line}").ok();
}
