//! Measures this bridge, npm's, and the floor (the same calls without a bridge), in one run and on one machine; if GLIBC names
//! the dynamic program of the same code, that as well: the static one must not fall behind.
//!
//! `scripts/bench` builds and runs it: `bench THIS [NPM'S COMMAND, split at spaces]`. The rounds alternate between the
//! candidates, so that a busy machine is busy for all of them; each figure is the median of its rounds.
//! ROUNDS sets how many; SAVE=1 keeps the run in tests/bench/run.json and puts its table into the README.

mod certificate;
mod measure;
mod peer;
mod process;
mod server;
mod table;
mod wire;

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Map, Value, json};

use measure::{Figures, Site};
use peer::Outcome;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("the measurement failed: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome<()> {
    let text = |e: std::io::Error| e.to_string();
    let words = |words: String| words.split_whitespace().map(OsString::from).collect();
    let mut commands: Vec<Vec<OsString>> = std::env::args().skip(1).map(words).collect();
    commands.truncate(2);
    let this = commands.first().and_then(|words| words.first());
    let this = this.ok_or("usage: bench PROGRAM [COMMAND]")?.clone();

    let home = std::env::temp_dir().join(format!("mcp-remote-bench-{}", std::process::id()));
    std::fs::create_dir_all(&home).map_err(text)?;
    let certificate = certificate::Certificate::new()?;
    let site = Site {
        plain: server::start(None).map_err(text)?,
        tls: server::start(Some(certificate.server()?)).map_err(text)?,
        client: certificate.client()?,
        ca: home.join("ca.pem"),
        home: home.clone(),
    };
    std::fs::write(&site.ca, certificate.pem()).map_err(text)?;

    measure::watch();
    let rounds = std::env::var("ROUNDS").map_or(Ok(5), |text| text.parse());
    let rounds: usize = rounds.map_err(|e| format!("ROUNDS: {e}"))?;
    let mut names = vec!["this", "npm"];
    names.truncate(commands.len());
    if let Some(program) = std::env::var_os("GLIBC") {
        names.push("glibc");
        commands.push(vec![program]);
    }
    let mut found: HashMap<&str, Vec<Figures>> = HashMap::new();
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        for (name, command) in names.iter().zip(&commands) {
            let share = if *name == "npm" { 8 } else { 1 };
            let figures = measure::bridge(command, &site, share);
            let figures = figures.map_err(|problem| format!("{name}: {problem}"))?;
            found.entry(name).or_default().push(figures);
        }
        found
            .entry("floor")
            .or_default()
            .push(measure::direct(&site)?);
    }
    // A directory of our own that cannot be removed is the system's to clean.
    let _ = std::fs::remove_dir_all(&home);

    let mut columns: Vec<(&str, Map<String, Value>)> = Vec::new();
    for name in ["this", "glibc", "npm", "floor"] {
        if let Some(rounds) = found.get(name) {
            columns.push((name, medians(rounds)));
        }
    }
    for (name, size) in [("this", size(Path::new(&this))), ("npm", npm_size())] {
        let column = columns.iter_mut().find(|(column, _)| *column == name);
        if let (Some((_, column)), Some(size)) = (column, size) {
            column.insert("size_mb".to_owned(), json!(size));
        }
    }
    let versions = std::env::var("VERSIONS").unwrap_or_default();
    let about = json!({"machine": process::machine(), "versions": versions, "rounds": rounds});
    let report = table::report(about, &columns);
    println!("{}", table::text(&report));
    if std::env::var_os("SAVE").is_some() {
        save(&report).map_err(text)?;
    }
    println!("{report}");
    Ok(())
}

fn medians(rounds: &[Figures]) -> Map<String, Value> {
    let mut medians = Map::new();
    for (row, (key, _)) in rounds[0].iter().enumerate() {
        let mut figures: Vec<f64> = rounds.iter().map(|round| round[row].1).collect();
        figures.sort_by(f64::total_cmp);
        let median = (figures[figures.len() / 2] * 10_000.0).round() / 10_000.0;
        medians.insert((*key).to_owned(), json!(median));
    }
    medians
}

/// In MB, with everything below a directory.
fn size(path: &Path) -> Option<f64> {
    let found = std::fs::metadata(path).ok()?;
    if !found.is_dir() {
        return Some(found.len() as f64 / 1024.0 / 1024.0);
    }
    let entries = std::fs::read_dir(path).ok()?.flatten();
    Some(entries.filter_map(|entry| size(&entry.path())).sum())
}

/// npm's packages and Node itself: both are needed.
fn npm_size() -> Option<f64> {
    let parts = std::env::var("NPM_PARTS").ok()?;
    Some(
        parts
            .split(':')
            .filter_map(|part| size(Path::new(part)))
            .sum(),
    )
}

fn save(report: &Value) -> std::io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::write(root.join("tests/bench/run.json"), format!("{report}\n"))?;
    let readme = std::fs::read_to_string(root.join("README.md"))?;
    let with_table = table::in_readme(&readme, report)
        .ok_or_else(|| std::io::Error::other("the README has no place for the table"))?;
    std::fs::write(root.join("README.md"), with_table)
}
