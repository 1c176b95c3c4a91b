//! mcp-remote-client: signing in from a terminal, and looking after what is stored.

use std::sync::Arc;

use crate::support::authorization_server::Site;
use crate::support::browser::{Browser, altered, answer_of};
use crate::support::process::{Process, Start};
use crate::support::sign_in::{says, signed_in, start};
use crate::support::store::{dir, files, path, read, write};
use crate::support::{Gate, TempDir};

/// Runs it to its end: whether it went well, and all it said.
fn run(home: &Arc<TempDir>, args: &[&str]) -> (bool, String) {
    let mut client = Start::client(args).home(home).go();
    client.close_stdin();
    let status = client.wait_exit();
    let mut text = client.stderr();
    text.extend(client.rest_raw().iter().map(|line| format!("{line}\n")));
    (status.success(), text)
}

/// Whether the bridge needs no browser in this home.
fn is_signed_in(site: &Site, home: &Arc<TempDir>) -> bool {
    let browser = Browser::new();
    let mut process = start(site, &["--auth-timeout", "1"])
        .browser(&browser)
        .home(home)
        .go();
    process.send(crate::support::mcp::INITIALIZE);
    let answer = process.recv();
    process.kill();
    assert_eq!(answer["result"].is_object(), browser.urls().is_empty());
    browser.urls().is_empty()
}

#[test]
fn signing_in_by_hand_serves_the_bridge_later() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let url = site.url();
    let mut client = Start::client(&[&url]).browser(&browser).go();
    assert_eq!(browser.sign_in(1).status, 200);
    assert!(client.wait_exit().success());
    let said = client.rest_raw().join("\n");
    says(&said, &["tools", "a tool"]);
    assert!(is_signed_in(&site, &client.home));
}

/// The address it shows, on either stream.
fn shown_url(client: &mut Process) -> String {
    let is_it = |word: &&str| word.contains("response_type=code");
    crate::support::browser::wait_until("the address to sign in at", || {
        let mut text = client.stderr();
        text.push_str(&client.so_far().join("\n"));
        text.split_whitespace().find(is_it).map(str::to_owned)
    })
}

#[test]
fn without_a_browser_the_address_it_was_sent_to_is_pasted() {
    let site = Site::start(|_| {});
    let url = site.url();
    let mut client = Start::client(&[&url, "--no-browser"])
        .env("BROWSER", "none")
        .go();
    let address = shown_url(&mut client);
    let answer = answer_of(&address);
    // Checked like a callback: this one is somebody else's.
    client.send("what?");
    client.send(&altered(&answer, "state", Some("another")));
    client.send(&format!("  {answer} "));
    assert!(client.wait_exit().success(), "{}", client.stderr());
    assert_eq!(site.requests("/token").len(), 1);
    assert!(is_signed_in(&site, &client.home));
}

#[test]
fn the_address_to_open_comes_after_the_steps_before_it() {
    let site = Site::start(|_| {});
    let home = TempDir::new();
    let both = home.0.join("terminal");
    let terminal = std::fs::File::create(&both).unwrap();
    let mut client = std::process::Command::new(env!("CARGO_BIN_EXE_mcp-remote-client"))
        .args([&site.url(), "--no-browser"])
        .env_clear()
        .env("HOME", &home.0)
        .env("BROWSER", "none")
        .stdin(std::process::Stdio::piped())
        .stdout(terminal.try_clone().unwrap())
        .stderr(terminal)
        .spawn()
        .unwrap();
    let text = crate::support::browser::wait_until("the request to paste", || {
        let text = std::fs::read_to_string(&both).unwrap();
        text.contains("paste").then_some(text)
    });
    client.kill().unwrap();
    client.wait().unwrap();
    let at = |what: &str| {
        text.find(what)
            .unwrap_or_else(|| panic!("no {what}: {text}"))
    };
    assert!(at("registration  ") < at("response_type=code"), "{text}");
    assert!(at("response_type=code") < at("paste"), "{text}");
}

#[test]
fn a_pasted_refusal_ends_the_sign_in_with_its_reason() {
    let site = Site::start(|_| {});
    site.change(|rules| rules.denies = true);
    let url = site.url();
    let mut client = Start::client(&[&url, "--no-browser"])
        .env("BROWSER", "none")
        .go();
    let address = shown_url(&mut client);
    client.send(&answer_of(&address));
    assert_eq!(client.wait_exit().code(), Some(1));
    let lines = client.rest_raw();
    let (_, line) = lines.last().unwrap().split_once(" ms  ").unwrap();
    assert_eq!(
        line,
        "the sign-in was refused: access_denied (the owner said no) (to sign in: try again; --debug shows each request)"
    );
}

#[test]
fn what_is_stored_can_be_listed_and_shown_without_its_secrets() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = signed_in(&site, &browser, &[]);
    process.finish();
    let url = site.url();
    for args in [
        &["--list"][..],
        &["--list", "--json"],
        &[&url, "--status"],
        &[&url, "--status", "--json"],
    ] {
        let (ok, said) = run(&process.home, args);
        assert!(ok, "{args:?}: {said}");
        says(&said, &[&url]);
        for secret in site.secrets() {
            assert!(!said.contains(&secret), "{said}");
        }
    }
    let before = site.seen().len();
    run(&process.home, &["--list"]);
    assert_eq!(site.seen().len(), before);
}

/// What `--list --json` says about the only server.
fn listed(home: &Arc<TempDir>) -> serde_json::Value {
    let (ok, said) = run(home, &["--list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert!(ok && list.as_array().is_some_and(|list| list.len() == 1));
    list[0].clone()
}

#[test]
fn the_account_of_the_id_token_is_shown_and_does_nothing_to_the_terminal() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = signed_in(&site, &browser, &[]);
    process.finish();
    let (home, url) = (&process.home, site.url());
    assert_eq!(listed(home)["account"], serde_json::Value::Null);
    let claims = r#"{"sub":"7","email":"ada@a.test\u001b]0;x\u0007\n\u202e"}"#;
    let mut tokens = read(home, &url, "tokens.json");
    tokens["id_token"] = format!("e30.{}.s", URL_SAFE_NO_PAD.encode(claims)).into();
    write(home, &url, "tokens.json", &tokens.to_string());
    assert_eq!(listed(home)["account"], "ada@a.test ]0;x");
    for args in [&["--list"][..], &[&url, "--status"], &[&url]] {
        let (ok, said) = run(home, args);
        assert!(ok, "{said}");
        let line = said.lines().find(|line| line.contains("signed in"));
        let line = line.unwrap_or_else(|| panic!("{said}"));
        assert!(line.contains("signed in as ada@a.test ]0;x, the token"));
        assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'));
    }
}

#[test]
fn the_last_use_is_when_the_server_last_accepted_the_sign_in() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = signed_in(&site, &browser, &[]);
    process.finish();
    let (home, url) = (&process.home, site.url());
    let just_now = |text: &str| text.contains("; used just now");
    assert!(just_now(&run(home, &["--list"]).1));
    // As if all that was three hours ago.
    let then = std::time::SystemTime::now() - std::time::Duration::from_secs(3 * 3600 + 5);
    for name in ["tokens.json", "used"] {
        let file = std::fs::File::options()
            .write(true)
            .open(path(home, &url, name));
        file.unwrap().set_modified(then).unwrap();
    }
    let (_, said) = run(home, &["--list"]);
    assert!(said.contains("; last used 3 h ago"), "{said}");
    let before = listed(home)["lastUsed"].as_u64().unwrap();
    // Looking at it is no use.
    let (_, said) = run(home, &[&url, "--status"]);
    assert!(said.contains("; last used 3 h ago"), "{said}");
    assert!(is_signed_in(&site, home));
    assert!(just_now(&run(home, &[&url, "--status"]).1));
    assert!(listed(home)["lastUsed"].as_u64().unwrap() > before + 3 * 3600 * 1000);
    // Nothing of it stays after a logout.
    run(home, &["--logout", "--all"]);
    assert!(!path(home, &url, "used").exists());
}

#[test]
fn nothing_stored_is_no_error() {
    let home = Arc::new(TempDir::new());
    let (ok, _) = run(&home, &["--list"]);
    assert!(ok);
    let mut status = Start::client(&["https://none.example/mcp", "--status"])
        .home(&home)
        .go();
    assert_eq!(status.wait_exit().code(), Some(3));
    assert_eq!(
        status.rest_raw(),
        ["https://none.example/mcp  not signed in"]
    );
    let (ok, said) = run(&home, &["--logout", "--all"]);
    assert!(ok, "{said}");
    let (ok, said) = run(&home, &["--logout", "--all", "--json"]);
    assert!(ok);
    assert_eq!(said, "[]\n");
    let (ok, said) = run(&home, &["https://none.example/mcp", "--logout", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&said).unwrap();
    let expected = serde_json::json!({
        "server": "https://none.example/mcp",
        "profile": null,
        "removed": true,
        "revoked": false,
        "result": "there were no tokens",
    });
    assert_eq!((ok, document), (true, expected));
}

#[test]
fn logging_out_revokes_the_tokens_and_removes_them() {
    let site = Site::start(|_| {});
    for args in [&[&site.url(), "--logout"][..], &["--logout", "--all"]] {
        let browser = Browser::new();
        let mut process = signed_in(&site, &browser, &[]);
        process.finish();
        let tokens = read(&process.home, &site.url(), "tokens.json");
        let before = site.forms("/revoke").len();
        let (ok, said) = run(&process.home, args);
        assert!(ok, "{said}");
        let revoked = site.forms("/revoke").split_off(before);
        let refresh = tokens["refresh_token"].as_str().unwrap();
        let hints: Vec<&str> = revoked.iter().map(|form| form["token"].as_str()).collect();
        assert!(hints.contains(&refresh), "{hints:?}");
        assert!(revoked.iter().all(|form| form.contains_key("client_id")));
        assert!(!path(&process.home, &site.url(), "tokens.json").exists());
        for file in files(&dir(&process.home)) {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(!text.contains(refresh), "{}", file.display());
        }
        assert!(!is_signed_in(&site, &process.home));
    }
}

/// Otherwise the instance that refreshes stores its tokens after the sign-out, and nobody has revoked them.
#[test]
fn logging_out_waits_for_a_refresh_that_is_under_way_and_revokes_what_it_got() {
    let site = Site::start(|_| {});
    let (browser, url) = (Browser::new(), site.url());
    let mut process = signed_in(&site, &browser, &[]);
    process.finish();
    let home = Arc::clone(&process.home);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let lease = serde_json::json!({
        "pid": std::process::id(), "nonce": "n", "at": now.unwrap().as_millis() as u64
    });
    let name = "refresh_in_progress.json";
    write(&home, &url, name, &lease.to_string());
    let mut out = Start::client(&[&url, "--logout"]).home(&home).go();
    // Whoever does not wait is done by then.
    Gate::default().wait_for(std::time::Duration::from_millis(1500));
    assert_eq!(site.forms("/revoke").len(), 0);
    let mut tokens = read(&home, &url, "tokens.json");
    tokens["access_token"] = "newer".into();
    tokens["refresh_token"] = "newest".into();
    write(&home, &url, "tokens.json", &tokens.to_string());
    std::fs::remove_file(path(&home, &url, name)).unwrap();
    assert!(out.wait_exit().success());
    let revoked = site.forms("/revoke");
    let revoked: Vec<&str> = revoked.iter().map(|form| form["token"].as_str()).collect();
    assert_eq!(revoked, ["newest", "newer"]);
    assert!(!path(&home, &url, "tokens.json").exists());
    assert!(!path(&home, &url, name).exists());
}

#[test]
fn a_failed_revocation_is_said_and_the_tokens_are_removed_all_the_same() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = signed_in(&site, &browser, &[]);
    process.finish();
    site.on("/revoke", |_, reply| {
        reply.full(503, "", "down");
        true
    });
    let url = site.url();
    let (_, said) = run(&process.home, &[&url, "--logout"]);
    says(&said, &["revo"]);
    assert!(!path(&process.home, &url, "tokens.json").exists());
}
