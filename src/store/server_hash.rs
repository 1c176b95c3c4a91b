//! `ServerHash`: the name under which one server's credentials are kept, and the callback port that follows from it.
//!
//! Both are npm mcp-remote's, bit for bit, so that a person who switches stays signed in:
//! - the MD5 of the parts that make one identity (server, resource, authorize parameters, headers, metadata document,
//!   token endpoint), only those present, joined with `|`; MD5 names files here and protects nothing;
//! - texts go in as they were typed: a rotated `${VAR}` keeps the session;
//! - the port is `3335 + (first four hex digits mod 45816)`;
//! - a profile adds a part of its own; without one the name is npm's.
//!
//! Flags: `--profile`, `--resource`, `--disable-resource-parameter`, `--authorize-param`, `--header`, `--header-file`,
//! `--client-metadata-url`, `--token-endpoint` (all of them part of the name).
//! Spec: npm mcp-remote 0.15.1 (getServerUrlHash, calculateDefaultPort).
//! Not done here: no URL is normalised, except the token endpoint, which npm normalises too.

use std::collections::BTreeMap;
use std::fmt;

use md5::{Digest, Md5};

use crate::config::Config;
use crate::secret::Secret;

/// 32 lower-case hex digits: what the names of a server's credential files begin with.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerHash(String);

impl ServerHash {
    /// The hash npm gives to the same command line.
    pub fn of(config: &Config) -> ServerHash {
        let oauth = &config.oauth;
        let params = oauth
            .authorize_params
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()));
        ServerHash::from_parts([
            Some(config.server_text.clone()),
            resource(config),
            sorted_object(params),
            headers(config),
            oauth.client_metadata_url.clone(),
            oauth.token_endpoint.as_ref().map(|url| url.to_string()),
            // No part of npm's looks like this.
            config
                .profile
                .as_ref()
                .map(|name| format!("profile:{name}")),
        ])
    }

    /// A hash as a file name begins with it; `None` for anything but 32 lower-case hex digits.
    pub fn parse(text: &str) -> Option<ServerHash> {
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (text.len() == 32 && text.bytes().all(digit)).then(|| ServerHash(text.to_owned()))
    }

    /// The 32 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first callback port to try, 3335 to 49150.
    pub fn port(&self) -> u16 {
        let digits = self.0.get(..4).unwrap_or_default();
        let offset = u16::from_str_radix(digits, 16).unwrap_or_default() % 45_816;
        // Holds because the sum is at most 3335 + 45815.
        3335 + offset
    }

    fn from_parts<const N: usize>(parts: [Option<String>; N]) -> ServerHash {
        let present: Vec<String> = parts
            .into_iter()
            .flatten()
            .filter(|part| !part.is_empty())
            .collect();
        let digest = Md5::digest(present.join("|").as_bytes());
        ServerHash(super::hex(&digest))
    }
}

impl fmt::Display for ServerHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn resource(config: &Config) -> Option<String> {
    if config.oauth.disable_resource {
        return None;
    }
    config.oauth.resource.clone()
}

fn headers(config: &Config) -> Option<String> {
    let typed = config.headers_typed.iter();
    sorted_object(typed.map(|(name, value): &(String, Secret)| (name.as_str(), value.expose())))
}

/// `JSON.stringify` of an object with its keys in JavaScript's sort order (UTF-16 code units); the last value of a key wins.
fn sorted_object<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Option<String> {
    let mut by_key: BTreeMap<Vec<u16>, (&str, &str)> = BTreeMap::new();
    for (key, value) in pairs {
        by_key.insert(key.encode_utf16().collect(), (key, value));
    }
    if by_key.is_empty() {
        return None;
    }
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let members: Vec<String> = by_key
        .values()
        .map(|(key, value)| format!("{}:{}", quoted(key), quoted(value)))
        .collect();
    Some(format!("{{{}}}", members.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use url::Url;

    fn config(server: &str) -> Config {
        let mut config = Config::new(Url::parse(server).unwrap());
        config.server_text = server.to_owned();
        config
    }

    fn header(config: &mut Config, name: &str, value: &str) {
        config
            .headers_typed
            .push((name.to_owned(), Secret::new(value)));
    }

    fn param(config: &mut Config, name: &str, value: &str) {
        config
            .oauth
            .authorize_params
            .push((name.to_owned(), value.to_owned()));
    }

    fn check(config: &Config, md5: &str, port: u16) {
        let hash = ServerHash::of(config);
        assert_eq!((hash.as_str(), hash.port()), (md5, port));
    }

    #[test]
    fn hash_and_port_are_those_of_npm() {
        check(
            &config("https://mcp.example.com/mcp"),
            "94baabe3c3fadb285b26c035e4e86046",
            41409,
        );
        check(
            &config("https://mcp.example.com/sse"),
            "494d19bc05f3885edf847e391b7f9153",
            22100,
        );
        check(
            &config("http://127.0.0.1:39202/mcp"),
            "c0546710dc515577178fe17cb3db17b6",
            6755,
        );

        let mut with_resource = config("https://mcp.example.com/mcp");
        with_resource.oauth.resource = Some("https://tenant1.example.net/".to_owned());
        check(&with_resource, "22c369abd80465c7b317611538f241b1", 12234);

        let mut with_headers = config("https://mcp.example.com/mcp");
        header(&mut with_headers, "X-A", "1");
        header(&mut with_headers, "Authorization", "Bearer ${TOKEN}");
        check(&with_headers, "841feaa3ef8cae6a1a12a6e6396ba173", 37158);

        let mut with_all = config("https://mcp.example.com/mcp");
        with_all.oauth.resource = Some("https://r.example/".to_owned());
        param(&mut with_all, "prompt", "consent");
        param(&mut with_all, "audience", "https://api.example/");
        header(&mut with_all, "X-A", "1");
        with_all.oauth.client_metadata_url = Some("https://c.example/cimd.json".to_owned());
        check(&with_all, "6595197d746aa8660236efa9134fc9d4", 29340);
    }

    #[test]
    fn the_last_value_of_a_repeated_name_counts_and_case_matters() {
        let mut once = config("https://a.test/");
        header(&mut once, "X-A", "2");
        let mut twice = config("https://a.test/");
        header(&mut twice, "X-A", "1");
        header(&mut twice, "X-A", "2");
        assert_eq!(ServerHash::of(&once), ServerHash::of(&twice));
        header(&mut twice, "x-a", "2");
        assert_ne!(ServerHash::of(&once), ServerHash::of(&twice));
    }

    #[test]
    fn a_profile_has_a_hash_of_its_own() {
        let plain = config("https://a.test/mcp");
        let with = |name: &str| Config {
            profile: Some(name.to_owned()),
            ..plain.clone()
        };
        assert_ne!(ServerHash::of(&plain), ServerHash::of(&with("work")));
        assert_ne!(ServerHash::of(&with("home")), ServerHash::of(&with("work")));
    }

    #[test]
    fn a_disabled_resource_is_not_part_of_the_name() {
        let plain = config("https://a.test/mcp");
        let mut disabled = config("https://a.test/mcp");
        disabled.oauth.resource = Some("https://r.test/".to_owned());
        disabled.oauth.disable_resource = true;
        assert_eq!(ServerHash::of(&plain), ServerHash::of(&disabled));
    }

    #[test]
    fn keys_sort_by_utf16_code_units_as_in_javascript() {
        // U+FF61 sorts after the surrogates of U+1F600 in UTF-16 and before it in UTF-8.
        let pairs = [("\u{ff61}", "1"), ("\u{1f600}", "2\u{1}\"")];
        assert_eq!(
            sorted_object(pairs.into_iter()).unwrap(),
            "{\"\u{1f600}\":\"2\\u0001\\\"\",\"\u{ff61}\":\"1\"}"
        );
    }

    #[test]
    fn only_32_hex_digits_are_a_hash() {
        let hash = "94baabe3c3fadb285b26c035e4e86046";
        assert_eq!(ServerHash::parse(hash).unwrap().as_str(), hash);
        for text in [
            "",
            "94",
            "../../../../../../../etc/passwd0",
            "94BAABE3C3FADB285B26C035E4E86046",
        ] {
            assert_eq!(ServerHash::parse(text), None, "{text}");
        }
    }
}
