//! `kill -9` before each change of the disk: the store stays valid, no lease blocks, and the next start continues.
//!
//! The test program starts itself again for each of them, and has the copy end there ([`crash`]).

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use url::Url;

use super::browser::Opened;
use super::challenge::Challenge;
use super::dpop::Credential;
use super::environment::{Environment, Fetch, Fetched, Unanswered};
use super::{Authorizer, Recovered};
use crate::config::{Config, LogConfig};
use crate::error::Result;
use crate::log::{Level, Log};
use crate::secret::Secret;
use crate::store::test_dir::{TestDir, names_in};
use crate::store::{ClientInfo, LeaseOutcome, Store, Tokens, UnixMillis, crash};

const SERVER: &str = "https://killed.test/mcp";
/// What the copy of this program is to do, where, and after how many changes it ends.
const TASK: &str = "MCP_REMOTE_TEST_TASK";
const PLACE: &str = "MCP_REMOTE_TEST_PLACE";
const CHANGES: &str = "MCP_REMOTE_TEST_CHANGES";

/// A server with its authorization server, and a user who agrees to everything.
struct Willing {
    now: Mutex<UnixMillis>,
}

impl Willing {
    fn new() -> Willing {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Willing {
            now: Mutex::new(u64::try_from(since.as_millis()).unwrap()),
        }
    }
}

impl Environment for Willing {
    fn fetch(&self, fetch: &Fetch) -> std::result::Result<Fetched, Unanswered> {
        let (status, body) = match fetch.url.path() {
            "/.well-known/oauth-protected-resource/mcp" => (
                200,
                r#"{"resource":"https://killed.test/mcp","authorization_servers":["https://as.test"]}"#,
            ),
            "/.well-known/oauth-authorization-server" => (
                200,
                r#"{"issuer":"https://as.test","authorization_endpoint":"https://as.test/authorize","token_endpoint":"https://as.test/token","registration_endpoint":"https://as.test/register","revocation_endpoint":"https://as.test/revoke","code_challenge_methods_supported":["S256"]}"#,
            ),
            "/register" => (201, r#"{"client_id":"new"}"#),
            "/token" => (
                200,
                r#"{"access_token":"t1","refresh_token":"r1","token_type":"Bearer","expires_in":3600,"scope":"a b"}"#,
            ),
            _ => (200, ""),
        };
        Ok(Fetched {
            status,
            retry_after: None,
            dpop_nonce: None,
            body: Secret::new(body),
        })
    }

    fn now(&self) -> UnixMillis {
        *self.now.lock().unwrap()
    }

    fn sleep(&self, time: Duration) {
        *self.now.lock().unwrap() += u64::try_from(time.as_millis()).unwrap();
    }

    fn random(&self, buffer: &mut [u8]) -> Result<()> {
        buffer.fill(7);
        Ok(())
    }

    fn open_browser(&self, url: &Url) -> Opened {
        let value = |name: &str| {
            let mut pairs = url.query_pairs().filter(|(key, _)| key == name);
            pairs.next().unwrap().1.into_owned()
        };
        let redirect = Url::parse(&value("redirect_uri")).unwrap();
        let (port, state) = (redirect.port().unwrap(), value("state"));
        std::thread::spawn(move || {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let line = format!("GET {}?code=c&state={state}", redirect.path());
            let request = format!("{line} HTTP/1.1\r\nhost: localhost:{port}\r\n\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            stream.read_to_end(&mut Vec::new()).ok();
        });
        Opened::Started
    }

    fn say(&self, _: Level, _: &str) {}

    fn show_url(&self, _: &Url, _: &str) {}

    fn signed_in(&self) {}

    fn found(&self, _: &'static str, _: &str) {}

    fn is_by_hand(&self) -> bool {
        false
    }

    fn pasted(&self) -> Option<String> {
        None
    }
}

/// A start of the program: its store, which it logs beside, and its sign-in.
fn start(place: &Path) -> (Arc<Store>, Authorizer) {
    let mut config = Config::new(Url::parse(SERVER).unwrap());
    config.store_dir = Some(place.to_owned());
    let to_file = LogConfig {
        silent: true,
        file: Some(place.join("log")),
        ..LogConfig::default()
    };
    let log = Arc::new(Log::open(to_file).unwrap());
    let store = Arc::new(Store::for_config(&config, log));
    let env = Box::new(Willing::new());
    let authorizer = Authorizer::new(env, &config, Arc::clone(&store), None).unwrap();
    (store, authorizer)
}

fn old_tokens() -> Tokens {
    Tokens {
        access_token: Secret::new("t0"),
        token_type: "Bearer".to_owned(),
        refresh_token: Some(Secret::new("r0")),
        scope: Some("a".to_owned()),
        expires_in: Some(3600),
        issuer: Some("https://as.test".to_owned()),
        ..Tokens::default()
    }
}

fn client() -> ClientInfo {
    ClientInfo {
        client_id: "old".to_owned(),
        redirect_uris: vec!["http://localhost:1/elsewhere".to_owned()],
        ..ClientInfo::default()
    }
}

fn refresh(authorizer: &Authorizer, used: &Tokens) {
    let done = authorizer.recover(
        Some(&Credential::bearer(used.access_token.clone())),
        &Challenge::default(),
    );
    assert!(matches!(done, Ok(Recovered::Again)), "{}", done.is_err());
}

fn more_scope() -> Challenge {
    Challenge::of(["Bearer error=\"insufficient_scope\", scope=\"b\""].into_iter())
}

/// What is done while the process is killed.
fn perform(task: &str, place: &Path) {
    let (store, authorizer) = start(place);
    match task {
        "refresh" => refresh(&authorizer, &store.tokens().unwrap()),
        "sign in" => authorizer.sign_in(&more_scope()).unwrap(),
        "sign out" => {
            authorizer.revoke().unwrap();
            store.forget().unwrap();
        }
        other => panic!("{other}"),
    }
}

#[test]
#[ignore = "the copy of this program that is killed"]
fn killed() {
    let word = |name| std::env::var(name).unwrap();
    crash::end_after(word(CHANGES).parse().unwrap());
    perform(&word(TASK), Path::new(&word(PLACE)));
}

/// Kills the task before each of its changes, looks at what is left each time, and gives how often that was.
fn kill_at_every_change(task: &str, prepare: impl Fn(&Path), left: impl Fn(&Path)) -> usize {
    for changes in 0.. {
        let dir = TestDir::new();
        prepare(dir.path());
        let name = format!("{}::killed", module_path!().split_once("::").unwrap().1);
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &name, "--ignored", "--nocapture"])
            .env(TASK, task)
            .env(PLACE, dir.path())
            .env(CHANGES, changes.to_string())
            .output()
            .unwrap();
        if output.status.success() {
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(said.contains("1 passed"), "{said}");
            return changes;
        }
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panicked"), "{said}");
        let log = std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
        assert!(!log.contains("Warning"), "before change {changes}: {log}");
        eprintln!("{task}: killed before change {changes}");
        left(dir.path());
    }
    unreachable!("it ends by itself sooner or later")
}

fn pair(tokens: &Tokens) -> (&str, Option<&str>) {
    let refresh = tokens.refresh_token.as_ref().map(Secret::expose);
    (tokens.access_token.expose(), refresh)
}

/// The next start, much later, can refresh without a wait, and sweeps what the killed one has left.
fn goes_on(place: &Path) {
    let (store, authorizer) = start(place);
    let tokens = store.tokens().unwrap();
    let mut looks = 0;
    let lease = store.lease(|| {
        looks += 1;
        true
    });
    assert!(matches!(lease, LeaseOutcome::Held(_)) && looks == 1);
    drop(lease);
    authorizer.env.sleep(Duration::from_secs(700));
    refresh(&authorizer, &tokens);
    let names = names_in(&place.join("mcp-remote-v1"));
    let names: Vec<&str> = names.iter().map(|name| &name[33..]).collect();
    let all = ["client_info.json", "lock", "server.json", "tokens.json"];
    assert_eq!(names, all);
    let log = std::fs::read_to_string(place.join("log")).unwrap();
    assert!(!log.contains("Warning"), "{log}");
}

fn signed_in(place: &Path) {
    let (store, authorizer) = start(place);
    store.save_client_info(&client());
    store.save_tokens(old_tokens(), authorizer.env.now());
}

#[test]
fn a_refresh_killed_at_any_change_leaves_the_old_or_the_new_tokens_and_no_lease() {
    let killed = kill_at_every_change("refresh", signed_in, |place| {
        let (store, _) = start(place);
        let tokens = store.tokens().unwrap();
        let pairs = [("t0", Some("r0")), ("t1", Some("r1"))];
        assert!(pairs.contains(&pair(&tokens)));
        assert_eq!(store.client_info().unwrap().client_id, "old");
        goes_on(place);
    });
    assert!(killed > 10, "{killed}");
}

#[test]
fn a_sign_in_killed_at_any_change_leaves_the_old_or_the_new_tokens_and_can_be_made_again() {
    let killed = kill_at_every_change("sign in", signed_in, |place| {
        let (store, authorizer) = start(place);
        let tokens = store.tokens().unwrap();
        let pairs = [("t0", Some("r0")), ("t1", Some("r1"))];
        assert!(pairs.contains(&pair(&tokens)));
        if pair(&tokens) == pairs[0] {
            authorizer.env.sleep(Duration::from_secs(3600));
            authorizer.sign_in(&more_scope()).unwrap();
            assert_eq!(pair(&store.tokens().unwrap()), pairs[1]);
        }
        goes_on(place);
    });
    assert!(killed > 20, "{killed}");
}

#[test]
fn a_first_sign_in_killed_after_its_code_was_redeemed_is_not_lost_to_tidying_up() {
    let prepare = |place: &Path| drop(start(place));
    let had_begun = Cell::new(false);
    kill_at_every_change("sign in", prepare, |place| {
        let (store, _) = start(place);
        let begun = store.pending_sign_in(Willing::new().now()).is_some();
        // Once there is a sign-in to come back to, there is one until there are its tokens.
        assert!(begun || !had_begun.get() || store.tokens().is_some());
        had_begun.set(begun || had_begun.get());
    });
    assert!(had_begun.get());
}

#[test]
fn a_sign_out_killed_at_any_change_leaves_the_old_tokens_or_none() {
    let killed = kill_at_every_change("sign out", signed_in, |place| {
        let (store, _) = start(place);
        if let Some(tokens) = store.tokens() {
            assert_eq!(pair(&tokens), ("t0", Some("r0")));
        }
        store.forget().unwrap();
        assert_eq!(store.tokens(), None);
    });
    assert!(killed > 3, "{killed}");
}
