//! What must hold for any bytes: one function for each parser of what comes from outside.
//!
//! `tests/fuzz` runs them under cargo fuzz; the test below runs them over the same corpora with changes of its own.
//! Compiled for tests and for fuzzing only.

use url::Url;

use crate::jsonrpc::{Kind, Message, Parsed, RequestId};
use crate::oauth::challenge::Challenge;
use crate::oauth::discovery::{resource_metadata, server_metadata};
use crate::oauth::{callback, token};
use crate::store::{ClientInfo, DiscoveryState, Object, PendingSignIn, ServerNotes, Tokens};
use crate::transport::http::sse;

/// The name of a target, which is that of its corpus, and what it runs.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("sse", sse),
    ("json_rpc", json_rpc),
    ("challenge", challenge),
    ("metadata", metadata),
    ("token", token),
    ("callback", callback),
    ("store", store),
];

/// The event stream: any division into chunks gives the same events.
pub fn sse(input: &[u8]) {
    const LIMIT: usize = 4096;
    let whole = sse::Parser::new(LIMIT).feed(input);
    for size in [1, 2, 7] {
        let mut parser = sse::Parser::new(LIMIT);
        let mut items = Ok(Vec::new());
        for chunk in input.chunks(size) {
            match (parser.feed(chunk), &mut items) {
                (Ok(more), Ok(items)) => items.extend(more),
                (Err(error), _) => {
                    items = Err(error);
                    break;
                }
                (Ok(_), Err(_)) => {}
            }
        }
        assert_eq!(items, whole, "in chunks of {size}");
    }
}

/// The envelope: what is taken is one line with the same meaning, and changing the id changes nothing else.
pub fn json_rpc(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let parts = match Message::read(text.to_owned()) {
        Ok(Parsed::One(message)) => {
            let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
            assert_eq!(
                value(text.trim_start_matches('\u{feff}')),
                value(message.text())
            );
            vec![Ok(message)]
        }
        Ok(Parsed::Batch(parts)) => parts,
        Err(malformed) => vec![Err(malformed)],
    };
    for part in parts {
        match part {
            Ok(message) => envelope(&message),
            Err(malformed) => assert!(Message::parse(&malformed.to_json_rpc()).is_ok()),
        }
    }
}

fn envelope(message: &Message) {
    assert!(!message.text().contains(['\n', '\r']));
    let again = Message::parse(message.text());
    assert!(again.is_ok_and(|again| again.kind() == message.kind()));
    let id = RequestId::from_string("other");
    let renamed = message.with_id(&id);
    let again = Message::parse(renamed.text());
    assert!(again.is_ok_and(|again| again.kind() == renamed.kind()));
    match renamed.kind() {
        Kind::Request { id: now, .. } | Kind::Response { id: now, .. } => assert_eq!(now, &id),
        Kind::Notification { .. } => assert_eq!(renamed.text(), message.text()),
    }
}

/// `WWW-Authenticate`, one field or several.
pub fn challenge(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let read = Challenge::of(text.lines());
    let length = |part: &Option<String>| part.as_ref().map_or(0, String::len);
    assert!(length(&read.scope) + length(&read.error) <= text.len());
}

/// Metadata of a resource and of an authorization server: no endpoint that must not be asked is taken.
pub fn metadata(input: &[u8]) {
    let (Ok(document), Ok(server)) = (
        serde_json::from_slice::<Object>(input),
        Url::parse("https://mcp.test/mcp"),
    ) else {
        return;
    };
    let safe = |url: &Url| {
        let is_safe = url.scheme() == "https" || crate::url::is_loopback(url);
        assert!(
            is_safe && url.username().is_empty() && url.password().is_none(),
            "{url}"
        );
    };
    for any_resource in [false, true] {
        let read = resource_metadata::read(&document, &server, &server, any_resource, false);
        if let Ok(read) = read {
            read.authorization_server
                .iter()
                .filter_map(|text| Url::parse(text).ok())
                .for_each(|url| safe(&url));
        }
    }
    if let Ok(read) = server_metadata::read(document, &server, false) {
        let endpoints = [
            &read.authorization_endpoint,
            &read.token_endpoint,
            &read.registration_endpoint,
            &read.revocation_endpoint,
            &read.device_authorization_endpoint,
        ];
        endpoints.into_iter().flatten().for_each(safe);
    }
}

/// The answer of a token endpoint: what is taken fits into a header; why it is refused may be printed.
pub fn token(input: &[u8]) {
    let (Ok(object), Ok(url)) = (
        serde_json::from_slice::<Object>(input),
        Url::parse("https://as.test/token"),
    ) else {
        return;
    };
    match token::read(object, &url, true) {
        Ok(tokens) => {
            let token = tokens.access_token.expose();
            assert!(token.bytes().all(|byte| byte.is_ascii_graphic()));
            let tokens = tokens.with_expiry(u64::MAX / 2);
            assert!(tokens.is_usable(0) || tokens.expires_at.is_some());
        }
        Err(failure) => {
            let error = failure.into_error();
            assert!(!error.what().contains(char::is_control), "{error}");
        }
    }
}

/// A request to the callback listener.
pub fn callback(input: &[u8]) {
    if let Some(url) = callback::read_request(input) {
        assert!(
            url.path().starts_with('/') && url.host_str() == Some("localhost"),
            "{url}"
        );
    }
}

/// The files of the store: what was read is written and read again as the same.
pub fn store(input: &[u8]) {
    let Ok(object) = serde_json::from_slice::<Object>(input) else {
        return;
    };
    if let Ok(tokens) = Tokens::from_object(&object) {
        let written = tokens.to_object();
        assert_eq!(
            Tokens::from_object(&written).map(|read| read.to_object()),
            Ok(written)
        );
        assert!(tokens.is_expired(u64::MAX, u64::MAX) || tokens.expires_at.is_none());
    }
    if let Ok(client) = ClientInfo::from_object(object.clone()) {
        let written = client.to_object();
        let again = ClientInfo::from_object(written.clone());
        assert_eq!(again.map(|read| read.to_object()), Ok(written));
    }
    if let Ok(state) = DiscoveryState::from_object(&object) {
        let written = state.to_object();
        assert_eq!(
            DiscoveryState::from_object(&written).map(|read| read.to_object()),
            Ok(written)
        );
    }
    if let Ok(pending) = PendingSignIn::from_object(object.clone()) {
        let written = pending.to_object();
        let again = PendingSignIn::from_object(written.clone());
        assert_eq!(again.map(|read| read.to_object()), Ok(written));
    }
    let written = ServerNotes::from_object(object).to_object();
    assert_eq!(
        ServerNotes::from_object(written.clone()).to_object(),
        written
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};
    use std::time::{Duration, Instant};

    struct Rng(u64);

    impl Rng {
        fn below(&mut self, limit: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % limit.max(1) as u64) as usize
        }
    }

    const PIECES: &[&[u8]] = &[
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\"",
        b"\\",
        b"\\u0000",
        b"{",
        b"}",
        b"[",
        b",",
        b":",
        b"=",
        b"null",
        b"1e999",
        b"-0",
        b"99999999999999999999",
        b"\"id\"",
        b"\"method\"",
        b"data:",
        b"id:",
        b"retry:",
        b" ",
        b"%00",
        b"%25",
        b"&",
        b"?",
        b"http://10.0.0.1/",
        b"https://a:b@c/",
        b"javascript:",
        b"\xe2\x80\xa8",
        b"\x1b[31m",
    ];

    fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fuzz/corpus")
            .join(name);
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files
            .into_iter()
            .map(|path| (path.clone(), std::fs::read(path).unwrap()))
            .collect()
    }

    fn changed(seeds: &[(PathBuf, Vec<u8>)], rng: &mut Rng) -> Vec<u8> {
        let mut bytes = seeds[rng.below(seeds.len())].1.clone();
        for _ in 0..=rng.below(6) {
            let at = rng.below(bytes.len() + 1);
            let end = (at + rng.below(16)).min(bytes.len());
            match rng.below(7) {
                0 => bytes.truncate(at),
                1 => drop(bytes.drain(at..end)),
                2 => bytes.insert(at, rng.below(256) as u8),
                3 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
                4 => {
                    let part = bytes[at..end].to_vec();
                    let times = 1 + rng.below(4);
                    bytes.splice(at..at, part.repeat(times));
                }
                5 => {
                    let other = &seeds[rng.below(seeds.len())].1;
                    let from = rng.below(other.len());
                    bytes.splice(at..end, other[from..].iter().copied());
                }
                _ => {
                    let piece = PIECES[rng.below(PIECES.len())];
                    bytes.splice(at..end, piece.iter().copied());
                }
            }
        }
        bytes
    }

    /// `FUZZ_SECONDS=60 cargo test --release --lib fuzz` goes on for that long with each target.
    #[test]
    fn no_parser_is_upset_by_its_corpus_or_by_changes_of_it() {
        let seconds = std::env::var("FUZZ_SECONDS").ok();
        let seconds: Option<u64> = seconds.and_then(|text| text.parse().ok());
        let runs: Vec<_> = TARGETS
            .iter()
            .map(|target| std::thread::spawn(move || run(*target, seconds)))
            .collect();
        for one in runs {
            one.join().unwrap();
        }
    }

    fn run((name, target): Target, seconds: Option<u64>) {
        let seeds = corpus(name);
        assert!(!seeds.is_empty(), "{name} has no corpus");
        for (_, bytes) in &seeds {
            target(bytes);
            for at in 0..bytes.len().min(600) {
                target(&bytes[..at]);
            }
        }
        let start = Instant::now();
        let mut rng = Rng(0x5eed + seconds.unwrap_or(0));
        let mut count = 0;
        while seconds.map_or(count < 4000, |limit| {
            start.elapsed() < Duration::from_secs(limit)
        }) {
            count += 1;
            let bytes = changed(&seeds, &mut rng);
            let done = std::panic::catch_unwind(|| target(&bytes));
            assert!(
                done.is_ok(),
                "{name}: {:?}",
                bytes.escape_ascii().to_string()
            );
        }
        eprintln!("{name}: {count} runs");
    }
}
