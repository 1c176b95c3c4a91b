//! The bridge with a simulated client, server, person and clock.

mod client;
mod detecting;
mod eras;
mod found;
mod server;
mod simulation;
mod streams;

use std::time::Duration;

/// Chance that can be repeated (splitmix64).
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize].clone()
    }

    fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.below(most - least))
    }

    /// Mostly short, sometimes very long.
    fn while_(&mut self) -> Duration {
        match self.below(20) {
            0 => self.millis(10_000, 400_000),
            1..5 => self.millis(500, 20_000),
            _ => self.millis(0, 500),
        }
    }
}
