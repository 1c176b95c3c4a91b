//! One round of measurements of one candidate.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use crate::peer::{Bridge, Direct, INITIALIZE, INITIALIZED, Outcome, call};
use crate::process;

/// What was found: the key of a row, and the figure.
pub type Figures = Vec<(&'static str, f64)>;

/// The two servers, and what is needed to call them.
pub struct Site {
    pub plain: u16,
    pub tls: u16,
    pub client: Arc<ClientConfig>,
    pub ca: PathBuf,
    pub home: PathBuf,
}

/// What is going on, and since when.
static PHASE: Mutex<Option<(&str, Instant)>> = Mutex::new(None);

fn now(phase: &'static str) {
    PHASE.lock().unwrap().replace((phase, Instant::now()));
}

/// Ends the program when a phase takes longer than anyone would wait: a candidate that hangs is not measured.
pub fn watch() {
    std::thread::spawn(|| {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let phase = PHASE
                .lock()
                .unwrap()
                .filter(|(_, began)| began.elapsed() > PATIENCE);
            if let Some((phase, _)) = phase {
                eprintln!("the measurement hangs: {phase}");
                std::process::exit(1);
            }
        }
    });
}

const PATIENCE: Duration = Duration::from_secs(300);
const WARM_UP: usize = 500;
const CALLS: usize = 2000;
const AT_ONCE: usize = 64;
const MANY: usize = 10_048; // a multiple of AT_ONCE
/// Bytes of text in an ordinary result.
const TEXT: usize = 200;
const NOTIFICATIONS: usize = 20_000;
const MIB: usize = 1024 * 1024;
const QUIET: Duration = Duration::from_secs(5);

/// A bridge. `share` makes the counts smaller, for one that would take minutes.
pub fn bridge(command: &[OsString], site: &Site, share: usize) -> Outcome<Figures> {
    let mut found = Figures::new();
    let plain = format!("http://127.0.0.1:{}/mcp", site.plain);
    let tls = format!("https://localhost:{}/mcp", site.tls);

    now("start over TLS");
    let began = Instant::now();
    let mut bridge = Bridge::start(command, &tls, &site.home, &site.ca)?;
    bridge.request(INITIALIZE)?;
    found.push(("start_tls_ms", milliseconds(began.elapsed())));
    bridge.send(INITIALIZED)?;
    (0..20).try_for_each(|id| bridge.request(&call(id, "json", 200, "")).map(drop))?;
    // Idle is after the session has settled.
    std::thread::sleep(Duration::from_secs(1));
    let known = |key, figure: Option<f64>| figure.map(|figure| (key, figure));
    found.extend(known("idle_tls_mb", process::resident(bridge.child.id())));
    bridge.finish()?;

    now("start");
    let began = Instant::now();
    let mut bridge = Bridge::start(command, &plain, &site.home, &site.ca)?;
    bridge.request(INITIALIZE)?;
    found.push(("start_ms", milliseconds(began.elapsed())));
    bridge.send(INITIALIZED)?;
    let id = bridge.child.id();
    (0..20).try_for_each(|id| bridge.request(&call(id, "json", 200, "")).map(drop))?;
    std::thread::sleep(Duration::from_secs(1));
    found.extend(known("idle_mb", process::resident(id)));

    let before = (process::processor(id), process::sleeps(id));
    std::thread::sleep(QUIET);
    let seconds = QUIET.as_secs_f64();
    let rate = |before: Option<f64>, after: Option<f64>| Some((after? - before?) / seconds);
    let cpu = rate(before.0, process::processor(id)).map(|share| share * 1000.0);
    found.extend(known("quiet_cpu_ms_per_s", cpu));
    found.extend(known(
        "quiet_wakeups_per_s",
        rate(before.1, process::sleeps(id)),
    ));

    now("calls one by one");
    found.extend(one_by_one(CALLS / share, |text| bridge.request(text))?);

    now("calls side by side");
    process::forget_peak(id);
    let cpu = process::processor(id);
    let calls = MANY / share / AT_ONCE * AT_ONCE;
    let took = bridge.side_by_side(calls, AT_ONCE, "json", TEXT)?;
    found.push(("calls_per_s", calls as f64 / took.as_secs_f64()));
    let cpu = cpu.and_then(|before| Some(process::processor(id)? - before));
    found.extend(known(
        "cpu_s_per_10000",
        cpu.map(|s| s * 10_000.0 / calls as f64),
    ));
    found.extend(known("busy_mb", process::peak(id)));

    now("results of 64 KiB");
    let cpu = process::processor(id);
    let calls = MANY / 4 / share;
    let took = bridge.side_by_side(calls, 8, "json", 64 * 1024)?;
    found.push(("results_64k_per_s", calls as f64 / took.as_secs_f64()));
    let cpu = cpu.and_then(|before| Some(process::processor(id)? - before));
    found.extend(known(
        "results_64k_cpu_s_per_1000",
        cpu.map(|s| s * 1000.0 / calls as f64),
    ));

    now("slow calls");
    let calls = MANY / share.max(2) / AT_ONCE * AT_ONCE;
    let took = bridge.side_by_side(calls, AT_ONCE, "work", TEXT)?;
    found.push(("work_calls_per_s", calls as f64 / took.as_secs_f64()));
    let took = bridge.side_by_side(32, 32, "slow", TEXT)?;
    found.push(("slow_ms", milliseconds(took)));

    now("notifications");
    let notifications = NOTIFICATIONS / share;
    let began = Instant::now();
    bridge.send(&call(1, "notify", notifications, ""))?;
    let mut left = notifications;
    while left > 0 {
        left -= usize::from(bridge.receive()?.contains("notifications/progress"));
    }
    let took = began.elapsed();
    // The answer to the call itself may stand before, between or behind them.
    bridge.side_by_side(1, 1, "json", TEXT)?;
    found.push((
        "notifications_per_s",
        notifications as f64 / took.as_secs_f64(),
    ));
    bridge.finish()?;

    for (tool, time, memory) in [
        ("json", "large_json_ms", "large_json_mb"),
        ("event", "large_event_ms", "large_event_mb"),
        ("take", "large_request_ms", "large_request_mb"),
    ] {
        // npm's bridge ends, or hangs, at a request of this size.
        if tool == "take" && share > 1 {
            continue;
        }
        now(time);
        // A process of its own, so that no peak is another's.
        let mut bridge = Bridge::start(command, &plain, &site.home, &site.ca)?;
        bridge.request(INITIALIZE)?;
        bridge.send(INITIALIZED)?;
        process::forget_peak(bridge.child.id());
        found.push((time, large(tool, |text| bridge.request(text))?));
        found.extend(known(memory, process::peak(bridge.child.id())));
        bridge.finish()?;
    }
    Ok(found)
}

/// The same calls without a bridge.
pub fn direct(site: &Site) -> Outcome<Figures> {
    let connect = |port, tls| Direct::connect(port, tls).map_err(|e| e.to_string());
    let mut found = Figures::new();
    now("calls without a bridge");
    let began = Instant::now();
    connect(site.tls, Some(&site.client))?.request(INITIALIZE)?;
    found.push(("start_tls_ms", milliseconds(began.elapsed())));
    let began = Instant::now();
    let mut direct = connect(site.plain, None)?;
    direct.request(INITIALIZE)?;
    found.push(("start_ms", milliseconds(began.elapsed())));
    found.extend(one_by_one(CALLS, |text| direct.request(text))?);
    let took = Direct::side_by_side(site.plain, MANY, AT_ONCE, "json")?;
    found.push(("calls_per_s", MANY as f64 / took.as_secs_f64()));
    let calls = MANY / 2 / AT_ONCE * AT_ONCE;
    let took = Direct::side_by_side(site.plain, calls, AT_ONCE, "work")?;
    found.push(("work_calls_per_s", calls as f64 / took.as_secs_f64()));
    let took = Direct::side_by_side(site.plain, 32, 32, "slow")?;
    found.push(("slow_ms", milliseconds(took)));
    found.push(("large_json_ms", large("json", |text| direct.request(text))?));
    found.push((
        "large_event_ms",
        large("event", |text| direct.request(text))?,
    ));
    found.push((
        "large_request_ms",
        large("take", |text| direct.request(text))?,
    ));
    Ok(found)
}

fn one_by_one(calls: usize, mut request: impl FnMut(&str) -> Outcome<usize>) -> Outcome<Figures> {
    let mut found = Figures::new();
    for (tool, p50, p99) in [
        ("json", "call_json_p50_ms", "call_json_p99_ms"),
        ("event", "call_event_p50_ms", "call_event_p99_ms"),
    ] {
        let mut times = Vec::with_capacity(calls);
        for id in 0..WARM_UP.min(calls) + calls {
            let text = call(id, tool, 200, "");
            let began = Instant::now();
            request(&text)?;
            times.push(milliseconds(began.elapsed()));
        }
        times.drain(..WARM_UP.min(calls));
        times.sort_by(f64::total_cmp);
        found.push((p50, times[times.len() / 2]));
        found.push((p99, times[times.len() * 99 / 100]));
    }
    Ok(found)
}

/// A 50 MiB answer, or a 20 MiB request; in milliseconds.
fn large(tool: &str, mut request: impl FnMut(&str) -> Outcome<usize>) -> Outcome<f64> {
    let text = match tool {
        "take" => call(1, tool, 200, &"x".repeat(20 * MIB)),
        _ => call(1, tool, 50 * MIB, ""),
    };
    let began = Instant::now();
    let length = request(&text)?;
    let took = began.elapsed();
    if tool != "take" && length < 50 * MIB {
        return Err("the large answer is not what the server sent".to_owned());
    }
    Ok(milliseconds(took))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
