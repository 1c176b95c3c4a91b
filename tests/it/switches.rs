//! Flags that turn something off, and what is left.

use crate::support::authorization_server::Site;
use crate::support::browser::Browser;
use crate::support::mcp::{answering, result, server};
use crate::support::process::{Process, Start};
use crate::support::sign_in::{bridge, error, says, signed_in, works};

#[test]
fn without_a_get_stream_no_get_is_sent_except_to_resume_a_response() {
    let server = server(|request, reply| match request.what().as_str() {
        "POST ask" => {
            reply.sse();
            reply.chunk("id: e1\nretry: 20\ndata:\n\n");
            true
        }
        "GET" => {
            assert_eq!(request.header("last-event-id"), Some("e1"));
            reply.sse();
            reply.event(&result("1", "\"late\""));
            true
        }
        _ => false,
    });
    let mut bridge = Process::connected(&[&server.url("/mcp"), "--no-get-stream"]);
    bridge.send(r#"{"id":1,"method":"ask"}"#);
    assert_eq!(bridge.recv()["result"], "late");
    bridge.finish();
    assert_eq!(server.count("GET"), 1);
}

#[test]
fn without_a_get_stream_only_messages_are_in_the_access_log() {
    let server = answering(|request, reply| reply.json(result(&request.id(), "{}")));
    let mut bridge = Process::connected(&[&server.url("/mcp"), "--no-get-stream"]);
    bridge.ask("1");
    bridge.finish();
    assert_eq!(
        server.log(),
        [
            "POST initialize",
            "POST notifications/initialized",
            "POST ask",
            "DELETE"
        ]
    );
}

#[test]
fn without_oauth_a_401_is_the_answer_and_names_the_way_on() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &["--no-oauth"]);
    let text = error(&mut process);
    says(
        &text,
        &[
            "answered 401 (Unauthorized)",
            "remove --no-oauth",
            "--header",
        ],
    );
    process.finish();
    assert_eq!(site.sign_in_log(), [] as [String; 0]);
    assert_eq!(browser.urls(), [] as [String; 0]);
}

#[test]
fn without_oauth_a_stored_token_is_not_sent() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = signed_in(&site, &browser, &[]);
    process.finish();
    let before = site.requests("/mcp").len();
    let mut second = crate::support::sign_in::start(&site, &["--no-oauth"])
        .home(&process.home)
        .browser(&browser)
        .go();
    error(&mut second);
    second.finish();
    let requests = site.requests("/mcp").split_off(before);
    assert!(requests.iter().all(|r| r.header("authorization").is_none()));
}

#[test]
fn the_doctor_says_that_oauth_is_off() {
    let site = Site::start(|_| {});
    let mut doctor = Start::client(&[&site.url(), "--no-oauth"]).go();
    let text = doctor.rest_raw().join("\n") + &doctor.stderr();
    assert!(!doctor.wait_exit().success());
    says(&text, &["401", "remove --no-oauth"]);
}

#[test]
fn a_gateway_gets_its_authorization_and_the_server_the_token_in_another_header() {
    let site = Site::start(|_| {});
    site.on("/mcp", |request, reply| {
        let passes = request.header("authorization") == Some("Basic Z3c6Z3c=");
        if !passes {
            reply.status(403);
        }
        !passes
    });
    let browser = Browser::new();
    let args = [
        "--header",
        "Authorization: Basic Z3c6Z3c=",
        "--token-header",
        "X-Token",
    ];
    let mut process = signed_in(&site, &browser, &args);
    works(&mut process);
    site.expire_access_tokens();
    works(&mut process);
    process.finish();
    let requests = site.requests("/mcp");
    let last = requests.last().unwrap();
    assert!(last.header("x-token").unwrap().starts_with("Bearer "));
    assert_eq!(last.header("authorization"), Some("Basic Z3c6Z3c="));
    // The token endpoint is told neither.
    for request in site.requests("/token") {
        assert_eq!(request.header("x-token"), None);
        assert_ne!(request.header("authorization"), Some("Basic Z3c6Z3c="));
    }
}

#[test]
fn the_token_is_in_one_header_only() {
    let site = Site::start(|_| {});
    let mut process = signed_in(&site, &Browser::new(), &["--token-header", "x-token"]);
    works(&mut process);
    process.finish();
    let with_token = site.requests("/mcp");
    assert!(with_token.iter().any(|r| r.header("x-token").is_some()));
    assert!(
        with_token
            .iter()
            .all(|r| r.header("authorization").is_none())
    );
}
