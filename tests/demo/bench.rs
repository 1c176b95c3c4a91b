//! Measures bridges against each other, in one run and on one machine: start, memory, calls, large answers.
//!
//! `scripts/bench` builds and runs it. Each argument is a command, split at spaces; the bridge built beside this program
//! comes first. The runs alternate between the commands, so that a busy machine is busy for all of them.
//! Memory is read from /proc: without one, those lines are left out.

mod bridge;
mod server;

use std::ffi::OsString;
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use bridge::Bridge;
use server::Server;

const ROUNDS: usize = 10;
const CALLS: usize = 200;
const LARGE: usize = 20 << 20;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("the measurement failed: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let server = server::start().map_err(|e| format!("cannot listen on loopback: {e}"))?;
    let mut commands = vec![bridge::beside_us()?];
    commands.extend(std::env::args().skip(1).map(|words| {
        words
            .split_whitespace()
            .map(OsString::from)
            .collect::<Vec<_>>()
    }));

    let mut columns = vec![Vec::<Figures>::new(); commands.len()];
    for _ in 0..ROUNDS {
        for (command, column) in commands.iter().zip(&mut columns) {
            column.push(measure(command, &server)?);
        }
    }
    print_table(&columns);
    Ok(())
}

/// What one round found: a name, its unit, and the figure, in the order measured.
type Figures = Vec<(&'static str, &'static str, f64)>;

fn measure(command: &[OsString], server: &Server) -> Result<Figures, String> {
    let mut found = Figures::new();
    let url = format!("http://{}/mcp", server.address);
    let began = Instant::now();
    let mut bridge = Bridge::start(command, &url, Stdio::null())?;
    bridge.request(json!({"id": 0, "method": "initialize", "params": {
        "protocolVersion": server::PROTOCOL,
        "capabilities": {},
        "clientInfo": {"name": "bench", "version": "1"},
    }}))?;
    found.push(("start to first answer", "ms", milliseconds(began)));
    bridge.send(json!({"method": "notifications/initialized"}))?;

    let mut times = Vec::with_capacity(CALLS);
    for id in 1..=CALLS {
        let began = Instant::now();
        bridge.request(call(id, "add", json!({"a": id, "b": 1})))?;
        times.push(milliseconds(began));
    }
    found.push(("one small call, median", "ms", median(&mut times)));

    // Idle is after the session has settled.
    std::thread::sleep(Duration::from_secs(1));
    if let Some(memory) = memory(&bridge, "VmRSS:") {
        found.push(("memory of an idle session", "MB", memory));
    }

    let began = Instant::now();
    for id in 0..32 {
        bridge.send(call(1000 + id, "count", json!({"to": 1})))?;
    }
    for _ in 0..64 {
        bridge.receive()?;
    }
    found.push(("32 calls of 200 ms at once", "ms", milliseconds(began)));

    for (name, stream) in [
        ("20 MB answer as JSON", false),
        ("20 MB answer as an event", true),
    ] {
        let began = Instant::now();
        let arguments = json!({"bytes": LARGE, "stream": stream});
        let answer = bridge.request(call(2000 + usize::from(stream), "repeat", arguments))?;
        if answer["content"][0]["text"].as_str().map(str::len) != Some(LARGE) {
            return Err("the large answer is not what the server sent".to_owned());
        }
        found.push((name, "ms", milliseconds(began)));
    }
    if let Some(memory) = memory(&bridge, "VmHWM:") {
        found.push(("memory at its highest", "MB", memory));
    }

    let began = Instant::now();
    bridge.finish()?;
    found.push(("stdin closed to exit", "ms", milliseconds(began)));
    // A bridge that ends its session does so before it leaves.
    let ended = server.ended.try_iter().count() as f64;
    found.push(("sessions ended at the server", "", ended));
    Ok(found)
}

fn call(id: usize, name: &str, arguments: Value) -> Value {
    json!({"id": id, "method": "tools/call", "params": {
        "name": name, "arguments": arguments, "_meta": {"progressToken": id},
    }})
}

fn milliseconds(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1000.0
}

/// A line of /proc/PID/status, in MB.
fn memory(bridge: &Bridge, line: &str) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", bridge.child.id())).ok()?;
    let found = status.lines().find_map(|each| each.strip_prefix(line))?;
    let kilobytes: f64 = found.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kilobytes / 1024.0)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn print_table(columns: &[Vec<Figures>]) {
    println!("median of {ROUNDS} runs; the last column is the second command by the first");
    for (row, (name, unit, _)) in columns[0][0].iter().enumerate() {
        let medians: Vec<f64> = columns
            .iter()
            .map(|rounds| median(&mut rounds.iter().map(|round| round[row].2).collect::<Vec<_>>()))
            .collect();
        print!("{name:<28} {unit:<2}");
        for figure in &medians {
            print!(" {figure:>9.2}");
        }
        if let [first, second, ..] = medians[..] {
            print!(" {:>8.1}x", second / first);
        }
        println!();
    }
}
