//! The credential files: npm mcp-remote's, kept from others, and no trouble when they are in trouble.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use serde_json::json;

use crate::support::TempDir;
use crate::support::authorization_server::Site;
use crate::support::browser::{Browser, visit};
use crate::support::process::{Process, Start};
use crate::support::sign_in::{says, sign_in, signed_in, start, works};
use crate::support::store::{self, dir, files, path, read, write};

/// The smallest files that npm mcp-remote 0.15.1 leaves behind: the registration names its issuer, the tokens do not.
fn npm_store(site: &Site, tokens: &str) -> Arc<TempDir> {
    let home = Arc::new(TempDir::new());
    let url = site.url();
    write(&home, &url, "tokens.json", tokens);
    let redirect = format!("http://localhost:{}/oauth/callback", store::port(&url));
    let issuer = site.issuer.url("");
    let client = json!({"client_id": "npm-client", "redirect_uris": [redirect], "issuer": issuer});
    write(&home, &url, "client_info.json", &client.to_string());
    site.add_client("npm-client", None);
    home
}

/// Connects in this home; no browser may be needed.
fn quietly(site: &Site, home: &Arc<TempDir>) -> Process {
    let browser = Browser::new();
    let mut process = start(site, &[]).browser(&browser).home(home).go();
    process.handshake();
    works(&mut process);
    process.finish();
    assert_eq!(browser.urls(), [] as [String; 0]);
    process
}

#[test]
fn tokens_that_npm_wrote_are_used_without_a_browser() {
    let site = Site::start(|_| {});
    site.add_access_token("npm-token", "");
    let home = npm_store(
        &site,
        r#"{"access_token":"npm-token","token_type":"bearer"}"#,
    );
    let list = || {
        let mut client = Start::client(&["--list"]).home(&home).go();
        client.recv_raw()
    };
    // npm does not note the address; the first use does.
    assert!(list().contains("stored by npm"), "{}", list());
    quietly(&site, &home);
    assert!(list().starts_with(&site.url()), "{}", list());
    assert_eq!(site.sign_in_log(), [] as [String; 0]);
}

#[test]
fn expired_tokens_that_npm_wrote_are_refreshed_without_a_browser() {
    let site = Site::start(|_| {});
    site.add_refresh_token("npm-refresh", "npm-client", "");
    let home = npm_store(
        &site,
        r#"{"access_token":"npm-token","token_type":"Bearer","expires_in":"3600","expires_at":1700000000000,
            "refresh_token":"npm-refresh","requested_scope":"openid email profile","strange":[1]}"#,
    );
    quietly(&site, &home);
    let form = site.grants("refresh_token").remove(0);
    assert_eq!(form["refresh_token"], "npm-refresh");
    assert_eq!(form["client_id"], "npm-client");
    assert_eq!(site.requests("/register").len(), 0);
    let tokens = read(&home, &site.url(), "tokens.json");
    assert!(
        tokens["access_token"]
            .as_str()
            .unwrap()
            .starts_with("access-token-")
    );
    // And the same once more, from what was written.
    site.expire_access_tokens();
    quietly(&site, &home);
}

#[test]
fn tokens_and_secrets_of_unknown_origin_are_sent_to_no_authorization_server() {
    let site = Site::start(|_| {});
    site.add_refresh_token("npm-refresh", "npm-client", "");
    let home = npm_store(
        &site,
        r#"{"access_token":"npm-token","token_type":"Bearer","expires_at":1700000000000,"refresh_token":"npm-refresh"}"#,
    );
    let url = site.url();
    let mut client = read(&home, &url, "client_info.json");
    client.as_object_mut().unwrap().remove("issuer");
    client["client_secret"] = json!("npm-secret");
    write(&home, &url, "client_info.json", &client.to_string());
    let browser = Browser::new();
    let mut process = start(&site, &[]).browser(&browser).home(&home).go();
    sign_in(&mut process, &browser);
    process.finish();
    for form in site.forms("/token") {
        assert_eq!(form["grant_type"], "authorization_code");
        assert!(!form.contains_key("client_secret"), "{form:?}");
    }
    assert_eq!(site.requests("/register").len(), 1);
}

#[test]
fn what_is_written_has_the_shape_npm_reads() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = signed_in(&site, &browser, &[]);
    process.finish();
    let known = [
        "access_token",
        "token_type",
        "id_token",
        "expires_in",
        "scope",
        "refresh_token",
        "expires_at",
        "requested_scope",
        "issuer",
    ];
    let url = site.url();
    let tokens = read(&process.home, &url, "tokens.json");
    for name in tokens.as_object().unwrap().keys() {
        assert!(known.contains(&name.as_str()), "{name}");
    }
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["issuer"], site.issuer.url(""));
    assert!(tokens["expires_at"].as_u64().unwrap() > 1_700_000_000_000);
    assert!(tokens["refresh_token"].is_string());
    let client = read(&process.home, &url, "client_info.json");
    assert!(client["client_id"].is_string());
    assert_eq!(client["issuer"], site.issuer.url(""));
    let redirect = format!("http://localhost:{}/oauth/callback", store::port(&url));
    let uris = client["redirect_uris"].as_array().unwrap();
    assert_eq!(uris.len(), 1);
    // The derived port, unless somebody else has it just now.
    if !uris.contains(&json!(redirect)) {
        assert!(std::net::TcpListener::bind(("127.0.0.1", store::port(&url))).is_err());
    }
    // npm discards tokens whose scope differs from what it would ask for itself.
    let requested = tokens
        .get("requested_scope")
        .and_then(|scope| scope.as_str());
    let of_npm = [None, Some("openid email profile")];
    assert!(of_npm.contains(&requested), "{requested:?}");
}

#[test]
fn files_and_directory_are_their_owners_alone() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = start(&site, &["--debug"]).browser(&browser).go();
    process.send(crate::support::mcp::INITIALIZE);
    browser.wait_for(1);
    let check = |home: &TempDir| {
        let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir(home)), 0o700);
        let all = files(&dir(home));
        assert!(!all.is_empty());
        for file in all {
            // One that is being replaced may be gone.
            if file.exists() {
                assert_eq!(mode(&file), 0o600, "{}", file.display());
            }
        }
    };
    // The sign-in that is under way, and what stays of it.
    check(&process.home);
    browser.sign_in(1);
    process.recv();
    process.finish();
    check(&process.home);
    let names: Vec<String> = files(&dir(&process.home))
        .iter()
        .map(|file| file.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert!(
        names.iter().all(|name| !name.ends_with(".tmp")),
        "{names:?}"
    );
}

#[test]
fn damaged_files_are_ignored_with_a_warning() {
    for damage in ["", "{", "null", "\u{0}\u{0}\u{0}", "{\"access_token\":7}"] {
        let site = Site::start(|_| {});
        let url = site.url();
        let home = Arc::new(TempDir::new());
        write(&home, &url, "tokens.json", damage);
        write(&home, &url, "client_info.json", damage);
        let browser = Browser::new();
        let mut process = start(&site, &[]).browser(&browser).home(&home).go();
        sign_in(&mut process, &browser);
        process.finish();
        says(&process.stderr(), &["tokens.json"]);
        assert!(read(&home, &url, "tokens.json")["access_token"].is_string());
    }
}

type Damage = fn(&[u8]) -> Vec<u8>;

/// What a power cut leaves of files on a disk that does not keep the order of writes. All kinds of files at once: those of
/// a sign-in that is done, and those of one that is under way.
#[test]
fn files_of_every_kind_that_are_empty_cut_or_zeroed_do_not_stop_a_sign_in() {
    fn emptied(_: &[u8]) -> Vec<u8> {
        Vec::new()
    }
    fn cut(bytes: &[u8]) -> Vec<u8> {
        bytes[..bytes.len() / 2].to_vec()
    }
    fn zeroed(bytes: &[u8]) -> Vec<u8> {
        vec![0; bytes.len().max(64)]
    }
    for damage in [emptied, cut, zeroed] as [Damage; 3] {
        let site = Site::start(|_| {});
        let (browser, url) = (Browser::new(), site.url());
        let mut first = signed_in(&site, &browser, &[]);
        site.expire_access_tokens();
        works(&mut first);
        first.finish();
        let home = Arc::clone(&first.home);
        let tokens = std::fs::read(path(&home, &url, "tokens.json")).unwrap();
        std::fs::remove_file(path(&home, &url, "tokens.json")).unwrap();
        let mut second = start(&site, &[]).browser(&browser).home(&home).go();
        second.send(crate::support::mcp::INITIALIZE);
        let tab = browser.wait_for(2);
        second.kill();
        let tokens = String::from_utf8(tokens).unwrap();
        write(&home, &url, "tokens.json", &tokens);
        let lease = json!({"pid": std::process::id(), "nonce": "n", "at": 1});
        write(&home, &url, "refresh_in_progress.json", &lease.to_string());
        let mut kinds = vec![
            "client_info.json",
            "code_verifier_",
            "discovery_state_",
            "lock",
            "pending_sign_in.json",
            "refresh_in_progress.json",
            "server.json",
            "tokens.json",
            "used",
        ];
        for file in files(&dir(&home)) {
            let name = file.file_name().unwrap().to_str().unwrap();
            let name = name.split_once('_').unwrap().1;
            kinds.retain(|kind| !name.starts_with(kind));
            let bytes = std::fs::read(&file).unwrap();
            std::fs::write(&file, damage(&bytes)).unwrap();
        }
        assert_eq!(kinds, [""; 0], "there was no such file");
        let mut third = start(&site, &[]).browser(&browser).home(&home).go();
        third.send(crate::support::mcp::INITIALIZE);
        browser.wait_for(3);
        // The tab of before leads nowhere any more, and does no harm.
        assert_ne!(visit(&tab).status, 200);
        assert_eq!(browser.sign_in(3).status, 200);
        assert!(third.recv()["result"].is_object());
        works(&mut third);
        site.expire_access_tokens();
        works(&mut third);
        third.finish();
        let said = third.stderr();
        for name in [
            "client_info.json",
            "pending_sign_in.json",
            "server.json",
            "tokens.json",
        ] {
            let about: Vec<&str> = said.lines().filter(|line| line.contains(name)).collect();
            assert!(
                about.len() == 1 && about[0].contains("damaged"),
                "{name}: {said}"
            );
        }
        quietly(&site, &home);
        assert_eq!(browser.urls().len(), 3);
    }
}

#[test]
fn without_a_writable_home_the_session_works_and_says_so() {
    let site = Site::start(|_| {});
    let blocked = TempDir::new();
    let file = blocked.0.join("file");
    std::fs::write(&file, "no directory").unwrap();
    let base = file.join("below");
    let browser = Browser::new();
    let mut process = start(&site, &[])
        .browser(&browser)
        .env("MCP_REMOTE_CONFIG_DIR", base.to_str().unwrap())
        .go();
    sign_in(&mut process, &browser);
    site.settle(1);
    // The tokens are kept in memory: a refresh works.
    site.expire_access_tokens();
    works(&mut process);
    process.finish();
    says(&process.stderr(), &[base.to_str().unwrap()]);
    assert_eq!(browser.urls().len(), 1);
    assert_eq!(site.grants("refresh_token").len(), 1);
}

#[test]
fn the_directory_of_the_environment_is_used() {
    let site = Site::start(|_| {});
    let base = TempDir::new();
    let browser = Browser::new();
    let mut process = start(&site, &[])
        .browser(&browser)
        .env("MCP_REMOTE_CONFIG_DIR", base.0.to_str().unwrap())
        .go();
    sign_in(&mut process, &browser);
    process.finish();
    assert_eq!(files(&dir(&process.home)), [] as [std::path::PathBuf; 0]);
    let name = format!("mcp-remote-v1/{}_tokens.json", store::hash(&site.url()));
    assert!(base.0.join(name).exists());
}

#[test]
fn a_link_in_the_place_of_a_file_leads_nowhere() {
    let site = Site::start(|_| {});
    let home = Arc::new(TempDir::new());
    // Were it read, it would do.
    let target = home.0.join("precious");
    let text = r#"{"access_token":"precious","token_type":"Bearer"}"#;
    std::fs::write(&target, text).unwrap();
    site.add_access_token("precious", "");
    write(&home, &site.url(), "tokens.json", "{}");
    for name in ["tokens.json", "client_info.json", "server.json"] {
        let link = path(&home, &site.url(), name);
        std::fs::remove_file(&link).ok();
        std::os::unix::fs::symlink(&target, &link).unwrap();
    }
    let browser = Browser::new();
    let mut process = start(&site, &[]).browser(&browser).home(&home).go();
    sign_in(&mut process, &browser);
    process.finish();
    assert_eq!(std::fs::read_to_string(&target).unwrap(), text);
}

#[test]
fn a_live_refresh_of_npm_is_waited_for_and_its_tokens_used() {
    let site = Site::start(|_| {});
    let home = npm_store(
        &site,
        r#"{"access_token":"old","token_type":"Bearer","expires_in":3600,"expires_at":1700000000000,"refresh_token":"taken"}"#,
    );
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis();
    // This process lives, and is at it.
    let lease = json!({"pid": std::process::id(), "nonce": "n", "at": now as u64});
    let url = site.url();
    write(&home, &url, "refresh_in_progress.json", &lease.to_string());
    let browser = Browser::new();
    let mut process = start(&site, &[]).browser(&browser).home(&home).go();
    process.send(crate::support::mcp::INITIALIZE);
    let early = process.try_recv(std::time::Duration::from_millis(500));
    assert!(early.is_none(), "{early:?}");
    site.add_access_token("from-npm", "");
    let fresh = json!({"access_token": "from-npm", "token_type": "Bearer", "expires_in": 3600,
        "expires_at": now as u64 + 3_600_000, "refresh_token": "next"});
    write(&home, &url, "tokens.json", &fresh.to_string());
    std::fs::remove_file(path(&home, &url, "refresh_in_progress.json")).unwrap();
    let answer = process.recv();
    assert!(answer["result"].is_object(), "{answer}");
    process.finish();
    assert_eq!(site.requests("/token").len(), 0);
    assert_eq!(browser.urls(), [] as [String; 0]);
}
