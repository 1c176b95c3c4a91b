//! `CLIENTS`: each MCP client we write a configuration for: which file, which format, how it hands variables on. Pure.
//!
//! Sources, each client's own documentation as of November 2026:
//! - Claude Desktop: modelcontextprotocol.io/docs/develop/connect-local-servers. A server is given a few variables and those
//!   in `env`, whose values are taken as they stand.
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
//!
//! Not done here: files of one project (`.mcp.json`, `.cursor/mcp.json`, `.vscode/mcp.json`): `--file` names them.

use std::path::{Path, PathBuf};

/// One MCP client.
#[derive(Debug)]
pub struct Client {
    /// How it is called on the command line.
    pub id: &'static str,
    /// Its name.
    pub title: &'static str,
    /// How its file is written.
    pub format: Format,
    /// The member that holds the servers.
    pub container: &'static str,
    /// How a variable of the environment reaches a server.
    pub variables: Variables,
    /// Whether an entry says that it is a program to start.
    pub has_type: bool,
    /// Whether it is started from a terminal, and so knows the shell's PATH.
    pub in_terminal: bool,
    /// The files, the likeliest first, on Linux, macOS and Windows.
    files: [&'static [Place]; 3],
    /// A variable that names another place.
    pub moved_by: Option<MovedBy>,
    /// What to do for the change to count.
    pub then: &'static str,
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON; with comments and trailing commas if the client reads them.
    Json {
        /// Whether it does.
        comments: bool,
    },
    /// TOML.
    Toml,
    /// YAML.
    Yaml,
}

/// How a variable of the environment reaches a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variables {
    /// By itself.
    Inherited,
    /// `env` names it and says where its value comes from: this, the name, this.
    Reference(&'static str, &'static str),
    /// `env` names it, and the client asks for its value and keeps it.
    Asked,
    /// A member of this name lists it.
    Named(&'static str),
    /// Not at all: `env` holds its value.
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
    /// The client of this name; spaces and case do not matter.
    pub fn find(name: &str) -> Option<&'static Client> {
        let plain = |name: &str| name.to_lowercase().replace([' ', '-', '_'], "");
        let short = |client: &Client| match client.id {
            "vscode" => "code",
            "gemini" => "geminicli",
            "claude-desktop" => "claude",
            id => id,
        };
        let name = plain(name);
        CLIENTS
            .iter()
            .find(|client| plain(client.id) == name || short(client) == name)
    }

    /// Whether it replaces what looks like `${NAME}` in the arguments, too, before it starts a server.
    pub fn replaces_in_arguments(&self) -> bool {
        self.variables == PLAIN
    }

    /// All names, for messages.
    pub fn names() -> String {
        CLIENTS
            .iter()
            .map(|client| client.id)
            .collect::<Vec<_>>()
            .join(", ")
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

/// All of them.
pub const CLIENTS: &[Client] = &[
    Client {
        id: "claude-desktop",
        title: "Claude Desktop",
        format: Format::Json { comments: false },
        container: "mcpServers",
        variables: Variables::Value,
        has_type: false,
        in_terminal: false,
        files: [&[Settings("Claude/claude_desktop_config.json")]; 3],
        moved_by: None,
        then: "quit Claude Desktop and start it again",
    },
    Client {
        id: "claude-code",
        title: "Claude Code",
        format: Format::Json { comments: false },
        container: "mcpServers",
        variables: PLAIN,
        has_type: true,
        in_terminal: true,
        files: [&[Home(".claude.json")]; 3],
        moved_by: Some(MovedBy::Directory("CLAUDE_CONFIG_DIR")),
        then: "start claude anew; /mcp shows the server",
    },
    Client {
        id: "cursor",
        title: "Cursor",
        format: Format::Json { comments: true },
        container: "mcpServers",
        variables: ENV_COLON,
        has_type: false,
        in_terminal: false,
        files: [&[Home(".cursor/mcp.json")]; 3],
        moved_by: None,
        then: "turn the server on in Cursor's settings, under MCP",
    },
    Client {
        id: "vscode",
        title: "VS Code",
        format: Format::Json { comments: true },
        container: "servers",
        variables: Variables::Asked,
        has_type: true,
        in_terminal: false,
        files: [&[Settings("Code/User/mcp.json")]; 3],
        moved_by: None,
        then: "run the command \"MCP: List Servers\" in VS Code and start the server",
    },
    Client {
        id: "windsurf",
        title: "Windsurf",
        format: Format::Json { comments: true },
        container: "mcpServers",
        variables: ENV_COLON,
        has_type: false,
        in_terminal: false,
        files: [&[Home(".codeium/windsurf/mcp_config.json")]; 3],
        moved_by: None,
        then: "press Refresh in Windsurf's list of MCP servers",
    },
    Client {
        id: "codex",
        title: "Codex",
        format: Format::Toml,
        container: "mcp_servers",
        variables: Variables::Named("env_vars"),
        has_type: false,
        in_terminal: true,
        files: [&[Home(".codex/config.toml")]; 3],
        moved_by: Some(MovedBy::Directory("CODEX_HOME")),
        then: "start codex anew; /mcp shows the server",
    },
    Client {
        id: "gemini",
        title: "Gemini CLI",
        format: Format::Json { comments: true },
        container: "mcpServers",
        variables: PLAIN,
        has_type: false,
        in_terminal: true,
        files: [&[Home(".gemini/settings.json")]; 3],
        moved_by: None,
        then: "start gemini anew; /mcp shows the server",
    },
    Client {
        id: "zed",
        title: "Zed",
        format: Format::Json { comments: true },
        container: "context_servers",
        variables: Variables::Inherited,
        has_type: false,
        in_terminal: false,
        files: [
            &[Settings("zed/settings.json")],
            &[Home(".config/zed/settings.json")],
            &[Settings("Zed/settings.json")],
        ],
        moved_by: None,
        then: "Zed starts the server by itself",
    },
    Client {
        id: "cline",
        title: "Cline",
        format: Format::Json { comments: false },
        container: "mcpServers",
        variables: Variables::Value,
        has_type: false,
        in_terminal: false,
        files: [&[
            Home(".cline/data/settings/cline_mcp_settings.json"),
            Settings(
                "Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
            ),
        ]; 3],
        moved_by: Some(MovedBy::File("CLINE_MCP_SETTINGS_PATH")),
        then: "Cline starts the server by itself",
    },
    Client {
        id: "goose",
        title: "Goose",
        format: Format::Yaml,
        container: "extensions",
        variables: Variables::Named("env_keys"),
        has_type: true,
        in_terminal: true,
        files: [
            &[Settings("goose/config.yaml")],
            &[Home(".config/goose/config.yaml")],
            &[Settings("Block/goose/config/config.yaml")],
        ],
        moved_by: None,
        then: "start a new goose session",
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
                "claude",
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
