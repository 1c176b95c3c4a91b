use std::fs;
use std::path::Path;

use serde_json::json;

use super::test_dir::{TestDir, names_in};
use super::*;
use crate::config::LogConfig;

const HASH: &str = "94baabe3c3fadb285b26c035e4e86046";

fn hash() -> ServerHash {
    ServerHash::parse(HASH).unwrap()
}

/// A silent log whose lines are in `log` beside the store.
fn log_in(dir: &Path) -> Arc<Log> {
    let config = LogConfig {
        silent: true,
        file: Some(dir.join("log")),
        ..LogConfig::default()
    };
    Arc::new(Log::open(config).unwrap())
}

fn warnings(dir: &Path) -> Vec<String> {
    let text = fs::read_to_string(dir.join("log")).unwrap();
    text.lines()
        .filter(|line| line.contains("Warning:"))
        .map(str::to_owned)
        .collect()
}

fn open(dir: &TestDir) -> Store {
    Store::open(Some(dir.path().to_owned()), &hash(), log_in(dir.path()))
}

fn put(dir: &TestDir, name: &str, text: &str) {
    let v1 = dir.path().join(DIR);
    fs::create_dir_all(&v1).unwrap();
    fs::write(v1.join(format!("{HASH}_{name}")), text).unwrap();
}

fn text_of(dir: &TestDir, name: &str) -> String {
    fs::read_to_string(dir.path().join(DIR).join(format!("{HASH}_{name}"))).unwrap()
}

fn names(dir: &TestDir) -> Vec<String> {
    let names = names_in(&dir.path().join(DIR));
    names
        .iter()
        .map(|name| name.replace(&format!("{HASH}_"), ""))
        .collect()
}

fn tokens(access: &str) -> Tokens {
    Tokens {
        access_token: Secret::new(access),
        token_type: "Bearer".to_owned(),
        expires_in: Some(3600),
        ..Tokens::default()
    }
}

#[test]
fn tokens_written_by_npm_are_read() {
    let dir = TestDir::new();
    put(
        &dir,
        TOKENS,
        "{\n  \"access_token\": \"a\",\n  \"token_type\": \"bearer\",\n  \"expires_in\": \"60\",\n  \"other\": [1]\n}",
    );
    let tokens = open(&dir).tokens().unwrap();
    assert_eq!(tokens.access_token.expose(), "a");
    assert_eq!(tokens.expires_in, Some(60));
    assert!(warnings(dir.path()).is_empty());
}

#[test]
fn tokens_that_npm_wrote_without_an_issuer_belong_to_the_one_known_before() {
    let dir = TestDir::new();
    let issuer = || open(&dir).tokens().unwrap().issuer;
    let of_npm = r#"{"access_token":"a","token_type":"bearer"}"#;
    let discovery = |issuer: &str| {
        json!({"authorizationServerUrl": "https://url.test", "authorizationServerMetadata": {"issuer": issuer}}).to_string()
    };
    put(
        &dir,
        "discovery_state_a.json",
        &discovery("https://as.test"),
    );
    put(&dir, TOKENS, of_npm);
    assert_eq!(issuer().as_deref(), Some("https://as.test"));
    // A sign-in that was begun after the tokens were written.
    std::thread::sleep(Duration::from_millis(20));
    put(
        &dir,
        "discovery_state_b.json",
        &discovery("https://other.test"),
    );
    assert_eq!(issuer().as_deref(), Some("https://as.test"));
    open(&dir).save_tokens(
        Tokens {
            issuer: Some("https://new.test".to_owned()),
            ..tokens("b")
        },
        0,
    );
    put(&dir, TOKENS, of_npm);
    assert_eq!(issuer().as_deref(), Some("https://new.test"));
    open(&dir).forget().unwrap();
    put(&dir, TOKENS, of_npm);
    assert_eq!(issuer(), None);
}

#[test]
fn tokens_are_written_as_npm_writes_them_and_for_the_owner_only() {
    let dir = TestDir::new();
    let store = open(&dir);
    let saved = store.save_tokens(tokens("a"), 1_700_000_000_000);
    assert_eq!(saved.expires_at, Some(1_700_003_600_000));
    assert_eq!(
        text_of(&dir, TOKENS),
        "{\n  \"access_token\": \"a\",\n  \"expires_at\": 1700003600000,\n  \"expires_in\": 3600,\n  \"token_type\": \"Bearer\"\n}"
    );
    assert_eq!(store.tokens(), Some(saved));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let v1 = dir.path().join(DIR);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let file = v1.join(format!("{HASH}_{TOKENS}"));
        assert_eq!((mode(&v1), mode(&file)), (0o700, 0o600));
    }
}

#[test]
fn a_file_without_a_required_member_is_absent_with_one_warning_that_names_it() {
    let dir = TestDir::new();
    put(&dir, TOKENS, r#"{"access_token":"hush"}"#);
    put(&dir, CLIENT_INFO, r#"{"client_id":"c"}"#);
    let store = open(&dir);
    for _ in 0..2 {
        assert_eq!(store.tokens(), None);
        assert_eq!(store.client_info(), None);
    }
    let warnings = warnings(dir.path());
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("tokens.json\" has no usable \"token_type\""));
    assert!(warnings[1].contains("client_info.json\" has no usable \"redirect_uris\""));
    assert!(!warnings.concat().contains("hush"));
    assert_eq!(names(&dir), [CLIENT_INFO, TOKENS]);
}

#[test]
fn a_damaged_file_is_ignored_and_the_next_write_replaces_it() {
    for text in ["", "{\"access_token\":", "[]", "\u{0}\u{0}", "null"] {
        let dir = TestDir::new();
        put(&dir, TOKENS, text);
        let store = open(&dir);
        assert_eq!(store.tokens(), None);
        assert_eq!(names(&dir), [TOKENS], "{text:?}");
        let warnings = warnings(dir.path());
        assert!(warnings.len() == 1 && warnings[0].contains("damaged"));
        store.save_tokens(tokens("b"), 0);
        assert_eq!(store.tokens().unwrap().access_token.expose(), "b");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_absent_with_one_warning() {
    let dir = TestDir::new();
    fs::create_dir_all(dir.path().join(DIR).join(format!("{HASH}_{TOKENS}"))).unwrap();
    let store = open(&dir);
    assert_eq!(store.tokens(), None);
    assert_eq!(store.tokens(), None);
    let warnings = warnings(dir.path());
    assert!(warnings.len() == 1 && warnings[0].contains("cannot read"));
}

#[test]
fn without_a_directory_everything_is_kept_in_memory_with_one_warning() {
    let dir = TestDir::new();
    let store = Store::open(None, &hash(), log_in(dir.path()));
    assert_eq!(store.tokens(), None);
    store.save_tokens(tokens("a"), 0);
    let client = ClientInfo {
        client_id: "c".to_owned(),
        ..ClientInfo::default()
    };
    store.save_client_info(&client);
    assert_eq!(store.tokens().unwrap().access_token.expose(), "a");
    assert_eq!(store.client_info(), Some(client));
    let warnings = warnings(dir.path());
    assert!(
        warnings.len() == 1 && warnings[0].contains("in memory"),
        "{warnings:?}"
    );
    store.forget().unwrap();
    assert_eq!(store.tokens(), None);
}

#[test]
fn a_directory_that_cannot_be_made_is_like_none() {
    let dir = TestDir::new();
    fs::write(dir.path().join(DIR), "a file").unwrap();
    let store = open(&dir);
    store.save_tokens(tokens("a"), 0);
    assert_eq!(store.tokens().unwrap().access_token.expose(), "a");
    assert!(store.debug_file().is_none());
}

#[test]
fn a_failed_write_leaves_the_old_file_and_a_siblings_newer_one_counts() {
    let dir = TestDir::new();
    put(&dir, "server.json", "{}");
    let path = dir.path().join(DIR).join(format!("{HASH}_{TOKENS}"));
    fs::create_dir_all(path.join("in the way")).unwrap();
    let store = open(&dir);
    store.save_tokens(tokens("ours"), 0);
    assert_eq!(store.tokens().unwrap().access_token.expose(), "ours");
    fs::remove_dir_all(&path).unwrap();
    put(
        &dir,
        TOKENS,
        r#"{"access_token":"theirs","token_type":"b"}"#,
    );
    assert_eq!(store.tokens().unwrap().access_token.expose(), "theirs");
    store.save_tokens(tokens("newer"), 0);
    assert!(text_of(&dir, TOKENS).contains("newer"));
}

#[test]
fn a_sign_in_is_found_by_its_state_and_swept_after_ten_minutes() {
    let dir = TestDir::new();
    let store = open(&dir);
    let discovery = DiscoveryState {
        authorization_server_url: "https://as.test".to_owned(),
        ..DiscoveryState::default()
    };
    let verifier = Secret::new("v".repeat(43));
    store
        .save_sign_in("a-B_9", &verifier, Some(&discovery))
        .unwrap();
    assert_eq!(store.verifier("a-B_9"), Some(verifier));
    assert_eq!(store.discovery_state("a-B_9"), Some(discovery));
    assert_eq!(store.verifier("other"), None);

    let now = SIGN_IN_LIFE + now_millis();
    store.save_tokens(tokens("a"), now - 1_000);
    assert_eq!(names(&dir).len(), 3);
    store.save_tokens(tokens("a"), now + 60_000);
    assert_eq!(names(&dir), [TOKENS]);
    store.remove_sign_in("a-B_9");
}

#[test]
fn what_given_up_sign_ins_have_left_is_swept_when_another_begins() {
    let dir = TestDir::new();
    let store = open(&dir);
    let verifier = Secret::new("v".repeat(43));
    store.save_sign_in("given-up", &verifier, None).unwrap();
    let begin = |at| {
        store.save_pending_sign_in(&PendingSignIn {
            state: "s".to_owned(),
            created_at: at,
            ..PendingSignIn::default()
        });
    };
    begin(now_millis());
    assert_eq!(store.verifier("given-up"), Some(verifier));
    begin(now_millis() + SIGN_IN_LIFE + 60_000);
    assert_eq!(store.verifier("given-up"), None);
    assert!(names(&dir).iter().all(|name| !name.starts_with(VERIFIER)));
}

#[test]
fn a_verifier_that_a_power_cut_has_spoilt_is_none() {
    let dir = TestDir::new();
    let store = open(&dir);
    let (zeros, short) = ("\0".repeat(43), "v".repeat(42));
    for text in [
        "",
        zeros.as_str(),
        &short,
        &"v".repeat(129),
        &"ä".repeat(43),
    ] {
        put(&dir, "code_verifier_s.txt", text);
        assert_eq!(store.verifier("s"), None, "{text:?}");
    }
    put(
        &dir,
        "code_verifier_s.txt",
        &format!("{}\n", "v".repeat(43)),
    );
    assert_eq!(store.verifier("s"), Some(Secret::new("v".repeat(43))));
}

#[test]
fn a_state_cannot_lead_out_of_the_directory() {
    let dir = TestDir::new();
    let store = open(&dir);
    let long = "a".repeat(129);
    for state in ["", "..", "../x", "a/b", "a.b", "a b", "ä", long.as_str()] {
        assert_eq!(store.verifier(state), None);
        assert_eq!(store.discovery_state(state), None);
        let error = store.save_sign_in(state, &Secret::new("v"), None);
        assert_eq!(error.unwrap_err().kind(), Kind::Bug, "{state}");
        store.remove_sign_in(state);
    }
    assert!(!dir.path().join(DIR).exists());
}

#[test]
fn a_pending_sign_in_is_found_again_for_ten_minutes() {
    let dir = TestDir::new();
    let pending = PendingSignIn {
        state: "s".to_owned(),
        verifier: Secret::new("v"),
        created_at: 1_000,
        ..PendingSignIn::default()
    };
    open(&dir).save_pending_sign_in(&pending);
    assert_eq!(open(&dir).pending_sign_in(2_000), Some(pending));
    assert_eq!(open(&dir).pending_sign_in(1_001 + SIGN_IN_LIFE), None);
    assert_eq!(names(&dir), [""; 0]);
}

#[test]
fn notes_are_written_only_if_they_change() {
    let dir = TestDir::new();
    let store = open(&dir);
    store.update_notes(|_| {});
    assert!(!dir.path().join(DIR).exists());
    store.update_notes(|notes| notes.era = Some("modern".to_owned()));
    assert_eq!(store.notes().era.as_deref(), Some("modern"));
}

#[test]
fn the_list_shows_who_is_signed_in_and_where() {
    let dir = TestDir::new();
    let log = log_in(dir.path());
    assert_eq!(Store::list(dir.path(), &log).unwrap(), []);
    let mut config = Config::new(url::Url::parse("https://u:hush@a.test/mcp?key=hush").unwrap());
    config.store_dir = Some(dir.path().to_owned());
    Store::for_config(&config, Arc::clone(&log)).save_tokens(tokens("a"), 0);
    put(
        &dir,
        CLIENT_INFO,
        r#"{"client_id":"c","redirect_uris":[],"issuer":"https://as.test"}"#,
    );
    put(&dir, "debug.log", "");
    fs::write(dir.path().join(DIR).join("zz_tokens.json"), "{}").unwrap();
    let listed = Store::list(dir.path(), &log).unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0].url.as_deref(), Some("https://a.test/mcp"));
    assert!(listed[0].has_tokens && !listed[0].has_refresh_token);
    assert_eq!(listed[0].expires_at, Some(3_600_000));
    assert_eq!((listed[1].hash.as_str(), &listed[1].url), (HASH, &None));
    assert!(!listed[1].has_tokens && listed[1].has_client_info);
    assert_eq!(listed[1].issuer.as_deref(), Some("https://as.test"));
}

#[test]
fn tokens_without_any_record_of_their_issuer_get_it_from_the_registration_or_from_themselves() {
    let dir = TestDir::new();
    let issuer = || open(&dir).tokens().unwrap().issuer;
    let client = |more: &str| format!(r#"{{"client_id":"c","redirect_uris":[]{more}}}"#);
    let tokens = r#"{"access_token":"opaque","token_type":"b"}"#;
    put(&dir, CLIENT_INFO, &client(""));
    put(&dir, TOKENS, tokens);
    assert_eq!(issuer(), None);
    put(&dir, CLIENT_INFO, &client(r#","issuer":"https://as.test""#));
    assert_eq!(issuer().as_deref(), Some("https://as.test"));
    // A sign-in at another server was begun later, and not completed.
    let later = std::time::SystemTime::now() + Duration::from_secs(90);
    let registered = dir.path().join(DIR).join(format!("{HASH}_{CLIENT_INFO}"));
    let file = fs::File::options().write(true).open(&registered).unwrap();
    file.set_modified(later).unwrap();
    assert_eq!(issuer(), None);
    // The claims are {"iss":"https://jwt.test"}.
    let jwt = r#"{"access_token":"e30.eyJpc3MiOiJodHRwczovL2p3dC50ZXN0In0.c2ln","token_type":"b"}"#;
    put(&dir, TOKENS, jwt);
    assert_eq!(issuer().as_deref(), Some("https://jwt.test"));
}

#[test]
fn a_registration_of_unknown_origin_keeps_its_secret() {
    let of = |secret: Option<&str>, issuer: Option<&str>| ClientInfo {
        client_secret: secret.map(Secret::new),
        issuer: issuer.map(str::to_owned),
        ..ClientInfo::default()
    };
    let here = "https://as.test";
    assert!(of(None, None).is_usable_at(here));
    assert!(of(Some("s"), Some(here)).is_usable_at(here));
    assert!(!of(Some("s"), None).is_usable_at(here));
    assert!(!of(None, Some("https://evil.test")).is_usable_at(here));
}

#[test]
fn a_list_that_cannot_be_read_is_an_error() {
    let dir = TestDir::new();
    fs::write(dir.path().join(DIR), "a file").unwrap();
    let error = Store::list(dir.path(), &log_in(dir.path())).unwrap_err();
    assert_eq!(error.kind(), Kind::Store);
}

#[test]
fn forgetting_removes_all_that_is_secret() {
    let dir = TestDir::new();
    let store = open(&dir);
    store.save_tokens(tokens("a"), 0);
    store.save_sign_in("s", &Secret::new("v"), None).unwrap();
    store.update_notes(|notes| notes.era = Some("modern".to_owned()));
    drop(store.lease(|| true));
    put(&dir, "tokens.json.corrupt", "hush");
    put(&dir, "debug.log", "");
    store.forget().unwrap();
    assert_eq!(names(&dir), ["debug.log", "lock"]);
    fs::create_dir_all(dir.path().join(DIR).join(format!("{HASH}_{TOKENS}/x"))).unwrap();
    let error = store.forget().unwrap_err();
    assert!(error.what().contains("tokens.json"), "{error}");
}

#[test]
fn debug_output_of_a_store_holds_no_secret() {
    let dir = TestDir::new();
    let store = Store::open(None, &hash(), log_in(dir.path()));
    store.save_tokens(tokens("hush"), 0);
    assert!(!format!("{store:?}").contains("hush"));
}

fn now_millis() -> UnixMillis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_millis() as u64
}
