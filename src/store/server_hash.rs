//! The npm-compatible server hash, and the callback port derived from it. Pure.
//!
//! npm mcp-remote names the files of its store by it: the MD5 of the address and of what makes a session another one,
//! joined by `|`. Both programs find the same files, so a person who switches stays signed in.
//!
//! Not in it, as in npm: port, host, path, scopes, static client, transport, grants.

use std::collections::BTreeMap;
use std::fmt;

use md5::{Digest, Md5};

use crate::config::Config;

/// 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerHash(String);

impl ServerHash {
    /// The hash of what was typed: address, resource, authorization parameters, headers before `${VAR}` expansion,
    /// client metadata address, token endpoint; only what is present.
    pub fn new(config: &Config) -> ServerHash {
        let oauth = &config.oauth;
        let mut parts = vec![config.server_text.clone()];
        parts.extend(oauth.resource.clone());
        parts.extend(sorted_object(
            oauth
                .authorize_params
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        ));
        parts.extend(sorted_object(
            config
                .headers_typed
                .iter()
                .map(|(name, value)| (name.as_str(), value.expose())),
        ));
        parts.extend(oauth.client_metadata_url.clone());
        parts.extend(oauth.token_endpoint.as_ref().map(ToString::to_string));
        let digest = Md5::digest(parts.join("|").as_bytes());
        ServerHash(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The callback port npm derives: 3335 to 49150.
    pub fn port(&self) -> u16 {
        let digits = self
            .0
            .get(..4)
            .and_then(|digits| u16::from_str_radix(digits, 16).ok());
        3335 + digits.unwrap_or_default() % 45_816
    }
}

impl fmt::Display for ServerHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A compact JSON object with its keys sorted by UTF-16 code unit, as JavaScript sorts them; `None` if it is empty.
fn sorted_object<'a>(members: impl Iterator<Item = (&'a str, &'a str)>) -> Option<String> {
    let sorted: BTreeMap<Vec<u16>, (&str, &str)> = members
        .map(|(name, value)| (name.encode_utf16().collect(), (name, value)))
        .collect();
    let quoted = crate::jsonrpc::quoted;
    let members: Vec<String> = sorted
        .values()
        .map(|(name, value)| format!("{}:{}", quoted(name), quoted(value)))
        .collect();
    (!members.is_empty()).then(|| format!("{{{}}}", members.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use url::Url;

    fn config(url: &str) -> Config {
        let mut config = Config::new(Url::parse(url).unwrap());
        config.server_text = url.to_owned();
        config
    }

    fn assert_hash(config: &Config, hash: &str, port: u16) {
        let found = ServerHash::new(config);
        assert_eq!((found.to_string().as_str(), found.port()), (hash, port));
    }

    /// Values observed with npm mcp-remote 0.15.1.
    #[test]
    fn hashes_and_ports_are_those_of_npm() {
        assert_hash(
            &config("https://mcp.example.com/mcp"),
            "94baabe3c3fadb285b26c035e4e86046",
            41409,
        );
        assert_hash(
            &config("https://mcp.example.com/sse"),
            "494d19bc05f3885edf847e391b7f9153",
            22100,
        );
        assert_hash(
            &config("http://127.0.0.1:39202/mcp"),
            "c0546710dc515577178fe17cb3db17b6",
            6755,
        );
        let mut resource = config("https://mcp.example.com/mcp");
        resource.oauth.resource = Some("https://tenant1.example.net/".into());
        assert_hash(&resource, "22c369abd80465c7b317611538f241b1", 12234);
        let mut headers = config("https://mcp.example.com/mcp");
        headers.headers_typed = vec![
            ("X-A".into(), Secret::new("1")),
            ("Authorization".into(), Secret::new("Bearer ${TOKEN}")),
        ];
        assert_hash(&headers, "841feaa3ef8cae6a1a12a6e6396ba173", 37158);
        let mut all = config("https://mcp.example.com/mcp");
        all.oauth.resource = Some("https://r.example/".into());
        all.oauth.authorize_params = vec![
            ("prompt".into(), "consent".into()),
            ("audience".into(), "https://api.example/".into()),
        ];
        all.headers_typed = vec![("X-A".into(), Secret::new("1"))];
        all.oauth.client_metadata_url = Some("https://c.example/cimd.json".into());
        assert_hash(&all, "6595197d746aa8660236efa9134fc9d4", 29340);
    }
}
