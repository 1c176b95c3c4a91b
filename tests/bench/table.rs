//! The figures of a run, as a table of text, as one line of JSON, and as the table of the README.

use serde_json::{Map, Value, json};

/// One row: the key of its figures, its name, and how many digits after the point are shown.
type Row = (&'static str, &'static str, usize);

pub const ROWS: &[Row] = &[
    ("size_mb", "size on disk, MB", 1),
    ("start_ms", "start to first answer, ms", 1),
    ("start_tls_ms", "the same over TLS, ms", 1),
    ("idle_mb", "memory, idle, MB", 1),
    ("idle_tls_mb", "memory, idle, TLS, MB", 1),
    ("busy_mb", "memory, 64 calls in flight, MB", 1),
    ("call_json_p50_ms", "one call, JSON, median, ms", 3),
    ("call_json_p99_ms", "one call, JSON, p99, ms", 3),
    ("call_event_p50_ms", "one call, event stream, median, ms", 3),
    ("call_event_p99_ms", "one call, event stream, p99, ms", 3),
    ("calls_per_s", "calls per second, 64 in flight", 0),
    (
        "work_calls_per_s",
        "the same, each taking 10 ms at the server",
        0,
    ),
    ("cpu_s_per_10000", "processor time of 10,000 calls, s", 2),
    ("results_64k_per_s", "results of 64 KiB per second", 0),
    (
        "results_64k_cpu_s_per_1000",
        "processor time of 1,000 of them, s",
        2,
    ),
    ("slow_ms", "32 calls of 200 ms at once, ms", 0),
    ("notifications_per_s", "notifications per second", 0),
    ("large_json_ms", "50 MiB answer, JSON, ms", 0),
    ("large_json_mb", "its memory at most, MB", 0),
    ("large_event_ms", "50 MiB answer, one event, ms", 0),
    ("large_event_mb", "its memory at most, MB", 0),
    ("large_request_ms", "20 MiB request, ms", 0),
    ("large_request_mb", "its memory at most, MB", 0),
    ("quiet_cpu_ms_per_s", "processor time, idle, ms per s", 1),
    ("quiet_wakeups_per_s", "wake-ups, idle, per s", 1),
];

/// The rows that matter to a user; the others are in the output of `scripts/bench`.
const IN_README: [&str; 5] = [
    "size_mb",
    "start_ms",
    "idle_mb",
    "call_json_p50_ms",
    "calls_per_s",
];

/// A run: `{"machine", "versions", "rounds", "this": {key: figure}, …}`.
pub fn report(about: Value, columns: &[(&str, Map<String, Value>)]) -> Value {
    let mut report = about;
    for (name, figures) in columns {
        report[name] = json!(figures);
    }
    report
}

/// The table for a terminal, with the columns of this run.
pub fn text(report: &Value) -> String {
    let mut text = format!("{:<42}", "");
    for name in ["this", "glibc", "npm", "floor", "this/glibc", "npm/this"] {
        text += &format!("{name:>11}");
    }
    text.push('\n');
    for (key, name, digits) in ROWS {
        let figures = ["this", "glibc", "npm", "floor"].map(|column| report[column][key].as_f64());
        let [this, glibc, npm, _] = figures;
        let ratio =
            |over: Option<f64>, under: Option<f64>| Some(over? / under.filter(|u| *u > 0.0)?);
        text += &format!("{name:<42}");
        for figure in figures {
            text += &shown(figure, *digits, 11);
        }
        text += &shown(ratio(this, glibc), 2, 11);
        text += &shown(ratio(npm, this), 2, 11);
        text.push('\n');
    }
    text
}

fn shown(figure: Option<f64>, digits: usize, width: usize) -> String {
    figure.map_or(format!("{:>width$}", "-"), |f| {
        format!("{f:>width$.digits$}")
    })
}

/// The table of the README.
pub fn markdown(report: &Value) -> String {
    let mut text =
        "| | this | npm `mcp-remote` | without a bridge |\n|---|---|---|---|\n".to_owned();
    for (key, name, digits) in ROWS.iter().filter(|(key, ..)| IN_README.contains(key)) {
        let cell = |column: &str| {
            let figure = report[column][key].as_f64();
            figure.map_or(String::new(), |f| format!("{f:.digits$}"))
        };
        text += &format!(
            "| {name} | {} | {} | {} |\n",
            cell("this"),
            cell("npm"),
            cell("floor")
        );
    }
    let of = |key: &str| report[key].as_str().unwrap_or_default().to_owned();
    text + &format!(
        "\nMeasured by `scripts/bench` on {}, rounds: {}; {}.\n",
        of("machine"),
        report["rounds"],
        of("versions")
    )
}

/// The README with the table between its two marks replaced.
pub fn in_readme(readme: &str, report: &Value) -> Option<String> {
    let (before, rest) = readme.split_once(FROM)?;
    let (_, after) = rest.split_once(TO)?;
    Some(format!("{before}{FROM}\n{}{TO}{after}", markdown(report)))
}

const FROM: &str = "<!-- bench -->";
const TO: &str = "<!-- /bench -->";
