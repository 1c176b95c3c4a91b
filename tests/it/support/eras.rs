//! Servers and clients of both protocol eras, which do the same things each in its own way.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};

use serde_json::{Value, json};

use super::LIMIT;
use super::http::{Reply, Request, Server};
use super::process::Process;

pub const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const INFO: &str = "io.modelcontextprotocol/clientInfo";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const LEVEL: &str = "io.modelcontextprotocol/logLevel";
pub const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
/// Spelled as no JSON printer would.
const STATE: &str = r#""s\u0074ate\/1""#;

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Kind {
    Legacy,
    HttpSse,
    Modern,
}

/// What a server has to say outside of answers, and what it was told.
#[derive(Clone, Default)]
struct Board(Arc<(Mutex<Posted>, Condvar)>);

#[derive(Default)]
struct Posted {
    stream: VecDeque<String>,
    told: Vec<Value>,
}

impl Board {
    fn say(&self, text: impl Into<String>) {
        self.0.0.lock().unwrap().stream.push_back(text.into());
        self.0.1.notify_all();
    }

    fn tell(&self, message: Value) {
        self.0.0.lock().unwrap().told.push(message);
        self.0.1.notify_all();
    }

    /// The next thing for the stream.
    fn next(&self) -> Option<String> {
        let posted = self.0.0.lock().unwrap();
        let (mut posted, _) = self
            .0
            .1
            .wait_timeout_while(posted, LIMIT, |posted| posted.stream.is_empty())
            .unwrap();
        posted.stream.pop_front()
    }

    /// Waits until it was told something of this kind.
    fn wait_told(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let found = |posted: &Posted| posted.told.iter().find(|told| wanted(told)).cloned();
        let posted = self.0.0.lock().unwrap();
        let (posted, _) = self
            .0
            .1
            .wait_timeout_while(posted, LIMIT, |posted| found(posted).is_none())
            .unwrap();
        found(&posted).unwrap_or_else(|| panic!("the server was not told: {:?}", posted.told))
    }
}

pub fn server(kind: Kind) -> Server {
    let board = Board::default();
    Server::start(move |request, reply| match kind {
        Kind::Legacy => legacy(&board, request, reply),
        Kind::HttpSse => http_sse(&board, request, reply),
        Kind::Modern => modern(&board, request, reply),
    })
}

fn capabilities() -> Value {
    json!({"tools":{"listChanged":true},"resources":{"subscribe":true,"listChanged":true},"logging":{}})
}

fn answer(id: &Value, result: &Value) -> String {
    json!({"jsonrpc":"2.0","id":id,"result":result}).to_string()
}

fn text(text: &str) -> Value {
    json!({"content":[{"type":"text","text":text}]})
}

fn legacy(board: &Board, request: &Request, reply: &mut Reply<'_>) {
    let message = request.json();
    match request.what().as_str() {
        "GET" => {
            reply.sse();
            while let Some(text) = board.next() {
                reply.event(&text);
            }
        }
        "DELETE" => reply.status(200),
        "POST initialize" => reply.full(
            200,
            "content-type: application/json\r\nmcp-session-id: s1\r\n",
            legacy_initialized(&message),
        ),
        _ if request.header("mcp-session-id") != Some("s1") => reply.full(
            400,
            "content-type: application/json\r\n",
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: No valid session ID provided"}}"#,
        ),
        _ if message["id"].is_null() || message["method"].is_null() => {
            board.tell(message);
            reply.status(202);
        }
        _ => {
            assert!(message["params"]["_meta"][VERSION].is_null(), "{message}");
            assert_eq!(request.header("mcp-method"), None);
            reply.sse();
            legacy_call(board, &message, &mut |text| reply.event(&text));
        }
    }
}

fn http_sse(board: &Board, request: &Request, reply: &mut Reply<'_>) {
    let message = request.json();
    if request.method == "GET" {
        reply.sse();
        reply.chunk("event: endpoint\ndata: /messages\n\n");
        while let Some(text) = board.next() {
            reply.event(&text);
        }
        return;
    }
    if request.path != "/messages" {
        return reply.status(405);
    }
    reply.status(202);
    if message["method"] == "initialize" {
        board.say(legacy_initialized(&message));
    } else if message["id"].is_null() || message["method"].is_null() {
        board.tell(message);
    } else {
        let board = board.clone();
        std::thread::spawn(move || legacy_call(&board, &message, &mut |text| board.say(text)));
    }
}

fn legacy_initialized(message: &Value) -> String {
    assert_eq!(
        message["params"]["clientInfo"],
        json!({"name":"c","version":"1"})
    );
    answer(
        &message["id"],
        &json!({"protocolVersion":"2025-11-25","capabilities":capabilities(),"serverInfo":{"name":"s","version":"1"},"instructions":"i"}),
    )
}

fn legacy_call(board: &Board, message: &Value, emit: &mut dyn FnMut(String)) {
    let (id, params) = (&message["id"], &message["params"]);
    let ask = |emit: &mut dyn FnMut(String), method: &str, params: Value| {
        let asked = format!("q-{id}");
        emit(json!({"jsonrpc":"2.0","id":asked,"method":method,"params":params}).to_string());
        board.wait_told(|told| told["id"] == json!(asked))["result"].clone()
    };
    let result = match message["method"].as_str().unwrap() {
        "tools/call" => match params["name"].as_str().unwrap() {
            "sample" => text(
                ask(
                    emit,
                    "sampling/createMessage",
                    json!({"messages":[],"maxTokens":1}),
                )["content"]["text"]
                    .as_str()
                    .unwrap(),
            ),
            "elicit" => text(
                ask(
                    emit,
                    "elicitation/create",
                    json!({"message":"?","requestedSchema":{"type":"object","properties":{}}}),
                )["content"]["name"]
                    .as_str()
                    .unwrap(),
            ),
            "roots" => text(
                ask(emit, "roots/list", json!({}))["roots"][0]["uri"]
                    .as_str()
                    .unwrap(),
            ),
            "slow" => {
                emit(progress(params));
                board.wait_told(|told| {
                    told["method"] == "notifications/cancelled"
                        && told["params"]["requestId"] == *id
                });
                return;
            }
            name => match done(board, name, params, None, emit) {
                Ok(result) => result,
                Err(error) => {
                    return emit(json!({"jsonrpc":"2.0","id":id,"error":error}).to_string());
                }
            },
        },
        "tools/list" => json!({"tools":[{"name":"add","inputSchema":{"type":"object"}}]}),
        "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe" => json!({}),
        "cancelled?" => json!({}),
        other => panic!("unscripted: {other}"),
    };
    emit(answer(id, &result));
}

/// What both servers do alike; `subscription` is where a modern one tells of changes.
fn done(
    board: &Board,
    name: &str,
    params: &Value,
    _: Option<&Value>,
    emit: &mut dyn FnMut(String),
) -> Result<Value, Value> {
    Ok(match name {
        "add" => {
            emit(progress(params));
            text("3")
        }
        "touch" => {
            board.say(json!({"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"file:///a"}}).to_string());
            text("touched")
        }
        "grow" => {
            board.say(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
            text("grown")
        }
        "log" => {
            emit(json!({"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"d"}}).to_string());
            text("logged")
        }
        "large" => text(&"x".repeat(3_000_000)),
        "fail" => return Err(json!({"code":-32602,"message":"no such tool"})),
        other => panic!("unscripted: {other}"),
    })
}

fn progress(params: &Value) -> String {
    json!({"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":params["_meta"]["progressToken"],"progress":1}}).to_string()
}

fn modern(board: &Board, request: &Request, reply: &mut Reply<'_>) {
    let message = request.json();
    let (id, meta) = (&message["id"], &message["params"]["_meta"]);
    if request.method == "GET" {
        return reply.status(405);
    }
    if meta[VERSION].is_null() {
        assert_eq!(
            request.what(),
            "POST initialize",
            "only the probe is not modern"
        );
        return reply.full(
            400,
            "content-type: application/json\r\n",
            json!({"jsonrpc":"2.0","id":id,"error":{"code":-32022,"message":"Unsupported protocol version","data":{"supported":["2026-07-28"]}}}).to_string(),
        );
    }
    assert_eq!(request.method, "POST");
    assert_eq!(
        request.header("mcp-protocol-version"),
        meta[VERSION].as_str()
    );
    assert_eq!(request.header("mcp-method"), message["method"].as_str());
    assert_eq!(request.header("mcp-session-id"), None);
    assert_eq!(meta[INFO], json!({"name":"c","version":"1"}));
    let complete = |mut result: Value| {
        result["resultType"] = json!("complete");
        result
    };
    let params = &message["params"];
    let result = match message["method"].as_str().unwrap() {
        "server/discover" => {
            json!({"supportedVersions":["2026-07-28"],"capabilities":capabilities(),"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s","version":"1"}},"instructions":"i","ttlMs":0,"cacheScope":"public"})
        }
        "tools/list" => {
            json!({"tools":[{"name":"add","inputSchema":{"type":"object"}}],"ttlMs":0,"cacheScope":"public"})
        }
        "subscriptions/listen" => return listen(board, id, params, reply),
        "tools/call" => {
            assert_eq!(request.header("mcp-name"), params["name"].as_str());
            let question = match params["name"].as_str().unwrap() {
                "sample" => {
                    json!({"method":"sampling/createMessage","params":{"messages":[],"maxTokens":1}})
                }
                "elicit" => {
                    json!({"method":"elicitation/create","params":{"mode":"form","message":"?","requestedSchema":{"type":"object","properties":{}}}})
                }
                "roots" => json!({"method":"roots/list"}),
                "slow" => {
                    reply.sse();
                    reply.event(&progress(params));
                    reply.wait_until_peer_leaves();
                    board.tell(json!({"method":"left"}));
                    return;
                }
                "cancelled?" => {
                    board.wait_told(|told| told["method"] == "left");
                    return reply.json(answer(id, &complete(text("yes"))));
                }
                name => {
                    reply.sse();
                    let log = !meta[LEVEL].is_null();
                    let mut emit = |text: String| {
                        if log || !text.contains("notifications/message") {
                            reply.event(&text);
                        }
                    };
                    let line = match done(board, name, params, None, &mut emit) {
                        Ok(result) => answer(id, &complete(result)),
                        Err(error) => json!({"jsonrpc":"2.0","id":id,"error":error}).to_string(),
                    };
                    return reply.event(&line);
                }
            };
            let given = &params["inputResponses"]["q"];
            if given.is_null() {
                let question = json!({"q": question});
                return reply.json(format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"input_required","inputRequests":{question},"requestState":{STATE}}}}}"#
                ));
            }
            assert_eq!(params["requestState"], "state/1");
            // A modern client of these tests prints anew what it parsed; a legacy one never sees it.
            let is_ours = id.is_string();
            assert!(!is_ours || request.body.contains(STATE), "{}", request.body);
            let said = [
                &given["content"]["text"],
                &given["content"]["name"],
                &given["roots"][0]["uri"],
            ];
            text(said.into_iter().find_map(Value::as_str).unwrap())
        }
        other => panic!("unscripted: {other}"),
    };
    reply.json(answer(id, &complete(result)));
}

fn listen(board: &Board, id: &Value, params: &Value, reply: &mut Reply<'_>) {
    let meta = json!({SUBSCRIPTION: id});
    reply.sse();
    let acknowledged = json!({"_meta":meta,"notifications":params["notifications"]});
    reply.event(&json!({"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":acknowledged}).to_string());
    if params["notifications"]["resourceSubscriptions"].is_null() {
        // The stream before the client subscribed to something: it is replaced.
        reply.wait_until_peer_leaves();
        return;
    }
    while let Some(text) = board.next() {
        let mut message: Value = serde_json::from_str(&text).unwrap();
        message["params"]["_meta"] = meta.clone();
        reply.event(&message.to_string());
    }
}

/// A client of either era.
pub struct Client {
    pub process: Process,
    pub modern: bool,
    pub notes: Vec<Value>,
    pub level: Option<&'static str>,
    next: u64,
}

impl Client {
    pub fn new(process: Process, modern: bool) -> Client {
        Client {
            process,
            modern,
            notes: Vec::new(),
            level: None,
            next: 0,
        }
    }

    fn capabilities() -> Value {
        json!({"sampling":{},"elicitation":{},"roots":{"listChanged":true}})
    }

    /// The handshake of its era; gives the result.
    pub fn connect(&mut self) -> Value {
        if self.modern {
            // A legacy server's refusal is passed on; a client that asks again is translated for.
            let mut answer = self.call("server/discover", json!({}));
            if answer["error"].is_object() {
                answer = self.call("server/discover", json!({}));
            }
            return answer["result"].clone();
        }
        let answer = self.call(
            "initialize",
            json!({"protocolVersion":"2025-11-25","capabilities":Client::capabilities(),"clientInfo":{"name":"c","version":"1"}}),
        );
        self.process
            .send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        answer["result"].clone()
    }

    /// Sends a request; gives its id.
    pub fn send(&mut self, method: &str, mut params: Value) -> u64 {
        self.next += 1;
        if self.modern {
            params["_meta"][VERSION] = json!("2026-07-28");
            params["_meta"][INFO] = json!({"name":"c","version":"1"});
            params["_meta"][CAPABILITIES] = Client::capabilities();
            if let Some(level) = self.level {
                params["_meta"][LEVEL] = json!(level);
            }
        }
        let id = self.next;
        self.process
            .send(&json!({"jsonrpc":"2.0","id":id,"method":method,"params":params}).to_string());
        id
    }

    /// The answer to a request, after whatever the server asks before it.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        let mut id = self.send(method, params.clone());
        loop {
            let message = self.process.recv();
            if message["method"].is_string() && !message["id"].is_null() {
                assert!(!self.modern, "a modern client was asked: {message}");
                let result = reaction(message["method"].as_str().unwrap());
                self.process.send(&answer(&message["id"], &result));
            } else if message["method"].is_string() {
                self.notes.push(message);
            } else {
                assert_eq!(message["id"], json!(id), "{message}");
                if message["result"]["resultType"] != "input_required" {
                    return message;
                }
                assert!(self.modern, "{message}");
                let mut again = params.clone();
                again["requestState"] = message["result"]["requestState"].clone();
                for (key, question) in message["result"]["inputRequests"].as_object().unwrap() {
                    again["inputResponses"][key] = reaction(question["method"].as_str().unwrap());
                }
                id = self.send(method, again);
            }
        }
    }

    pub fn tool(&mut self, name: &str) -> Value {
        self.call(
            "tools/call",
            json!({"name":name,"arguments":{},"_meta":{"progressToken":name}}),
        )
    }

    pub fn said(&mut self, name: &str) -> String {
        let answer = self.tool(name);
        answer["result"]["content"][0]["text"]
            .as_str()
            .unwrap_or_else(|| panic!("{answer}"))
            .to_owned()
    }

    /// Waits for a notification.
    pub fn note(&mut self, method: &str) -> Value {
        if let Some(at) = self.notes.iter().position(|note| note["method"] == method) {
            return self.notes.remove(at);
        }
        loop {
            let message = self.process.recv();
            assert!(message["id"].is_null(), "{message}");
            if message["method"] == method {
                return message;
            }
            self.notes.push(message);
        }
    }
}

fn reaction(method: &str) -> Value {
    match method {
        "sampling/createMessage" => {
            json!({"role":"assistant","content":{"type":"text","text":"four"},"model":"m"})
        }
        "elicitation/create" => json!({"action":"accept","content":{"name":"Ada"}}),
        "roots/list" => json!({"roots":[{"uri":"file:///r"}]}),
        other => panic!("asked for {other}"),
    }
}

/// What ends a subscription in order on stdio.
pub fn end_of_subscription(id: u64) -> [Value; 2] {
    [
        json!({"jsonrpc":"2.0","id":id,"result":{"resultType":"complete","_meta":{SUBSCRIPTION:id}}}),
        json!({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":id}}),
    ]
}
