//! The rules of the code that a reader may rely on.

use std::path::{Path, PathBuf};

/// The only files that may touch sockets, files, clocks, threads and the environment.
const IO: &[&str] = &[
    "cli/mod.rs",
    "cli/config.rs",
    "cli/conversation.rs",
    "cli/config/client_info.rs",
    "cli/call.rs",
    "cli/doctor.rs",
    "cli/sessions.rs",
    "cli/setup/mod.rs",
    "cli/setup/add_command.rs",
    "cli/setup/file.rs",
    "cli/setup/program.rs",
    "blocking.rs",
    "connection.rs",
    "log.rs",
    "secret.rs",
    "oauth/browser.rs",
    "oauth/callback/mod.rs",
    "oauth/callback/http.rs",
    "oauth/callback/server.rs",
    "oauth/callback/sibling.rs",
    "store/atomic.rs",
    "store/files.rs",
    "store/lease.rs",
    "store/list.rs",
    "transport/mod.rs",
    "transport/stdio.rs",
    "transport/oauth_environment.rs",
    "transport/person.rs",
    "transport/event_loop.rs",
    "transport/http/worker.rs",
    "transport/net/resolver.rs",
    "transport/http/response.rs",
    "transport/http/exchange.rs",
    "transport/http/retry_after.rs",
    "transport/net/agent.rs",
    "transport/net/connector.rs",
    "transport/net/tls.rs",
];

const MARKS: &[&str] = &[
    "std::net::Tcp",
    "std::fs",
    "std::thread",
    "std::env::",
    "std::process::Command",
    "Instant::now",
    "SystemTime::now",
    "ureq::Agent",
    "tiny_http",
];

/// Compiled for tests only.
const TEST_ONLY: &[&str] = &[
    "tests.rs",
    "test_dir.rs",
    "crash.rs",
    "scripted_environment.rs",
    "random.rs",
];

/// Packages in Cargo.lock; more is more to trust.
const MOST_PACKAGES: usize = 130;

/// The source files: name below src, and the text without its tests.
fn sources() -> Vec<(String, String)> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.ends_with("bridge/tests") {
                continue;
            }
            if path.is_dir() {
                walk(&path, found);
            } else if path
                .file_name()
                .is_some_and(|name| !TEST_ONLY.iter().any(|only| name == *only))
            {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &mut found);
    found.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path
            .strip_prefix(&root)
            .unwrap()
            .to_str()
            .unwrap()
            .replace('\\', "/");
        (name, text.split("\nmod tests {").next().unwrap().to_owned())
    };
    found.into_iter().map(read).collect()
}

/// The panic hook belongs to the whole process, which is not the library's.
#[test]
fn only_the_programs_set_a_panic_hook() {
    for (name, text) in sources() {
        let (sets, calls) = ("panic::set_hook", "silence_tiny_http()");
        assert!(
            !text.contains(sets) || name == "oauth/callback/server.rs",
            "{name} sets a panic hook"
        );
        let calls = text.replace("fn silence_tiny_http()", "").contains(calls);
        assert!(!calls || name == "cli/mod.rs", "{name} calls it");
    }
}

#[test]
fn only_listed_files_do_io() {
    for (name, text) in sources() {
        let code: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        for mark in MARKS {
            let used = code.iter().any(|line| line.contains(mark));
            assert!(!used || IO.contains(&name.as_str()), "{name} uses {mark}");
        }
    }
    for name in IO {
        assert!(
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("src")
                .join(name)
                .exists(),
            "{name} is gone"
        );
    }
}

#[test]
fn the_bridge_depends_on_nothing_that_does_io() {
    const MAY: &[&str] = &[
        "bridge", "config", "error", "flow", "jsonrpc", "log", "mcp", "url",
    ];
    for (name, text) in sources()
        .iter()
        .filter(|(name, _)| name.starts_with("bridge/"))
    {
        for used in text.split("crate::").skip(1) {
            let module: String = used
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            // A type, which says what a sign-in is wanted for.
            let is_challenge = used.starts_with("oauth::challenge::");
            assert!(
                MAY.contains(&module.as_str()) || is_challenge,
                "{name} uses crate::{module}"
            );
        }
    }
}

#[test]
fn nothing_but_the_programs_uses_the_command_line() {
    for (name, text) in sources() {
        let outside = !name.starts_with("cli/") && !name.starts_with("bin/");
        assert!(
            !outside || !text.contains("crate::cli"),
            "{name} uses crate::cli"
        );
    }
}

#[test]
fn files_are_short_begin_with_what_they_are_and_do_not_panic() {
    for (name, text) in sources() {
        assert!(text.starts_with("//!"), "{name} does not say what it is");
        assert!(
            text.lines().count() <= 400,
            "{name} has {} lines",
            text.lines().count()
        );
        for (at, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for mark in [
                ".unwrap()",
                ".expect(",
                "panic!(",
                "unreachable!(",
                "todo!(",
                "dbg!(",
                "println!(",
            ] {
                assert!(!code.contains(mark), "{name}:{}: {mark}", at + 1);
            }
            let silent = code.contains("let _ =") || code.contains("let _=");
            assert!(
                !silent,
                "{name}:{}: an error is dropped without a reason",
                at + 1
            );
        }
        for word in ["utils", "helpers", "manager", "common"] {
            assert!(!name.contains(word), "{name} is no name");
        }
    }
}

#[test]
fn the_number_of_packages_stays_within_its_budget() {
    let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock")).unwrap();
    let packages = lock.matches("[[package]]").count();
    assert!(packages <= MOST_PACKAGES, "{packages} packages");
}
