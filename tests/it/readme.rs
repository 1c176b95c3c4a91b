//! The README: every command in it is run, every block parsed, every flag known.
//!
//! A command or block of a new kind fails until this file is taught what to do with it.

use std::path::Path;
use std::sync::Arc;

use mcp_remote::cli::args::parse;
use mcp_remote::cli::flags::{FLAGS, Program};
use serde_json::Value;

use crate::support::TempDir;
use crate::support::http::Server;
use crate::support::mcp::{result, server};
use crate::support::process::Start;

#[path = "../bench/table.rs"]
#[allow(dead_code, reason = "what the measurement itself prints")]
mod table;

/// The server of all examples.
const URL: &str = "https://mcp.example.com/mcp";

/// Commands that are run elsewhere: by `scripts/check`, or by whoever runs this test.
const ELSEWHERE: &[&str] = &[
    "curl -fsSL https://github.com/mcp-remote/mcp-remote/releases/latest/download/install.sh | sh",
    "rm ~/.local/bin/mcp-remote ~/.local/bin/mcp-remote-client",
    "rm ~/.local/share/man/man1/mcp-remote*.1",
    "scripts/demo",
    "scripts/check",
    "scripts/manual DIRECTORY",
    "scripts/bench",
    "scripts/build-static x86_64-unknown-linux-musl",
    "docker build -f scripts/Dockerfile -t mcp-remote .",
    "docker run -i --rm mcp-remote https://mcp.example.com/mcp",
    "cargo test --locked",
    "cargo install --locked --git https://github.com/mcp-remote/mcp-remote",
    "cargo binstall --git https://github.com/mcp-remote/mcp-remote mcp-remote",
    "cargo doc --open",
];

fn readme() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap()
}

/// The blocks between fences: their language and text.
fn blocks() -> Vec<(String, String)> {
    let readme = readme();
    let fenced = readme.split("\n```").skip(1).step_by(2);
    let block = |block: &str| {
        let (language, text) = block.split_once('\n').unwrap();
        (language.to_owned(), format!("{text}\n"))
    };
    fenced.map(block).collect()
}

/// The text in single backquotes outside of blocks.
fn spans() -> Vec<String> {
    let readme = readme();
    let prose: String = readme
        .split("\n```")
        .step_by(2)
        .collect::<Vec<_>>()
        .join("\n\n");
    let spans = prose.split('`').skip(1).step_by(2);
    spans
        .map(|span| span.replace("\\|", "|").replace('\n', " "))
        .collect()
}

/// Words as a shell makes them, as far as the README needs it.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in command.chars() {
        match (c, quote) {
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (' ', None) => words.push(String::new()),
            (c, _) => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn tools() -> Server {
    server(|request, reply| {
        let answer = match request.rpc().as_str() {
            "tools/list" => r#"{"tools":[{"name":"a"}]}"#,
            "tools/call" => r#"{"content":[{"type":"text","text":"3"}]}"#,
            "resources/read" => r#"{"contents":[{"uri":"file:///notes.txt","text":"a note"}]}"#,
            "prompts/get" => r#"{"messages":[]}"#,
            _ => return false,
        };
        reply.json(result(&request.id(), answer));
        true
    })
}

/// Runs one command of ours as it is written, with another address and a home of its own.
fn run(command: &str) {
    let home = Arc::new(TempDir::new());
    let config = home.0.join(".cursor/mcp.json");
    let npx = format!(
        r#"{{"mcpServers":{{"x":{{"command":"npx","args":["-y","mcp-remote@latest","{URL}"]}}}}}}"#
    );
    std::fs::create_dir(config.parent().unwrap()).unwrap();
    std::fs::write(&config, npx).unwrap();
    let words = words(command);
    let has = |flag: &str| words.iter().any(|word| word == flag);
    // What is about files connects to nothing.
    let local = ["--setup", "--list", "--status", "--logout"]
        .into_iter()
        .any(has);
    let server = (!local).then(tools);
    let word = |word: &String| {
        let word = word.replace('~', home.0.to_str().unwrap());
        match &server {
            Some(server) => word.replace(URL, &server.url("/mcp")),
            None => word,
        }
    };
    let args: Vec<String> = words.iter().skip(1).map(word).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    if words[0] == "mcp-remote" {
        let mut bridge = Start::bridge(&args)
            .home(&home)
            .env("EXAMPLE_TOKEN", "t")
            .go();
        bridge.handshake();
        bridge.finish();
        return;
    }
    let mut client = Start::client(&args)
        .home(&home)
        .env("EXAMPLE_TOKEN", "t")
        .go();
    client.close_stdin();
    let code = client.wait_exit().code();
    // Nobody is signed in in this home, which `--status` says with its exit code.
    let expected = if has("--status") { 3 } else { 0 };
    assert_eq!(code, Some(expected), "{command}: {}", client.stderr());
    let ours = std::fs::read_to_string(&config)
        .unwrap()
        .contains("/mcp-remote\"");
    assert_eq!(ours, has("--write") || has("--from-npx"), "{command}");
}

/// Every flag of a command must be known, and of this program.
fn check_flags(command: &str) {
    let words = words(command);
    let program = match words[0].as_str() {
        "mcp-remote" => Program::Proxy,
        "mcp-remote-client" => Program::Client,
        other => panic!("{other} is no program of ours"),
    };
    let args = words
        .iter()
        .skip(1)
        .filter(|word| *word != "…")
        .map(Into::into)
        .collect();
    let typed = parse(program, args).unwrap_or_else(|e| panic!("{command}: {e}"));
    assert!(typed.warnings.is_empty(), "{command}: {:?}", typed.warnings);
}

#[test]
fn the_readme_has_fewer_than_1500_words() {
    let words = readme().split_whitespace().count();
    assert!(words < 1500, "{words}");
}

/// One command, as it stands in the README.
fn command(command: &str) {
    let program = command.split(' ').next().unwrap();
    match program {
        "mcp-remote" | "mcp-remote-client" => {
            check_flags(command);
            // The others hold a word that stands for something.
            if command.contains(URL) || command.contains('~') || !command.contains("URL") {
                run(command);
            }
        }
        _ => assert!(
            ELSEWHERE.contains(&command),
            "teach tests/it/readme.rs what to do with: {command}"
        ),
    }
}

#[test]
fn every_command_works() {
    let sh = blocks()
        .into_iter()
        .filter(|(language, _)| language == "sh");
    for (_, text) in sh {
        text.lines()
            .filter(|line| !line.trim().is_empty())
            .for_each(command);
    }
    for span in spans() {
        let program = span.split(' ').next().unwrap();
        // `<URL>` and `[options]` are for people.
        let is_ours =
            program.starts_with("mcp-remote") && span.contains(' ') && !span.contains('<');
        if is_ours || program == "cargo" || program.starts_with("scripts/") {
            command(&span);
        }
    }
    for command in ELSEWHERE {
        assert!(
            readme().contains(command),
            "{command} is in the README no more"
        );
        let program = command.split(' ').next().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(program);
        let is_elsewhere = ["cargo", "docker", "curl", "rm"].contains(&program);
        assert!(is_elsewhere || script.exists(), "{program} is gone");
    }
}

#[test]
fn every_flag_that_is_named_exists() {
    for span in spans() {
        let name = span.split([' ', '=']).next().unwrap();
        // `--flag` stands for any.
        if name.starts_with("--") && name != "--flag" {
            assert!(FLAGS.iter().any(|flag| flag.name == name), "{span}");
        }
    }
}

#[test]
fn every_block_parses_and_every_entry_starts() {
    let mut entries = 0;
    for (language, text) in blocks() {
        match language.as_str() {
            "json" => {
                let block: Value =
                    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
                for entry in block["mcpServers"].as_object().unwrap().values() {
                    let args = entry["args"].as_array().unwrap().iter();
                    let args: Vec<String> = args.map(Value::to_string).collect();
                    command(&format!(
                        "{} {}",
                        entry["command"].as_str().unwrap(),
                        args.join(" ")
                    ));
                    entries += 1;
                }
            }
            "sh" | "text" => {}
            other => panic!("teach tests/it/readme.rs what to do with a block of \"{other}\""),
        }
    }
    assert!(entries > 0);
}

#[test]
fn the_comparison_is_the_run_that_is_kept() {
    let run = include_str!("../bench/run.json");
    let with_table = table::in_readme(&readme(), &serde_json::from_str(run).unwrap());
    assert_eq!(with_table.unwrap(), readme(), "SAVE=1 scripts/bench");
}
