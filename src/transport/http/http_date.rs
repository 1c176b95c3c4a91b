//! HTTP dates, and `Retry-After`, which is one or a number of seconds. Pure.
//!
//! Spec: RFC 9110 5.6.7 (the three date formats), 10.2.3 (`Retry-After`).

use std::time::Duration;

/// The time to wait that a `Retry-After` asks for, a year at most; a date that has passed asks for none.
pub(crate) fn parse_retry_after(value: &str, now: u64) -> Option<Duration> {
    let value = value.trim();
    let seconds = match value.parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => parse_http_date(value)?.saturating_sub(now),
    };
    Some(Duration::from_secs(seconds.min(LONGEST)))
}

/// More than this added to the time of now may be more than a clock can tell.
const LONGEST: u64 = 365 * 86_400;

/// Seconds since 1970. Reads all three formats and the dashes that cookies use, by what each word looks like.
pub(crate) fn parse_http_date(text: &str) -> Option<u64> {
    let (mut day, mut month, mut year, mut time) = (None, None, None, None);
    for word in text.split([' ', ',', '-']).filter(|word| !word.is_empty()) {
        if let Some(read) = parse_time(word) {
            time = Some(read);
        } else if let Some(at) = MONTHS.iter().position(|name| {
            word.get(..3)
                .is_some_and(|start| start.eq_ignore_ascii_case(name))
        }) {
            month = Some(at as u64 + 1);
        } else if let Ok(number) = word.parse::<u64>() {
            match (day, word.len()) {
                (None, 1 | 2) => day = Some(number),
                // Two digits: within fifty years from 1970 (RFC 9110 leaves the century to the reader).
                (Some(_), 2) => {
                    year = Some(if number < 70 {
                        2000 + number
                    } else {
                        1900 + number
                    })
                }
                (_, 4) => year = Some(number),
                _ => return None,
            }
        }
    }
    let (day, month, year) = (day?, month?, year?);
    let valid = (1..=31).contains(&day) && (1970..=9999).contains(&year);
    valid
        .then(|| days_from_1970(year, month, day) * 86_400)
        .and_then(|seconds| seconds.checked_add(time?))
}

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];

fn parse_time(word: &str) -> Option<u64> {
    let mut parts = word.split(':').map(str::parse::<u64>);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(Ok(h)), Some(Ok(m)), Some(Ok(s)), None) if h < 24 && m < 60 && s < 61 => {
            Some(h * 3600 + m * 60 + s)
        }
        _ => None,
    }
}

/// The civil calendar with March as first month, so that the leap day comes last.
fn days_from_1970(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    (365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1)
        .saturating_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_formats_and_the_one_of_cookies_are_read() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 06-Nov-1994 08:49:37 GMT",
        ] {
            assert_eq!(parse_http_date(text), Some(784_111_777), "{text}");
        }
        assert_eq!(
            parse_http_date("Thu, 29 Feb 2024 00:00:00 GMT"),
            Some(1_709_164_800)
        );
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "soon",
            "06 Nov 1994",
            "99 Nov 1994 00:00:00",
            "06 Nov 1994 25:00:00",
            "6 Nov 99999 00:00:00",
            "1 Jan 0001 00:00:00",
        ] {
            assert_eq!(parse_http_date(text), None, "{text}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(parse_retry_after(" 7 ", 0), Some(Duration::from_secs(7)));
        assert_eq!(
            parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_770),
            Some(Duration::from_secs(7))
        );
        assert_eq!(
            parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_800),
            Some(Duration::ZERO)
        );
        assert_eq!(parse_retry_after("-1", 0), None);
    }
}
