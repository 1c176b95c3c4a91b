//! `FLAGS`: every flag, once. `args`, `--help`, the manual pages, the completions and the README's table use it.
//!
//! A flag's home is the source file that implements it and names it in its head; a test checks that.

/// Which program was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `mcp-remote`.
    Proxy,
    /// `mcp-remote-client`.
    Client,
}

impl Program {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Program::Proxy => "mcp-remote",
            Program::Client => "mcp-remote-client",
        }
    }
}

/// The clients that `--setup` knows, in the order of `setup/clients/table.rs`; a test compares them.
pub const SETUP_CLIENTS: &[&str] = &[
    "claude-desktop",
    "claude-code",
    "cursor",
    "vscode",
    "windsurf",
    "codex",
    "gemini",
    "zed",
    "cline",
    "goose",
    "qwen",
    "kiro",
    "lm-studio",
    "amp",
    "droid",
    "auggie",
    "roo",
    "opencode",
    "kilo",
    "copilot",
    "json",
];

/// One flag.
#[derive(Debug)]
pub struct Flag {
    /// Its name, with the dashes.
    pub name: &'static str,
    /// Other spellings.
    pub short: &'static [&'static str],
    /// The placeholder for its value; empty if it takes none.
    pub value: &'static str,
    /// Whether it can be given more than once.
    pub repeatable: bool,
    /// Its heading in the help text.
    pub group: Group,
    /// What it does, in one sentence.
    pub help: &'static str,
    /// Its default as text; empty if there is none.
    pub default: &'static str,
    /// Its home, relative to `src`.
    pub home: &'static str,
}

impl Flag {
    /// Whether it takes a value.
    pub fn takes_value(&self) -> bool {
        !self.value.is_empty()
    }

    /// Whether the program has this flag.
    pub fn is_for(&self, program: Program) -> bool {
        program == Program::Client || self.group != Group::Client
    }

    /// All spellings and the placeholder for its value.
    pub fn usage(&self) -> String {
        let mut words: Vec<&str> = self.short.to_vec();
        words.push(self.name);
        format!("{} {}", words.join(", "), self.value)
            .trim_end()
            .to_owned()
    }

    const fn repeatable(mut self) -> Flag {
        self.repeatable = true;
        self
    }

    const fn short(mut self, short: &'static [&'static str]) -> Flag {
        self.short = short;
        self
    }
}

/// The headings of the help text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// What to connect to.
    Connection,
    /// Request headers.
    Headers,
    /// Proxies, TLS and time limits.
    Network,
    /// Messages and tools.
    Messages,
    /// OAuth.
    SignIn,
    /// Logging and the rest.
    Output,
    /// Flags of `mcp-remote-client` only.
    Client,
}

impl Group {
    /// All of them, in the order of the help text.
    pub const ALL: [Group; 7] = [
        Group::Connection,
        Group::Headers,
        Group::Network,
        Group::Messages,
        Group::SignIn,
        Group::Output,
        Group::Client,
    ];

    /// The order in the help of a program: its own flags come before the shared ones.
    pub fn in_help_of(program: Program) -> impl Iterator<Item = Group> {
        let own = (program == Program::Client).then_some(Group::Client);
        let shared = Group::ALL
            .into_iter()
            .filter(|group| *group != Group::Client);
        own.into_iter().chain(shared)
    }

    /// The heading.
    pub fn title(self) -> &'static str {
        match self {
            Group::Connection => "Connection",
            Group::Headers => "Headers",
            Group::Network => "Network",
            Group::Messages => "Messages and tools",
            Group::SignIn => "Sign-in (OAuth)",
            Group::Output => "Output",
            Group::Client => "mcp-remote-client only",
        }
    }
}

/// A flag that takes a value.
const fn flag(
    group: Group,
    name: &'static str,
    value: &'static str,
    default: &'static str,
    home: &'static str,
    help: &'static str,
) -> Flag {
    Flag {
        name,
        short: &[],
        value,
        repeatable: false,
        group,
        help,
        default,
        home,
    }
}

/// A flag without a value.
const fn switch(group: Group, name: &'static str, home: &'static str, help: &'static str) -> Flag {
    flag(group, name, "", "", home, help)
}

use Group::{Client, Connection, Headers, Messages, Network, Output, SignIn};

/// Every flag.
#[rustfmt::skip] // One flag a line.
pub const FLAGS: &[Flag] = &[
    flag(Connection, "--transport", "STRATEGY", "http-first", "bridge/transport_choice.rs", "Which transport to try: http-first, sse-first, http-only, sse-only"),
    flag(Connection, "--protocol", "ERA", "detect", "cli/config.rs", "Era of the server: detect, auto (asks it first), legacy, modern (from 2026-07-28)"),
    switch(Connection, "--allow-http", "cli/config.rs", "Allow plain http to hosts that are not this machine"),
    flag(Headers, "--header", "\"NAME: VALUE\"", "", "cli/config/headers.rs", "Send a header to the server; ${VAR} in the value is replaced").repeatable().short(&["-H"]),
    flag(Headers, "--header-file", "FILE", "", "cli/config/headers.rs", "Read headers from a file, one per line; # starts a comment line").repeatable(),
    switch(Headers, "--disable-cookies", "transport/http/cookies.rs", "Do not keep and send back cookies"),
    flag(Network, "--connect-timeout", "SECONDS", "10", "transport/net/agent.rs", "Time limit for TCP, proxy and TLS together"),
    flag(Network, "--headers-timeout", "SECONDS", "300", "transport/net/agent.rs", "Time limit for the start of a response; 0 is none"),
    flag(Network, "--body-timeout", "SECONDS", "300", "transport/net/agent.rs", "Time limit for a pause in a response; 0 is none; applies to open streams only if given"),
    flag(Network, "--request-timeout", "SECONDS", "none", "bridge/request/lifecycle.rs", "Return an error after this time and cancel the request at the server; progress notifications restart it, up to 10 times its length; 0 is none"),
    switch(Network, "--ipv4", "transport/net/agent.rs", "Connect over IPv4 only"),
    switch(Network, "--no-proxy", "transport/net/agent.rs", "Ignore HTTPS_PROXY, HTTP_PROXY and ALL_PROXY"),
    switch(Network, "--enable-proxy", "transport/net/agent.rs", "Accepted for compatibility: proxies are used by default"),
    flag(Network, "--ca-cert", "FILE", "", "transport/net/tls.rs", "Trust the certificates in a PEM file in addition").repeatable(),
    flag(Network, "--client-cert", "FILE", "", "transport/net/tls.rs", "Client certificate chain (PEM) for mutual TLS; needs --client-key"),
    flag(Network, "--client-key", "FILE", "", "transport/net/tls.rs", "Private key (PEM) of the client certificate"),
    switch(Network, "--keep-alive", "bridge/session/keep_alive.rs", "Send a ping when there was no traffic for the ping interval"),
    flag(Network, "--ping-interval", "SECONDS", "30", "bridge/session/keep_alive.rs", "Time without traffic after which a ping is sent; turns --keep-alive on"),
    flag(Messages, "--ignore-tool", "GLOB", "", "bridge/tools/filter.rs", "Hide tools whose name matches; * matches any text").repeatable(),
    flag(Messages, "--allow-tool", "GLOB", "", "bridge/tools/filter.rs", "Show only tools whose name matches; --ignore-tool wins").repeatable(),
    flag(Messages, "--max-message-size", "MIB", "64", "cli/config.rs", "Maximum message size in either direction"),
    switch(Messages, "--no-get-stream", "bridge/session/get_stream.rs", "Open no GET stream: quiet access logs, but the server cannot send notifications between requests"),
    flag(SignIn, "--host", "NAME", "localhost (127.0.0.1 on Windows)", "cli/config.rs", "Host name in the redirect URI"),
    flag(SignIn, "--callback-path", "PATH", "/oauth/callback", "cli/config.rs", "Path of the redirect URI"),
    flag(SignIn, "--callback-bind", "ADDRESS", "127.0.0.1 and ::1", "oauth/callback/mod.rs", "Also listen on this address for the redirect: 0.0.0.0 for a published port of a container"),
    flag(SignIn, "--redirect-uri", "URL", "", "oauth/sign_in/mod.rs", "Redirect URI where it is not the listener's own address: behind a proxy, or registered by hand"),
    flag(SignIn, "--auth-timeout", "SECONDS", "20", "cli/config.rs", "How long a request waits for a sign-in"),
    flag(SignIn, "--auth-success-url", "URL", "", "cli/config.rs", "Send the browser there after signing in"),
    switch(SignIn, "--no-browser", "cli/config.rs", "Print the sign-in address, do not open a browser"),
    switch(SignIn, "--no-sign-in", "oauth/sign_in/mod.rs", "Fail at once where a user would have to sign in"),
    switch(SignIn, "--no-oauth", "transport/mod.rs", "Never sign in: a 401 becomes the client's error"),
    flag(SignIn, "--token-header", "NAME", "Authorization", "transport/http/exchange.rs", "Send the token in this header, for gateways that use Authorization themselves"),
    flag(SignIn, "--static-oauth-client-info", "JSON|@FILE", "", "cli/config.rs", "Use this client registration; ${VAR} in it is replaced"),
    flag(SignIn, "--static-oauth-client-metadata", "JSON|@FILE", "", "cli/config.rs", "Override members of the client metadata"),
    flag(SignIn, "--scope", "SCOPES", "", "oauth/scope.rs", "Request exactly these scopes, separated by spaces; empty requests none"),
    flag(SignIn, "--client-metadata-url", "URL", "", "cli/config.rs", "Client id metadata document"),
    flag(SignIn, "--client-assertion-key", "FILE", "", "cli/config.rs", "Private key (PEM) that signs client assertions (private_key_jwt)"),
    flag(SignIn, "--accept-issuer", "[PLACE=]URL", "", "oauth/discovery/issuer.rs", "Accept metadata with this issuer, at the authorization server (PLACE) where it is found first"),
    switch(SignIn, "--accept-missing-s256", "oauth/discovery/server_metadata.rs", "Sign in although the authorization server does not offer PKCE with S256"),
    flag(SignIn, "--resource", "URL", "", "cli/config.rs", "Value of the resource parameter; empty leaves it out"),
    switch(SignIn, "--disable-resource-parameter", "cli/config.rs", "Leave the resource parameter out"),
    flag(SignIn, "--authorize-param", "KEY=VALUE", "", "cli/config.rs", "Extra parameter of the authorization request").repeatable(),
    switch(SignIn, "--use-id-token", "cli/config.rs", "Send the id token instead of the access token"),
    switch(SignIn, "--no-dpop", "oauth/dpop.rs", "Use bearer tokens also where the server asks for DPoP (RFC 9449)"),
    switch(SignIn, "--device-code", "cli/config.rs", "Sign in with a code on another device"),
    switch(SignIn, "--client-credentials", "cli/config.rs", "Sign in without a user, with the static client"),
    flag(SignIn, "--workload-token", "FILE", "", "oauth/jwt_bearer.rs", "Sign in with the JWT that the platform keeps in this file (workload identity)"),
    flag(SignIn, "--enterprise-idp", "ISSUER", "", "oauth/id_jag.rs", "Sign in at the company's identity provider, which decides about access to the server"),
    flag(SignIn, "--enterprise-client-info", "JSON|@FILE", "", "oauth/id_jag.rs", "The client registered at the identity provider; ${VAR} in it is replaced"),
    flag(SignIn, "--enterprise-id-token", "FILE", "", "oauth/id_jag.rs", "Use the id token in this file instead of a sign-in at the identity provider"),
    flag(SignIn, "--profile", "NAME", "", "store/server_hash.rs", "Use a separate sign-in: for several accounts on one server"),
    flag(SignIn, "--token-endpoint", "URL", "", "cli/config.rs", "Token endpoint for --client-credentials and --workload-token, without discovery"),
    switch(Output, "--debug", "log.rs", "Log each step, on stderr and in a file beside the credentials"),
    switch(Output, "--silent", "log.rs", "Write nothing to stderr"),
    flag(Output, "--log-file", "FILE", "", "log.rs", "Also append log lines to a file"),
    flag(Output, "--log-format", "FORMAT", "text", "log.rs", "text or json"),
    switch(Output, "--help", "cli/mod.rs", "Print this help").short(&["-h"]),
    switch(Output, "--version", "cli/mod.rs", "Print the version").short(&["-V", "-v"]),
    switch(Client, "--json", "cli/doctor.rs", "Print JSON: one document, or the result as received"),
    flag(Client, "--call", "TOOL", "", "cli/call.rs", "Call a tool; its arguments follow the address: NAME=TEXT, NAME:=JSON, JSON, @FILE, or - for stdin"),
    flag(Client, "--read", "URI", "", "cli/call.rs", "Read a resource"),
    flag(Client, "--prompt", "NAME", "", "cli/call.rs", "Get a prompt; its arguments follow the address, as for --call"),
    switch(Client, "--list-tools", "cli/call.rs", "List the tools and their arguments"),
    switch(Client, "--list", "cli/sessions.rs", "List the stored sign-ins: server, account, expiry, last use; needs no address"),
    switch(Client, "--status", "cli/sessions.rs", "Show whether there are tokens for the server, and when they expire"),
    switch(Client, "--logout", "cli/sessions.rs", "Revoke and delete the tokens for the server"),
    switch(Client, "--all", "cli/sessions.rs", "With --logout: for every server; needs no address"),
    flag(Client, "--setup", "CLIENT", "", "cli/setup/mod.rs", "Print the configuration that adds the server to an MCP client"),
    switch(Client, "--write", "cli/setup/mod.rs", "With --setup: write it to the client's file; the old file is kept as .bak"),
    flag(Client, "--name", "NAME", "from the address", "cli/setup/mod.rs", "With --setup: the server's name in the client"),
    flag(Client, "--file", "FILE", "the client's own", "cli/setup/mod.rs", "With --setup: the file to write"),
    flag(Client, "--from-npx", "FILE", "", "cli/setup/mod.rs", "With --setup: make entries for npm's mcp-remote start this program; needs no address"),
];

/// The flag with the most similar name, if it is similar enough to be meant.
pub fn nearest(name: &str, program: Program) -> Option<&'static Flag> {
    FLAGS
        .iter()
        .filter(|flag| flag.is_for(program))
        .map(|flag| (difference(name, flag.name), flag))
        .min_by_key(|(difference, _)| *difference)
        .filter(|(difference, flag)| *difference <= 1 + flag.name.len() / 6)
        .map(|(_, flag)| flag)
}

/// The length of what differs: the words without the characters that both start and end with.
pub fn difference(a: &str, b: &str) -> usize {
    let is_same = |(a, b): &(u8, u8)| a == b;
    let start = a.bytes().zip(b.bytes()).take_while(is_same).count();
    let end = a.bytes().rev().zip(b.bytes().rev());
    let same = start + end.take_while(is_same).count();
    a.len().max(b.len()) - same.min(a.len()).min(b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_has_one_name_and_one_home_that_names_it() {
        for (at, flag) in FLAGS.iter().enumerate() {
            assert!(
                FLAGS
                    .iter()
                    .skip(at + 1)
                    .all(|other| other.name != flag.name),
                "{} is listed twice",
                flag.name
            );
            let home = format!("{}/src/{}", env!("CARGO_MANIFEST_DIR"), flag.home);
            let text = std::fs::read_to_string(&home).unwrap_or_else(|e| panic!("{home}: {e}"));
            let head: String = text
                .lines()
                .take_while(|line| line.starts_with("//!"))
                .collect();
            assert!(
                head.contains(&format!("`{}`", flag.name)),
                "the head of {} does not name {}",
                flag.home,
                flag.name
            );
        }
    }
}
