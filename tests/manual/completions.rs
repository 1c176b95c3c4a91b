//! Shell completions, made from the table of flags. Addresses are not completed.

use super::flags::{FLAGS, Flag, Program, SETUP_CLIENTS};

fn flags(program: Program) -> impl Iterator<Item = &'static Flag> {
    FLAGS.iter().filter(move |flag| flag.is_for(program))
}

/// The values of a flag that takes one of a few.
fn choices(flag: &Flag) -> &'static [&'static str] {
    match flag.name {
        "--transport" => &["http-first", "sse-first", "http-only", "sse-only"],
        "--protocol" => &["detect", "auto", "legacy", "modern"],
        "--log-format" => &["text", "json"],
        "--setup" => SETUP_CLIENTS,
        _ => &[],
    }
}

fn is_file(flag: &Flag) -> bool {
    flag.value == "FILE"
}

/// The name of the shell function.
fn function(program: Program) -> String {
    format!("_{}", program.name().replace('-', "_"))
}

/// The script for bash.
pub fn bash(program: Program) -> String {
    let mut cases = String::new();
    for flag in flags(program).filter(|flag| flag.takes_value()) {
        let choices = choices(flag);
        let reply = if !choices.is_empty() {
            format!(
                "COMPREPLY=($(compgen -W '{}' -- \"$cur\")); return",
                choices.join(" ")
            )
        } else if is_file(flag) {
            "local IFS=$'\\n'; COMPREPLY=($(compgen -f -- \"$cur\")); return".to_owned()
        } else {
            "return".to_owned()
        };
        cases.push_str(&format!("    {}) {reply} ;;\n", flag.name));
    }
    let names: Vec<&str> = flags(program)
        .flat_map(|flag| flag.short.iter().chain([&flag.name]).copied())
        .collect();
    let (function, name) = (function(program), program.name());
    format!(
        "# bash completion for {name}\n{function}() {{\n  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}}\n  COMPREPLY=()\n  # bash splits --flag=value into three words.\n  if [[ $cur == = ]]; then cur=; elif [[ $prev == = ]]; then prev=${{COMP_WORDS[COMP_CWORD-2]}}; fi\n  case $prev in\n{cases}  esac\n  COMPREPLY=($(compgen -W '{}' -- \"$cur\"))\n}}\ncomplete -o filenames -F {function} {name}\n",
        names.join(" ")
    )
}

/// The script for zsh.
pub fn zsh(program: Program) -> String {
    let described = |text: &str| {
        text.replace('\\', "\\\\")
            .replace('[', "\\[")
            .replace(']', "\\]")
            .replace(':', "\\:")
            // Last, so that the backslash of the shell's quoting is not escaped.
            .replace('\'', "'\\''")
    };
    let mut lines = String::new();
    for flag in flags(program) {
        let star = if flag.repeatable { "*" } else { "" };
        for name in flag.short.iter().chain([&flag.name]) {
            let (equals, value) = if flag.takes_value() {
                let choices = choices(flag);
                let action = if !choices.is_empty() {
                    format!("({})", choices.join(" "))
                } else if is_file(flag) {
                    "_files".to_owned()
                } else {
                    " ".to_owned()
                };
                ("=", format!(":{}:{action}", described(flag.value)))
            } else {
                ("", String::new())
            };
            lines.push_str(&format!(
                "  '{star}{name}{equals}[{}]{value}' \\\n",
                described(flag.help)
            ));
        }
    }
    let name = program.name();
    // Without the guards zsh would take a word that begins with "-" for an address and complete no options.
    format!(
        "#compdef {name}\n_arguments \\\n{lines}  '1:URL:_guard \"^-*\" URL' \\\n  '2:callback port:_guard \"^-*\" \"callback port\"'\n"
    )
}

/// The script for fish.
pub fn fish(program: Program) -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
    let name = program.name();
    let mut lines = format!("# fish completion for {name}\ncomplete -c {name} -f\n");
    for flag in flags(program) {
        let mut line = format!("complete -c {name}");
        for short in flag.short {
            line.push_str(&format!(" -s {}", short.trim_start_matches('-')));
        }
        line.push_str(&format!(" -l {}", flag.name.trim_start_matches('-')));
        let choices = choices(flag);
        if !choices.is_empty() {
            line.push_str(&format!(" -x -a '{}'", choices.join(" ")));
        } else if is_file(flag) {
            line.push_str(" -r -F");
        } else if flag.takes_value() {
            line.push_str(" -x");
        }
        lines.push_str(&format!("{line} -d '{}'\n", quoted(flag.help)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_is_one_that_the_help_names() {
        for flag in FLAGS {
            for choice in choices(flag) {
                assert!(
                    flag.name == "--setup" || flag.help.contains(choice),
                    "{} {choice}",
                    flag.name
                );
            }
        }
    }

    #[test]
    fn each_script_names_every_flag_of_the_program() {
        for program in [Program::Proxy, Program::Client] {
            for (shell, script) in [
                ("bash", bash(program)),
                ("zsh", zsh(program)),
                ("fish", fish(program)),
            ] {
                for flag in FLAGS {
                    let name = if shell == "fish" {
                        flag.name.replacen("--", "-l ", 1)
                    } else {
                        flag.name.to_owned()
                    };
                    let ends = [' ', '=', '[', '\'', ')'];
                    let named = script
                        .match_indices(&name)
                        .any(|(at, _)| script[at + name.len()..].starts_with(ends));
                    assert_eq!(named, flag.is_for(program), "{shell} {name}");
                }
            }
        }
    }
}
