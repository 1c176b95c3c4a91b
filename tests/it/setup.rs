//! mcp-remote-client --setup: the block on stdout, the client's own command, its file, entries made for npm.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::TempDir;

const URL: &str = "https://mcp.example.com/mcp";

struct Ran {
    ok: bool,
    stdout: String,
    stderr: String,
}

fn run(home: &TempDir, args: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_mcp-remote-client"))
        .args(args)
        .env_clear()
        .env("HOME", &home.0)
        .env("PATH", home.0.join("bin"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    let ok = output.status.success();
    Ran { ok, stdout, stderr }
}

/// The program beside the one under test, as it stands in a block.
fn bridge() -> String {
    let path = Path::new(env!("CARGO_BIN_EXE_mcp-remote"));
    path.canonicalize().unwrap().to_str().unwrap().to_owned()
}

/// A home directory with fake programs in its PATH; each appends its arguments to a file of its own name.
#[cfg(unix)]
fn with_programs(programs: &[&str], exit: u8) -> TempDir {
    use std::os::unix::fs::PermissionsExt;
    let home = TempDir::new();
    for program in programs {
        let script = format!(
            "#!/bin/sh\necho \"output of $0\"\nfor word; do echo \"$word\" >> \"$HOME/{program}\"; done\nexit {exit}\n"
        );
        let path = in_home(&home, &format!("bin/{program}"), &script);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    home
}

fn in_home(home: &TempDir, path: &str, text: &str) -> PathBuf {
    let path = home.0.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn who_puts_secrets_into_arguments_is_named() {
    let home = TempDir::new();
    let header = "Authorization: Bearer ${EXAMPLE_TOKEN}";
    for client in [
        "claude-desktop",
        "claude-code",
        "cursor",
        "vscode",
        "windsurf",
        "codex",
        "gemini",
        "zed",
        "cline",
        "goose",
        "qwen",
        "kiro",
        "lm-studio",
        "amp",
        "droid",
        "auggie",
        "roo",
        "json",
    ] {
        let said = run(&home, &["--setup", client, URL, "--header", header]).stderr;
        let is_told = said.contains("puts the value of EXAMPLE_TOKEN into the arguments itself");
        assert_eq!(
            is_told,
            matches!(client, "claude-code" | "gemini" | "qwen"),
            "{said}"
        );
        let said = run(&home, &["--setup", client, URL]).stderr;
        assert!(!said.contains("arguments"), "{said}");
    }
}

#[test]
fn each_client_is_shown_its_own_block() {
    let home = TempDir::new();
    let args = json!([URL, "--header", "Authorization: Bearer ${EXAMPLE_TOKEN}"]);
    for (client, container, more) in [
        (
            "claude-desktop",
            "mcpServers",
            json!({"env": {"EXAMPLE_TOKEN": "put the value here"}}),
        ),
        (
            "claude-code",
            "mcpServers",
            json!({"type": "stdio", "env": {"EXAMPLE_TOKEN": "${EXAMPLE_TOKEN}"}}),
        ),
        (
            "cursor",
            "mcpServers",
            json!({"env": {"EXAMPLE_TOKEN": "${env:EXAMPLE_TOKEN}"}}),
        ),
        (
            "vscode",
            "servers",
            json!({"type": "stdio", "env": {"EXAMPLE_TOKEN": "${input:example-token}"}}),
        ),
        (
            "windsurf",
            "mcpServers",
            json!({"env": {"EXAMPLE_TOKEN": "${env:EXAMPLE_TOKEN}"}}),
        ),
        (
            "gemini",
            "mcpServers",
            json!({"env": {"EXAMPLE_TOKEN": "${EXAMPLE_TOKEN}"}}),
        ),
        ("zed", "context_servers", json!({})),
        (
            "copilot",
            "mcpServers",
            json!({"type": "stdio", "env": {"EXAMPLE_TOKEN": "${EXAMPLE_TOKEN}"}, "tools": ["*"]}),
        ),
        (
            "cline",
            "mcpServers",
            json!({"env": {"EXAMPLE_TOKEN": "put the value here"}}),
        ),
    ] {
        let mut entry = json!({"command": bridge(), "args": args});
        entry
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let ran = run(
            &home,
            &[
                "--setup",
                client,
                URL,
                "--header",
                "Authorization: Bearer hunter2",
            ],
        );
        let shown: Value =
            serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {}", ran.stdout));
        let mut expected = json!({container: {"example": entry}});
        if client == "vscode" {
            let what = "Value of EXAMPLE_TOKEN (mcp-remote)";
            expected["inputs"] = json!([{
                "type": "promptString", "id": "example-token", "description": what, "password": true
            }]);
        }
        assert_eq!(shown, expected, "{client}");
        assert!(
            !ran.stderr.contains("hunter2") && ran.stderr.contains("EXAMPLE_TOKEN"),
            "{}",
            ran.stderr
        );
    }
    let ran = run(
        &home,
        &[
            "--setup",
            "codex",
            URL,
            "--header",
            "Authorization: Bearer hunter2",
        ],
    );
    let bridge = bridge();
    assert_eq!(
        ran.stdout,
        format!(
            "[mcp_servers.example]\ncommand = \"{bridge}\"\nargs = [\"{URL}\", \"--header\", \"Authorization: Bearer ${{EXAMPLE_TOKEN}}\"]\nenv_vars = [\"EXAMPLE_TOKEN\"]\n"
        )
    );
    let ran = run(
        &home,
        &[
            "--setup",
            "goose",
            URL,
            "--name",
            "a",
            "--header",
            "X-Key: hunter2",
        ],
    );
    assert_eq!(
        ran.stdout,
        format!(
            "extensions:\n  a:\n    name: \"a\"\n    type: stdio\n    enabled: true\n    cmd: \"{bridge}\"\n    args:\n      - \"{URL}\"\n      - \"--header\"\n      - \"X-Key: ${{A_X_KEY}}\"\n    env_keys:\n      - \"A_X_KEY\"\n    timeout: 300\n"
        )
    );
    assert!(
        names(&home.0).is_empty(),
        "nothing is written without --write"
    );
}

#[test]
fn a_client_whose_command_is_a_list_gets_one() {
    for (client, path) in [
        ("opencode", ".config/opencode/opencode.jsonc"),
        ("kilo", ".config/kilo/kilo.jsonc"),
    ] {
        let home = TempDir::new();
        let old = "{\n  \"model\": \"m\", // mine\n  \"mcp\": {\n    \"example\": {\"type\": \"local\", \"command\": [\"npx\", \"-y\", \"mcp-remote\", \"u\"], \"enabled\": false},\n  },\n}\n";
        let path = in_home(&home, path, old);
        let ran = run(&home, &["--setup", client, URL, "--debug", "--write"]);
        assert!(ran.ok, "{}", ran.stderr);
        let new = fs::read_to_string(&path).unwrap();
        assert!(
            new.contains("\"model\": \"m\", // mine") && new.contains("\"enabled\": false"),
            "{new}"
        );
        let block: Value = serde_json::from_str(&ran.stdout).unwrap();
        let entry = json!({"type": "local", "command": [bridge(), URL, "--debug"]});
        assert_eq!(block, json!({"mcp": {"example": entry}}), "{client}");
        assert!(new.contains("--debug") && !new.contains("npx"), "{new}");
        let again = run(&home, &["--setup", client, URL, "--debug", "--write"]);
        assert!(
            again.stderr.contains("has this entry already"),
            "{}",
            again.stderr
        );
    }
}

#[test]
fn the_tools_that_the_user_chose_stay() {
    let home = TempDir::new();
    let old = "{\"mcpServers\": {\"example\": {\"command\": \"x\", \"args\": [], \"tools\": [\"echo\"]}}}";
    let path = in_home(&home, ".copilot/mcp-config.json", old);
    let ran = run(&home, &["--setup", "copilot", URL, "--write"]);
    assert!(ran.ok, "{}", ran.stderr);
    let new: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let entry = json!({"type": "stdio", "command": bridge(), "args": [URL], "tools": ["echo"]});
    assert_eq!(new["mcpServers"]["example"], entry);
}

#[test]
fn any_other_client_gets_a_block_to_paste() {
    let home = TempDir::new();
    let ran = run(&home, &["--setup", "json", URL]);
    let block: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let args = &block["mcpServers"]["example"]["args"];
    assert_eq!((ran.ok, args), (true, &json!([URL])));
    let ran = run(&home, &["--setup", "warp", URL, "--write"]);
    let what = "mcp-remote-client: --setup json --write needs --file FILE\n";
    assert!(!ran.ok && ran.stderr.ends_with(what), "{}", ran.stderr);
}

#[test]
fn a_new_file_is_made_for_the_owner_only() {
    let home = TempDir::new();
    for (client, file) in [
        ("cursor", ".cursor/mcp.json"),
        ("claude", ".claude.json"),
        ("gemini", ".gemini/settings.json"),
        ("qwen", ".qwen/settings.json"),
        ("kiro", ".kiro/settings/mcp.json"),
        ("lm-studio", ".lmstudio/mcp.json"),
        ("amp", ".config/amp/settings.json"),
        ("droid", ".factory/mcp.json"),
        ("auggie", ".augment/settings.json"),
    ] {
        let ran = run(&home, &["--setup", client, URL, "--write"]);
        assert!(ran.ok, "{}", ran.stderr);
        let path = home.0.join(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), ran.stdout);
        let files = names(path.parent().unwrap());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
        // Again: it is there already.
        let ran = run(&home, &["--setup", client, URL, "--write"]);
        assert!(
            ran.stderr.contains("has this entry already"),
            "{}",
            ran.stderr
        );
        assert_eq!(names(path.parent().unwrap()), files);
    }
}

#[test]
fn an_entry_is_merged_and_the_old_file_is_kept() {
    let home = TempDir::new();
    let old = "// mine\n{\n\t\"theme\": \"dark\", // dark\n\t\"context_servers\": {\n\t\t\"other\": { \"command\": \"x\" }, // last\n\t},\n}\n";
    let path = in_home(&home, "settings.json", old);
    let file = path.to_str().unwrap();
    let ran = run(&home, &["--setup", "zed", URL, "--write", "--file", file]);
    assert!(
        ran.ok && ran.stderr.contains("\"example\" was added to"),
        "{}",
        ran.stderr
    );
    let entry = format!(
        "\n\t\t\"example\": {{\n\t\t\t\"command\": \"{}\",\n\t\t\t\"args\": [\n\t\t\t\t\"{URL}\"\n\t\t\t]\n\t\t}},",
        bridge()
    );
    let new = old.replace("// last", &format!("// last{entry}"));
    assert_eq!(fs::read_to_string(&path).unwrap(), new);
    assert_eq!(
        fs::read_to_string(home.0.join("settings.json.bak")).unwrap(),
        old
    );
    // The copy is always of the text before the last change.
    let ran = run(
        &home,
        &["--setup", "zed", URL, "--write", "--file", file, "--debug"],
    );
    assert!(
        ran.stderr.contains("\"example\" was updated in"),
        "{}",
        ran.stderr
    );
    assert_eq!(
        fs::read_to_string(home.0.join("settings.json.bak")).unwrap(),
        new
    );
    assert_eq!(names(&home.0), ["settings.json", "settings.json.bak"]);
}

#[test]
fn a_value_that_was_filled_in_stays() {
    let home = TempDir::new();
    let setup = [
        "--setup",
        "claude-desktop",
        URL,
        "--write",
        "--header",
        "Authorization: Bearer ${T}",
        "--file",
    ];
    let path = home.0.join("c.json");
    let with = |more: &[&str]| {
        run(
            &home,
            &[&setup[..], &[path.to_str().unwrap()], more].concat(),
        )
    };
    assert!(with(&[]).ok);
    let filled = fs::read_to_string(&path)
        .unwrap()
        .replace("put the value here", "hunter2");
    fs::write(&path, filled).unwrap();
    let ran = with(&["--debug"]);
    assert!(ran.ok && !ran.stdout.contains("hunter2") && !ran.stderr.contains("hunter2"));
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.contains("hunter2") && text.contains("--debug"),
        "{text}"
    );
}

#[test]
fn a_file_that_is_not_understood_is_not_touched() {
    let home = TempDir::new();
    for (client, text, what) in [
        (
            "claude-desktop",
            "{\n  \"mcpServers\": {\n",
            "line 3: a name in quotes should be here",
        ),
        (
            "claude-desktop",
            "{\n  // mine\n}",
            "line 2: a comment, which this client does not read",
        ),
        (
            "gemini",
            "{\n  // mine\n  \"mcpServers\": {},\n}",
            "line 4: a comma with nothing after it, which this client does not read",
        ),
    ] {
        let path = in_home(&home, "f", text);
        let file = path.to_str().unwrap();
        let ran = run(&home, &["--setup", client, URL, "--write", "--file", file]);
        assert!(!ran.ok);
        let expected = format!(
            "mcp-remote-client: {file}, {what}; nothing was changed\nhint: correct the line, or put the block in by hand\n"
        );
        assert_eq!(ran.stderr, expected);
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert_eq!(names(&home.0), ["f"]);
    }
    fs::write(home.0.join("f"), b"\xff").unwrap();
    for file in ["f", "."] {
        let path = home.0.join(file);
        let ran = run(
            &home,
            &[
                "--setup",
                "cursor",
                URL,
                "--write",
                "--file",
                path.to_str().unwrap(),
            ],
        );
        assert!(
            !ran.ok && ran.stderr.contains("nothing was changed"),
            "{}",
            ran.stderr
        );
    }
    assert_eq!(names(&home.0), ["f"]);
}

#[cfg(unix)]
#[test]
fn a_link_stays_a_link_and_a_mode_stays() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let home = TempDir::new();
    let target = in_home(&home, "dotfiles/claude.json", "{}\n");
    fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).unwrap();
    let link = home.0.join(".claude.json");
    symlink(&target, &link).unwrap();
    let ran = run(&home, &["--setup", "claude-code", URL, "--write"]);
    assert!(ran.ok, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("claude is not in PATH"),
        "{}",
        ran.stderr
    );
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::read_to_string(&target).unwrap().contains(URL));
    for name in ["claude.json", "claude.json.bak"] {
        let mode = fs::metadata(home.0.join("dotfiles").join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o640, "{name}");
    }
}

#[cfg(unix)]
#[test]
fn a_program_in_path_is_named_as_its_client_finds_it() {
    let home = TempDir::new();
    let link = home.0.join("mcp-remote");
    std::os::unix::fs::symlink(bridge(), &link).unwrap();
    for (client, command) in [("codex", "mcp-remote"), ("cursor", link.to_str().unwrap())] {
        let output = Command::new(env!("CARGO_BIN_EXE_mcp-remote-client"))
            .args(["--setup", client, URL, "--silent"])
            .env_clear()
            .env("HOME", &home.0)
            .env("PATH", &home.0)
            .output()
            .unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        assert!(shown.contains(&format!("\"{command}\"")), "{shown}");
        assert!(output.stderr.is_empty());
    }
}

#[cfg(unix)]
#[test]
fn a_client_that_is_installed_adds_the_server_itself() {
    let programs = ["claude", "codex", "gemini", "code"];
    let home = with_programs(&programs, 0);
    let bridge = bridge();
    let server = json!({
        "name": "example", "type": "stdio", "command": bridge, "args": [URL, "--header", "X-Region: eu west"]
    });
    let args = format!("{URL}\n--header\nX-Region: eu west\n");
    for (client, program, expected) in [
        (
            "claude-code",
            "claude",
            format!("mcp\nadd\n--scope\nuser\nexample\n--\n{bridge}\n{args}"),
        ),
        (
            "codex",
            "codex",
            format!("mcp\nadd\nexample\n--\n{bridge}\n{args}"),
        ),
        (
            "gemini",
            "gemini",
            format!("mcp\nadd\n--scope\nuser\nexample\n{bridge}\n--\n{args}"),
        ),
        ("vscode", "code", format!("--add-mcp\n{server}\n")),
    ] {
        let setup = ["--setup", client, URL, "--header", "X-Region: eu west"];
        let shown = run(&home, &setup).stdout;
        assert!(!home.0.join(program).exists(), "not without --write");
        let ran = run(&home, &[&setup[..], &["--write"]].concat());
        assert!(ran.ok && ran.stdout == shown, "{}", ran.stderr);
        assert_eq!(fs::read_to_string(home.0.join(program)).unwrap(), expected);
        for part in [
            format!("running {program} "),
            format!("output of {}", home.0.join("bin").join(program).display()),
            "\"example\" was added to".to_owned(),
        ] {
            assert!(ran.stderr.contains(&part), "{part}: {}", ran.stderr);
        }
    }
    assert_eq!(names(&home.0), ["bin", "claude", "code", "codex", "gemini"]);
    // A file that is named is not the client's own.
    let file = home.0.join("project.json");
    let file = file.to_str().unwrap();
    let ran = run(
        &home,
        &["--setup", "gemini", URL, "--write", "--file", file],
    );
    assert!(ran.ok && !ran.stderr.contains("running"), "{}", ran.stderr);
}

#[cfg(unix)]
#[test]
fn no_value_of_a_variable_is_an_argument_of_a_client() {
    let home = with_programs(&["claude", "codex", "gemini", "code"], 0);
    let add = |client| {
        let header = "Authorization: Bearer hunter2";
        run(
            &home,
            &["--setup", client, URL, "--write", "--header", header],
        )
    };
    assert!(add("claude-code").ok);
    let words = fs::read_to_string(home.0.join("claude")).unwrap();
    assert!(
        words.contains("\n-e\nEXAMPLE_TOKEN=${EXAMPLE_TOKEN}\n--\n") && !words.contains("hunter2"),
        "{words}"
    );
    // These commands cannot express variables, or write their values to the file.
    for (client, file) in [
        ("gemini", Some(".gemini/settings.json")),
        ("vscode", Some(".config/Code/User/mcp.json")),
        ("codex", None),
    ] {
        let ran = add(client);
        assert!(!ran.stderr.contains("running"), "{}", ran.stderr);
        assert_eq!(ran.ok, file.is_some());
        // macOS has another place for VS Code.
        if client == "gemini" || cfg!(target_os = "linux") {
            assert!(file.is_none_or(|file| home.0.join(file).exists()));
        }
    }
    // Gemini would write the values of variables that other entries name.
    let ran = run(&home, &["--setup", "gemini", URL, "--write", "--name", "b"]);
    assert!(ran.ok && !ran.stderr.contains("running"), "{}", ran.stderr);
}

#[cfg(unix)]
#[test]
fn an_entry_that_exists_keeps_its_other_members() {
    let home = with_programs(&["claude", "codex"], 0);
    let old = "{\n  \"mcpServers\": {\n    \"example\": {\n      \"type\": \"stdio\",\n      \"command\": \"x\",\n      \"args\": [],\n      \"timeout\": 5\n    }\n  }\n}\n";
    let path = in_home(&home, ".claude.json", old);
    let ran = run(&home, &["--setup", "claude", URL, "--write"]);
    assert!(
        ran.ok && ran.stderr.contains("was updated in"),
        "{}",
        ran.stderr
    );
    let args = format!("[\n        \"{URL}\"\n      ]");
    let new = old
        .replace("\"x\"", &format!("\"{}\"", bridge()))
        .replace("[]", &args);
    assert_eq!(fs::read_to_string(path).unwrap(), new);

    let old = "[mcp_servers.example]\ncommand = \"x\"\nstartup_timeout_sec = 5\n";
    let path = in_home(&home, ".codex/config.toml", old);
    let ran = run(&home, &["--setup", "codex", URL, "--write"]);
    assert!(
        !ran.ok && ran.stderr.contains("only JSON files are edited"),
        "{}",
        ran.stderr
    );
    assert_eq!(fs::read_to_string(path).unwrap(), old);
    assert_eq!(
        names(&home.0),
        [".claude.json", ".claude.json.bak", ".codex", "bin"]
    );
}

#[cfg(unix)]
#[test]
fn a_client_s_command_that_fails_is_reported() {
    let home = with_programs(&["claude"], 3);
    let ran = run(&home, &["--setup", "claude", URL, "--write"]);
    assert!(!ran.ok && ran.stdout.contains(URL));
    let program = home.0.join("bin/claude");
    let expected = format!(
        "mcp-remote-client: \"{}\" failed (exit status: 3)\nhint: put the printed block into the client's file by hand\n",
        program.display()
    );
    assert!(ran.stderr.ends_with(&expected), "{}", ran.stderr);
}

#[test]
fn toml_and_yaml_are_put_in_by_hand() {
    let home = TempDir::new();
    for (client, file, place) in [
        (
            "codex",
            "config.toml",
            "at its end; if [mcp_servers.example] exists, replace it",
        ),
        (
            "goose",
            "config.yaml",
            "below \"extensions:\"; if \"example\" exists there, replace it",
        ),
    ] {
        let path = home.0.join(file);
        let setup = [
            "--setup",
            client,
            URL,
            "--write",
            "--file",
            path.to_str().unwrap(),
        ];
        let ran = run(&home, &setup);
        assert!(!ran.ok && !path.exists());
        assert_eq!(
            ran.stderr,
            format!(
                "mcp-remote-client: {} was not changed: only JSON files are edited\nhint: put the printed block into it, {place}\n",
                path.display()
            )
        );
        fs::write(&path, ran.stdout).unwrap();
        let ran = run(&home, &setup);
        assert!(
            ran.ok && ran.stderr.contains("has this entry already"),
            "{}",
            ran.stderr
        );
    }
    let ran = run(&home, &["--setup", "codex", URL, "--write"]);
    assert!(
        ran.stderr.contains("codex is not in PATH"),
        "{}",
        ran.stderr
    );
}

#[test]
fn entries_for_npm_are_rewritten() {
    let home = TempDir::new();
    let bridge = bridge();
    let old = "{ \"mcpServers\": { // all\n  \"x\": { \"command\": \"npx\", \"args\": [\"-y\", \"mcp-remote@latest\", \"https://a.test\", \"9000\"], \"env\": {} } } }";
    let words = "\"npx\", \"args\": [\"-y\", \"mcp-remote@latest\", ";
    let path = in_home(&home, "a.json", old);
    let path = path.to_str().unwrap();
    let ran = run(&home, &["--setup", "--from-npx", path]);
    assert!(ran.ok && ran.stdout.is_empty(), "{}", ran.stderr);
    assert!(
        ran.stderr
            .contains("\"x\": npx -y mcp-remote@latest becomes"),
        "{}",
        ran.stderr
    );
    let new = old.replace(words, &format!("\"{bridge}\", \"args\": ["));
    assert_eq!(fs::read_to_string(path).unwrap(), new);
    assert_eq!(fs::read_to_string(format!("{path}.bak")).unwrap(), old);
    let ran = run(&home, &["--setup", "--from-npx", path]);
    assert!(
        ran.ok
            && ran
                .stderr
                .contains("no entry for npm's mcp-remote was changed"),
        "{}",
        ran.stderr
    );
    for (file, old, line, new) in [
        (
            "a.toml",
            "[mcp_servers.x] # c\ncommand = \"npx\"\nargs = [\"-y\", \"mcp-remote\", \"https://a.test\"]\n",
            3,
            format!("command = \"{bridge}\"\n"),
        ),
        (
            "a.yaml",
            "extensions:\n  x:\n    cmd: npx # c\n    args:\n    - mcp-remote\n    - https://a.test\n",
            5,
            format!("cmd: \"{bridge}\"\n"),
        ),
    ] {
        let path = in_home(&home, file, old);
        let path = path.to_str().unwrap();
        let ran = run(&home, &["--setup", "--from-npx", path]);
        assert!(!ran.ok && ran.stdout == new, "{}", ran.stdout);
        let expected = format!("npm's mcp-remote is in line {line}\n");
        assert!(ran.stderr.contains(&expected), "{}", ran.stderr);
        assert_eq!(fs::read_to_string(path).unwrap(), old);
        fs::write(
            path,
            old.replace("mcp-remote\"", "other\"")
                .replace("- mcp-remote", "- other"),
        )
        .unwrap();
        let ran = run(&home, &["--setup", "--from-npx", path]);
        assert!(
            ran.ok && ran.stderr.contains("no entry for npm's"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn what_is_missing_or_refused_is_said_in_one_line() {
    let home = TempDir::new();
    let clients = "hint: one of claude-desktop, claude-code, cursor, vscode, windsurf, codex, gemini, zed, cline, goose, qwen, kiro, lm-studio, amp, droid, auggie, roo, opencode, kilo, copilot, json\n";
    for (args, expected) in [
        (&["--setup"][..], format!("--setup needs the name of a client\n{clients}")),
        (&["--setup", URL], format!("unknown client \"{URL}\"\n{clients}")),
        (&["--setup", "codex"], "the address of the server is missing\nhint: mcp-remote-client --setup codex https://host/mcp\n".to_owned()),
        (&["--setup", "codex", "http://a.test"], "\"http://a.test/\" is not encrypted\nhint: use https, or --allow-http on a network you trust\n".to_owned()),
        (&["--setup", "codex", URL, "--name", "a b"], "--name must be up to 60 letters, digits, \"-\" and \"_\", not \"a b\"\n".to_owned()),
        (&[URL, "--write"], "--write can only be used with --setup\n".to_owned()),
        (&["--setup", "--from-npx", "/no/file"], "there is no file \"/no/file\"\n".to_owned()),
        (&["--setup", "codex", "--from-npx", "f"], "--from-npx takes a file and nothing else\nhint: mcp-remote-client --setup --from-npx FILE\n".to_owned()),
    ] {
        let ran = run(&home, args);
        assert!(!ran.ok && ran.stdout.is_empty(), "{args:?}");
        assert_eq!(ran.stderr, format!("mcp-remote-client: {expected}"), "{args:?}");
    }
}
