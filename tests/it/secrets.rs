//! Every way to sign in, and then a search for secrets wherever they must not be.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::json;

use crate::support::TempDir;
use crate::support::authorization_server::{Rules, Site};
use crate::support::browser::{Browser, altered, answer_of, get, printed_url, visit};
use crate::support::mcp::{INITIALIZE, INITIALIZED, initialize_result, result, server};
use crate::support::process::{Process, Start};
use crate::support::sign_in::start;
use crate::support::store;

/// A run under observation.
struct Watch {
    site: Site,
    browser: Browser,
    scratch: TempDir,
    log: PathBuf,
    /// What was heard, and where.
    heard: Vec<(&'static str, String)>,
}

impl Watch {
    fn over(change: impl FnOnce(&mut Rules)) -> Watch {
        let scratch = TempDir::new();
        let environment = scratch.0.join("environment");
        Watch {
            site: Site::start(|rules| {
                rules.registered_method = Some("client_secret_post".to_owned());
                change(rules);
            }),
            // `export -p` shows what a child of the program can read.
            browser: Browser::with_script(&format!("export -p >> {}", environment.display())),
            log: scratch.0.join("log"),
            scratch,
            heard: Vec::new(),
        }
    }

    fn start(&self, args: &[&str]) -> Start {
        let log = self.log.display().to_string();
        let mut all = vec!["--debug", "--log-file", log.as_str()];
        all.extend(args);
        start(&self.site, &all).browser(&self.browser)
    }

    /// Sends a line and hears the answer.
    fn ask(&mut self, process: &mut Process, line: &str) {
        process.send(line);
        self.hear(process);
    }

    fn hear(&mut self, process: &mut Process) {
        let answer = process.recv_raw();
        self.heard.push(("an answer", answer));
        let id = process.pid();
        let bytes = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        self.heard.push(("the command line", text));
    }

    /// Ends the process and searches.
    fn search(mut self, mut process: Process) {
        process.close_stdin();
        process.wait_exit();
        for line in process.rest_raw() {
            self.heard.push(("stdout", line));
        }
        self.heard.push(("stderr", process.stderr()));
        let environment = self.scratch.0.join("environment");
        let environment = std::fs::read_to_string(environment).unwrap_or_default();
        self.heard
            .push(("the environment of the browser", environment));
        for url in self.browser.urls() {
            self.heard.push(("the address that was opened", url));
        }
        let log = std::fs::read_to_string(&self.log).unwrap();
        assert!(!log.is_empty());
        self.heard.push(("the log file", log));
        let mut debug = false;
        for path in store::files(&process.home.0) {
            let is_debug = path.to_string_lossy().ends_with("_debug.log");
            debug |= is_debug;
            let open = path.metadata().unwrap().permissions().mode() & 0o077 != 0;
            if is_debug || open {
                let bytes = std::fs::read(&path).unwrap();
                let text = String::from_utf8_lossy(&bytes).into_owned();
                self.heard.push(("a file for all", text));
            }
        }
        assert!(debug, "there is no debug file");
        let secrets = self.site.secrets();
        assert!(!secrets.is_empty());
        for (place, text) in &self.heard {
            for secret in &secrets {
                assert!(
                    !text.contains(secret.as_str()),
                    "{place} holds {secret}:\n{text}"
                );
            }
        }
        for request in self.site.seen() {
            let path = &request.request.path;
            for secret in &secrets {
                assert!(
                    !path.contains(secret.as_str()),
                    "an address holds {secret}: {path}"
                );
            }
        }
    }
}

const ASK: &str = r#"{"jsonrpc":"2.0","id":9,"method":"ask"}"#;

#[test]
fn a_sign_in_a_refresh_and_a_dead_grant_tell_no_secret() {
    let mut watch = Watch::over(|rules| rules.wants_id_token = true);
    let mut process = watch.start(&["--use-id-token"]).go();
    process.send(INITIALIZE);
    let page = watch.browser.sign_in(1);
    watch.heard.push(("the page", page.headers + &page.text));
    watch.hear(&mut process);
    process.send(INITIALIZED);
    watch.site.expire_access_tokens();
    watch.ask(&mut process, ASK);
    watch.site.expire_access_tokens();
    watch.site.expire_refresh_tokens();
    process.send(ASK);
    watch.browser.sign_in(2);
    watch.hear(&mut process);
    watch.search(process);
}

#[test]
fn failures_tell_no_secret_even_if_the_server_does() {
    let mut watch = Watch::over(|_| {});
    // It repeats what it was sent.
    watch.site.on("/token", |request, reply| {
        let members = crate::support::authorization_server::form(&request.body);
        let text = format!("no: {} {:?}", request.body, members);
        let body = json!({"error": "invalid_request", "error_description": text});
        reply.full(400, "content-type: application/json\r\n", body.to_string());
        true
    });
    let mut process = watch.start(&[]).go();
    process.send(INITIALIZE);
    let answer = answer_of(&watch.browser.wait_for(1));
    let page = get(&altered(&answer, "state", Some("wrong")));
    watch.heard.push(("the page", page.headers + &page.text));
    let page = get(&answer);
    watch.heard.push(("the page", page.headers + &page.text));
    watch.hear(&mut process);
    watch.search(process);
}

#[test]
fn a_denied_sign_in_and_a_timeout_tell_no_secret() {
    let mut watch = Watch::over(|rules| rules.denies = true);
    let mut process = watch.start(&["--auth-timeout", "1"]).go();
    process.send(INITIALIZE);
    let url = watch.browser.wait_for(1);
    watch.hear(&mut process);
    visit(&url);
    watch.ask(&mut process, INITIALIZE);
    watch
        .site
        .add_access_token("nothing else is secret here", "");
    watch.search(process);
}

#[test]
fn a_device_sign_in_tells_no_secret() {
    let mut watch = Watch::over(|_| {});
    let mut process = watch.start(&["--device-code"]).go();
    watch.ask(&mut process, INITIALIZE);
    watch.search(process);
}

#[test]
fn a_program_tells_no_secret() {
    let info = r#"{"client_id":"program","client_secret":"${THE_SECRET}"}"#;
    let args = ["--client-credentials", "--static-oauth-client-info", info];
    for right in [true, false] {
        let mut watch = Watch::over(|_| {});
        watch.site.add_client(
            "program",
            Some(if right {
                "hush-hush"
            } else {
                "an-other-s3cret"
            }),
        );
        let mut process = watch.start(&args).env("THE_SECRET", "hush-hush").go();
        watch.ask(&mut process, INITIALIZE);
        watch.search(process);
    }
}

#[test]
fn a_workload_tells_no_secret() {
    for audience in [None, Some("https://other.test")] {
        let mut watch = Watch::over(|_| {});
        let issuer = watch.site.issuer.url("");
        let dir = TempDir::new();
        let file = crate::jwt_bearer::token_file(&dir, audience.unwrap_or(&issuer), "a job");
        let mut process = watch.start(&["--workload-token", &file]).go();
        watch.ask(&mut process, INITIALIZE);
        assert_eq!(watch.site.forms("/token").len(), 1);
        watch.search(process);
    }
}

#[test]
fn a_sign_in_at_a_company_tells_no_secret() {
    for is_allowed in [true, false] {
        let mut watch = Watch::over(|_| {});
        let company = crate::id_jag::Company::start();
        company.forbids(!is_allowed);
        let args = company.flags();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut process = watch.start(&args).go();
        process.send(INITIALIZE);
        watch.browser.sign_in(1);
        watch.hear(&mut process);
        for secret in company.site.secrets() {
            watch.site.add_access_token(&secret, "");
        }
        watch.search(process);
    }
}

#[test]
fn headers_of_ones_own_and_odd_answers_tell_no_secret() {
    let mut watch = Watch::over(|rules| rules.guarded = false);
    watch.site.add_client("nobody", Some("hush-hush"));
    watch.site.on("/mcp", |_, reply| {
        reply.full(401, "www-authenticate: Bearer\r\n", "no");
        true
    });
    let mut process = watch
        .start(&["--header", "Authorization: Bearer ${THE_SECRET}"])
        .env("THE_SECRET", "hush-hush")
        .go();
    watch.ask(&mut process, INITIALIZE);
    watch.search(process);
}

#[test]
fn a_sign_in_from_a_terminal_tells_no_secret() {
    let watch = Watch::over(|_| {});
    let url = watch.site.url();
    let log = watch.log.display().to_string();
    let args = [&url, "--no-browser", "--debug", "--log-file", &log];
    let mut client = Start::client(&args).env("BROWSER", "none").go();
    let address = printed_url(&mut client);
    client.send(&answer_of(&address));
    client.wait_exit();
    watch.search(client);
}

#[test]
fn a_refusal_that_repeats_what_was_sent_is_passed_on_without_the_secrets() {
    let secrets = ["k3y-of-a-header", "s3ssion-of-mine", "in-the-qu3ry"];
    for status in [400, 403, 500, 503] {
        let server = server(move |request, reply| {
            if request.rpc() == "initialize" {
                let head = "content-type: application/json\r\nmcp-session-id: s3ssion-of-mine\r\n";
                reply.full(200, head, result(&request.id(), initialize_result()));
                return true;
            }
            if request.rpc() != "ask" {
                return false;
            }
            let header = |name| request.header(name).unwrap_or_default();
            let said = format!(
                "no: {} {} {}",
                header("x-api-key"),
                header("mcp-session-id"),
                request.path
            );
            match request.id().as_str() {
                "1" => reply.full(status, "", &said),
                _ => {
                    let error = json!({"code": -32000, "message": said});
                    let error = json!({"jsonrpc": "2.0", "id": 2, "error": error});
                    reply.full(
                        status,
                        "content-type: application/json\r\n",
                        error.to_string(),
                    );
                }
            }
            true
        });
        let url = server.url("/mcp?key=in-the-qu3ry");
        let scratch = TempDir::new();
        let log = scratch.0.join("log").display().to_string();
        let header = "X-Api-Key: k3y-of-a-header";
        let args = [&url, "--header", header, "--debug", "--log-file", &log];
        let mut process = Start::bridge(&args).go();
        process.handshake();
        let mut heard = vec![process.ask("1").to_string(), process.ask("2").to_string()];
        assert!(
            heard.iter().all(|answer| answer.contains("(redacted)")),
            "{heard:?}"
        );
        process.finish();
        heard.push(process.stderr());
        heard.push(std::fs::read_to_string(&log).unwrap());
        for secret in secrets {
            assert!(
                heard.iter().all(|text| !text.contains(secret)),
                "{secret}: {heard:?}"
            );
        }
    }
}
