//! A stand-in for the browser and the person before it.
//!
//! The program under test is told by `BROWSER` to start a shell script, which writes the address into a file; the test then
//! goes there, and follows redirects as a browser does.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use url::Url;

use super::authorization_server::query;
use super::process::Process;
use super::{LIMIT, TempDir};

/// The stand-in.
pub struct Browser {
    dir: TempDir,
}

/// What a request was answered with.
#[derive(Debug)]
pub struct Page {
    pub url: String,
    pub status: u16,
    pub headers: String,
    pub text: String,
}

impl Page {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.lines().find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Browser {
    pub fn new() -> Browser {
        Browser::with_script("")
    }

    /// `before` is shell text that runs first; `$1` is the address.
    pub fn with_script(before: &str) -> Browser {
        let dir = TempDir::new();
        let urls = dir.0.join("urls");
        let text = format!(
            "{before}\nprintf '%s %s\\n' \"$seen\" \"$1\" >> {}\n",
            urls.display()
        );
        std::fs::write(dir.0.join("browser"), text).unwrap();
        Browser { dir }
    }

    /// The value of `BROWSER`. The shell is named: a script just written may be held open by another test's child.
    pub fn command(&self) -> String {
        format!("/bin/sh {} %s", self.dir.0.join("browser").display())
    }

    /// What it was started with, so far: the addresses.
    pub fn urls(&self) -> Vec<String> {
        self.lines().into_iter().map(|(_, url)| url).collect()
    }

    /// What the script found (`$seen`), and the address.
    pub fn lines(&self) -> Vec<(String, String)> {
        let text = std::fs::read_to_string(self.dir.0.join("urls")).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(seen, url)| (seen.to_owned(), url.to_owned()))
            .collect()
    }

    /// Waits until it was opened so many times; the address of that time.
    pub fn wait_for(&self, count: usize) -> String {
        wait_until("the browser to be opened", || {
            self.urls().get(count - 1).cloned()
        })
    }

    /// The person comes and says yes: goes where the browser was sent, the `count`-th time.
    pub fn sign_in(&self, count: usize) -> Page {
        visit(&self.wait_for(count))
    }
}

/// Waits for a condition, with a limit.
#[track_caller]
pub fn wait_until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < LIMIT, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The address to sign in at, as the program printed it.
pub fn printed_url(process: &mut Process) -> String {
    wait_until("the address on stderr", || {
        let stderr = process.stderr();
        let whole = stderr.rsplit_once('\n')?.0;
        let mut words = whole.split_whitespace();
        words
            .find(|word| word.contains("response_type=code"))
            .map(str::to_owned)
    })
}

/// GET, and where it is sent from there, to the end.
pub fn visit(url: &str) -> Page {
    let mut page = get(url);
    for _ in 0..10 {
        match page.header("location") {
            Some(next) if (300..400).contains(&page.status) => {
                page = get(Url::parse(&page.url).unwrap().join(next).unwrap().as_str());
            }
            _ => return page,
        }
    }
    panic!("too many redirects");
}

/// Where the authorization server sends the browser after the person has said yes.
pub fn answer_of(url: &str) -> String {
    let page = get(url);
    assert_eq!(page.status, 302, "{page:?}");
    page.header("location").unwrap().to_owned()
}

/// The same address with another value of a query member; without it if there is none.
pub fn altered(url: &str, name: &str, value: Option<&str>) -> String {
    let mut altered = Url::parse(url).unwrap();
    altered.set_query(None);
    let mut members: Vec<(String, String)> = query(url).into_iter().collect();
    members.retain(|(known, _)| known != name);
    members.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    altered.query_pairs_mut().extend_pairs(members);
    altered.into()
}

/// One GET, without following anything.
pub fn get(url: &str) -> Page {
    try_get(url).unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// One GET; nobody may be there.
pub fn try_get(url: &str) -> std::io::Result<Page> {
    request("GET", url, "")
}

/// One request; `rest` is more header lines, then an empty line and a body, if there is any.
pub fn request(method: &str, url: &str, rest: &str) -> std::io::Result<Page> {
    let rest = if rest.is_empty() { "\r\n" } else { rest };
    let parsed = Url::parse(url).unwrap();
    let (host, port) = (
        parsed.host_str().unwrap(),
        parsed.port_or_known_default().unwrap(),
    );
    let bare = host.trim_matches(['[', ']']);
    let mut last = None;
    let stream = (bare, port).to_socket_addrs()?.find_map(|address| {
        let stream = TcpStream::connect_timeout(&address, LIMIT);
        stream.map_err(|error| last = Some(error)).ok()
    });
    let Some(mut stream) = stream else {
        return Err(last.unwrap_or_else(|| std::io::ErrorKind::NotFound.into()));
    };
    stream.set_read_timeout(Some(LIMIT))?;
    let target = &parsed[url::Position::BeforePath..url::Position::AfterQuery];
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n{rest}"
    )?;
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                let is_length = name.eq_ignore_ascii_case("content-length");
                is_length.then(|| value.trim().parse::<usize>().ok())?
            });
            if length.is_some_and(|length| body.len() >= length) {
                break;
            }
        }
        match stream.read(&mut part)? {
            0 => break,
            read => bytes.extend_from_slice(&part[..read]),
        }
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text
        .split_once("\r\n\r\n")
        .ok_or(std::io::ErrorKind::UnexpectedEof)?;
    Ok(Page {
        url: url.to_owned(),
        status: head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0),
        headers: head.to_owned(),
        text: body.to_owned(),
    })
}

/// Posts a form.
pub fn post_form(url: &str, members: &[(&str, &str)]) -> Page {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(members)
        .finish();
    let rest = format!(
        "content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    request("POST", url, &rest).unwrap()
}
