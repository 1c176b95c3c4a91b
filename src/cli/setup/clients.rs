//! `CLIENTS`: each MCP client we write a configuration for: its file and format, and how it passes variables to servers. Pure.
//!
//! Sources, each client's own documentation as of November 2026:
//! - Claude Desktop: modelcontextprotocol.io/docs/develop/connect-local-servers. A server gets a few variables and those
//!   in `env`; nothing is replaced in their values.
//! - Claude Code: code.claude.com/docs/en/mcp. User scope is `mcpServers` in `~/.claude.json`; `${VAR}` is replaced in
//!   `command`, `args` and `env`; what is not set stays as it is written.
//! - Cursor: cursor.com/docs/mcp; `${env:NAME}` is replaced in `command`, `args`, `env`.
//! - VS Code: code.visualstudio.com/docs/agents/reference/mcp-configuration; `mcp.json` in the user profile; `type` is
//!   required; for secrets, `inputs` that VS Code asks for once and keeps, named as `${input:id}`.
//! - Windsurf: docs.windsurf.com/windsurf/cascade/mcp; `${env:NAME}` as in Cursor.
//! - Codex: developers.openai.com/codex/mcp; `env_vars` names what a server may see of the environment.
//! - Gemini CLI: geminicli.com/docs/tools/mcp-server and docs/reference/configuration; `$NAME` and `${NAME}` in every text of
//!   the file; what looks like a secret is not handed on otherwise.
//! - Zed: zed.dev/docs/ai/mcp; a server inherits the environment of Zed.
//! - Cline: docs.cline.bot/mcp/adding-and-configuring-servers; `env` as in Claude Desktop. Since version 4 the
//!   extension and the command line program share the file below `~/.cline`; before, it was in VS Code's storage.
//!   `CLINE_MCP_SETTINGS_PATH` names another file.
//! - Goose: goose-docs.ai/docs/guides/config-files and getting-started/using-extensions; `env_keys` names variables
//!   that are taken from the environment or the keyring.
//! - Qwen Code: qwenlm.github.io/qwen-code-docs, users/features/mcp; a fork of Gemini CLI.
//! - Kiro: kiro.dev/docs/mcp/configuration; variables are replaced only if the user has approved them.
//! - LM Studio: lmstudio.ai/docs/app/mcp; Amp: ampcode.com/manual; Factory droid: docs.factory.ai/cli/configuration/mcp;
//!   Auggie: docs.augmentcode.com/cli/integrations.
//! - Roo: docs.roocode.com/features/mcp; `${env:NAME}` as in Cursor.
//!
//! Not done here: files of one project (`.mcp.json`, `.cursor/mcp.json`, `.vscode/mcp.json`): `--file` names them.

use std::path::{Path, PathBuf};

use super::json::Dialect;

/// One MCP client.
#[derive(Debug)]
pub struct Client {
    /// Its name on the command line.
    pub id: &'static str,
    /// Other names on the command line.
    aliases: &'static [&'static str],
    /// Its name in messages.
    pub title: &'static str,
    /// The format of its file.
    pub format: Format,
    /// The member that holds the servers.
    pub container: &'static str,
    /// How a variable of the environment reaches a server.
    pub variables: Variables,
    /// Whether an entry has `"type": "stdio"`.
    pub has_type: bool,
    /// Whether it is started from a terminal and so has the shell's PATH.
    pub in_terminal: bool,
    /// The program whose `mcp add` command edits the client's file.
    pub program: Option<&'static str>,
    /// The files, the likeliest first, on Linux, macOS and Windows.
    files: [&'static [Place]; 3],
    /// A variable that names another place.
    pub moved_by: Option<MovedBy>,
    /// What the user does for the change to take effect.
    pub then: &'static str,
}

/// The format of a client's file. We edit JSON only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json(Dialect),
    Toml,
    Yaml,
}

/// How a variable of the environment reaches a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variables {
    /// Servers inherit it.
    Inherited,
    /// `env` has a reference to it: this text, the name, this text.
    Reference(&'static str, &'static str),
    /// `env` names it, and the client asks for its value and keeps it.
    Asked,
    /// The member with this name lists it.
    Named(&'static str),
    /// It does not: the user puts the value into `env`.
    Value,
}

/// A variable of the environment that names another place.
#[derive(Debug, Clone, Copy)]
pub enum MovedBy {
    /// The directory of the file.
    Directory(&'static str),
    /// The file.
    File(&'static str),
}

/// Where a file is.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// Below the home directory.
    Home(&'static str),
    /// Below the directory for settings: `~/.config`, `~/Library/Application Support`, `%APPDATA%`.
    Settings(&'static str),
}

/// An operating system, as far as it decides where files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// Linux and its like.
    Linux,
    /// macOS.
    Mac,
    /// Windows.
    Windows,
}

impl System {
    /// The one this program was built for.
    pub const THIS: System = if cfg!(windows) {
        System::Windows
    } else if cfg!(target_os = "macos") {
        System::Mac
    } else {
        System::Linux
    };
}

impl Client {
    /// The client with this id, title or alias; spaces and case do not matter.
    pub fn find(name: &str) -> Option<&'static Client> {
        let plain = |name: &str| name.to_lowercase().replace([' ', '-', '_'], "");
        let name = plain(name);
        CLIENTS.iter().find(|client| {
            let names = [client.id, client.title];
            let mut names = names.iter().chain(client.aliases);
            names.any(|known| plain(known) == name)
        })
    }

    /// Whether it replaces what looks like `${NAME}` in the arguments, too, before it starts a server.
    pub fn replaces_in_arguments(&self) -> bool {
        self.variables == PLAIN
    }

    /// The files it may have, the likeliest first; `variable` looks into the environment.
    pub fn files(
        &self,
        system: System,
        home: &Path,
        settings: &Path,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Vec<PathBuf> {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let directory = match self.moved_by {
            Some(MovedBy::File(name)) if set(name).is_some() => {
                return set(name).map(PathBuf::from).into_iter().collect();
            }
            Some(MovedBy::Directory(name)) => set(name),
            Some(MovedBy::File(_)) | None => None,
        };
        let places = match (self.files, system) {
            ([linux, _, _], System::Linux) => linux,
            ([_, mac, _], System::Mac) => mac,
            ([_, _, windows], System::Windows) => windows,
        };
        let path = |place: &Place| {
            let (base, below) = match place {
                Place::Home(below) => (home, below),
                Place::Settings(below) => (settings, below),
            };
            let name = below.rsplit('/').next().unwrap_or_default();
            match &directory {
                Some(directory) => Path::new(directory).join(name),
                None => below
                    .split('/')
                    .fold(base.to_owned(), |path, part| path.join(part)),
            }
        };
        places.iter().map(path).collect()
    }
}

use Place::{Home, Settings};

const ENV_COLON: Variables = Variables::Reference("${env:", "}");
const PLAIN: Variables = Variables::Reference("${", "}");

/// What most clients have in common.
const COMMON: Client = Client {
    id: "",
    aliases: &[],
    title: "",
    format: Format::Json(Dialect::Strict),
    container: "mcpServers",
    variables: Variables::Value,
    has_type: false,
    in_terminal: false,
    program: None,
    files: [&[]; 3],
    moved_by: None,
    then: "",
};

/// All of them.
pub const CLIENTS: &[Client] = &[
    Client {
        id: "claude-desktop",
        title: "Claude Desktop",
        files: [&[Settings("Claude/claude_desktop_config.json")]; 3],
        then: "quit Claude Desktop and start it again",
        ..COMMON
    },
    Client {
        id: "claude-code",
        aliases: &["claude"],
        title: "Claude Code",
        variables: PLAIN,
        has_type: true,
        in_terminal: true,
        program: Some("claude"),
        files: [&[Home(".claude.json")]; 3],
        moved_by: Some(MovedBy::Directory("CLAUDE_CONFIG_DIR")),
        then: "start claude again; /mcp shows the server",
        ..COMMON
    },
    Client {
        id: "cursor",
        title: "Cursor",
        format: Format::Json(Dialect::TrailingCommas),
        variables: ENV_COLON,
        files: [&[Home(".cursor/mcp.json")]; 3],
        then: "turn the server on in Cursor's settings, under MCP",
        ..COMMON
    },
    Client {
        id: "vscode",
        aliases: &["code"],
        title: "VS Code",
        format: Format::Json(Dialect::TrailingCommas),
        container: "servers",
        variables: Variables::Asked,
        has_type: true,
        program: Some("code"),
        files: [&[Settings("Code/User/mcp.json")]; 3],
        then: "run the command \"MCP: List Servers\" in VS Code and start the server",
        ..COMMON
    },
    Client {
        id: "windsurf",
        title: "Windsurf",
        format: Format::Json(Dialect::TrailingCommas),
        variables: ENV_COLON,
        files: [&[Home(".codeium/windsurf/mcp_config.json")]; 3],
        then: "press Refresh in Windsurf's list of MCP servers",
        ..COMMON
    },
    Client {
        id: "codex",
        aliases: &["codex-cli"],
        title: "Codex",
        format: Format::Toml,
        container: "mcp_servers",
        variables: Variables::Named("env_vars"),
        in_terminal: true,
        program: Some("codex"),
        files: [&[Home(".codex/config.toml")]; 3],
        moved_by: Some(MovedBy::Directory("CODEX_HOME")),
        then: "start codex again; /mcp shows the server",
        ..COMMON
    },
    Client {
        id: "gemini",
        title: "Gemini CLI",
        format: Format::Json(Dialect::Comments),
        variables: PLAIN,
        in_terminal: true,
        program: Some("gemini"),
        files: [&[Home(".gemini/settings.json")]; 3],
        then: "start gemini again; /mcp shows the server",
        ..COMMON
    },
    Client {
        id: "zed",
        title: "Zed",
        format: Format::Json(Dialect::TrailingCommas),
        container: "context_servers",
        variables: Variables::Inherited,
        files: [
            &[Settings("zed/settings.json")],
            &[Home(".config/zed/settings.json")],
            &[Settings("Zed/settings.json")],
        ],
        then: "Zed starts the server by itself",
        ..COMMON
    },
    Client {
        id: "cline",
        title: "Cline",
        files: [&[
            Home(".cline/data/settings/cline_mcp_settings.json"),
            Settings(
                "Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
            ),
        ]; 3],
        moved_by: Some(MovedBy::File("CLINE_MCP_SETTINGS_PATH")),
        then: "Cline starts the server by itself",
        ..COMMON
    },
    Client {
        id: "goose",
        title: "Goose",
        format: Format::Yaml,
        container: "extensions",
        variables: Variables::Named("env_keys"),
        in_terminal: true,
        files: [
            &[Settings("goose/config.yaml")],
            &[Home(".config/goose/config.yaml")],
            &[Settings("Block/goose/config/config.yaml")],
        ],
        then: "start a new goose session",
        ..COMMON
    },
    Client {
        id: "qwen",
        aliases: &["qwen-code"],
        title: "Qwen Code",
        format: Format::Json(Dialect::Comments),
        variables: PLAIN,
        in_terminal: true,
        files: [&[Home(".qwen/settings.json")]; 3],
        then: "start qwen again; /mcp shows the server",
        ..COMMON
    },
    Client {
        id: "kiro",
        title: "Kiro",
        files: [&[Home(".kiro/settings/mcp.json")]; 3],
        then: "Kiro starts the server by itself",
        ..COMMON
    },
    Client {
        id: "lm-studio",
        title: "LM Studio",
        files: [&[Home(".lmstudio/mcp.json")]; 3],
        then: "turn the server on in LM Studio's Program tab",
        ..COMMON
    },
    Client {
        id: "amp",
        title: "Amp",
        format: Format::Json(Dialect::Comments),
        container: "amp.mcpServers",
        in_terminal: true,
        files: [&[Home(".config/amp/settings.json")]; 3],
        then: "start amp again",
        ..COMMON
    },
    Client {
        id: "droid",
        aliases: &["factory"],
        title: "Factory droid",
        has_type: true,
        in_terminal: true,
        files: [&[Home(".factory/mcp.json")]; 3],
        then: "start droid again; /mcp shows the server",
        ..COMMON
    },
    Client {
        id: "auggie",
        title: "Auggie",
        in_terminal: true,
        files: [&[Home(".augment/settings.json")]; 3],
        then: "start auggie again",
        ..COMMON
    },
    Client {
        id: "roo",
        aliases: &["roo-code"],
        title: "Roo",
        variables: ENV_COLON,
        files: [&[Settings(
            "Code/User/globalStorage/rooveterinaryinc.roo-cline/settings/mcp_settings.json",
        )]; 3],
        then: "Roo starts the server by itself",
        ..COMMON
    },
    // Any other client that reads `mcpServers`, such as Warp.
    Client {
        id: "json",
        aliases: &["warp"],
        title: "The client",
        ..COMMON
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_has_one_name_and_its_places() {
        for (at, client) in CLIENTS.iter().enumerate() {
            assert!(
                CLIENTS
                    .iter()
                    .skip(at + 1)
                    .all(|other| other.id != client.id)
            );
            assert_eq!(Client::find(client.id).unwrap().id, client.id);
            assert_eq!(Client::find(client.title).unwrap().id, client.id);
        }
        assert!(Client::find("emacs").is_none());
        for (alias, id) in [
            ("claude", "claude-code"),
            ("codex-cli", "codex"),
            ("code", "vscode"),
        ] {
            assert_eq!(Client::find(alias).unwrap().id, id);
        }
        let file = |name: &str, system| {
            let client = Client::find(name).unwrap();
            let files = client.files(system, Path::new("/h"), Path::new("/s"), &|_| None);
            files
                .iter()
                .map(|file| file.display().to_string().replace('\\', "/"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        for (name, linux, mac, windows) in [
            (
                "claude-desktop",
                "/s/Claude/claude_desktop_config.json",
                "/s/Claude/claude_desktop_config.json",
                "/s/Claude/claude_desktop_config.json",
            ),
            (
                "claude-code",
                "/h/.claude.json",
                "/h/.claude.json",
                "/h/.claude.json",
            ),
            (
                "code",
                "/s/Code/User/mcp.json",
                "/s/Code/User/mcp.json",
                "/s/Code/User/mcp.json",
            ),
            (
                "zed",
                "/s/zed/settings.json",
                "/h/.config/zed/settings.json",
                "/s/Zed/settings.json",
            ),
            (
                "goose",
                "/s/goose/config.yaml",
                "/h/.config/goose/config.yaml",
                "/s/Block/goose/config/config.yaml",
            ),
        ] {
            assert_eq!(file(name, System::Linux), linux);
            assert_eq!(file(name, System::Mac), mac);
            assert_eq!(file(name, System::Windows), windows);
        }
        let moved = |client: &str, variable: &str, value: &str| {
            let environment = |name: &str| (name == variable).then(|| value.to_owned());
            let client = Client::find(client).unwrap();
            client.files(System::THIS, Path::new("/h"), Path::new("/s"), &environment)
        };
        assert_eq!(
            moved("codex", "CODEX_HOME", "/x"),
            [PathBuf::from("/x/config.toml")]
        );
        let path = "CLINE_MCP_SETTINGS_PATH";
        assert_eq!(
            moved("cline", path, "/x/y.json"),
            [PathBuf::from("/x/y.json")]
        );
        assert_eq!(moved("cline", path, "").len(), 2);
    }
}
