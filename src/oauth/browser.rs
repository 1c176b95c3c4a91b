//! Opening a browser, without letting it near our stdin and stdout.
//!
//! - `BROWSER` is honoured first, also without a display: a list with `:`, arguments, `%s` for the address (`%c` for `:`,
//!   `%%` for `%`); else, where there is a display, what the desktop offers.
//! - stdout belongs to JSON-RPC: on Linux and the BSDs programs are started here, with all three standard streams on
//!   /dev/null, in a process group of their own. The `webbrowser` crate would run a text browser in the foreground on our
//!   streams; it is used where it asks the system instead (Windows, macOS) and where it can only start graphical ones.
//! - A program that ends with an error was no browser: the next one is tried. One that still runs after half a second is.
//! - The address is http(s), has been through the URL parser, and is one argument that starts with its scheme: no shell, and
//!   never an option.
//!
//! Flags: `--no-browser` (decided by the caller).
//! Spec: RFC 8252 7.3 and 8.12 (an external browser); npm mcp-remote 0.15.1 (its list of openers).
//! Not done here: the address is printed by the caller, before; no failure here ends a sign-in.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use url::Url;

/// What came of opening a browser. None of it is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// A browser was started, or something that looks like one.
    Started,
    /// There is none, or none that could be started: why.
    NoBrowser(String),
}

/// Opens a browser on a thread of its own; returns when it is known what came of it, after three seconds at most.
pub fn open(url: &Url) -> Opened {
    open_in(url, &Surroundings::of_this_process())
}

/// What the environment says about browsers.
#[derive(Debug, Clone, Default)]
struct Surroundings {
    browser: Option<String>,
    path: Option<OsString>,
    has_display: bool,
    is_remote: bool,
    /// Windows, macOS: the system is asked, no program is looked for.
    has_system_opener: bool,
}

impl Surroundings {
    fn of_this_process() -> Surroundings {
        let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        // Windows programs can be started from WSL, with or without a display for Linux ones.
        let is_wsl = Path::new("/proc/sys/fs/binfmt_misc/WSLInterop").exists();
        Surroundings {
            browser: env::var("BROWSER").ok().filter(|list| !list.is_empty()),
            path: env::var_os("PATH"),
            has_display: is_set("DISPLAY") || is_set("WAYLAND_DISPLAY") || is_wsl,
            is_remote: is_set("SSH_CONNECTION") || is_set("SSH_TTY"),
            has_system_opener: HAS_SYSTEM_OPENER,
        }
    }
}

const HAS_SYSTEM_OPENER: bool = cfg!(any(windows, target_os = "macos"));
/// A program that runs for so long did not fail to start.
const SETTLED: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(3);
/// Programs that need a terminal; ours is not theirs.
const TEXT_BROWSERS: [&str; 11] = [
    "lynx", "links", "links2", "elinks", "w3m", "eww", "netrik", "retawq", "curl", "browsh",
    "carbonyl",
];
/// npm's openers, each with what comes before the address.
const OPENERS: [&[&str]; 5] = [
    &["xdg-open"],
    &["gio", "open"],
    &["wslview"],
    &["x-www-browser"],
    &["sensible-browser"],
];

fn open_in(url: &Url, around: &Surroundings) -> Opened {
    if !is_fit(url) {
        return Opened::NoBrowser("only http and https addresses are opened".to_owned());
    }
    let candidates = match candidates(url, around) {
        Ok(candidates) => candidates,
        Err(reason) => return Opened::NoBrowser(reason),
    };
    let (url, around) = (url.clone(), around.clone());
    let (report, opened) = mpsc::channel();
    let spawned = thread::Builder::new()
        .name("browser".to_owned())
        .spawn(move || try_all(&url, candidates, &around, &report));
    if let Err(error) = spawned {
        return Opened::NoBrowser(format!("no thread for it: {error}"));
    }
    // A system opener that takes its time is at work.
    opened.recv_timeout(PATIENCE).unwrap_or(Opened::Started)
}

/// The URL parser has percent-encoded everything else; this holds even if it should change.
fn is_fit(url: &Url) -> bool {
    let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
    let is_odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '"' | '<' | '>');
    is_web && !url.as_str().chars().any(is_odd)
}

/// The command lines to try, in order; or why there is no point in trying.
fn candidates(url: &Url, around: &Surroundings) -> Result<Vec<Vec<String>>, String> {
    if let Some(list) = &around.browser {
        let lines = from_list(list, url, around);
        if lines.is_ok() || !around.has_system_opener {
            return lines;
        }
        // `BROWSER` is a habit of other systems: here the system knows the browser.
    }
    if !around.has_system_opener && !around.has_display {
        return Err(if around.is_remote {
            "this is an SSH session without a display".to_owned()
        } else {
            "there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set)".to_owned()
        });
    }
    if around.has_system_opener {
        if around.is_remote {
            return Err("this is an SSH session".to_owned());
        }
        return Ok(Vec::new());
    }
    let lines = OPENERS.iter().map(|opener| {
        let mut line: Vec<String> = opener.iter().map(|word| (*word).to_owned()).collect();
        line.push(url.to_string());
        line
    });
    Ok(lines
        .filter(|line| matches!(find(line, around), Some(path) if !is_text_browser(&path)))
        .collect())
}

fn from_list(list: &str, url: &Url, around: &Surroundings) -> Result<Vec<Vec<String>>, String> {
    let mut lines = Vec::new();
    let mut refused = None;
    for entry in list.split(':').filter(|entry| !entry.trim().is_empty()) {
        let line = command_line(entry, url);
        match find(&line, around) {
            Some(path) if is_text_browser(&path) => {
                refused = Some(format!("BROWSER names \"{entry}\", which needs a terminal"));
            }
            Some(_) => lines.push(line),
            None => {
                let reason = format!("BROWSER names \"{entry}\", which is not to be found");
                refused = refused.or(Some(reason));
            }
        }
    }
    match refused {
        Some(reason) if lines.is_empty() => Err(crate::log::clean(&reason, 200)),
        _ => Ok(lines),
    }
}

/// One entry of `BROWSER` as words: `%s` becomes the address; without one the address comes last.
fn command_line(entry: &str, url: &Url) -> Vec<String> {
    let mut has_url = false;
    let mut line: Vec<String> = if Path::new(entry).is_file() {
        // A path with spaces in it.
        vec![entry.to_owned()]
    } else {
        let words = entry.split_whitespace();
        words.map(|word| filled(word, url, &mut has_url)).collect()
    };
    if !has_url {
        line.push(url.to_string());
    }
    line
}

fn filled(word: &str, url: &Url, has_url: &mut bool) -> String {
    let mut out = String::new();
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        let code = if c == '%' { chars.clone().next() } else { None };
        match code {
            Some('s') => {
                out.push_str(url.as_str());
                *has_url = true;
            }
            Some('c') => out.push(':'),
            Some('%') => out.push('%'),
            _ => {
                out.push(c);
                continue;
            }
        }
        chars.next();
    }
    out
}

/// Where the program of a command line is, as `PATH` says.
fn find(line: &[String], around: &Surroundings) -> Option<PathBuf> {
    let program = Path::new(line.first()?);
    if program.components().count() > 1 {
        return program.is_file().then(|| program.to_owned());
    }
    env::split_paths(around.path.as_ref()?)
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
}

/// By its name, or by what it is a link to: `x-www-browser` may be anything.
fn is_text_browser(path: &Path) -> bool {
    let is_text = |path: &Path| {
        let name = path.file_stem().and_then(|name| name.to_str());
        name.is_some_and(|name| TEXT_BROWSERS.contains(&name))
    };
    is_text(path) || path.canonicalize().is_ok_and(|path| is_text(&path))
}

fn try_all(url: &Url, lines: Vec<Vec<String>>, around: &Surroundings, report: &Sender<Opened>) {
    let mut reason = "no browser was found".to_owned();
    for line in lines {
        match start(&line, around) {
            Ok(child) => {
                report.send(Opened::Started).ok();
                if let Some(mut child) = child {
                    // Waited for, so that no zombie stays.
                    child.wait().ok();
                }
                return;
            }
            Err(why) => reason = why,
        }
    }
    if may_ask_crate(around) {
        let options = webbrowser::BrowserOptions::new();
        match webbrowser::open_browser_with_options(
            webbrowser::Browser::Default,
            url.as_str(),
            &options,
        ) {
            Ok(()) => {
                report.send(Opened::Started).ok();
                return;
            }
            Err(error) => reason = crate::log::clean(&error.to_string(), 200),
        }
    }
    report.send(Opened::NoBrowser(reason)).ok();
}

/// Whether the crate cannot come upon a program that it would run on our streams: a desktop entry for a terminal, which
/// it reads if there is `xdg-settings`, or a text browser under the name `x-www-browser`.
fn may_ask_crate(around: &Surroundings) -> bool {
    let is_there = |name: &str| find(&[name.to_owned()], around).is_some();
    // The crate would run what `BROWSER` names, too.
    let is_safe =
        around.browser.is_none() && !is_there("xdg-settings") && !is_there("x-www-browser");
    around.has_system_opener || is_safe
}

/// Starts a program; the child if it still runs after [`SETTLED`], nothing if it has ended well.
fn start(line: &[String], around: &Surroundings) -> Result<Option<Child>, String> {
    let name = line.first().map(String::as_str).unwrap_or_default();
    let name = crate::log::clean(name, 100);
    let program = find(line, around).ok_or_else(|| format!("\"{name}\" is not to be found"))?;
    let mut command = Command::new(program);
    command
        .args(line.iter().skip(1))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // Ctrl-C in a terminal ends us, not the person's browser; and in the background it cannot read the terminal.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command
        .spawn()
        .map_err(|error| format!("cannot start \"{name}\": {error}"))?;
    let deadline = Instant::now() + SETTLED;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(None),
            Ok(Some(status)) => return Err(format!("\"{name}\" failed ({status})")),
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(10)),
            Ok(None) | Err(_) => return Ok(Some(child)),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use super::*;
    use crate::store::test_dir::TestDir;

    /// One test at a time: a program that is being written cannot be started, and another test's child may still hold it open.
    static TURN: Mutex<()> = Mutex::new(());

    fn turn() -> MutexGuard<'static, ()> {
        TURN.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn url() -> Url {
        Url::parse("https://as.test/authorize?a=1&b=%22x").unwrap()
    }

    /// A program that runs this shell text.
    fn program(dir: &TestDir, name: &str, text: &str) -> String {
        let path = dir.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn recorder(dir: &TestDir, name: &str) -> String {
        let seen = dir.path().join("seen");
        program(
            dir,
            name,
            &format!(
                "printf '%s\\n' \"$@\" > {}.new\nmv {0}.new {0}",
                seen.display()
            ),
        )
    }

    fn seen(dir: &TestDir) -> String {
        fs::read_to_string(dir.path().join("seen")).unwrap_or_default()
    }

    fn with_browser(list: &str) -> Surroundings {
        Surroundings {
            browser: Some(list.to_owned()),
            path: env::var_os("PATH"),
            ..Surroundings::default()
        }
    }

    fn with_path(dir: &TestDir) -> Surroundings {
        Surroundings {
            path: Some(dir.path().into()),
            has_display: true,
            ..Surroundings::default()
        }
    }

    #[test]
    fn browser_is_honoured_without_a_display_and_over_ssh() {
        let _turn = turn();
        let dir = TestDir::new();
        let around = Surroundings {
            is_remote: true,
            ..with_browser(&recorder(&dir, "my-browser"))
        };
        assert_eq!(open_in(&url(), &around), Opened::Started);
        assert_eq!(seen(&dir), "https://as.test/authorize?a=1&b=%22x\n");
    }

    #[test]
    fn the_next_entry_is_tried_if_one_is_missing_or_fails() {
        let _turn = turn();
        let dir = TestDir::new();
        let failing = program(&dir, "failing", "exit 3");
        let good = recorder(&dir, "good");
        let list = format!("/nowhere/browser:{failing}::{good} --new %s -x%%y%cz%q");
        assert_eq!(open_in(&url(), &with_browser(&list)), Opened::Started);
        assert_eq!(
            seen(&dir),
            "--new\nhttps://as.test/authorize?a=1&b=%22x\n-x%y:z%q\n"
        );
        let Opened::NoBrowser(reason) = open_in(&url(), &with_browser(&failing)) else {
            panic!("it was started");
        };
        assert!(
            reason.contains("failing\" failed (exit status: 3)"),
            "{reason}"
        );
    }

    #[test]
    fn a_program_that_stays_counts_as_a_browser() {
        let _turn = turn();
        let dir = TestDir::new();
        let slow = program(&dir, "slow", "sleep 1");
        let begun = Instant::now();
        assert_eq!(open_in(&url(), &with_browser(&slow)), Opened::Started);
        assert!(begun.elapsed() >= SETTLED);
    }

    #[test]
    fn a_browser_does_not_get_our_streams() {
        let _turn = turn();
        let dir = TestDir::new();
        let out = dir.path().join("streams");
        let text = format!(
            "seen=$(readlink /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2)\necho \"$seen\" > {}",
            out.display()
        );
        let curious = program(&dir, "curious", &text);
        assert_eq!(open_in(&url(), &with_browser(&curious)), Opened::Started);
        if cfg!(target_os = "linux") {
            assert_eq!(
                fs::read_to_string(out).unwrap(),
                "/dev/null\n/dev/null\n/dev/null\n"
            );
        }
    }

    #[test]
    fn text_browsers_are_not_started() {
        let _turn = turn();
        let dir = TestDir::new();
        let lynx = recorder(&dir, "lynx");
        let link = dir.path().join("x-www-browser");
        std::os::unix::fs::symlink(&lynx, &link).unwrap();
        for list in [lynx.as_str(), link.to_str().unwrap(), "lynx"] {
            let around = Surroundings {
                path: Some(dir.path().into()),
                ..with_browser(list)
            };
            let Opened::NoBrowser(reason) = open_in(&url(), &around) else {
                panic!("{list} was started");
            };
            assert!(reason.contains("needs a terminal"), "{reason}");
        }
        assert!(matches!(
            open_in(&url(), &with_path(&dir)),
            Opened::NoBrowser(_)
        ));
        assert_eq!(seen(&dir), "");
    }

    #[test]
    fn without_a_display_the_reason_is_given() {
        let reason = |around: &Surroundings| candidates(&url(), around).unwrap_err();
        let nothing = Surroundings::default();
        assert!(reason(&nothing).contains("DISPLAY"));
        let ssh = Surroundings {
            is_remote: true,
            ..Surroundings::default()
        };
        assert!(reason(&ssh).contains("SSH"));
        let mac_over_ssh = Surroundings {
            has_system_opener: true,
            ..ssh
        };
        assert!(reason(&mac_over_ssh).contains("SSH"));
    }

    #[test]
    fn with_a_display_the_desktops_opener_is_used() {
        let _turn = turn();
        let dir = TestDir::new();
        program(&dir, "xdg-open", "exit 4");
        recorder(&dir, "gio");
        assert_eq!(open_in(&url(), &with_path(&dir)), Opened::Started);
    }

    #[test]
    fn with_a_display_and_no_browser_the_sign_in_is_left_to_the_person() {
        let _turn = turn();
        let dir = TestDir::new();
        program(&dir, "xdg-settings", "exit 1");
        let opened = open_in(&url(), &with_path(&dir));
        assert_eq!(opened, Opened::NoBrowser("no browser was found".to_owned()));
    }

    #[test]
    fn only_web_addresses_are_opened() {
        let _turn = turn();
        let dir = TestDir::new();
        let around = with_browser(&recorder(&dir, "my-browser"));
        for text in [
            "file:///etc/passwd",
            "javascript:alert(1)",
            "data:text/html,x",
            "ms-word:x",
        ] {
            let url = Url::parse(text).unwrap();
            assert!(
                matches!(open_in(&url, &around), Opened::NoBrowser(_)),
                "{text}"
            );
        }
        assert_eq!(seen(&dir), "");
        for text in [
            "http://[::1]:80/x?y=\"z\" \u{7}<>",
            "https://a.test/-x#\u{202e}",
        ] {
            assert!(is_fit(&Url::parse(text).unwrap()), "{text}");
        }
    }
}
