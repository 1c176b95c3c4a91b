//! A protected MCP server and its OAuth 2.1 authorization server, on loopback, on two origins.
//!
//! It keeps the standards by default and refuses a client that does not; [`Rules`] holds what a test may want otherwise, and
//! [`Site::on`] answers one path in any way. Both origins answer the same paths: where a client looks is what is tested.
//! What no honest client does (a code or refresh token used twice, a wrong verifier) fails the test when the site is dropped.

mod client_auth;
mod endpoints;
mod resource;
mod rules;

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use super::LIMIT;
use super::http::{Reply, Request, Server};
use super::store;
pub use rules::{Rules, server_metadata};

/// Name and value, decoded.
pub type Form = HashMap<String, String>;

/// Answers a request, or leaves it (false) to the ordinary way.
pub type Script = Arc<dyn Fn(&Request, &mut Reply<'_>) -> bool + Send + Sync>;

/// The two servers.
pub struct Site {
    pub server: Server,
    pub issuer: Server,
    state: Arc<State>,
}

/// A client that the authorization server knows.
#[derive(Clone, Default)]
pub struct Client {
    pub secret: Option<String>,
    /// Empty: any.
    pub redirect_uris: Vec<String>,
}

/// A code that was handed out.
#[derive(Clone)]
struct Code {
    client: String,
    redirect_uri: String,
    challenge: String,
    scope: String,
    resource: Option<String>,
    used: bool,
}

/// What a refresh token stands for.
#[derive(Clone)]
struct Grant {
    client: String,
    scope: String,
    used: bool,
}

/// A request, and which of the two origins it came to.
#[derive(Clone)]
pub struct Seen {
    pub at_issuer: bool,
    pub request: Request,
    /// The scope of the token it came with, if that was valid when it came.
    granted: Option<String>,
}

impl Seen {
    /// "GET /path", without the query.
    pub fn what(&self) -> String {
        format!("{} {}", self.request.method, path_of(&self.request))
    }
}

struct State {
    rules: Mutex<Rules>,
    scripts: Mutex<HashMap<String, Script>>,
    clients: Mutex<HashMap<String, Client>>,
    codes: Mutex<HashMap<String, Code>>,
    access: Mutex<HashMap<String, String>>,
    refresh: Mutex<HashMap<String, Grant>>,
    device_polls: AtomicU32,
    secrets: Mutex<Vec<String>>,
    violations: Mutex<Vec<String>>,
    seen: Mutex<Vec<Seen>>,
    more: Condvar,
    count: AtomicU32,
}

impl Site {
    /// Starts both; `change` alters the rules, which already hold the addresses.
    pub fn start(change: impl FnOnce(&mut Rules)) -> Site {
        let state = Arc::new(State {
            rules: Mutex::new(Rules::none()),
            scripts: Mutex::default(),
            clients: Mutex::default(),
            codes: Mutex::default(),
            access: Mutex::default(),
            refresh: Mutex::default(),
            device_polls: AtomicU32::new(0),
            secrets: Mutex::default(),
            violations: Mutex::default(),
            seen: Mutex::default(),
            more: Condvar::new(),
            count: AtomicU32::new(0),
        });
        let serve = |at_issuer| {
            let state = Arc::clone(&state);
            Server::start(move |request, reply| answer(&state, at_issuer, request, reply))
        };
        // A callback port below those that the system gives out, so that no other test has it by chance.
        let mut server = serve(false);
        while store::port(&server.url("/mcp")) > 32_000 {
            super::browser::get(&server.url("/warm-up"));
            server = serve(false);
        }
        let issuer = serve(true);
        // Not every test needs both, and Server insists on being called.
        for one in [&server, &issuer] {
            super::browser::get(&one.url("/warm-up"));
        }
        let mut rules = Rules::at(&server.url(""), &issuer.url(""));
        change(&mut rules);
        *state.rules.lock().unwrap() = rules;
        Site {
            server,
            issuer,
            state,
        }
    }

    /// The address of the MCP server.
    pub fn url(&self) -> String {
        self.server.url(&self.rules().path)
    }

    pub fn rules(&self) -> Rules {
        self.state.rules.lock().unwrap().clone()
    }

    /// Changes the rules while it runs.
    pub fn change(&self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.state.rules.lock().unwrap());
    }

    /// Scripts what requests for this path are answered with.
    pub fn on(
        &self,
        path: &str,
        script: impl Fn(&Request, &mut Reply<'_>) -> bool + Send + Sync + 'static,
    ) {
        let mut scripts = self.state.scripts.lock().unwrap();
        scripts.insert(path.to_owned(), Arc::new(script));
    }

    /// Answers this path in the ordinary way again.
    pub fn off(&self, path: &str) {
        self.state.scripts.lock().unwrap().remove(path);
    }

    /// Makes a client known that was registered by hand.
    pub fn add_client(&self, id: &str, secret: Option<&str>) {
        let client = Client {
            secret: secret.map(str::to_owned),
            redirect_uris: Vec::new(),
        };
        self.state
            .clients
            .lock()
            .unwrap()
            .insert(id.to_owned(), client);
        self.state.note_secrets(secret.iter().copied());
    }

    /// Forgets a client, as authorization servers do with registrations.
    pub fn forget_clients(&self) {
        self.state.clients.lock().unwrap().clear();
    }

    /// Makes an access token valid.
    pub fn add_access_token(&self, token: &str, scope: &str) {
        let mut access = self.state.access.lock().unwrap();
        access.insert(token.to_owned(), scope.to_owned());
        drop(access);
        self.state.note_secrets([token]);
    }

    /// Makes a refresh token valid.
    pub fn add_refresh_token(&self, token: &str, client: &str, scope: &str) {
        let grant = Grant {
            client: client.to_owned(),
            scope: scope.to_owned(),
            used: false,
        };
        let mut refresh = self.state.refresh.lock().unwrap();
        refresh.insert(token.to_owned(), grant);
        drop(refresh);
        self.state.note_secrets([token]);
    }

    /// No access token is valid any more.
    pub fn expire_access_tokens(&self) {
        self.state.access.lock().unwrap().clear();
    }

    /// No refresh token is valid any more.
    pub fn expire_refresh_tokens(&self) {
        self.state.refresh.lock().unwrap().clear();
    }

    /// Every code, token, verifier and secret that has come by.
    pub fn secrets(&self) -> Vec<String> {
        self.state.secrets.lock().unwrap().clone()
    }

    /// This misbehaviour was wanted.
    pub fn pardon(&self) -> Vec<String> {
        std::mem::take(&mut self.state.violations.lock().unwrap())
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// "GET /path" of all requests so far that do not concern the MCP endpoint.
    pub fn sign_in_log(&self) -> Vec<String> {
        let path = self.rules().path;
        self.seen()
            .iter()
            .filter(|seen| path_of(&seen.request) != path)
            .map(Seen::what)
            .collect()
    }

    /// The requests for the MCP endpoint (`/mcp`), or for any other path by its last part.
    pub fn requests(&self, path: &str) -> Vec<Request> {
        self.seen()
            .into_iter()
            .filter(|seen| is_at(&seen.request, path))
            .map(|seen| seen.request)
            .collect()
    }

    /// The forms that were posted to a path.
    pub fn forms(&self, path: &str) -> Vec<Form> {
        self.requests(path)
            .iter()
            .map(|request| form(&request.body))
            .collect()
    }

    /// The forms of the token requests with this grant.
    pub fn grants(&self, grant: &str) -> Vec<Form> {
        let mut forms = self.forms("/token");
        forms.retain(|form| form.get("grant_type").is_some_and(|known| known == grant));
        forms
    }

    /// Waits until this many sessions have begun and opened their streams, all of it with a token.
    pub fn settle(&self, sessions: usize) {
        let count = |what: &str| {
            let is_it = |one: &&Seen| one.granted.is_some() && one.request.what() == what;
            self.state.seen.lock().unwrap().iter().filter(is_it).count()
        };
        super::browser::wait_until("the session to begin", || {
            let began = count("POST notifications/initialized") >= sessions;
            (began && count("GET") >= sessions).then_some(())
        });
    }

    /// Waits until so many requests for the path came; gives the last of them.
    pub fn wait_for(&self, path: &str, count: usize) -> Request {
        let seen = self.state.seen.lock().unwrap();
        let hits = |seen: &[Seen]| -> Vec<Request> {
            let hit = |one: &&Seen| is_at(&one.request, path);
            let found = seen.iter().filter(hit);
            found.map(|one| one.request.clone()).collect()
        };
        let (seen, _) = self
            .state
            .more
            .wait_timeout_while(seen, LIMIT, |seen| hits(seen).len() < count)
            .unwrap();
        hits(&seen).get(count - 1).cloned().unwrap_or_else(|| {
            let log: Vec<String> = seen.iter().map(Seen::what).collect();
            panic!("{count} x {path} did not come, but {log:?}")
        })
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let violations = self.pardon();
            assert!(violations.is_empty(), "the client did {violations:?}");
        }
    }
}

impl State {
    /// A new secret that is recognised wherever it turns up.
    fn secret(&self, kind: &str) -> String {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let random = std::hash::RandomState::new().build_hasher().finish();
        let secret = format!("{kind}-{count}-{random:016x}");
        self.note_secrets([secret.as_str()]);
        secret
    }

    fn note_secrets<'a>(&self, secrets: impl IntoIterator<Item = &'a str>) {
        let mut known = self.secrets.lock().unwrap();
        known.extend(secrets.into_iter().map(str::to_owned));
    }

    fn violation(&self, text: impl Into<String>) {
        self.violations.lock().unwrap().push(text.into());
    }
}

fn answer(state: &State, at_issuer: bool, request: &Request, reply: &mut Reply<'_>) {
    let path = path_of(request);
    if path == "/warm-up" {
        return reply.status(204);
    }
    let bearer = request.header("x-token");
    let bearer = bearer.or_else(|| request.header("authorization"));
    let bearer = bearer.and_then(|value| {
        let bound = || value.strip_prefix("DPoP ");
        value.strip_prefix("Bearer ").or_else(bound)
    });
    let access = state.access.lock().unwrap();
    let granted = bearer.and_then(|token| access.get(token)).cloned();
    drop(access);
    // From here on a test may go on, and let tokens expire.
    state.seen.lock().unwrap().push(Seen {
        at_issuer,
        request: request.clone(),
        granted: granted.clone(),
    });
    state.more.notify_all();
    let script = state.scripts.lock().unwrap().get(&path).cloned();
    if script.is_some_and(|script| script(request, reply)) {
        return;
    }
    let rules = state.rules.lock().unwrap().clone();
    if path == rules.path {
        return resource::answer(&rules, granted, request, reply);
    }
    if path.starts_with("/.well-known/") || path.contains("/.well-known/") {
        let origin = if at_issuer {
            &rules.issuer_origin
        } else {
            &rules.server_origin
        };
        return match rules.documents.get(&format!("{origin}{path}")) {
            Some(document) => reply.json(document.to_string()),
            None => reply.full(404, "content-type: text/html\r\n", "<h1>Not found</h1>"),
        };
    }
    endpoints::answer(state, &rules, request, reply);
}

fn is_at(request: &Request, path: &str) -> bool {
    let known = path_of(request);
    known == path || path != "/mcp" && known.ends_with(path)
}

/// The path without its query.
pub fn path_of(request: &Request) -> String {
    request
        .path
        .split('?')
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// The members of a form or a query.
pub fn form(text: &str) -> Form {
    url::form_urlencoded::parse(text.as_bytes())
        .into_owned()
        .collect()
}

/// The query of an address.
pub fn query(url: &str) -> Form {
    form(url.split_once('?').map_or("", |(_, query)| query))
}
