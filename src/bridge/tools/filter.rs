//! Hides tools in `tools/list` and refuses them in `tools/call`.
//!
//! A tool is shown if an `--allow-tool` matches its name (or none is given) and no `--ignore-tool` does. The rest of the list
//! keeps its bytes.
//!
//! Flags: `--ignore-tool`, `--allow-tool`.
//! Spec: MCP 2025-11-25 server/tools.

use serde_json::value::RawValue;

use crate::error::{Error, Kind};
use crate::jsonrpc::{self, Message};

/// Which tools the client may see.
#[derive(Debug, Default)]
pub struct ToolFilter {
    ignore: Vec<String>,
    allow: Vec<String>,
}

impl ToolFilter {
    /// Globs with `*`, matched against the whole name in any case.
    pub fn new(ignore: &[String], allow: &[String]) -> ToolFilter {
        let lower = |globs: &[String]| globs.iter().map(|glob| glob.to_lowercase()).collect();
        ToolFilter {
            ignore: lower(ignore),
            allow: lower(allow),
        }
    }

    /// Whether the client may see and call this tool.
    pub fn allows(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        let matched = |globs: &[String]| globs.iter().any(|glob| matches(glob, &name));
        (self.allow.is_empty() || matched(&self.allow)) && !matched(&self.ignore)
    }

    /// The error for a `tools/call` of a hidden tool.
    pub fn refuse(&self, call: &Message) -> Option<Error> {
        if self.is_empty() || call.method() != Some("tools/call") {
            return None;
        }
        let name = call
            .member("params")
            .and_then(|params| jsonrpc::member(params, "name"))
            .and_then(jsonrpc::string)?;
        (!self.allows(&name)).then(|| {
            Error::new(
                Kind::HiddenTool,
                format!("Tool \"{name}\" is not available"),
            )
        })
    }

    /// The response to `tools/list` without the hidden tools; a response without any stays as it is.
    pub fn filter(&self, answer: Message) -> Message {
        if self.is_empty() {
            return answer;
        }
        let Some(result) = answer.member("result") else {
            return answer;
        };
        let Some(tools) = jsonrpc::member(result, "tools")
            .and_then(|tools| serde_json::from_str::<Vec<&RawValue>>(tools).ok())
        else {
            return answer;
        };
        let shown: Vec<&str> = tools
            .iter()
            .map(|tool| tool.get())
            .filter(|tool| self.shows(tool))
            .collect();
        if shown.len() == tools.len() {
            return answer;
        }
        let result = jsonrpc::replace_member(result, "tools", &format!("[{}]", shown.join(",")));
        answer.with_member("result", &result)
    }

    /// A tool without a readable name cannot be judged; it is hidden as soon as only some tools are allowed.
    fn shows(&self, tool: &str) -> bool {
        match jsonrpc::member(tool, "name").and_then(jsonrpc::string) {
            Some(name) => self.allows(&name),
            None => self.allow.is_empty(),
        }
    }

    fn is_empty(&self) -> bool {
        self.ignore.is_empty() && self.allow.is_empty()
    }
}

/// Whether the whole text matches a glob in which `*` stands for any text.
fn matches(glob: &str, text: &str) -> bool {
    let Some((head, rest)) = glob.split_once('*') else {
        return glob == text;
    };
    let Some(mut text) = text.strip_prefix(head) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let tail = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = text.find(part) else {
            return false;
        };
        text = text.get(at + part.len()..).unwrap_or_default();
    }
    text.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(ignore: &[&str], allow: &[&str]) -> ToolFilter {
        let own = |globs: &[&str]| globs.iter().map(|g| (*g).to_owned()).collect::<Vec<_>>();
        ToolFilter::new(&own(ignore), &own(allow))
    }

    #[test]
    fn globs_match_the_whole_name_in_any_case() {
        for (glob, name, expected) in [
            ("delete*", "DeleteUser", true),
            ("delete", "deleteUser", false),
            ("*user*", "a_user_b", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyycd", false),
            ("*", "", true),
            ("ab*ba", "aba", false),
            ("a.c", "abc", false),
        ] {
            assert_eq!(filter(&[], &[glob]).allows(name), expected, "{glob} {name}");
        }
    }

    #[test]
    fn ignored_tools_stay_hidden_even_if_allowed() {
        let filter = filter(&["get_secret"], &["get_*"]);
        assert!(
            filter.allows("get_user") && !filter.allows("get_secret") && !filter.allows("set_user")
        );
    }

    #[test]
    fn what_is_left_of_a_list_keeps_its_bytes() {
        let answer = Message::parse(
            r#"{"id":1, "result":{"a":1.0,"tools":[{"name":"x","n":1e2},{"name":"y"}],"z":0}}"#,
        )
        .unwrap();
        assert_eq!(
            filter(&["y"], &[]).filter(answer).text(),
            r#"{"id":1, "result":{"a":1.0,"tools":[{"name":"x","n":1e2}],"z":0}}"#
        );
    }

    #[test]
    fn a_call_of_a_hidden_tool_is_refused_by_name() {
        let call =
            Message::parse(r#"{"id":1,"method":"tools/call","params":{"name":"y"}}"#).unwrap();
        assert_eq!(
            filter(&["y"], &[]).refuse(&call).unwrap().what(),
            "Tool \"y\" is not available"
        );
        assert!(filter(&["x"], &[]).refuse(&call).is_none());
    }
}
