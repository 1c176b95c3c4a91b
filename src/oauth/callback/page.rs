//! The pages that the user sees in the browser after signing in.
//!
//! - Each says which server it is about, what happened, and what to do next, and tells the truth: the flow picks it after
//!   the code was exchanged.
//! - Readable in light and dark, on a phone and with a screen reader; loads nothing and runs nothing
//!   ([`CONTENT_POLICY`] forbids both).
//! - Everything that comes from outside is cleaned, shortened and escaped.
//!
//! Spec: RFC 6749 4.1.2 and 4.1.2.1 (what the browser brings), RFC 8252 8.10 (do not leave the person with a blank page).
//! Not done here: nothing is sent (`http.rs`).

use crate::log::clean;

/// What a page may do: be styled by itself, and nothing else.
pub const CONTENT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A page and the status it goes with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The HTTP status.
    pub status: u16,
    /// The whole document.
    pub html: String,
}

impl Page {
    /// The code was exchanged and the tokens are stored.
    pub fn signed_in(server: &str) -> Page {
        build(&Content {
            status: 200,
            mark: Mark::Good,
            title: "You are signed in",
            server,
            what: "The application on this computer can now use this server.",
            reason: None,
            next: "You can close this tab and go back to the application.",
        })
    }

    /// The person, or the authorization server for them, said no (RFC 6749 4.1.2.1).
    pub fn declined(server: &str, reason: Option<&str>) -> Page {
        build(&Content {
            status: 400,
            mark: Mark::Neutral,
            title: "Not signed in",
            server,
            what: "The sign-in was declined. Nothing was shared with the application.",
            reason,
            next: "To sign in after all, go back to the application and use the server again: a new sign-in begins.",
        })
    }

    /// The answer was right, but what came after it failed.
    pub fn failed(server: &str, reason: &str) -> Page {
        build(&Content {
            status: 502,
            mark: Mark::Bad,
            title: "The sign-in failed",
            server,
            what: "The browser part worked, but the sign-in could not be completed.",
            reason: Some(reason),
            next: "Go back to the application and try again. If it fails again, run mcp-remote-client with the server's address in a terminal: it shows each step.",
        })
    }

    /// The callback belongs to no sign-in that is under way.
    pub fn unknown(server: &str) -> Page {
        build(&Content {
            status: 400,
            mark: Mark::Neutral,
            title: "This link is not valid any more",
            server,
            what: "The sign-in it belongs to was completed already, has run out, or was not begun on this computer. Nothing was changed.",
            reason: None,
            next: "If another sign-in tab is open, finish there. Otherwise go back to the application and use the server again.",
        })
    }

    /// The process ended its wait, or ends itself, before it could answer.
    pub fn over(server: &str) -> Page {
        build(&Content {
            status: 503,
            mark: Mark::Bad,
            title: "The sign-in was interrupted",
            server,
            what: "The application stopped waiting before the sign-in was completed.",
            reason: None,
            next: "Go back to the application and use the server again: a new sign-in begins if one is needed.",
        })
    }
}

enum Mark {
    Good,
    Neutral,
    Bad,
}

struct Content<'a> {
    status: u16,
    mark: Mark,
    title: &'a str,
    server: &'a str,
    what: &'a str,
    reason: Option<&'a str>,
    next: &'a str,
}

const LONGEST: usize = 400;
const PROGRAM: &str = "mcp-remote-client";

fn build(content: &Content) -> Page {
    let (class, sign) = match content.mark {
        Mark::Good => ("good", "\u{2713}"),
        Mark::Neutral => ("neutral", "!"),
        Mark::Bad => ("bad", "\u{2715}"),
    };
    let reason = match content.reason.map(|reason| clean(reason, LONGEST)) {
        Some(reason) if !reason.is_empty() => {
            format!(
                "<p class=\"reason\"><span>Reason</span> {}</p>\n",
                escape(&reason)
            )
        }
        _ => String::new(),
    };
    let (title, server) = (
        escape(content.title),
        escape(&clean(content.server, LONGEST)),
    );
    let (what, next) = (escape(content.what), escape(content.next));
    // A line must not end within what is to be typed.
    let next = next.replace(PROGRAM, &format!("<code>{PROGRAM}</code>"));
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"robots\" content=\"noindex\">\n\
         <title>{title} \u{2013} mcp-remote</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <div class=\"mark {class}\" aria-hidden=\"true\">{sign}</div>\n<h1>{title}</h1>\n\
         <p class=\"server\">{server}</p>\n<p>{what}</p>\n{reason}<p class=\"next\">{next}</p>\n</main>\n\
         <footer>mcp-remote</footer>\n</body>\n</html>\n"
    );
    Page {
        status: content.status,
        html,
    }
}

const STYLE: &str = "\
:root{--bg:#f4f5f7;--card:#fff;--text:#1c1f23;--soft:#59616b;--line:#dfe3e8;--good:#1a7f37;--neutral:#9a6700;--bad:#c4232b}\
@media(prefers-color-scheme:dark){:root{--bg:#101317;--card:#1a1e24;--text:#e8eaed;--soft:#a3acb7;--line:#323943;--good:#4ac26b;--neutral:#e0a526;--bad:#ff7b72}}\
*{box-sizing:border-box}\
body{margin:0;min-height:100vh;display:flex;flex-direction:column;align-items:center;justify-content:center;padding:1.25rem;\
background:var(--bg);color:var(--text);font:1rem/1.5 system-ui,-apple-system,\"Segoe UI\",Roboto,sans-serif}\
main{width:100%;max-width:30rem;padding:2rem 1.5rem;background:var(--card);border:1px solid var(--line);border-radius:.75rem;text-align:center}\
.mark{width:3.25rem;height:3.25rem;margin:0 auto 1rem;border:.2rem solid;border-radius:50%;font-size:1.6rem;line-height:2.8rem;font-weight:700}\
.good{color:var(--good)}.neutral{color:var(--neutral)}.bad{color:var(--bad)}\
h1{margin:0 0 .5rem;font-size:1.4rem;line-height:1.25}\
p{margin:.75rem 0 0;text-wrap:balance}\
.server{margin:0;color:var(--soft);font-family:ui-monospace,Menlo,Consolas,monospace;font-size:.9rem;overflow-wrap:anywhere}\
.reason{padding:.6rem .8rem;border:1px solid var(--line);border-radius:.5rem;text-align:left;overflow-wrap:anywhere}\
.reason span{color:var(--soft);font-size:.85rem;display:block}\
.next{font-weight:600}\
code{white-space:nowrap}\
footer{margin-top:1rem;color:var(--soft);font-size:.85rem}";

/// Text made fit for an element or a quoted attribute.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(server: &str, reason: &str) -> [Page; 5] {
        [
            Page::signed_in(server),
            Page::declined(server, Some(reason)),
            Page::failed(server, reason),
            Page::unknown(server),
            Page::over(server),
        ]
    }

    #[test]
    fn nothing_from_outside_becomes_markup() {
        let hostile = "<img src=x onerror=\"alert('1')\">&lt;\u{202e}\x1b[31m";
        for page in all(hostile, hostile) {
            assert!(!page.html.contains("<img"), "{}", page.html);
            assert!(
                page.html
                    .contains("&lt;img src=x onerror=&quot;alert(&#39;1&#39;)&quot;&gt;&amp;lt;")
            );
            assert!(!page.html.contains(['\u{202e}', '\x1b']));
        }
    }

    #[test]
    fn pages_load_nothing_and_run_nothing() {
        for page in all("https://a.test/mcp", "why") {
            for word in [
                "<script", "src=", "href=", "url(", "@import", "http:", "onload",
            ] {
                assert!(!page.html.contains(word), "{word}");
            }
        }
    }

    #[test]
    fn each_page_says_which_server_what_happened_and_what_to_do() {
        let titles = [
            (200, "You are signed in"),
            (400, "Not signed in"),
            (502, "The sign-in failed"),
            (400, "This link is not valid any more"),
            (503, "The sign-in was interrupted"),
        ];
        for (page, (status, title)) in all("https://a.test/mcp", "it is <late>").iter().zip(titles)
        {
            assert_eq!(page.status, status);
            assert!(page.html.contains(&format!("<h1>{title}</h1>")));
            assert!(page.html.contains("https://a.test/mcp"));
            assert!(page.html.contains("class=\"next\""));
        }
        let failed = Page::failed("s", "it is <late>");
        assert!(failed.html.contains("it is &lt;late&gt;"));
        assert!(!Page::declined("s", None).html.contains("class=\"reason\""));
        assert!(
            !Page::declined("s", Some("\n "))
                .html
                .contains("class=\"reason\"")
        );
    }

    #[test]
    fn pages_stay_small_whatever_the_reason() {
        let long = "&".repeat(100_000);
        for page in all(&long, &long) {
            assert!(page.html.len() < 10_000, "{}", page.html.len());
        }
    }

    #[test]
    fn pages_suit_dark_screens_and_phones() {
        let html = Page::signed_in("s").html;
        assert!(html.contains("prefers-color-scheme:dark") && html.contains("width=device-width"));
    }
}
