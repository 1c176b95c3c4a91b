//! What this program is made of: licences, sources and what must not be part of it, as `.cargo/deny.toml` says.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn text(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The strings of one list of the file.
fn listed(section: &str, name: &str) -> Vec<String> {
    let rules = text(".cargo/deny.toml");
    let section = rules.split(&format!("[{section}]\n")).nth(1).unwrap();
    let list = section.split(&format!("\n{name} = [")).nth(1).unwrap();
    let list = list.split("\n]").next().unwrap().split(']').next().unwrap();
    let words = list.lines().flat_map(|line| {
        let line = line.split('#').next().unwrap();
        line.split('"').skip(1).step_by(2).map(str::to_owned)
    });
    words.collect()
}

/// Only Cargo.lock can say it, and `cargo update` would undo it unseen.
#[test]
fn the_tables_of_all_scripts_are_left_out() {
    let lock = text("Cargo.lock").replace("\r\n", "\n");
    assert!(
        lock.contains("name = \"idna_adapter\"\nversion = \"1.0."),
        "cargo update -p idna_adapter --precise 1.0.0"
    );
}

/// The packages that are compiled on this machine; all of them are here, because the tests were.
fn packages() -> Vec<Value> {
    let rustc = Command::new("rustc").arg("-vV").output().unwrap();
    let version = String::from_utf8(rustc.stdout).unwrap();
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap();
    let output = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(["--filter-platform", host])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

#[test]
fn every_package_has_a_licence_that_is_allowed() {
    let allowed = listed("licenses", "allow");
    for package in packages() {
        let license = package["license"]
            .as_str()
            .unwrap_or("none")
            .replace('/', " OR ");
        let fits = license.split(" AND ").all(|part| {
            let mut choices = part.trim_matches(['(', ')']).split(" OR ");
            choices.any(|one| {
                allowed
                    .iter()
                    .any(|allowed| allowed == one.trim_matches(['(', ')']))
            })
        });
        assert!(fits, "{}: {license}", package["name"]);
    }
}

#[test]
fn every_package_comes_from_the_public_registry_with_its_checksum_and_none_is_banned() {
    let lock = text("Cargo.lock");
    let banned = listed("bans", "deny");
    assert!(
        banned.iter().any(|name| name == "openssl-sys"),
        "{banned:?}"
    );
    for package in lock.split("[[package]]").skip(1) {
        let field = |name: &str| {
            let line = package
                .lines()
                .find_map(|line| line.strip_prefix(&format!("{name} = ")));
            line.map(|value| value.trim_matches('"').to_owned())
        };
        let name = field("name").unwrap();
        assert!(!banned.contains(&name), "{name} is banned");
        if name == "mcp-remote" {
            continue;
        }
        let source = field("source").unwrap_or_default();
        assert_eq!(
            source, "registry+https://github.com/rust-lang/crates.io-index",
            "{name}"
        );
        assert!(
            field("checksum").is_some_and(|sum| sum.len() == 64),
            "{name}"
        );
    }
}
