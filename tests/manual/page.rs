//! The manual pages, made from the table of flags.

use super::flags::{Group, Program};
use super::help::{self, flags_of};

/// The manual page of a program, for `man`.
pub fn page(program: Program) -> String {
    let name = program.name();
    let (what, examples) = match program {
        Program::Proxy => (
            "connect an MCP client on stdin and stdout to a remote MCP server",
            PROXY_EXAMPLES,
        ),
        Program::Client => (
            "check, sign in to and set up remote MCP servers",
            CLIENT_EXAMPLES,
        ),
    };
    let other = match program {
        Program::Proxy => Program::Client,
        Program::Client => Program::Proxy,
    };
    let mut page = format!(
        ".TH {} 1 \"\" \"mcp-remote {}\" \"User commands\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n",
        escaped(&name.to_uppercase()),
        env!("CARGO_PKG_VERSION"),
        escaped(name),
        escaped(what)
    );
    for (at, line) in help::synopsis(program).iter().enumerate() {
        let between = if at == 0 { "" } else { ".br\n" };
        page.push_str(&format!(
            "{between}.B {}\n{}\n",
            escaped(name),
            escaped(line)
        ));
    }
    let description = match program {
        Program::Proxy => PROXY,
        Program::Client => CLIENT,
    };
    page.push_str(".SH DESCRIPTION\n");
    paragraphs(&mut page, description);
    page.push_str(".SH OPTIONS\nOptions can be anywhere, as \\fB\\-\\-flag\\fR \\fIvalue\\fR or \\fB\\-\\-flag=\\fIvalue\\fR.\n");
    for group in Group::in_help_of(program) {
        let mut heading = format!(".SS {}\n", escaped(help::heading(group)));
        for flag in flags_of(group).filter(|flag| flag.is_for(program)) {
            page.push_str(&std::mem::take(&mut heading));
            let names: Vec<String> = flag
                .short
                .iter()
                .chain([&flag.name])
                .map(|name| format!("\\fB{}\\fR", escaped(name)))
                .collect();
            let value = if flag.takes_value() {
                format!(" \\fI{}\\fR", escaped(flag.value))
            } else {
                String::new()
            };
            let more = if flag.repeatable {
                " Can be repeated."
            } else {
                ""
            };
            let default = if flag.default.is_empty() {
                String::new()
            } else {
                format!(" Default: {}.", escaped(flag.default))
            };
            page.push_str(&format!(
                ".TP\n{}{value}\n{}.{more}{default}\n",
                names.join(", "),
                escaped(flag.help)
            ));
        }
    }
    page.push_str(".SH ENVIRONMENT\n");
    for (name, what) in ENVIRONMENT {
        page.push_str(&format!(".TP\n.B {}\n{}\n", escaped(name), escaped(what)));
    }
    page.push_str(".SH FILES\n.TP\n.I ~/.mcp\\-auth/mcp\\-remote\\-v1\nTokens and registrations, shared with npm's mcp\\-remote.\n");
    page.push_str(".SH EXIT STATUS\n0 after a normal end, 1 after an error.\n");
    if program == Program::Client {
        paragraphs(&mut page, CLIENT_CODES);
    }
    page.push_str(".SH EXAMPLES\n");
    for (command, what) in examples {
        page.push_str(&format!(
            ".TP\n.B {}\n{}\n",
            escaped(command),
            escaped(what)
        ));
    }
    page.push_str(&format!(
        ".SH SEE ALSO\n.BR {} (1)\n",
        escaped(other.name())
    ));
    page
}

const PROXY: &[&str] = &[
    "An MCP client starts it and sends newline-delimited JSON-RPC on stdin. It forwards every message to a remote MCP server over Streamable HTTP or HTTP+SSE, and writes the server's messages to stdout. It takes the options of npm's mcp-remote and reads its credential files.",
    "stdout carries only messages; warnings and errors for the user go to stderr.",
];
const CLIENT: &[&str] = &[
    "With an address, it connects step by step and reports each step. With --call, --read, --prompt or --list-tools it sends one request to the server and prints the result on stdout. It also manages the stored tokens and writes the configuration of MCP clients.",
];
const CLIENT_CODES: &[&str] = &[
    "Without a task, 0 means that every step worked.",
    "2 if a tool called with --call reported an error, or the server returned one.",
];
const PROXY_EXAMPLES: &[(&str, &str)] = &[
    (
        "mcp-remote https://mcp.example.com/mcp",
        "The command for a client's configuration.",
    ),
    (
        "mcp-remote https://mcp.example.com/mcp --debug",
        "The same, with a debug log on stderr.",
    ),
];
const CLIENT_EXAMPLES: &[(&str, &str)] = &[
    (
        "mcp-remote-client https://mcp.example.com/mcp",
        "Find out why a server does not work.",
    ),
    (
        "mcp-remote-client https://mcp.example.com/mcp --call add '{\"a\": 1, \"b\": 2}'",
        "Call a tool.",
    ),
    (
        "mcp-remote-client --setup cursor https://mcp.example.com/mcp --write",
        "Add a server to Cursor.",
    ),
];
const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "MCP_REMOTE_CONFIG_DIR",
        "The directory of the credential files, instead of ~/.mcp-auth.",
    ),
    (
        "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY",
        "Proxies; the names can also be lower case.",
    ),
    (
        "SSL_CERT_FILE, NODE_EXTRA_CA_CERTS",
        "PEM files with additional trusted certificates.",
    ),
];

fn paragraphs(page: &mut String, texts: &[&str]) {
    for (at, text) in texts.iter().enumerate() {
        let between = if at == 0 { "" } else { ".PP\n" };
        page.push_str(&format!("{between}{}\n", escaped(text)));
    }
}

/// Text escaped for roff.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) {
        format!("\\&{text}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::flags::FLAGS;
    use super::*;

    #[test]
    fn the_page_names_every_flag_of_the_program() {
        for program in [Program::Proxy, Program::Client] {
            let page = page(program);
            for flag in FLAGS {
                for name in flag.short.iter().chain([&flag.name]) {
                    let named = page.contains(&format!("\\fB{}\\fR", escaped(name)));
                    assert_eq!(named, flag.is_for(program), "{name}");
                }
            }
            // A line that begins with a dot is a roff request.
            for line in page.lines().filter(|line| line.starts_with(['.', '\''])) {
                let request = line.split(' ').next().unwrap();
                assert!(
                    [".TH", ".SH", ".SS", ".TP", ".B", ".BR", ".I", ".PP", ".br"]
                        .contains(&request),
                    "{line}"
                );
            }
        }
    }
}
