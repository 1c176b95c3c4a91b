//! The records that are ours alone; npm mcp-remote ignores their files.
//!
//! - [`ServerNotes`] (`server.json`): what was learned about a server; a newer version's members are kept.
//! - [`PendingSignIn`] (`pending_sign_in.json`): a host that restarts this process in the middle of a sign-in finds the same
//!   state and verifier, so that the browser tab that is already open still completes.
//!
//! Why files of their own: npm drops members it does not know when it writes `tokens.json` anew.

use std::fmt;

use serde_json::json;

use super::records::{Object, UnixMillis, number, put, secret, text};
use crate::secret::Secret;

/// A sign-in that took longer than ten minutes was given up (npm's ABANDONED_FLOW_AGE_MS).
pub const SIGN_IN_LIFE: UnixMillis = 600_000;

/// What was learned about a server. Everything is optional and safe to lose.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ServerNotes {
    /// The server's address without user information and query: what `--list` shows.
    pub url: Option<String>,
    /// The profile it belongs to (`--profile`).
    pub profile: Option<String>,
    /// The transport that worked.
    pub transport: Option<String>,
    /// The era the server speaks.
    pub era: Option<String>,
    /// The issuer that refuses the resource parameter.
    pub resource_refused_by: Option<String>,
    /// The URL of the resource metadata that the last challenge gave.
    pub resource_metadata_url: Option<String>,
    /// When a browser was opened that has not come back.
    pub window_opened_at: Option<UnixMillis>,
    /// When the last sign-in failed after the user had come back from the browser.
    pub sign_in_failed_at: Option<UnixMillis>,
    /// The client given by hand and the issuer it first signed in at.
    pub static_client: Option<StaticClient>,
    /// Where `--accept-issuer` has accepted which issuer.
    pub accepted_issuer: Option<AcceptedIssuer>,
    /// The wider scope a step-up led to.
    pub scope: Option<String>,
    /// The last step-up that ended: a process that another one follows must not begin it again.
    pub stepped_up: Option<SteppedUp>,
    /// When the last sign-ins ended, the newest last.
    pub sign_ins: Vec<UnixMillis>,
    /// The issuer of the tokens, for when npm writes them without it.
    pub issuer: Option<String>,
    /// All other members, as they are in the file.
    pub more: Object,
}

impl ServerNotes {
    /// From JSON; whatever is not understood is kept.
    pub fn from_object(mut object: Object) -> ServerNotes {
        let notes = ServerNotes {
            url: text(&object, "url"),
            profile: text(&object, "profile"),
            transport: text(&object, "transport"),
            era: text(&object, "era"),
            resource_refused_by: text(&object, "resource_refused_by"),
            resource_metadata_url: text(&object, "resource_metadata_url"),
            window_opened_at: number(&object, "window_opened_at"),
            sign_in_failed_at: number(&object, "sign_in_failed_at"),
            static_client: StaticClient::from_notes(&object),
            accepted_issuer: AcceptedIssuer::from_notes(&object),
            scope: text(&object, "scope"),
            stepped_up: SteppedUp::from_notes(&object),
            sign_ins: times(&object, "sign_ins"),
            issuer: text(&object, "issuer"),
            more: Object::new(),
        };
        for known in notes.to_object().keys() {
            object.remove(known);
        }
        ServerNotes {
            more: object,
            ..notes
        }
    }

    /// The JSON of the file.
    pub fn to_object(&self) -> Object {
        let mut object = self.more.clone();
        put(&mut object, "url", self.url.clone());
        put(&mut object, "profile", self.profile.clone());
        put(&mut object, "transport", self.transport.clone());
        put(&mut object, "era", self.era.clone());
        put(
            &mut object,
            "resource_refused_by",
            self.resource_refused_by.clone(),
        );
        put(
            &mut object,
            "resource_metadata_url",
            self.resource_metadata_url.clone(),
        );
        put(&mut object, "window_opened_at", self.window_opened_at);
        put(&mut object, "sign_in_failed_at", self.sign_in_failed_at);
        let client = self.static_client.as_ref();
        let client = client.map(|it| json!({"client_id": it.client_id, "issuer": it.issuer}));
        put(&mut object, "static_client", client);
        let accepted = self.accepted_issuer.as_ref();
        let accepted = accepted.map(|it| json!({"place": it.place, "issuer": it.issuer}));
        put(&mut object, "accepted_issuer", accepted);
        put(&mut object, "scope", self.scope.clone());
        let stepped_up = self.stepped_up.as_ref();
        let stepped_up = stepped_up.map(|it| json!({"scope": it.scope, "at": it.at}));
        put(&mut object, "stepped_up", stepped_up);
        let sign_ins = (!self.sign_ins.is_empty()).then(|| self.sign_ins.clone());
        put(&mut object, "sign_ins", sign_ins);
        put(&mut object, "issuer", self.issuer.clone());
        object
    }
}

/// An issuer and the one place that may claim it, although it is looked for under another name there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedIssuer {
    /// The URL that the resource metadata names.
    pub place: String,
    /// The issuer that the metadata found there names.
    pub issuer: String,
}

impl AcceptedIssuer {
    fn from_notes(notes: &Object) -> Option<AcceptedIssuer> {
        let object = notes.get("accepted_issuer")?.as_object()?;
        Some(AcceptedIssuer {
            place: text(object, "place")?,
            issuer: text(object, "issuer")?,
        })
    }
}

/// A client given by hand, and the authorization server it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticClient {
    /// The client id.
    pub client_id: String,
    /// The issuer it first signed in at; no other issuer is sent its secret.
    pub issuer: String,
}

impl StaticClient {
    fn from_notes(notes: &Object) -> Option<StaticClient> {
        let object = notes.get("static_client")?.as_object()?;
        Some(StaticClient {
            client_id: text(object, "client_id")?,
            issuer: text(object, "issuer")?,
        })
    }
}

/// A step-up that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SteppedUp {
    /// The scope that it requested.
    pub scope: String,
    /// When it ended.
    pub at: UnixMillis,
}

impl SteppedUp {
    fn from_notes(notes: &Object) -> Option<SteppedUp> {
        let object = notes.get("stepped_up")?.as_object()?;
        Some(SteppedUp {
            scope: text(object, "scope")?,
            at: number(object, "at")?,
        })
    }
}

fn times(notes: &Object, name: &str) -> Vec<UnixMillis> {
    let times = notes.get(name).and_then(|times| times.as_array());
    let times = times.into_iter().flatten();
    times.filter_map(serde_json::Value::as_u64).collect()
}

/// A sign-in that a person may be in the middle of: enough to finish it after this process was restarted.
#[derive(Clone, PartialEq, Default)]
pub struct PendingSignIn {
    /// The state the callback must carry.
    pub state: String,
    /// The PKCE code verifier.
    pub verifier: Secret,
    /// The address the browser was sent to.
    pub authorization_url: String,
    /// The issuer the callback must come from.
    pub issuer: Option<String>,
    /// When it began.
    pub created_at: UnixMillis,
    /// Whatever else the flow wants to find again.
    pub more: Object,
}

impl PendingSignIn {
    /// From JSON, or the name of the member that is missing.
    ///
    /// # Errors
    /// If a member is missing without which the sign-in cannot be finished.
    pub fn from_object(mut object: Object) -> Result<PendingSignIn, &'static str> {
        let pending = PendingSignIn {
            state: text(&object, "state").ok_or("state")?,
            verifier: secret(&object, "verifier").ok_or("verifier")?,
            authorization_url: text(&object, "authorization_url").ok_or("authorization_url")?,
            issuer: text(&object, "issuer"),
            created_at: number(&object, "created_at").ok_or("created_at")?,
            more: Object::new(),
        };
        for known in pending.to_object().keys() {
            object.remove(known);
        }
        Ok(PendingSignIn {
            more: object,
            ..pending
        })
    }

    /// The JSON of the file.
    pub fn to_object(&self) -> Object {
        let mut object = self.more.clone();
        put(&mut object, "state", Some(self.state.clone()));
        put(
            &mut object,
            "verifier",
            Some(self.verifier.expose().to_owned()),
        );
        put(
            &mut object,
            "authorization_url",
            Some(self.authorization_url.clone()),
        );
        put(&mut object, "issuer", self.issuer.clone());
        put(&mut object, "created_at", Some(self.created_at));
        object
    }

    /// Whether it is too old to be finished, or from a future that the clock has left since.
    pub fn is_over(&self, now: UnixMillis) -> bool {
        now.abs_diff(self.created_at) > SIGN_IN_LIFE
    }
}

impl fmt::Debug for PendingSignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingSignIn")
            .field("issuer", &self.issuer)
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn object(text: &str) -> Object {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn notes_keep_what_a_newer_version_wrote() {
        let text = r#"{"era":"modern","later":[1],"resource_refused_by":"https://as.test","scope":"a b","sign_ins":[1,2],"stepped_up":{"at":7,"scope":"a"},"transport":"sse","url":"https://a.test/"}"#;
        let notes = ServerNotes::from_object(object(text));
        assert_eq!(
            notes.resource_refused_by.as_deref(),
            Some("https://as.test")
        );
        assert_eq!(Value::Object(notes.to_object()).to_string(), text);
        assert_eq!(
            ServerNotes::from_object(Object::new()),
            ServerNotes::default()
        );
    }

    #[test]
    fn a_pending_sign_in_survives_being_written_and_read_and_shows_no_secret() {
        let pending = PendingSignIn {
            state: "hush-state".to_owned(),
            verifier: Secret::new("hush-verifier"),
            created_at: 7,
            more: object(r#"{"client_secret":"hush"}"#),
            ..PendingSignIn::default()
        };
        assert_eq!(
            PendingSignIn::from_object(pending.to_object()).unwrap(),
            pending
        );
        assert!(!format!("{pending:?}").contains("hush"));
        for name in ["state", "verifier", "authorization_url", "created_at"] {
            let mut broken = pending.to_object();
            broken.remove(name);
            assert_eq!(PendingSignIn::from_object(broken).unwrap_err(), name);
        }
    }

    #[test]
    fn a_sign_in_is_over_after_ten_minutes_and_when_the_clock_jumped() {
        let begun = PendingSignIn {
            created_at: 10_000_000,
            ..PendingSignIn::default()
        };
        assert!(!begun.is_over(10_600_000));
        assert!(begun.is_over(10_600_001));
        assert!(begun.is_over(1_000_000));
    }
}
