//! A soak: real traffic through the release binary for minutes, with a fault every few seconds.
//!
//! `scripts/soak` builds and runs it; the arguments are how many seconds, and a seed. In rounds, a [`client`] asks
//! without pause while the [`server`] does what a bad server does; then both rest, and what the process holds is counted.
//! It fails if an id is not answered exactly once, if a request after a fault does not work, if threads or descriptors of the
//! process are not where they were after the first round, or if its memory grows (Linux, see [`held`]).

mod client;
mod held;
mod server;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use client::Client;
use held::Held;
use server::{Fault, Server};

/// The load and the faults of a round, and the rest after it.
const ROUND: Duration = Duration::from_secs(14);
const REST: Duration = Duration::from_secs(6);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("\nThe soak failed: {problem}.");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let mut numbers = std::env::args().skip(1).map(|word| word.parse::<u64>());
    let mut number = |unless| match numbers.next() {
        Some(number) => number.map_err(|e| e.to_string()),
        None => Ok(unless),
    };
    let (seconds, seed) = (number(600)?, number(u64::from(std::process::id()))?);
    println!("{seconds} s, seed {seed}");
    let server = Server::start().map_err(|e| format!("cannot listen: {e}"))?;
    let mut client = Client::start(&server.url()).map_err(|e| format!("cannot start: {e}"))?;
    client.handshake()?;
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut chance = seed | 1;
    let mut rounds: Vec<Held> = Vec::new();
    while Instant::now() < end {
        let round = Instant::now() + ROUND;
        while Instant::now() < round {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            let fault = Fault::ALL[(chance % Fault::ALL.len() as u64) as usize];
            println!("{:?}", fault);
            server.do_wrong(fault);
            client.ask_for(Duration::from_secs(2), fault == Fault::SlowReader)?;
            server.behave();
            client.ask_for(Duration::from_secs(1), false)?;
        }
        client.drain()?;
        client.works()?;
        std::thread::sleep(REST);
        let held = client.holds();
        println!("{} answers, {held}", client.answers());
        rounds.push(held);
        held::check(&rounds)?;
    }
    client.leave()?;
    println!("Each of {} requests was answered once.", client.answers());
    Ok(())
}
