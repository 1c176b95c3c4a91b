//! TOML: where everything stands, and one table put in. Pure.
//!
//! - A table `[container.name]` of the same name is replaced, with its sub-tables; a new one goes to the end of the file,
//!   where any table may stand.
//! - What could define the entry in another way (an inline table, dotted keys, an array of tables) is refused, not guessed at.
//!
//! Spec: TOML 1.0; line ends inside inline tables (TOML 1.1) are read too.
//! Not done here: numbers and dates are told from nonsense by their letters only.

mod read;
mod value;

use super::tree::{self, Edit, Trouble};
pub use read::read;

type Read<T> = Result<T, Trouble>;

/// The text with the table `[container.name]`, whose lines are `block`.
///
/// # Errors
/// If the text is not understood.
pub fn put(text: &str, container: &str, name: &str, block: &str) -> Read<String> {
    let tables = read(text)?;
    let mut ours = Vec::new();
    for (at, table) in tables.iter().enumerate() {
        let path: Vec<&str> = table.path.iter().map(String::as_str).collect();
        if path == [container] && table.many {
            return Err(Trouble::new(
                table.at,
                format!("\"{container}\" is a list of tables"),
            ));
        }
        if path.starts_with(&[container, name]) {
            ours.push((at, table));
        }
        for member in &table.members {
            let mut whole = path.clone();
            whole.extend(member.key.split('\n'));
            let whole: &[&str] = &whole;
            let hides =
                whole == [container] || path.len() < 2 && whole.starts_with(&[container, name]);
            if hides {
                return Err(Trouble::new(
                    member.at,
                    format!(
                        "\"{}\" is not written as a table [{container}.{name}]",
                        whole.join(".")
                    ),
                ));
            }
        }
    }
    let newline = tree::newline(text);
    let block = tree::indented(block.trim_end(), newline, "");
    let edit = match (ours.first(), ours.last()) {
        (Some((first_at, first)), Some((last_at, last))) => {
            if last_at - first_at + 1 != ours.len() || first.path.len() != 2 || first.many {
                return Err(Trouble::new(
                    first.at,
                    format!("the parts of [{container}.{name}] do not stand together"),
                ));
            }
            Edit::replace(first.at..last.end, block)
        }
        _ => {
            let ended = text.is_empty() || text.ends_with('\n');
            let first = if ended { "" } else { newline };
            let blank = if text.trim().is_empty() { "" } else { newline };
            Edit::insert(text.len(), format!("{first}{blank}{block}{newline}"))
        }
    };
    let new = tree::apply(text, vec![edit])?;
    read(&new)?;
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "[s.n]\ncommand = \"c\"\nargs = [\"u\"]\n";
    const FILE: &str = r##"# Codex
model = "gpt-5" # the model
"quoted key" = 'C:\path'
a.b.'c d' = [1, 2.5, [true], { x = 1, y = { z = "}" } }, # c
  1979-05-27 07:32:00, 1979-05-27T07:32:00Z, +inf, 0xFF_FF,
]
long = """
[s.n] is no table here \
   "quoted" \u00e9 """""
raw = '''
[s]'''

[s]   # servers

[s.a]
command = "npx"
args = ["-y", "x#y"]
[s.a.env]
K = "V" # [s.n]

[other]
n = { command = "other" }

[[list]]
x = 1
[[list]]
x = 2
"##;

    #[test]
    fn a_new_table_goes_to_the_end_and_nothing_else_changes() {
        for (file, between) in [
            (FILE, "\n"),
            (FILE.trim_end(), "\n\n"),
            ("", ""),
            ("# only\n", "\n"),
            ("\n", ""),
        ] {
            assert_eq!(
                put(file, "s", "n", NEW).unwrap(),
                format!("{file}{between}{NEW}")
            );
            let windows = file.replace('\n', "\r\n");
            if file.contains('\n') {
                let new = put(&windows, "s", "n", NEW).unwrap();
                assert_eq!(new, format!("{file}{between}{NEW}").replace('\n', "\r\n"));
            }
        }
    }

    #[test]
    fn a_table_of_the_same_name_is_replaced_with_its_sub_tables() {
        let (before, after) = FILE.split_once("[s.a]").unwrap();
        for (name, old) in [
            ("n", "[s.n]\nx = 1"),
            ("n", "[ s . \"n\" ]"),
            ("n", "[s.n]\nx = '''\n[t]'''\n\n[s.n.env]\nK = \"V\""),
        ] {
            let file = format!("{before}{old} # old\n# next\n[s.a]{after}");
            let new = put(&file, "s", name, NEW).unwrap();
            // The comment on the line of the last value belongs to nobody in particular, and stays.
            assert_eq!(
                new,
                format!("{before}{} # old\n# next\n[s.a]{after}", NEW.trim_end())
            );
            assert_eq!(put(&new, "s", name, NEW).unwrap(), new);
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line() {
        for (text, line, what) in [
            (
                "x = 1\ns = { a = 1 }",
                2,
                "\"s\" is not written as a table [s.n]",
            ),
            (
                "s.n.command = 1",
                1,
                "\"s.n.command\" is not written as a table [s.n]",
            ),
            (
                "[s]\nn = { a = 1 }",
                2,
                "\"s.n\" is not written as a table [s.n]",
            ),
            (
                "[s]\nn.a = 1",
                2,
                "\"s.n.a\" is not written as a table [s.n]",
            ),
            ("[[s]]\na = 1", 1, "\"s\" is a list of tables"),
            (
                "[s.n]\n[x]\n[s.n.env]",
                1,
                "the parts of [s.n] do not stand together",
            ),
            ("[s.n.env]", 1, "the parts of [s.n] do not stand together"),
            ("[s.n]\n[s.n]", 2, "[s.n] stands twice"),
            ("a = 1\na = 2", 2, "\"a\" stands twice"),
            ("a = ", 1, "a value should be here"),
            ("a = yes", 1, "a value should be here"),
            (
                "a = 1 b = 2",
                1,
                "something stands after the end of a value or header",
            ),
            ("a = \"x\ny\"", 1, "a string is not closed on its line"),
            ("a = 'x", 1, "a string is not closed on its line"),
            ("\na = \"\"\"x", 2, "a string is not closed"),
            ("a = \"\\q\"", 1, "an escape in a string is wrong"),
            ("a = [1 2]", 1, "a \",\" should be here"),
            ("[a", 1, "a \"]\" should be here"),
            ("[[a]", 1, "a \"]]\" should be here"),
            ("= 1", 1, "a name should be here"),
            ("{}", 1, "a name should be here"),
            ("a\rb", 1, "a line ends with a carriage return alone"),
        ] {
            let trouble = put(text, "s", "n", NEW).unwrap_err();
            assert_eq!(
                (trouble.line(text), trouble.what.as_str()),
                (line, what),
                "{text}"
            );
        }
        let deep = format!("a = {}", "[".repeat(100_000));
        assert_eq!(read(&deep).unwrap_err().what, "it is nested too deep");
    }

    #[test]
    fn no_cut_and_no_garbled_text_makes_it_panic_or_lose_a_byte() {
        for at in (0..FILE.len()).filter(|at| FILE.is_char_boundary(*at)) {
            for more in ["", "\"", "'", "]", "\\", "\r", "é"] {
                let text = format!(
                    "{}{more}{}",
                    &FILE[..at],
                    if more.is_empty() { "" } else { &FILE[at..] }
                );
                if let Ok(new) = put(&text, "s", "n", NEW) {
                    assert!(new.starts_with(&text) && read(&new).is_ok(), "{text}");
                }
            }
        }
    }
}
