//! The text of `--help`, made from `flags`.

use super::flags::{FLAGS, Flag, Group, Program};

/// The text of `--help`.
pub fn text(program: Program) -> String {
    let name = program.name();
    let what = match program {
        Program::Proxy => "Connects an MCP client on stdin and stdout to a remote MCP server.",
        Program::Client => {
            "Connects to a remote MCP server, signs in if it requires that, and reports each step."
        }
    };
    let mut text = format!("{what}\n\n");
    for (at, line) in synopsis(program).iter().enumerate() {
        let before = if at == 0 { "Usage:" } else { "" };
        text.push_str(&format!("{before:6} {name} {line}\n"));
    }
    for group in Group::in_help_of(program) {
        let mut flags = flags_of(group)
            .filter(|flag| flag.is_for(program))
            .peekable();
        if flags.peek().is_some() {
            text.push_str(&format!("\n{}:\n", heading(group)));
        }
        for flag in flags {
            let mut meaning = flag.help.to_owned();
            if flag.repeatable {
                meaning.push_str("; repeatable");
            }
            if !flag.default.is_empty() {
                meaning.push_str(&format!(" [default: {}]", flag.default));
            }
            let usage = flag.usage();
            // A long one gets its own line.
            if usage.len() > WIDTH {
                text.push_str(&format!("  {usage}\n  {:WIDTH$}  {meaning}\n", ""));
            } else {
                text.push_str(&format!("  {usage:WIDTH$}  {meaning}\n"));
            }
        }
    }
    text.push_str("\nEnvironment: MCP_REMOTE_CONFIG_DIR, HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE, NODE_EXTRA_CA_CERTS\n");
    text.push_str(match program {
        Program::Proxy => "Exit code: 0 after a normal end, 1 after an error\n",
        Program::Client => CLIENT_CODES,
    });
    text
}

/// The forms of the command line, without the program's name.
pub fn synopsis(program: Program) -> &'static [&'static str] {
    match program {
        Program::Proxy => &["URL [callback port] [options]"],
        Program::Client => &[
            "URL [callback port] [options]",
            "URL --call TOOL [JSON|@FILE|-] [options]",
            "URL --prompt NAME [JSON|@FILE|-] [options]",
            "URL --read URI | --list-tools [options]",
            "URL --status | --logout [options]",
            "--list | --logout --all",
            "--setup CLIENT URL [--write] [options]",
            "--setup --from-npx FILE",
        ],
    }
}

/// The heading of a group in the help of one program.
pub fn heading(group: Group) -> &'static str {
    match group {
        Group::Client => "Tasks",
        _ => group.title(),
    }
}

const WIDTH: usize = 27;
const CLIENT_CODES: &str = "Exit code: 0 after success (without a task: of every step), 1 after an error,\n           2 if a tool called with --call reported an error or the server returned one\n";

/// The flags of a group.
pub fn flags_of(group: Group) -> impl Iterator<Item = &'static Flag> {
    FLAGS.iter().filter(move |flag| flag.group == group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_flag_of_the_program_with_its_default() {
        for program in [Program::Proxy, Program::Client] {
            let help = text(program);
            for flag in FLAGS {
                let usage = format!("  {}", flag.usage());
                let listed = help
                    .lines()
                    .any(|line| line == usage || line.starts_with(&format!("{usage}  ")));
                assert_eq!(listed, flag.is_for(program), "{usage}");
                let default = format!("[default: {}]", flag.default);
                assert!(
                    flag.default.is_empty() || !flag.is_for(program) || help.contains(&default),
                    "{default}"
                );
            }
        }
        assert!(!text(Program::Proxy).contains("mcp-remote-client"));
    }

    #[test]
    fn no_line_of_help_wraps_in_a_wide_terminal() {
        for line in text(Program::Client).lines() {
            assert!(line.chars().count() <= 132, "{line}");
        }
    }
}
