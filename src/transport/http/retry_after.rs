//! `Retry-After`: seconds or a date.
//!
//! Spec: RFC 9110 10.2.3.

use std::time::{Duration, SystemTime};

use ureq::Body;
use ureq::http::{Response, header};

use crate::transport::http::exchange::header_text;

/// How long `Retry-After` asks to wait: a number of seconds or a date (RFC 9110 10.2.3).
pub(crate) fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let text = header_text(response, header::RETRY_AFTER)?;
    parse_retry_after(&text, SystemTime::now())
}

/// A date in the past means no wait.
fn parse_retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let wait = match text.trim().parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = httpdate::parse_http_date(text).ok()?;
            date.duration_since(now).unwrap_or_default()
        }
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// A longer wait could overflow when it is added to the current time.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(365 * 86_400);

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let wait = |text, now| parse_retry_after(text, at(now)).map(|wait| wait.as_secs());
        assert_eq!(wait(" 7 ", 0), Some(7));
        for date in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(wait(date, 784_111_770), Some(7), "{date}");
            assert_eq!(wait(date, 784_111_800), Some(0), "{date}");
        }
        assert_eq!(wait("99999999999", 0), Some(365 * 86_400));
        for text in [
            "",
            "-1",
            "soon",
            "Sun, 99 Nov 1994 08:49:37 GMT",
            "99999999999999999999",
        ] {
            assert_eq!(wait(text, 0), None, "{text}");
        }
    }
}
