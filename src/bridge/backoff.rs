//! Which requests may be retried, and when.
//!
//! - A request that was not sent is retried with growing pauses while the client may still be waiting.
//! - A request that was sent without a byte coming back is retried only if its method is safe to repeat.
//! - 429, and 503 with `Retry-After`, mean that the server did nothing. 502, 503 and 504 may follow an action.
//!
//! Spec: RFC 9110 9.2.2 (retries), 10.2.3 (`Retry-After`), RFC 6585 4 (429).

use std::time::Duration;

/// How long a request is kept trying before the client is told. Some clients give up after ten seconds,
/// How long a request is retried before the client gets an error. Some clients give up after ten seconds.
pub const REQUEST_RETRY_LIMIT: Duration = Duration::from_secs(9);

/// How long a broken stream is resumed without reaching the server once.
pub const RESUME_LIMIT: Duration = Duration::from_secs(60);

/// Growing pauses with jitter.
#[derive(Debug)]
pub struct Backoff {
    state: u64,
}

impl Backoff {
    /// `seed` makes instances differ, so that not all clients reconnect to a restarted server at once.
    pub fn new(seed: u64) -> Backoff {
        Backoff { state: seed | 1 }
    }

    /// The pause after `failures` failed attempts in a row: `first`, doubled for each failure up to `max`, ±20 %.
    pub fn pause(&mut self, failures: u32, first: Duration, max: Duration) -> Duration {
        let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(16));
        // xorshift64: quality does not matter here.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let percent = 80 + u32::try_from(self.state % 41).unwrap_or(0);
        doubled.min(max).saturating_mul(percent) / 100
    }
}

/// The first pause before a request is retried.
pub const MIN_BACKOFF: Duration = Duration::from_millis(250);
/// The longest pause before a request is retried.
pub const MAX_REQUEST_BACKOFF: Duration = Duration::from_secs(2);
/// The longest pause before a stream is reopened.
pub const MAX_STREAM_BACKOFF: Duration = Duration::from_secs(30);

/// Whether a method is safe to repeat: it only reads, or repeating it has no further effect.
pub fn is_safe(method: &str) -> bool {
    matches!(
        method,
        "initialize"
            | "ping"
            | "server/discover"
            | "tools/list"
            | "resources/list"
            | "resources/templates/list"
            | "resources/read"
            | "resources/subscribe"
            | "resources/unsubscribe"
            | "prompts/list"
            | "prompts/get"
            | "completion/complete"
            | "logging/setLevel"
    )
}

/// Whether a refused request may be retried. `told_when`: the response has `Retry-After`.
pub fn may_repeat(status: u16, method: &str, told_when: bool) -> bool {
    match status {
        429 => true,
        503 => told_when || is_safe(method),
        502 | 504 => is_safe(method),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_limit_and_stay_near_it() {
        let mut backoff = Backoff::new(7);
        for failures in 1..60 {
            let plain = Duration::from_millis(250)
                .saturating_mul(1 << (failures - 1).min(16))
                .min(Duration::from_secs(2));
            let pause = backoff.pause(failures, MIN_BACKOFF, MAX_REQUEST_BACKOFF);
            assert!(
                pause >= plain * 4 / 5 && pause <= plain * 6 / 5,
                "{failures}: {pause:?}"
            );
        }
    }

    #[test]
    fn a_tool_call_is_repeated_only_when_the_server_says_it_did_nothing() {
        assert!(may_repeat(429, "tools/call", false));
        assert!(may_repeat(503, "tools/call", true));
        assert!(!may_repeat(503, "tools/call", false));
        assert!(!may_repeat(502, "tools/call", true));
        assert!(may_repeat(502, "tools/list", false));
        assert!(!may_repeat(500, "tools/list", false));
    }
}
