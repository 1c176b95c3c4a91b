//! What the kernel tells about a process and its children. Linux only: elsewhere everything is unknown.

use std::fs;

/// A process and all that came from it.
fn tree(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut at = 0;
    while let Some(id) = found.get(at) {
        let threads = fs::read_dir(format!("/proc/{id}/task"));
        for thread in threads.into_iter().flatten().flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(children.split(' ').filter_map(|id| id.parse::<u32>().ok()));
        }
        at += 1;
    }
    found
}

/// A number of /proc/ID/status, summed over the tree.
fn status(root: u32, line: &str) -> Option<f64> {
    let mut sum = None;
    for id in tree(root) {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let value = status.lines().find_map(|each| each.strip_prefix(line));
        let value = value.and_then(|value| value.split_whitespace().next()?.parse::<f64>().ok());
        sum = value.map(|value| sum.unwrap_or(0.0) + value).or(sum);
    }
    sum
}

/// Resident memory in MB.
pub fn resident(root: u32) -> Option<f64> {
    status(root, "VmRSS:").map(|kilobytes| kilobytes / 1024.0)
}

/// The most that was resident since [`forget_peak`], in MB.
pub fn peak(root: u32) -> Option<f64> {
    status(root, "VmHWM:").map(|kilobytes| kilobytes / 1024.0)
}

pub fn forget_peak(root: u32) {
    for id in tree(root) {
        // A kernel that refuses leaves the peak of the whole run, which is still no lie.
        let _ = fs::write(format!("/proc/{id}/clear_refs"), "5");
    }
}

/// Seconds of processor time.
pub fn processor(root: u32) -> Option<f64> {
    let mut ticks = None;
    for id in tree(root) {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // The name stands in parentheses and may hold anything.
        let Some((_, after)) = stat.rsplit_once(')') else {
            continue;
        };
        let fields: Vec<&str> = after.split_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
        ticks = Some(ticks.unwrap_or(0.0) + number(11)? + number(12)?);
    }
    // 100 ticks a second, on every Linux that is in use.
    ticks.map(|ticks| ticks / 100.0)
}

/// How often its threads have gone to sleep, which is how often they woke.
pub fn sleeps(root: u32) -> Option<f64> {
    let mut sum = None;
    for id in tree(root) {
        for thread in fs::read_dir(format!("/proc/{id}/task")).ok()?.flatten() {
            let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
            let value = status
                .lines()
                .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            let value = value.and_then(|value| value.trim().parse::<f64>().ok());
            sum = value.map(|value| sum.unwrap_or(0.0) + value).or(sum);
        }
    }
    sum
}

/// The machine in one line.
pub fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown processor", |name| {
        name.trim_matches([' ', '\t', ':'])
    });
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let os = std::env::consts::OS;
    format!("{cores} cores of {model}, {os} {}", kernel.trim())
}
