//! Writes the manual pages and the shell completions of both programs: `scripts/manual DIRECTORY` runs it.
//!
//! Both are made from the same table as `--help`, when a package is made; the programs do not carry them.

use std::io::Result;
use std::path::Path;

#[path = "../../src/cli/flags.rs"]
pub mod flags;
#[path = "../../src/cli/help.rs"]
#[allow(dead_code, reason = "the text of --help")]
mod help;

pub mod completions;
mod page;

use flags::Program;

fn main() -> Result<()> {
    match std::env::args_os().nth(1) {
        Some(directory) => write(Path::new(&directory)),
        None => Err(std::io::Error::other("usage: manual DIRECTORY")),
    }
}

/// Writes `man/` and `completions/` into the directory.
pub fn write(directory: &Path) -> Result<()> {
    let (man, shells) = (directory.join("man"), directory.join("completions"));
    std::fs::create_dir_all(&man)?;
    std::fs::create_dir_all(&shells)?;
    for program in [Program::Proxy, Program::Client] {
        let name = program.name();
        let write = |file, text| std::fs::write(shells.join(file), text);
        std::fs::write(man.join(format!("{name}.1")), page::page(program))?;
        write(format!("{name}.bash"), completions::bash(program))?;
        write(format!("_{name}"), completions::zsh(program))?;
        write(format!("{name}.fish"), completions::fish(program))?;
    }
    Ok(())
}
