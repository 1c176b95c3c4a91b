//! The cookie jar: in memory, for exactly the origin that set a cookie.
//!
//! Load balancers keep a session on one machine by cookie. `Path`, `Expires`, `Max-Age` and `Secure` count; `Domain`
//! is ignored, so that a cookie never reaches another host. The jar is bounded.
//!
//! Flags: `--disable-cookies`.
//! Spec: RFC 6265 5.2 to 5.4.

use std::time::UNIX_EPOCH;

use url::{Origin, Url};

use crate::secret::Secret;

/// The cookies of this process.
#[derive(Debug, Default)]
pub(crate) struct Jar {
    cookies: Vec<Cookie>,
}

#[derive(Debug)]
struct Cookie {
    origin: Origin,
    name: String,
    value: Secret,
    path: String,
    secure: bool,
    /// Seconds since 1970.
    expires: Option<u64>,
}

/// RFC 6265 6.1 asks for at least these.
const MAX_COOKIES: usize = 50;
const MAX_COOKIE: usize = 4096;
/// All cookies of a request: servers refuse longer headers.
const MAX_HEADER: usize = 8192;

impl Jar {
    /// Stores the `Set-Cookie` of a response from this address; `now` in seconds since 1970.
    pub(crate) fn store(&mut self, from: &Url, set_cookie: &str, now: u64) {
        let mut parts = set_cookie.split(';');
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
            return;
        };
        let (name, value) = (name.trim(), value.trim());
        let is_text = |text: &str| {
            text.bytes()
                .all(|byte| byte == b' ' || byte.is_ascii_graphic())
        };
        if name.is_empty() || set_cookie.len() > MAX_COOKIE || !is_text(name) || !is_text(value) {
            return;
        }
        let mut cookie = Cookie {
            origin: from.origin(),
            name: name.to_owned(),
            value: Secret::new(value),
            path: default_path(from),
            secure: false,
            expires: None,
        };
        let mut max_age = None;
        for attribute in parts {
            let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
            let value = value.trim();
            match name.trim().to_ascii_lowercase().as_str() {
                "path" if value.starts_with('/') => cookie.path = value.to_owned(),
                "secure" => cookie.secure = true,
                "expires" => cookie.expires = parse_date(value),
                "max-age" => max_age = value.parse::<i64>().ok(),
                _ => {}
            }
        }
        // Max-Age wins over Expires (5.3, step 3).
        if let Some(seconds) = max_age {
            cookie.expires = Some(now.saturating_add_signed(seconds.max(-1)));
        }
        self.cookies.retain(|old| {
            !(old.origin == cookie.origin && old.name == cookie.name && old.path == cookie.path)
        });
        if cookie.expires.is_none_or(|at| at > now) {
            self.cookies.push(cookie);
        }
        if self.cookies.len() > MAX_COOKIES {
            self.cookies.remove(0);
        }
    }

    /// The `Cookie` header for a request to this address.
    pub(crate) fn header(&self, to: &Url, now: u64) -> Option<Secret> {
        if self.cookies.is_empty() {
            return None;
        }
        let origin = to.origin();
        let mut fitting: Vec<&Cookie> = self
            .cookies
            .iter()
            .filter(|cookie| cookie.origin == origin && cookie.expires.is_none_or(|at| at > now))
            .filter(|cookie| {
                path_fits(to.path(), &cookie.path) && (!cookie.secure || to.scheme() == "https")
            })
            .collect();
        // Longer paths first (5.4, step 2).
        fitting.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let mut header = String::new();
        for cookie in fitting {
            let pair = format!("{}={}", cookie.name, cookie.value.expose());
            if header.len() + pair.len() <= MAX_HEADER {
                header = match header.is_empty() {
                    true => pair,
                    false => format!("{header}; {pair}"),
                };
            }
        }
        (!header.is_empty()).then(|| Secret::new(header))
    }
}

/// Seconds since 1970. Many servers write `Thu, 01-Jan-1970`, with dashes, which is not an HTTP date.
fn parse_date(text: &str) -> Option<u64> {
    let date = httpdate::parse_http_date(text)
        .or_else(|_| httpdate::parse_http_date(&text.replace('-', " ")));
    let since_1970 = date.ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(since_1970.as_secs())
}

/// RFC 6265 5.1.4.
fn default_path(url: &Url) -> String {
    match url.path().rsplit_once('/') {
        Some(("", _)) | None => "/".to_owned(),
        Some((directory, _)) => directory.to_owned(),
    }
}

fn path_fits(path: &str, cookie: &str) -> bool {
    path.strip_prefix(cookie)
        .is_some_and(|rest| rest.is_empty() || cookie.ends_with('/') || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn sent(set: &[&str], to: &str, now: u64) -> Option<String> {
        let mut jar = Jar::default();
        for cookie in set {
            jar.store(&url("https://a.test/x/mcp"), cookie, 100);
        }
        jar.header(&url(to), now)
            .map(|header| header.expose().to_owned())
    }

    #[test]
    fn a_cookie_goes_back_to_its_own_origin_and_path_only() {
        let set = ["a=1; Path=/; Domain=test", "b=2"];
        assert_eq!(
            sent(&set, "https://a.test/x/mcp", 100).as_deref(),
            Some("b=2; a=1")
        );
        assert_eq!(sent(&set, "https://a.test/xy", 100).as_deref(), Some("a=1"));
        assert_eq!(sent(&set, "https://b.test/x/mcp", 100), None);
        assert_eq!(sent(&set, "https://a.test:444/x/mcp", 100), None);
        assert_eq!(sent(&set, "http://a.test/x/mcp", 100), None);
    }

    #[test]
    fn cookies_expire_and_max_age_wins() {
        assert_eq!(
            sent(&["a=1; Max-Age=10"], "https://a.test/x/", 109).as_deref(),
            Some("a=1")
        );
        assert_eq!(sent(&["a=1; Max-Age=10"], "https://a.test/x/", 110), None);
        assert_eq!(
            sent(&["a=1", "a=; Max-Age=0"], "https://a.test/x/", 100),
            None
        );
        for past in [
            "Thu, 01 Jan 1970 00:00:01 GMT",
            "Thu, 01-Jan-1970 00:00:01 GMT",
            "Thursday, 01-Jan-70 00:00:01 GMT",
        ] {
            let cookie = format!("a=1; Expires={past}");
            assert_eq!(sent(&[&cookie], "https://a.test/x/", 100), None, "{past}");
        }
        assert_eq!(
            sent(
                &["a=1; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=5"],
                "https://a.test/x/",
                100
            )
            .as_deref(),
            Some("a=1")
        );
    }

    #[test]
    fn a_new_value_replaces_the_old_one_and_invalid_cookies_are_ignored() {
        assert_eq!(
            sent(
                &["a=1", "a=2", "nothing", "=3", "c=\u{1}"],
                "https://a.test/x/",
                100
            )
            .as_deref(),
            Some("a=2")
        );
    }

    #[test]
    fn the_jar_does_not_grow_without_bound() {
        let mut jar = Jar::default();
        (0..1000).for_each(|n| jar.store(&url("https://a.test/"), &format!("c{n}=1"), 0));
        assert_eq!(jar.cookies.len(), MAX_COOKIES);
    }
}
