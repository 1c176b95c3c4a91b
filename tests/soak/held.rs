//! What the process holds after each round, and whether that grows.
//!
//! Threads and connections of the largest burst are kept for a while, so these are compared with the first round, generously.
//! Memory is compared in thirds: whatever a program fills once (heaps of threads, tables) is filled in the first third, and the
//! most that was held in the last third may be but little more than the most of the middle third. The most, because some rounds
//! end with few threads.

use std::fmt;

use crate::client::MOST_OPEN;

/// What a process holds.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    kib: u64,
    threads: u64,
    descriptors: u64,
}

/// More than this is not held at any time.
const MOST_KIB: u64 = 20 * 1024;
/// The last third may hold so much more than the middle one: ten bytes for each request in a run of ten minutes.
const GROWTH_KIB: u64 = 1024;
/// With fewer rounds, a third may have nothing but rounds that end with few threads.
const ROUNDS: usize = 15;

/// Looks at what was held after each round so far.
pub fn check(rounds: &[Held]) -> Result<(), String> {
    let (Some(first), Some(last)) = (rounds.first(), rounds.last()) else {
        return Ok(());
    };
    let kept = MOST_OPEN as u64 + 8;
    if last.kib > MOST_KIB
        || last.threads > first.threads + kept
        || last.descriptors > first.descriptors + kept
    {
        return Err(format!(
            "it holds too much: {last}, after the first round {first}"
        ));
    }
    let third = rounds.len() / 3;
    let most = |from: usize| {
        let of_third = rounds.iter().skip(from).take(third);
        of_third.map(|held| held.kib).max()
    };
    match (most(third), most(rounds.len() - third)) {
        (Some(middle), Some(late)) if rounds.len() >= ROUNDS && late > middle + GROWTH_KIB => Err(
            format!("it grows: {middle} KiB at most, and later {late} KiB"),
        ),
        _ => Ok(()),
    }
}

impl Held {
    /// What Linux says about a process.
    pub fn of(pid: u32) -> Held {
        let proc = format!("/proc/{pid}");
        let status = std::fs::read_to_string(format!("{proc}/status")).unwrap_or_default();
        let number = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name));
            let value = value.and_then(|value| value.split_whitespace().next());
            value.and_then(|value| value.parse().ok()).unwrap_or(0)
        };
        Held {
            kib: number("VmRSS:"),
            threads: number("Threads:"),
            descriptors: std::fs::read_dir(format!("{proc}/fd"))
                .map_or(0, |fds| fds.count() as u64),
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Held {
            kib,
            threads,
            descriptors,
        } = self;
        write!(f, "{kib} KiB, {threads} threads, {descriptors} descriptors")
    }
}
