//! An MCP client we write a configuration for: its file and format, and how it passes variables to servers. Pure.
//!
//! Not done here: files of one project (`.mcp.json`, `.cursor/mcp.json`, `.vscode/mcp.json`): `--file` names them.

mod table;

use std::path::{Path, PathBuf};

use super::json::Dialect;
pub use table::CLIENTS;
use table::PLAIN;

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
    /// Whether `command` is a list with the arguments, and the type is `local`.
    pub has_command_list: bool,
    /// Whether an entry lists the tools that may be used.
    pub has_tools: bool,
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
