//! A list of the server, page by page: tools, resources or prompts. Pure.
//!
//! Spec: MCP 2025-11-25 server/utilities/pagination.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::conversation::{Conversation, Failed, Seen};

/// A server that never ends a list is stopped.
const MOST_PAGES: u32 = 100;

/// All items of the list, each as it came.
///
/// # Errors
/// If a page is not to be had, or the list does not end.
pub fn items(
    session: &mut Conversation,
    what: &str,
    watch: &mut dyn FnMut(Seen),
) -> Result<Vec<Box<RawValue>>, Failed> {
    let method = format!("{what}/list");
    let mut params = "{}".to_owned();
    let mut all = Vec::new();
    for _ in 0..MOST_PAGES {
        let page = session.ask(&method, &params, watch)?;
        let Some((items, cursor)) = read(page.get(), what) else {
            let what = format!("{method} was answered with something that is no list of {what}");
            return Err(Failed::ours(what));
        };
        all.extend(items);
        match cursor {
            Some(cursor) => params = json!({ "cursor": cursor }).to_string(),
            None => return Ok(all),
        }
    }
    Err(Failed::ours(format!(
        "the list of {what} has more than {MOST_PAGES} pages"
    )))
}

/// The items of a page, and where the next one begins.
fn read(page: &str, what: &str) -> Option<(Vec<Box<RawValue>>, Option<String>)> {
    let members: std::collections::HashMap<String, Box<RawValue>> =
        serde_json::from_str(page).ok()?;
    let items = serde_json::from_str(members.get(what)?.get()).ok()?;
    let cursor = members.get("nextCursor").map(|text| text.get());
    let cursor: Value = serde_json::from_str(cursor.unwrap_or("null")).ok()?;
    Some((items, cursor.as_str().map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_kept_as_they_came() {
        let (items, cursor) = read(r#"{"tools":[{"n": 1.0}],"nextCursor":"2"}"#, "tools").unwrap();
        assert_eq!(
            (items[0].get(), cursor.as_deref()),
            (r#"{"n": 1.0}"#, Some("2"))
        );
        assert_eq!(
            read(r#"{"tools":[],"nextCursor":null}"#, "tools")
                .unwrap()
                .1,
            None
        );
        assert!(read(r#"{"tools":{}}"#, "tools").is_none());
        assert!(read("{}", "tools").is_none());
    }
}
