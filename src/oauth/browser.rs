//! Opens the user's browser with the `webbrowser` crate, and keeps browsers away from our stdin and stdout.
//!
//! - On Windows, macOS and WSL the system is asked. On Linux and the BSDs the crate tries `BROWSER`, then the desktop's default.
//! - stdout carries JSON-RPC. The crate starts programs on /dev/null, with two exceptions that run in the foreground on our
//!   streams: a text browser that `BROWSER` names, and a desktop entry for a terminal. Both are refused here.
//! - Some openers hand the address to PowerShell or a shell (`wslview`), so no character that those evaluate is left in it.
//! - The crate does not wait for the program: one that fails later is not noticed, and stays a zombie until we exit.
//!
//! Flags: `--no-browser` (decided by the caller).
//! Spec: RFC 8252 7.3 and 8.12 (an external browser).
//! Not done here: the caller prints the address before; a failure here does not end a sign-in.

use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use std::{env, path::Path, thread};

use url::{Position, Url};

use crate::log::clean;

/// The result of opening a browser; none is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// A browser was started.
    Started,
    /// No browser was started, and why.
    NoBrowser(String),
}

/// An opener that takes longer is taken to be at work.
const OPEN_TIMEOUT: Duration = Duration::from_secs(3);
const HAS_SYSTEM_OPENER: bool = cfg!(any(windows, target_os = "macos"));
const TEXT_BROWSERS: [&str; 11] = [
    "lynx", "links", "links2", "elinks", "w3m", "eww", "netrik", "retawq", "curl", "browsh",
    "carbonyl",
];

/// Opens a browser on a thread of its own; returns after three seconds at most.
pub fn open(url: &Url) -> Opened {
    let address = match address_for_browser(url) {
        Ok(address) => address,
        Err(reason) => return Opened::NoBrowser(reason),
    };
    let (report, opened) = mpsc::channel();
    let spawned = thread::Builder::new()
        .name("browser".to_owned())
        .spawn(move || report.send(open_now(&address)).ok());
    if let Err(error) = spawned {
        return Opened::NoBrowser(format!("cannot start a thread: {error}"));
    }
    opened.recv_timeout(OPEN_TIMEOUT).unwrap_or(Opened::Started)
}

fn open_now(address: &str) -> Opened {
    if let Some(reason) = Environment::of_this_process().reason_not_to_open() {
        return Opened::NoBrowser(reason);
    }
    let mut options = webbrowser::BrowserOptions::new();
    options.with_suppress_output(true);
    match webbrowser::open_browser_with_options(webbrowser::Browser::Default, address, &options) {
        Ok(()) => Opened::Started,
        Err(error) => Opened::NoBrowser(clean(&error.to_string(), 200)),
    }
}

/// The same address without characters that PowerShell, cmd or a shell evaluates.
fn address_for_browser(url: &Url) -> Result<String, String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err("only http and https addresses are opened".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the address contains a user name or password".to_owned());
    }
    let host = url.host_str().unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    if host.is_empty() || !host.chars().all(is_plain) {
        let host = clean(host, 100);
        return Err(format!(
            "the host \"{host}\" contains characters that are not allowed"
        ));
    }
    let mut address = url[..Position::BeforePath].to_owned();
    for c in url[Position::BeforePath..Position::AfterPath].chars() {
        push_encoded(&mut address, c, c == '&');
    }
    // `&` separates the parameters of the query.
    for c in url[Position::AfterPath..].chars() {
        push_encoded(&mut address, c, false);
    }
    Ok(address)
}

fn push_encoded(address: &mut String, c: char, always: bool) {
    if always || matches!(c, '$' | '`' | '(' | ')' | '\'' | '"' | ';' | '|') {
        address.push_str(&format!("%{:02X}", u32::from(c)));
    } else {
        address.push(c);
    }
}

/// What decides whether a browser can be opened.
#[derive(Debug, Clone, Default)]
struct Environment {
    browser: Option<String>,
    /// The name of the desktop's default browser, such as `firefox.desktop`.
    desktop_default: String,
    has_display: bool,
    is_remote: bool,
    has_system_opener: bool,
}

impl Environment {
    fn of_this_process() -> Environment {
        let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        // WSL starts Windows programs, with or without a display for Linux programs.
        let is_wsl = Path::new("/proc/sys/fs/binfmt_misc/WSLInterop").exists();
        Environment {
            browser: env::var("BROWSER").ok().filter(|list| !list.is_empty()),
            desktop_default: desktop_default(),
            has_display: is_set("DISPLAY") || is_set("WAYLAND_DISPLAY") || is_wsl,
            is_remote: is_set("SSH_CONNECTION") || is_set("SSH_TTY"),
            has_system_opener: HAS_SYSTEM_OPENER,
        }
    }

    fn reason_not_to_open(&self) -> Option<String> {
        if self.has_system_opener {
            return self.is_remote.then(|| "this is an SSH session".to_owned());
        }
        let list = self.browser.as_deref().unwrap_or_default();
        if let Some(entry) = list.split(':').find(|entry| is_text_browser(entry)) {
            let entry = clean(entry, 100);
            return Some(format!("BROWSER names \"{entry}\", which needs a terminal"));
        }
        let mut words = self.desktop_default.split(|c: char| !c.is_alphanumeric());
        if words.any(is_text_browser) {
            return Some("the desktop's default browser needs a terminal".to_owned());
        }
        if self.browser.is_some() || self.has_display {
            None
        } else if self.is_remote {
            Some("this is an SSH session without a display".to_owned())
        } else {
            Some("there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set)".to_owned())
        }
    }
}

/// Whether the program of this command line is a text browser.
fn is_text_browser(command: &str) -> bool {
    let program = command.split_whitespace().next().unwrap_or_default();
    let name = Path::new(program)
        .file_name()
        .and_then(|name| name.to_str());
    name.is_some_and(|name| TEXT_BROWSERS.contains(&name))
}

/// The crate asks the same; empty where nothing is known.
fn desktop_default() -> String {
    if HAS_SYSTEM_OPENER {
        return String::new();
    }
    let output = Command::new("xdg-settings")
        .args(["get", "default-web-browser"])
        .stdin(Stdio::null())
        .output();
    output.map_or(String::new(), |output| {
        String::from_utf8_lossy(&output.stdout).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Result<String, String> {
        address_for_browser(&Url::parse(text).unwrap())
    }

    #[test]
    fn no_character_that_a_shell_evaluates_is_left() {
        let text = "https://as.test:8443/x$(iex('a'));calc|a&b`id`?q=$(calc)`x`'\"|;&r=1#$(calc)`";
        let opened = address(text).unwrap();
        assert!(!opened.contains(['$', '`', '(', ')', '\'', '"', ';', '|', ' ']));
        assert_eq!(opened.matches('&').count(), 1, "{opened}");
        assert!(!opened.split('?').next().unwrap().contains('&'));
    }

    #[test]
    fn the_encoded_address_means_the_same() {
        let url = Url::parse("https://as.test/a(b)?q=$(calc)'x';y|z&r=%22+1&u=%26").unwrap();
        let opened = Url::parse(&address_for_browser(&url).unwrap()).unwrap();
        assert_eq!(opened.origin(), url.origin());
        assert_eq!(opened.path(), "/a%28b%29");
        let pairs = |url: &Url| url.query_pairs().into_owned().collect::<Vec<_>>();
        assert_eq!(pairs(&opened), pairs(&url));
    }

    #[test]
    fn ordinary_addresses_stay_as_they_are() {
        for text in [
            "https://as.test/authorize?a=1&b=%22x",
            "http://[::1]:8080/x#y",
        ] {
            assert_eq!(address(text).unwrap(), text);
        }
    }

    #[test]
    fn odd_hosts_and_user_names_are_refused() {
        for text in ["https://a$(calc)b.test/", "https://a'b.test/"] {
            assert!(address(text).unwrap_err().contains("host"), "{text}");
        }
        assert!(address("https://$(x)@as.test/").is_err());
    }

    #[test]
    fn only_web_addresses_are_opened() {
        for text in [
            "file:///etc/passwd",
            "javascript:alert(1)",
            "data:text/html,x",
            "ms-word:x",
        ] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn text_browsers_are_not_started() {
        for list in ["lynx", "/usr/bin/w3m -x %s", "firefox:elinks"] {
            let environment = Environment {
                browser: Some(list.to_owned()),
                ..Environment::default()
            };
            let reason = environment.reason_not_to_open().unwrap();
            assert!(reason.contains("needs a terminal"), "{reason}");
        }
        let terminal = Environment {
            desktop_default: "userapp-w3m-1.desktop\n".to_owned(),
            has_display: true,
            ..Environment::default()
        };
        assert!(terminal.reason_not_to_open().is_some());
    }

    #[test]
    fn browser_is_honoured_without_a_display_and_over_ssh() {
        let environment = Environment {
            browser: Some("my-browser %s".to_owned()),
            is_remote: true,
            ..Environment::default()
        };
        assert_eq!(environment.reason_not_to_open(), None);
    }

    #[test]
    fn without_a_display_the_reason_is_given() {
        let nothing = Environment::default();
        assert!(nothing.reason_not_to_open().unwrap().contains("DISPLAY"));
        let ssh = Environment {
            is_remote: true,
            ..nothing
        };
        assert!(ssh.reason_not_to_open().unwrap().contains("SSH"));
        let mac_over_ssh = Environment {
            has_system_opener: true,
            ..ssh
        };
        assert!(mac_over_ssh.reason_not_to_open().unwrap().contains("SSH"));
    }
}
