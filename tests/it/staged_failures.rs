//! Ten failures as people meet them (two of them in two ways): each ends in one sentence that names the cause and the cure, the same through the
//! bridge (a JSON-RPC error, which the client shows) and from the doctor (the step that failed).

use std::net::TcpListener;
use std::sync::Arc;

use serde_json::Value;

use crate::support::TempDir;
use crate::support::http::{Reply, Request, Server};
use crate::support::mcp::{INITIALIZE, ordinary, result, server};
use crate::support::process::Start;
use crate::support::proxy::Proxy;
use crate::support::tls_front::{fixture, in_front_of};

/// How a program of ours is started.
struct Stage {
    args: Vec<String>,
    home: Arc<TempDir>,
}

impl Stage {
    fn new(args: &[&str]) -> Stage {
        Stage {
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            home: Arc::new(TempDir::new()),
        }
    }

    fn args(&self) -> Vec<&str> {
        self.args.iter().map(String::as_str).collect()
    }

    /// What the bridge's client is told.
    fn bridge(&self) -> String {
        let mut bridge = Start::bridge(&self.args()).home(&self.home).go();
        bridge.send(INITIALIZE);
        let answer = bridge.recv();
        let text = answer["error"]["message"].as_str().unwrap_or_default();
        text.strip_prefix("mcp-remote: ")
            .unwrap_or_else(|| panic!("{answer}"))
            .to_owned()
    }

    /// The step the doctor ends with, and what it says of it.
    fn doctor(&self) -> (String, String) {
        let mut args = self.args();
        args.extend(["--json", "--no-browser"]);
        let mut doctor = Start::client(&args)
            .home(&self.home)
            .env("BROWSER", "none")
            .go();
        doctor.close_stdin();
        assert_eq!(doctor.wait_exit().code(), Some(1));
        let mut text = String::new();
        while !text.ends_with("\n}") {
            text = format!("{text}\n{}", doctor.recv_raw());
        }
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["ok"], false);
        let last = document["steps"].as_array().unwrap().last().unwrap();
        let text = |name: &str| last[name].as_str().unwrap_or_default().to_owned();
        (text("step"), text("error"))
    }

    #[track_caller]
    fn says(&self, step: &str, sentence: &str) {
        assert_eq!(self.bridge(), sentence);
        assert_eq!(self.doctor(), (step.to_owned(), sentence.to_owned()));
    }
}

/// A list of tools, which the doctor wants from a server that works.
fn listed(request: &Request, reply: &mut Reply<'_>) -> bool {
    let is = request.rpc() == "tools/list";
    if is {
        reply.json(result(&request.id(), r#"{"tools":[]}"#));
    }
    is
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn wrong_url() {
    Stage::new(&["https://no.invalid/mcp"]).says(
        "name",
        "cannot reach https://no.invalid/mcp: the name \"no.invalid\" was not found (check the spelling of the address; where only a proxy resolves it, set HTTPS_PROXY=http://host:port)",
    );
}

#[test]
fn server_down() {
    let url = "http://127.0.0.1:1/mcp";
    Stage::new(&[url]).says(
        "tcp",
        &format!(
            "cannot reach {url}: connection refused (is the server running, and is the port right?)"
        ),
    );
}

#[test]
fn wrong_path() {
    let server = Server::start(|_, reply| reply.full(404, "", "no such page"));
    let url = server.url("/wrong");
    Stage::new(&[&url]).says(
        "first response",
        &format!("{url} answered 404 (Not Found): no such page (check the path of the address: most servers are at /mcp or /sse)"),
    );
}

#[test]
fn expired_certificate() {
    // Nobody gets as far as the server behind it.
    let address = in_front_of(([127, 0, 0, 1], 1).into(), "expired.pem", false);
    let ca = fixture("ca.pem");
    let url = format!("https://{address}/mcp");
    Stage::new(&[&url, "--ca-cert", &ca]).says(
        "tls",
        &format!("https://{address}: the certificate has expired (its owner must renew it, or this machine's clock is wrong)"),
    );
}

#[test]
fn private_ca() {
    let server = server(listed);
    let address = in_front_of(server.address, "server.pem", false);
    let url = format!("https://{address}/mcp");
    Stage::new(&[&url]).says(
        "tls",
        &format!("https://{address}: the certificate is signed by an unknown authority (if the server or a proxy uses a private CA, name its certificate with --ca-cert FILE or NODE_EXTRA_CA_CERTS)"),
    );
    // The cure.
    let ca = fixture("ca.pem");
    let args = [&*url, "--ca-cert", &ca];
    let mut bridge = Start::bridge(&args).go();
    bridge.handshake();
    bridge.finish();
    let mut doctor = Start::client(&args).go();
    assert!(doctor.wait_exit().success(), "{}", doctor.stderr());
}

/// The cure: with the variable that the sentence names, bridge and doctor go through the proxy, and nowhere else.
fn works_through(proxy: &Proxy, variable: &str, args: &[&str], target: &str) {
    let start = |start: Start| start.env(variable, &proxy.url());
    let mut bridge = start(Start::bridge(args)).go();
    bridge.handshake();
    bridge.finish();
    let mut doctor = start(Start::client(args)).go();
    doctor.close_stdin();
    let works = doctor.wait_exit().success();
    let lines = doctor.rest_raw();
    let is_through = lines[0].starts_with("proxy") && lines[0].ends_with(&proxy.url()[7..]);
    assert!(works && is_through, "{lines:#?}");
    assert_eq!(proxy.asked(), [target]);
}

#[test]
fn proxy_needed_where_packets_get_no_answer() {
    let server = server(listed);
    let proxy = Proxy::to(server.address);
    // An address for documentation: no packet comes back from there.
    let url = "http://192.0.2.1/mcp";
    let args = [url, "--allow-http", "--connect-timeout", "1"];
    let stage = Stage::new(&args);
    let (step, said) = stage.doctor();
    assert_eq!((step.as_str(), &said), ("tcp", &stage.bridge()));
    let (cause, cure) = said.split_once(" (").unwrap();
    let causes = [
        "no connection within 1 s",
        "the network is unreachable",
        "connection refused",
    ];
    let is_cause = |one: &&str| cause == format!("cannot reach {url}: {one}");
    assert!(causes.iter().any(is_cause), "{said}");
    assert!(
        cure.contains("where a proxy is needed, set HTTP_PROXY=http://host:port"),
        "{said}"
    );
    works_through(&proxy, "HTTP_PROXY", &args, "192.0.2.1:80");
}

#[test]
fn proxy_needed_where_it_alone_knows_the_name() {
    let server = server(listed);
    let tls = in_front_of(server.address, "elsewhere.pem", false);
    let proxy = Proxy::to(tls);
    let ca = fixture("ca.pem");
    let args = ["https://elsewhere.test/mcp", "--ca-cert", &ca];
    Stage::new(&args).says(
        "name",
        "cannot reach https://elsewhere.test/mcp: the name \"elsewhere.test\" was not found (check the spelling of the address; where only a proxy resolves it, set HTTPS_PROXY=http://host:port)",
    );
    works_through(&proxy, "HTTPS_PROXY", &args, "elsewhere.test:443");
}

/// A server that wants a sign-in, and an authorization server on the same port.
fn protected(
    authorization: impl Fn(&Request, &mut Reply<'_>, &str) -> bool + Send + Sync + 'static,
) -> Server {
    Server::start(move |request, reply| {
        let origin = format!("http://{}", request.header("host").unwrap());
        if !authorization(request, reply, &origin) {
            match request.path.as_str() {
                "/mcp" => reply.full(401, "www-authenticate: Bearer\r\n", ""),
                _ => reply.status(404),
            }
        }
    })
}

/// The authorization server's metadata.
fn metadata(request: &Request, reply: &mut Reply<'_>, origin: &str) -> bool {
    match request.path.as_str() {
        "/.well-known/oauth-authorization-server" => reply.json(format!(
            r#"{{"issuer":"{origin}","authorization_endpoint":"{origin}/authorize","token_endpoint":"{origin}/token","registration_endpoint":"{origin}/register","response_types_supported":["code"],"code_challenge_methods_supported":["S256"]}}"#
        )),
        _ => return false,
    }
    true
}

#[test]
fn unauthorized_without_metadata() {
    let server = protected(|_, _, _| false);
    Stage::new(&[&server.url("/mcp")]).says(
        "sign-in",
        &format!("the server requires a sign-in but publishes no OAuth metadata, and {} answered 404 (if it takes a token or key, pass it with --header 'Authorization: Bearer ${{TOKEN}}'; or check the path of the URL)", server.url("/register")),
    );
}

#[test]
fn registration_refused() {
    let server = protected(|request, reply, origin| {
        let registers = request.path == "/register";
        if registers {
            reply.full(
                403,
                "content-type: application/json\r\n",
                r#"{"error":"access_denied","error_description":"not for you"}"#,
            );
        }
        registers || metadata(request, reply, origin)
    });
    let port = free_port().to_string();
    Stage::new(&[&server.url("/mcp"), &port]).says(
        "sign-in",
        &format!("registering a client was refused: access_denied (not for you) (register a client with its operator with the redirect URI http://localhost:{port}/oauth/callback, and pass it with --static-oauth-client-info '{{\"client_id\":\"…\"}}')"),
    );
}

#[test]
fn port_taken() {
    let server = protected(metadata);
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port().to_string();
    Stage::new(&[&server.url("/mcp"), &port]).says(
        "sign-in",
        &format!("callback port {port} is in use by another program (close that program, or name another port after the server's address)"),
    );
}

/// With this home it works, and a sentence on stderr says what it lacks.
fn works_without_a_store(home: &Arc<TempDir>, change: impl Fn(Start) -> Start, why: &str) {
    let server = protected(|request, reply, _| {
        if request.path == "/token" {
            reply.json(r#"{"access_token":"t","token_type":"Bearer","expires_in":3000}"#);
            return true;
        }
        let signed_in = request.header("authorization") == Some("Bearer t");
        signed_in && (listed(request, reply) || ordinary(request, reply))
    });
    let (url, token) = (server.url("/mcp"), server.url("/token"));
    let args = [
        &*url,
        "--client-credentials",
        "--token-endpoint",
        &token,
        "--static-oauth-client-info",
        r#"{"client_id":"c","client_secret":"s"}"#,
    ];
    let sentence = |stderr: &str| {
        let (_, rest) = stderr
            .split_once("cannot write \"")
            .unwrap_or_else(|| panic!("{stderr}"));
        let (path, rest) = rest.split_once("\": ").unwrap();
        let store = home.0.join(".mcp-auth");
        assert!(path.starts_with(store.to_str().unwrap()), "{path}");
        let expected = format!(
            "{why}; the sign-in is kept in memory and ends with this process\n    \
             hint: set MCP_REMOTE_CONFIG_DIR to a directory that can be written\n"
        );
        assert!(rest.starts_with(&expected), "{stderr}");
        assert_eq!(stderr.matches("cannot write").count(), 1, "{stderr}");
    };
    let mut bridge = change(Start::bridge(&args).home(home)).go();
    bridge.handshake();
    bridge.finish();
    sentence(&bridge.stderr());
    let mut doctor = change(Start::client(&args).home(home)).go();
    doctor.close_stdin();
    assert!(doctor.wait_exit().success(), "{}", doctor.stderr());
    sentence(&doctor.stderr());
    let warned = doctor.rest_raw().join("\n");
    let expected = "warning            the tokens cannot be stored, and the next start needs a new sign-in (set MCP_REMOTE_CONFIG_DIR to a writable directory)";
    assert!(warned.contains(expected), "{warned}");
    // The cure.
    let store = TempDir::new();
    let bridge = change(Start::bridge(&args).home(home))
        .env("MCP_REMOTE_CONFIG_DIR", store.0.join("s").to_str().unwrap());
    #[cfg(unix)]
    open_to_all(&store.0);
    let mut bridge = bridge.go();
    bridge.handshake();
    bridge.finish();
    assert!(
        !bridge.stderr().contains("cannot write"),
        "{}",
        bridge.stderr()
    );
}

#[cfg(unix)]
fn set_mode(path: &std::path::Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[cfg(unix)]
fn open_to_all(path: &std::path::Path) {
    set_mode(path, 0o777);
}

#[cfg(unix)]
#[test]
fn read_only_home() {
    let home = Arc::new(TempDir::new());
    set_mode(&home.0, 0o555);
    works_without_a_store(&home, Start::unprivileged, "permission denied");
}

#[test]
fn a_home_that_is_none() {
    // Nothing can be made below a file, not even by root.
    let home = Arc::new(TempDir::new());
    std::fs::write(home.0.join(".mcp-auth"), "").unwrap();
    works_without_a_store(&home, |start| start, "a part of the path is no directory");
}
