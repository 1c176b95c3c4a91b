//! The text of `--help`, made from `flags`.

use super::flags::{FLAGS, Flag, Group, Program, SETUP_CLIENTS};

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
    if program == Program::Client {
        text.push_str(EXAMPLES);
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
            if flag.name == "--setup" {
                meaning.push_str(&format!(": {}", SETUP_CLIENTS.join(", ")));
            }
            let mut usage = flag.usage();
            // A long one gets its own line.
            if usage.len() > WIDTH {
                text.push_str(&format!("  {usage}\n"));
                usage.clear();
            }
            for line in wrapped(&meaning, LINE - WIDTH - 4) {
                text.push_str(&format!("  {usage:WIDTH$}  {line}\n"));
                usage.clear();
            }
        }
    }
    text.push_str("\nEnvironment: MCP_REMOTE_CONFIG_DIR, HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY,\n             SSL_CERT_FILE, NODE_EXTRA_CA_CERTS\n");
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
            "URL --call TOOL [NAME=TEXT|NAME:=JSON|JSON|@FILE|-] [options]",
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
/// The longest line.
const LINE: usize = 99;
const EXAMPLES: &str = "
Examples:
  mcp-remote-client https://mcp.example.com/mcp
  mcp-remote-client --setup cursor https://mcp.example.com/mcp --write
  mcp-remote-client https://mcp.example.com/mcp --call echo message=hi count:=3
";
const CLIENT_CODES: &str = "\
Exit code: 0 after success (without a task: of every step), 1 after an error,
           2 if a tool called with --call reported an error or the server returned one,
           3 if --status finds that you are not signed in
";

/// Text as lines of at most this width.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

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
                let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
                assert!(
                    flag.default.is_empty() || !flag.is_for(program) || help.contains(&default),
                    "{default}"
                );
            }
        }
        assert!(!text(Program::Proxy).contains("mcp-remote-client"));
    }

    #[test]
    fn no_line_of_help_has_100_columns() {
        for program in [Program::Proxy, Program::Client] {
            for line in text(program).lines() {
                assert!(line.chars().count() < 100, "{line}");
            }
        }
    }

    #[test]
    fn the_tasks_come_before_the_options_and_name_the_clients() {
        let help = text(Program::Client);
        let at = |what: &str| help.find(what).unwrap();
        assert!(at("Usage:") < at("Examples:") && at("Examples:") < at("\nTasks:"));
        assert!(at("\nTasks:") < at("\nConnection:"));
        let words: Vec<&str> = help.split([' ', ',', '\n']).collect();
        for client in SETUP_CLIENTS {
            assert!(words.contains(client), "{client}");
        }
    }
}
