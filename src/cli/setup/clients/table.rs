//! `CLIENTS`: the clients, and what is known of each.
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
//! - opencode: opencode.ai/docs/mcp-servers; version 2 reads the file of version 1, which is written here. Kilo Code:
//!   kilo.ai/docs/automate/mcp/using-in-kilo-code; a fork of opencode. Servers inherit the environment.
//!   Tried with opencode 1.18.33.
//! - Copilot CLI: docs.github.com/en/copilot/how-tos/copilot-cli/customize-copilot/add-mcp-servers; of the environment
//!   a server gets PATH only; `${NAME}` is replaced; `tools` is required.
//! - Roo: docs.roocode.com/features/mcp; `${env:NAME}` as in Cursor.

use super::super::json::Dialect;
use super::{Client, Format, MovedBy, Place, Variables};
use Place::{Home, Settings};

const ENV_COLON: Variables = Variables::Reference("${env:", "}");
pub(super) const PLAIN: Variables = Variables::Reference("${", "}");

/// What most clients have in common.
const COMMON: Client = Client {
    id: "",
    aliases: &[],
    title: "",
    format: Format::Json(Dialect::Strict),
    container: "mcpServers",
    variables: Variables::Value,
    has_type: false,
    has_command_list: false,
    has_tools: false,
    in_terminal: false,
    program: None,
    files: [&[]; 3],
    moved_by: None,
    then: "",
};

/// opencode and what was made from it.
const OPENCODE: Client = Client {
    format: Format::Json(Dialect::TrailingCommas),
    container: "mcp",
    variables: Variables::Inherited,
    has_type: true,
    has_command_list: true,
    in_terminal: true,
    ..COMMON
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
    Client {
        id: "opencode",
        title: "opencode",
        files: [
            &[
                Settings("opencode/opencode.json"),
                Settings("opencode/opencode.jsonc"),
            ],
            &[
                Home(".config/opencode/opencode.json"),
                Home(".config/opencode/opencode.jsonc"),
            ],
            &[
                Home(".config/opencode/opencode.json"),
                Home(".config/opencode/opencode.jsonc"),
            ],
        ],
        moved_by: Some(MovedBy::File("OPENCODE_CONFIG")),
        then: "start opencode again; opencode mcp list shows the server",
        ..OPENCODE
    },
    Client {
        id: "kilo",
        aliases: &["kilocode"],
        title: "Kilo Code",
        files: [
            &[Settings("kilo/kilo.jsonc"), Settings("kilo/kilo.json")],
            &[
                Home(".config/kilo/kilo.jsonc"),
                Home(".config/kilo/kilo.json"),
            ],
            &[
                Home(".config/kilo/kilo.jsonc"),
                Home(".config/kilo/kilo.json"),
            ],
        ],
        then: "start Kilo Code again; kilo mcp list shows the server",
        ..OPENCODE
    },
    Client {
        id: "copilot",
        aliases: &["copilot-cli", "github-copilot-cli"],
        title: "Copilot CLI",
        variables: PLAIN,
        has_type: true,
        has_tools: true,
        in_terminal: true,
        files: [&[Home(".copilot/mcp-config.json")]; 3],
        moved_by: Some(MovedBy::Directory("COPILOT_HOME")),
        then: "start copilot again; /mcp show lists the server",
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
