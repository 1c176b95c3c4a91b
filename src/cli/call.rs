//! `mcp-remote-client URL --call TOOL …`: one request from a shell or a script, its result on stdout.
//!
//! - stdout gets the result and nothing else: a result of text only as that text, a single blob as its bytes
//!   unless stdout is a terminal, anything else as the received JSON; with `--json` always that JSON, byte for byte.
//! - Progress, the server's log lines and failures go to stderr.
//! - Exit code 1: this machine, the network or the sign-in failed. 2: the server or the tool returned an error.
//! - Arguments reach the server unchanged.
//!
//! Flags: `--call`, `--read`, `--prompt`, `--list-tools`.
//! Spec: MCP 2025-11-25 server/tools, server/resources, server/prompts, server/utilities/pagination.
//! Not done here: sampling, elicitation and roots; a server that requests them gets an error.

use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use serde_json::value::RawValue;

use super::args::Request;
use super::conversation::{Conversation, Failed, Options, Seen};
use crate::blocking::Blocking;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::jsonrpc::quoted;
use crate::log::{Level, Log, clean};

/// Exit code: the tool reported an error, or the server returned one.
const SERVER_ERROR: u8 = 2;
/// How long a user has for a sign-in.
const SIGN_IN_TIMEOUT: Duration = Duration::from_secs(600);

/// Sends one request and prints its result.
///
/// # Errors
/// If the arguments cannot be read.
pub fn run(mut config: Config, request: Request, json: bool, log: &Arc<Log>) -> Result<ExitCode> {
    let (method, params) = method_and_params(&request)?;
    // Without a terminal the user cannot see the address to sign in at.
    let has_user = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if has_user {
        config.oauth.auth_timeout = config.oauth.auth_timeout.max(SIGN_IN_TIMEOUT);
    }
    let options = Options {
        person: has_user,
        signals: true,
    };
    let asked = Conversation::start(config, Arc::clone(log), &options).and_then(|mut session| {
        let result = ask(&mut session, &request, method, &params, log);
        session.close();
        result
    });
    let result = match asked {
        Ok(result) => result,
        Err(failed) => {
            log.say(Level::Error, &failed.what);
            let code = if failed.by_server { SERVER_ERROR } else { 1 };
            return Ok(ExitCode::from(code));
        }
    };
    let is_error = matches!(request, Request::Call(..)) && is_tool_error(&result);
    // A closed stdout (`| head`) is not an error.
    Blocking(std::io::stdout())
        .write_all(&output(&request, &result, json))
        .ok();
    Ok(ExitCode::from(if is_error { SERVER_ERROR } else { 0 }))
}

/// The method and its parameters as JSON.
fn method_and_params(request: &Request) -> Result<(&'static str, String)> {
    Ok(match request {
        Request::Call(tool, arguments) => {
            let arguments = arguments_of("--call", arguments.as_deref())?;
            let name = quoted(tool);
            let meta = r#""_meta":{"progressToken":1}"#;
            (
                "tools/call",
                format!(r#"{{"name":{name},"arguments":{arguments},{meta}}}"#),
            )
        }
        Request::Prompt(prompt, arguments) => {
            let arguments = arguments_of("--prompt", arguments.as_deref())?;
            check_strings(&arguments)?;
            let name = quoted(prompt);
            (
                "prompts/get",
                format!(r#"{{"name":{name},"arguments":{arguments}}}"#),
            )
        }
        Request::Read(uri) => ("resources/read", format!(r#"{{"uri":{}}}"#, quoted(uri))),
        Request::ListTools => ("tools/list", "{}".to_owned()),
    })
}

/// The arguments as one line of JSON: given as text, as `@file`, or as `-` for stdin.
fn arguments_of(flag: &str, typed: Option<&str>) -> Result<String> {
    let (text, place) = match typed {
        None => return Ok("{}".to_owned()),
        Some("-") => {
            let mut text = String::new();
            let read = Blocking(std::io::stdin()).read_to_string(&mut text);
            read.map_err(|e| unreadable(flag, "stdin", &e))?;
            (text, " from stdin".to_owned())
        }
        Some(typed) => match typed.strip_prefix('@') {
            Some(path) => {
                let place = format!("\"{}\"", clean(path, 200));
                let text = std::fs::read_to_string(path);
                let text = text.map_err(|e| unreadable(flag, &place, &e))?;
                (text, format!(" from {place}"))
            }
            None => (typed.to_owned(), String::new()),
        },
    };
    let refused = |why: String| {
        let what = format!("the arguments of {flag}{place} are {why}");
        Error::new(Kind::Usage, what).with_hint(format!("{flag} NAME '{{\"key\":\"value\"}}'"))
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text).trim();
    if text.is_empty() {
        return Ok("{}".to_owned());
    }
    // The error does not repeat the text, which may hold secrets.
    serde_json::from_str::<&RawValue>(text).map_err(|e| {
        refused(format!(
            "not valid JSON (line {}, column {})",
            e.line(),
            e.column()
        ))
    })?;
    if !text.starts_with('{') {
        return Err(refused("not a JSON object".to_owned()));
    }
    // A line break in JSON is white space; in the stdio transport it would end the message.
    Ok(text.replace(['\r', '\n'], " "))
}

fn unreadable(flag: &str, place: &str, error: &std::io::Error) -> Error {
    let why = super::config::plain(error);
    Error::new(
        Kind::Usage,
        format!("cannot read the arguments of {flag} from {place}: {why}"),
    )
}

/// Checks that the arguments of a prompt are strings.
fn check_strings(arguments: &str) -> Result<()> {
    let object: serde_json::Map<String, Value> =
        serde_json::from_str(arguments).unwrap_or_default();
    match object.iter().find(|(_, value)| !value.is_string()) {
        None => Ok(()),
        Some((name, _)) => {
            let name = clean(name, 100);
            let what = format!("argument \"{name}\" of --prompt must be a string");
            Err(Error::new(Kind::Usage, what))
        }
    }
}

fn ask(
    session: &mut Conversation,
    request: &Request,
    method: &str,
    params: &str,
    log: &Log,
) -> std::result::Result<Vec<Box<RawValue>>, Failed> {
    let watch = &mut |seen: Seen| match seen {
        Seen::Progress(text) | Seen::Said(text) => log.say(Level::Info, &text),
        Seen::Refused(method) => {
            let text =
                format!("the server requested {method}, which mcp-remote-client does not support");
            log.say(Level::Warn, &text);
        }
        Seen::Found(_) | Seen::Nothing => {}
    };
    session.initialize(watch)?;
    match request {
        Request::ListTools => session.list("tools", watch),
        Request::Call(..) | Request::Read(_) | Request::Prompt(..) => {
            Ok(vec![session.ask(method, params, watch)?])
        }
    }
}

fn is_tool_error(result: &[Box<RawValue>]) -> bool {
    let result = result.first().map_or("null", |result| result.get());
    serde_json::from_str::<Value>(result).unwrap_or_default()["isError"] == true
}

/// The bytes to print.
fn output(request: &Request, result: &[Box<RawValue>], json: bool) -> Vec<u8> {
    let is_terminal = std::io::stdout().is_terminal();
    let raw = match request {
        Request::ListTools => {
            let tools: Vec<&str> = result.iter().map(|tool| tool.get()).collect();
            format!(r#"{{"tools":[{}]}}"#, tools.join(","))
        }
        Request::Call(..) | Request::Read(_) | Request::Prompt(..) => result
            .first()
            .map_or("null", |result| result.get())
            .to_owned(),
    };
    let text = if json {
        None
    } else {
        let result = serde_json::from_str(&raw).unwrap_or_default();
        plain(request, &result, is_terminal)
    };
    match text {
        Some(Plain::Bytes(bytes)) => bytes,
        Some(Plain::Text(text)) => {
            let mut text = if is_terminal {
                printable_text(&text)
            } else {
                text
            };
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            text.into_bytes()
        }
        None => format!("{raw}\n").into_bytes(),
    }
}

/// A result that is printed without JSON.
#[derive(Debug, PartialEq)]
enum Plain {
    Text(String),
    Bytes(Vec<u8>),
}

/// The text of a result of text only, or the bytes of a single blob.
fn plain(request: &Request, result: &Value, is_terminal: bool) -> Option<Plain> {
    let items = |name: &str| result[name].as_array().filter(|items| !items.is_empty());
    let texts = |items: Vec<Option<&str>>| {
        let texts: Option<Vec<&str>> = items.into_iter().collect();
        texts.map(|texts| Plain::Text(texts.join("\n")))
    };
    let text_of = |item: &Value| {
        let text = item["text"].as_str().filter(|_| item["type"] == "text");
        text.map(str::to_owned)
    };
    match request {
        Request::Call(..) => {
            let owned: Vec<Option<String>> = items("content")?.iter().map(text_of).collect();
            texts(owned.iter().map(Option::as_deref).collect())
        }
        Request::Read(_) => match items("contents")?.as_slice() {
            [only] if only["blob"].is_string() && !is_terminal => STANDARD
                .decode(only["blob"].as_str()?)
                .ok()
                .map(Plain::Bytes),
            contents => texts(contents.iter().map(|item| item["text"].as_str()).collect()),
        },
        Request::Prompt(..) => match items("messages")?.as_slice() {
            [only] => text_of(&only["content"]).map(Plain::Text),
            _ => None,
        },
        Request::ListTools => {
            let tools = result["tools"].as_array()?;
            Some(Plain::Text(tools.iter().map(tool_text).collect()))
        }
    }
}

/// A tool as text: its name, description and arguments.
fn tool_text(tool: &Value) -> String {
    let mut text = format!("{}\n", clean(tool["name"].as_str().unwrap_or("?"), 200));
    let described = tool["description"].as_str().or(tool["title"].as_str());
    if let Some(line) = described.and_then(|text| text.trim().lines().next()) {
        text.push_str(&format!("  {}\n", clean(line, 300)));
    }
    let schema = &tool["inputSchema"];
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let argument = |(name, schema): (&String, &Value)| {
        let kind = schema["type"].as_str().unwrap_or("any");
        let optional = if required.contains(&name.as_str()) {
            ""
        } else {
            ", optional"
        };
        format!("{} ({}{optional})", clean(name, 100), clean(kind, 40))
    };
    let arguments: Vec<String> = schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(argument)
        .collect();
    if !arguments.is_empty() {
        text.push_str(&format!("  arguments: {}\n", arguments.join(", ")));
    }
    text
}

/// Text for a terminal, without control characters except tabs and line breaks.
fn printable_text(text: &str) -> String {
    text.lines()
        .map(|line| {
            format!(
                "{}\n",
                line.split('\t')
                    .map(printable)
                    .collect::<Vec<_>>()
                    .join("\t")
            )
        })
        .collect()
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}
