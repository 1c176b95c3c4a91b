//! A demonstration: an MCP session through the bridge, against a small real server on loopback.
//!
//! It plays the client: it starts [`server`] in a thread and the bridge as a child process, writes JSON-RPC lines to
//! the [`bridge`], prints what happens, and ends with a failure if any answer is not what the server means to say.
//! `scripts/demo` builds and runs it. Arguments, if any, are the command to run in place of the bridge built beside it.

mod bridge;
mod server;

use std::ffi::{OsStr, OsString};
use std::process::{ExitCode, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use bridge::{Bridge, PATIENCE};

fn main() -> ExitCode {
    match run() {
        Ok(()) => {
            println!("\nEvery answer was right.");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("\nThe demonstration failed: {problem}.");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let server = server::start().map_err(|e| format!("cannot listen on loopback: {e}"))?;
    let url = format!("http://{}/mcp", server.address);
    println!("server    an MCP server of the demonstration, at {url}");

    let mut command: Vec<OsString> = std::env::args_os().skip(1).collect();
    if command.is_empty() {
        command = bridge::beside_us()?;
    }
    println!(
        "bridge    {} {url}",
        command.join(OsStr::new(" ")).display()
    );
    let mut bridge = Bridge::start(&command, &url, Stdio::inherit())?;

    say(">", "initialize");
    let answer = bridge.request(json!({"id": 1, "method": "initialize", "params": {
        "protocolVersion": server::PROTOCOL,
        "capabilities": {},
        "clientInfo": {"name": "demo", "version": "1"},
    }}))?;
    expect(&answer["protocolVersion"], &json!(server::PROTOCOL))?;
    expect(&answer["serverInfo"]["name"], &json!(server::NAME))?;
    say(
        "<",
        &format!("server \"{}\", protocol {}", server::NAME, server::PROTOCOL),
    );
    bridge.send(json!({"method": "notifications/initialized"}))?;

    say(">", "tools/list");
    let answer = bridge.request(json!({"id": "list", "method": "tools/list"}))?;
    expect(&answer["tools"][0]["name"], &json!("add"))?;
    expect(&answer["tools"][1]["name"], &json!("count"))?;
    for tool in answer["tools"].as_array().into_iter().flatten() {
        say(
            "<",
            &format!("tool {}: {}", tool["name"], tool["description"]),
        );
    }

    say(">", "tools/call add 2 and 40");
    let answer = bridge.request(json!({"id": 3, "method": "tools/call", "params": {
        "name": "add", "arguments": {"a": 2, "b": 40},
    }}))?;
    expect(&answer["content"][0]["text"], &json!("42"))?;
    say("<", &format!("result {}", answer["content"][0]["text"]));

    say(">", "tools/call count to 3, asking for progress");
    bridge.send(json!({"id": 4, "method": "tools/call", "params": {
        "name": "count", "arguments": {"to": 3}, "_meta": {"progressToken": "steps"},
    }}))?;
    let began = Instant::now();
    for step in 1..=3 {
        let message = bridge.receive()?;
        expect(&message["method"], &json!("notifications/progress"))?;
        expect(&message["params"]["progressToken"], &json!("steps"))?;
        expect(&message["params"]["progress"], &json!(step))?;
        let elapsed = began.elapsed().as_millis();
        say("<", &format!("progress {step} of 3 after {elapsed} ms"));
    }
    let answer = bridge.receive()?;
    expect(&answer["id"], &json!(4))?;
    expect(
        &answer["result"]["content"][0]["text"],
        &json!("counted to 3"),
    )?;
    say(
        "<",
        &format!("result {}", answer["result"]["content"][0]["text"]),
    );

    let status = bridge.finish()?;
    println!("bridge    {status}");
    if !status.success() {
        return Err("the bridge did not end well".to_owned());
    }
    server
        .ended
        .recv_timeout(PATIENCE)
        .map_err(|_| "the bridge left without ending its session at the server".to_owned())?;
    println!("server    the session was ended");
    Ok(())
}

fn say(direction: &str, text: &str) {
    println!("client  {direction} {text}");
}

fn expect(found: &Value, wanted: &Value) -> Result<(), String> {
    if found == wanted {
        return Ok(());
    }
    Err(format!("expected {wanted}, got {found}"))
}
