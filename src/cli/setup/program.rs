//! Where programs are: the `mcp-remote` that an entry starts, and a client's own program.

use std::fs;
use std::path::PathBuf;

use super::super::config::Environment;
use crate::error::{Error, Kind, Result};

/// The program that the block names: the path of the `mcp-remote` beside this one. Only its name where the client has the
/// shell's PATH and finds the same file there; a client started from a desktop has another PATH.
pub fn bridge(
    environment: Environment<'_>,
    in_terminal: bool,
    say: &dyn Fn(&str),
) -> Result<String> {
    let name = format!("mcp-remote{}", std::env::consts::EXE_SUFFIX);
    let beside = std::env::current_exe()
        .ok()
        .map(|exe| exe.with_file_name(&name))
        .filter(|path| path.is_file());
    let found = in_path(environment, "mcp-remote");
    let same = match (&beside, &found) {
        (Some(beside), Some(found)) => {
            fs::canonicalize(beside).ok() == fs::canonicalize(found).ok()
        }
        _ => beside.is_none(),
    };
    // An installer's link in PATH stays when the version it leads to is replaced.
    let program = match found.filter(|found| same && found.is_absolute()) {
        Some(_) if in_terminal => return Ok("mcp-remote".to_owned()),
        Some(found) => found,
        None => match beside {
            Some(beside) => beside,
            None => {
                say(
                    "warning: mcp-remote is neither beside this program nor in PATH; the block names it without a path",
                );
                return Ok("mcp-remote".to_owned());
            }
        },
    };
    let text = program.to_str().map(str::to_owned);
    text.ok_or_else(|| {
        Error::new(
            Kind::Config,
            format!(
                "the path \"{}\" is not UTF-8 and cannot be written to a configuration",
                program.display()
            ),
        )
    })
}

/// The path of a program in PATH.
pub fn in_path(environment: Environment<'_>, name: &str) -> Option<PathBuf> {
    let path = environment("PATH")?;
    let name = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(&path)
        .map(|directory| directory.join(&name))
        .find(|path| path.is_file())
}
