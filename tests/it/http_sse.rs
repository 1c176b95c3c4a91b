//! HTTP+SSE (2024-11-05), and the way to it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::json;

use crate::support::LIMIT;
use crate::support::http::{Reply, Request, Server};
use crate::support::mcp::{initialize_result, result};
use crate::support::process::{Process, Start};

/// What the stream is to say next; `None` ends it.
#[derive(Clone, Default)]
struct Stream(Arc<(Mutex<Waiting>, Condvar)>);

#[derive(Default)]
struct Waiting {
    events: Vec<Option<String>>,
    /// Counts connections: only the newest is given events.
    connection: u32,
}

impl Stream {
    fn say(&self, event: Option<String>) {
        self.0.0.lock().unwrap().events.push(event);
        self.0.1.notify_all();
    }

    fn serve(&self, reply: &mut Reply<'_>, endpoint: &str) {
        reply.sse();
        reply.chunk(format!("event: endpoint\ndata: {endpoint}\n\n"));
        let mine = {
            let mut waiting = self.0.0.lock().unwrap();
            waiting.connection += 1;
            waiting.connection
        };
        self.0.1.notify_all();
        loop {
            let waiting = self.0.0.lock().unwrap();
            let idle =
                |waiting: &mut Waiting| waiting.connection == mine && waiting.events.is_empty();
            let (mut waiting, timeout) = self.0.1.wait_timeout_while(waiting, LIMIT, idle).unwrap();
            if timeout.timed_out() || waiting.connection != mine {
                return;
            }
            match waiting.events.remove(0) {
                Some(event) => reply.event(&event),
                None => return reply.hang_up(),
            }
        }
    }
}

/// A server of 2024-11-05; a POST to its stream's address is refused with this status.
fn sse_server(
    refusal: u16,
    script: impl Fn(&Request, &Stream) -> bool + Send + Sync + 'static,
) -> Server {
    let stream = Stream::default();
    let serving = stream.clone();
    Server::start(
        move |request, reply| match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/sse") => serving.serve(reply, "/messages?id=1"),
            ("POST", "/sse") => reply.status(refusal),
            ("POST", "/messages?id=1") => {
                reply.status(202);
                if !script(request, &stream) {
                    match request.rpc().as_str() {
                        "initialize" => {
                            stream.say(Some(result(&request.id(), initialize_result())))
                        }
                        "notifications/initialized" => {}
                        other => panic!("unscripted: {other}"),
                    }
                }
            }
            other => panic!("unscripted: {other:?}"),
        },
    )
}

fn answers(request: &Request, stream: &Stream) -> bool {
    let asked = request.rpc() == "ask";
    if asked {
        stream.say(Some(result(&request.id(), "{}")));
    }
    asked
}

#[test]
fn each_status_of_another_transport_leads_to_http_sse() {
    for status in [400, 404, 405, 406, 410, 415, 501] {
        let server = sse_server(status, answers);
        let mut bridge = Process::connected(&[&server.url("/sse")]);
        assert_eq!(bridge.ask("1")["result"], json!({}), "{status}");
        bridge.finish();
        assert_eq!(server.count("GET"), 1);
    }
}

#[test]
fn sse_first_opens_one_stream_and_posts_nothing_to_it() {
    for strategy in ["sse-first", "sse-only"] {
        let server = sse_server(405, answers);
        let mut bridge = Process::connected(&[&server.url("/sse"), "--transport", strategy]);
        bridge.ask("1");
        bridge.finish();
        assert!(
            server
                .seen()
                .iter()
                .all(|request| request.method == "GET" || request.path != "/sse")
        );
        assert_eq!(server.count("GET"), 1);
    }
}

#[test]
fn the_transport_that_worked_is_tried_first_next_time() {
    let server = sse_server(405, answers);
    let mut bridge = Process::connected(&[&server.url("/sse")]);
    bridge.finish();
    let refused = server
        .seen()
        .iter()
        .filter(|request| request.method == "POST" && request.path == "/sse")
        .count();
    assert_eq!(refused, 1);
    let mut again = Start::bridge(&[&server.url("/sse")])
        .home(&bridge.home)
        .go();
    again.handshake();
    again.finish();
    let refused = server
        .seen()
        .iter()
        .filter(|request| request.method == "POST" && request.path == "/sse")
        .count();
    assert_eq!(refused, 1);
}

#[test]
fn a_refusal_stands_if_a_get_finds_no_event_stream() {
    type Get = fn(&mut Reply<'_>);
    let gets: [Get; 4] = [
        |reply| reply.full(200, "content-type: text/html\r\n", "<html>"),
        |reply| reply.status(503),
        |reply| reply.hang_up(),
        |reply| {
            reply.sse();
            reply.hang_up();
        },
    ];
    for get in gets {
        let server = Server::start(move |request, reply| match request.method.as_str() {
            "POST" => reply.full(404, "", "no such page"),
            _ => get(reply),
        });
        let mut bridge = Start::bridge(&[&server.url("/mcp")]).go();
        bridge.send(crate::support::mcp::INITIALIZE);
        let answer = bridge.recv();
        assert_eq!(answer["error"]["data"]["httpStatus"], 404, "{answer}");
        assert!(
            answer["error"]["message"]
                .as_str()
                .unwrap()
                .contains("no such page"),
            "{answer}"
        );
        bridge.finish();
    }
}

#[test]
fn words_in_a_body_and_other_statuses_never_lead_to_a_fallback() {
    for strategy in ["http-first", "http-only"] {
        let server =
            Server::start(|_, reply| reply.full(500, "", "404 Not Found, Method Not Allowed"));
        let mut bridge = Start::bridge(&[&server.url("/mcp"), "--transport", strategy]).go();
        bridge.send(crate::support::mcp::INITIALIZE);
        assert_eq!(bridge.recv()["error"]["data"]["httpStatus"], 500);
        bridge.finish();
        assert_eq!(server.log(), ["POST initialize"]);
    }
}

#[test]
fn sse_first_goes_on_to_streamable_http() {
    let server =
        crate::support::mcp::answering(|request, reply| reply.json(result(&request.id(), "{}")));
    let mut bridge = Process::connected(&[&server.url("/mcp"), "--transport", "sse-first"]);
    assert_eq!(bridge.ask("1")["result"], json!({}));
    bridge.finish();
    assert_eq!(server.log()[..2], ["GET", "POST initialize"]);
}

#[test]
fn an_endpoint_elsewhere_is_refused_and_nothing_is_sent_to_it() {
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let target = format!("http://{}/messages", elsewhere.local_addr().unwrap());
    let server = Server::start(move |request, reply| match request.method.as_str() {
        "GET" => Stream::default().serve(reply, &target),
        _ => reply.status(405),
    });
    let mut bridge = Start::bridge(&[
        &server.url("/sse"),
        "--transport",
        "sse-only",
        "--header",
        "X-Key: secret",
    ])
    .go();
    bridge.send(crate::support::mcp::INITIALIZE);
    let answer = bridge.recv();
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("another origin"),
        "{answer}"
    );
    bridge.finish();
    assert!(elsewhere.accept().is_err(), "something was sent elsewhere");
}

#[test]
fn a_broken_stream_fails_open_calls_and_is_opened_again_with_a_new_session() {
    let asks = AtomicUsize::new(0);
    let broke = AtomicBool::new(false);
    let server = sse_server(405, move |request, stream| {
        if request.rpc() != "ask" {
            return false;
        }
        if asks.fetch_add(1, Ordering::SeqCst) == 0 && !broke.swap(true, Ordering::SeqCst) {
            stream.say(None);
        } else {
            stream.say(Some(result(&request.id(), "{}")));
        }
        true
    });
    let mut bridge = Process::connected(&[&server.url("/sse"), "--transport", "sse-only"]);
    let answer = bridge.ask("1");
    assert_eq!(
        (&answer["id"], &answer["error"]["code"]),
        (&json!(1), &json!(-32001)),
        "{answer}"
    );
    assert_eq!(bridge.ask("2")["result"], json!({}));
    bridge.finish();
    assert_eq!(
        (server.count("GET"), server.count("POST initialize")),
        (2, 2)
    );
}
