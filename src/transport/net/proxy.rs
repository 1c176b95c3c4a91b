//! Which outbound proxy a request takes, by the variables of the environment. Pure.
//!
//! - `HTTPS_PROXY` for https, `HTTP_PROXY` for http, `ALL_PROXY` for what has none of its own; no scheme means http.
//! - `NO_PROXY`: `*`, or names that cover their subdomains, addresses and CIDR blocks, each with an optional port.
//! - Loopback never goes through a proxy.
//! - An invalid variable fails the requests that need it, and no other.
//!
//! Spec: curl(1), section PROXY ENVIRONMENT VARIABLES (there is no standard).

use std::net::IpAddr;

use ureq::Proxy;
use url::{Host, Url};

use crate::config::ProxyVariables;
use crate::error::{Error, Kind, Result};
use crate::secret::Secret;
use crate::url::is_loopback;

/// The proxy for this address.
///
/// # Errors
/// If the variable that names it cannot be used; its value may hold a password and is not repeated.
pub(crate) fn proxy_for(url: &Url, variables: &ProxyVariables) -> Result<Option<Proxy>> {
    let name = variable_for(url);
    let own = match url.scheme() {
        "https" => &variables.https,
        _ => &variables.http,
    };
    let chosen = own
        .as_ref()
        .map(|value| (name, value))
        .or(variables.all.as_ref().map(|value| ("ALL_PROXY", value)));
    match chosen {
        Some((name, value))
            if !is_exempt(url, variables.none_for.as_deref().unwrap_or_default()) =>
        {
            read(name, value).map(Some)
        }
        Some(_) | None => Ok(None),
    }
}

/// The variable that names the proxy for this address.
pub(crate) fn variable_for(url: &Url) -> &'static str {
    match url.scheme() {
        "https" => "HTTPS_PROXY",
        _ => "HTTP_PROXY",
    }
}

/// The variables that cannot be used, as warnings at the start.
pub(crate) fn warnings(variables: &ProxyVariables) -> Vec<String> {
    let all = [
        ("HTTP_PROXY", &variables.http),
        ("HTTPS_PROXY", &variables.https),
        ("ALL_PROXY", &variables.all),
    ];
    let invalid = all
        .iter()
        .filter_map(|(name, value)| read(name, value.as_ref()?).err());
    invalid.map(|error| error.what().to_owned()).collect()
}

fn read(name: &str, value: &Secret) -> Result<Proxy> {
    let refused = || {
        Error::new(Kind::Config, format!("{name} does not name a usable proxy")).with_hint(
            "it must look like http://host:port or socks5://host:port; --no-proxy ignores it",
        )
    };
    let text = value.expose();
    let text = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let url = Url::parse(&text).map_err(|_| refused())?;
    if url.host().is_none()
        || !matches!(
            url.scheme(),
            "http" | "https" | "socks" | "socks4" | "socks4a" | "socks5" | "socks5h"
        )
    {
        return Err(refused());
    }
    // socks5h lets the proxy resolve names, which is what ureq's socks5 does anyway.
    Proxy::new(&text.replacen("socks5h://", "socks5://", 1)).map_err(|_| refused())
}

/// Whether `NO_PROXY` or the loopback rule covers the address.
fn is_exempt(url: &Url, none_for: &str) -> bool {
    if is_loopback(url) {
        return true;
    }
    let Some(host) = url.host() else { return true };
    let port = url.port_or_known_default();
    let entries = none_for
        .split([',', ' '])
        .map(str::trim)
        .filter(|entry| !entry.is_empty());
    entries
        .into_iter()
        .any(|entry| entry == "*" || covers(entry, &host, port))
}

fn covers(entry: &str, host: &Host<&str>, port: Option<u16>) -> bool {
    let address = match host {
        Host::Ipv4(address) => IpAddr::V4(*address),
        Host::Ipv6(address) => IpAddr::V6(*address),
        Host::Domain(name) => return covers_name(entry, name, port),
    };
    if let Some((network, length)) = entry.split_once('/') {
        return in_block(address, network, length);
    }
    let (bare, wanted) = match entry
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        Some((bare, rest)) => (bare, rest.strip_prefix(':')),
        None if entry.parse::<IpAddr>().is_ok() => (entry, None),
        None => entry
            .rsplit_once(':')
            .map_or((entry, None), |(bare, port)| (bare, Some(port))),
    };
    bare.parse() == Ok(address) && port_fits(wanted, port)
}

fn covers_name(entry: &str, name: &str, port: Option<u16>) -> bool {
    let (entry, wanted) = entry
        .rsplit_once(':')
        .map_or((entry, None), |(entry, port)| (entry, Some(port)));
    let entry = entry
        .trim_start_matches('*')
        .trim_start_matches('.')
        .trim_end_matches('.')
        .to_ascii_lowercase();
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let covered = name == entry
        || name
            .strip_suffix(&entry)
            .is_some_and(|rest| rest.ends_with('.'));
    !entry.is_empty() && covered && port_fits(wanted, port)
}

fn port_fits(wanted: Option<&str>, port: Option<u16>) -> bool {
    wanted.is_none_or(|wanted| wanted.parse().ok() == port)
}

fn in_block(address: IpAddr, network: &str, length: &str) -> bool {
    let Ok(length) = length.parse::<u32>() else {
        return false;
    };
    let same_bits = |a: u128, b: u128, width: u32| {
        length <= width
            && (a ^ b)
                .checked_shr(width - length)
                .is_none_or(|rest| rest == 0)
    };
    match (address, network.parse::<IpAddr>()) {
        (IpAddr::V4(a), Ok(IpAddr::V4(b))) => {
            same_bits(u32::from(a).into(), u32::from(b).into(), 32)
        }
        (IpAddr::V6(a), Ok(IpAddr::V6(b))) => same_bits(a.into(), b.into(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(http: &str, https: &str, all: &str, none_for: &str) -> ProxyVariables {
        let some = |text: &str| (!text.is_empty()).then(|| Secret::new(text));
        ProxyVariables {
            http: some(http),
            https: some(https),
            all: some(all),
            none_for: Some(none_for.to_owned()),
        }
    }

    fn chosen(url: &str, variables: &ProxyVariables) -> Option<String> {
        proxy_for(&Url::parse(url).unwrap(), variables)
            .unwrap()
            .map(|proxy| format!("{}:{}", proxy.host(), proxy.port()))
    }

    #[test]
    fn each_scheme_has_its_variable_and_all_proxy_is_the_rest() {
        let both = variables("http://h:1", "s:2", "", "");
        assert_eq!(chosen("http://a.test", &both).as_deref(), Some("h:1"));
        assert_eq!(chosen("https://a.test", &both).as_deref(), Some("s:2"));
        assert_eq!(
            chosen(
                "https://a.test",
                &variables("http://h:1", "", "socks5h://a:3", "")
            )
            .as_deref(),
            Some("a:3")
        );
        assert_eq!(
            chosen("https://a.test", &variables("http://h:1", "", "", "")),
            None
        );
    }

    #[test]
    fn loopback_never_goes_through_a_proxy() {
        for url in [
            "http://localhost:1",
            "http://127.0.0.1",
            "http://[::1]",
            "http://x.localhost",
        ] {
            assert_eq!(
                chosen(url, &variables("http://h:1", "", "", "")),
                None,
                "{url}"
            );
        }
    }

    #[test]
    fn no_proxy_follows_curl() {
        for (entry, url, exempt) in [
            ("*", "http://a.test", true),
            ("a.test", "http://a.test", true),
            ("a.test", "http://x.a.test", true),
            (".a.test", "http://a.test", true),
            ("a.test", "http://ba.test", false),
            ("A.TEST.", "http://a.test", true),
            ("b.test, a.test", "http://a.test", true),
            ("a.test:8080", "http://a.test:8080", true),
            ("a.test:8080", "http://a.test", false),
            ("10.0.0.0/8", "http://10.200.3.4", true),
            ("10.0.0.0/8", "http://11.0.0.1", false),
            ("0.0.0.0/0", "http://11.0.0.1", true),
            ("fd00::/8", "http://[fd12::1]", true),
            ("[fd12::1]:80", "http://[fd12::1]", true),
            ("192.168.1.1", "http://192.168.1.1", true),
            ("192.168.1.1:81", "http://192.168.1.1", false),
            ("", "http://a.test", false),
        ] {
            assert_eq!(
                chosen(url, &variables("http://h:1", "", "", entry)).is_none(),
                exempt,
                "{entry} {url}"
            );
        }
    }

    #[test]
    fn a_bad_proxy_is_refused_without_repeating_its_password_where_it_is_needed() {
        let url = |text| Url::parse(text).unwrap();
        let bad = variables("", "http://h:1", "ftp://user:hunter2@h", "b.test");
        for unneeded in ["https://a.test", "http://127.0.0.1", "http://b.test"] {
            assert!(proxy_for(&url(unneeded), &bad).is_ok(), "{unneeded}");
        }
        assert_eq!(warnings(&bad), ["ALL_PROXY does not name a usable proxy"]);
        let error = proxy_for(&url("http://a.test"), &bad).unwrap_err();
        assert!(
            error.what().contains("ALL_PROXY") && !error.to_string().contains("hunter2"),
            "{error}"
        );
    }
}
