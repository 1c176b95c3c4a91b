//! What a client declares that it can be asked for, and what a question of the server needs.
//!
//! Spec: MCP 2025-11-25 client/elicitation, client/sampling, client/roots; 2026-07-28 basic/index (Error Codes).

use crate::jsonrpc;

/// A set of client capabilities.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities(u8);

const SAMPLING: u8 = 1;
const TOOLS: u8 = 1 << 1;
const ROOTS: u8 = 1 << 2;
const FORM: u8 = 1 << 3;
const URL: u8 = 1 << 4;

impl Capabilities {
    /// The capabilities that this JSON text declares.
    pub fn read(capabilities: &str) -> Capabilities {
        let has = |path: &[&str]| {
            jsonrpc::member_at(capabilities, path).is_some_and(|c| c.starts_with('{'))
        };
        let url = has(&["elicitation", "url"]);
        // A client that names neither mode supports forms.
        let form = has(&["elicitation"]) && (has(&["elicitation", "form"]) || !url);
        let declared = [
            (has(&["sampling"]), SAMPLING),
            (has(&["sampling", "tools"]), TOOLS),
            (has(&["roots"]), ROOTS),
            (form, FORM),
            (url, URL),
        ];
        let declared = declared.into_iter().filter(|(is_declared, _)| *is_declared);
        Capabilities(declared.fold(0, |all, (_, one)| all | one))
    }

    /// Why the client cannot be asked this: a sentence, and the missing capabilities if the method is known.
    pub fn refuse(self, question: &str) -> Option<(String, Option<Capabilities>)> {
        let needed = needed(question);
        let missing = needed.map(|needed| Capabilities(needed & !self.0));
        if missing.is_some_and(Capabilities::is_empty) {
            return None;
        }
        let method = crate::log::clean(&method(question).unwrap_or_default(), 80);
        let how = match needed.unwrap_or_default() {
            needed if needed & URL != 0 => " with a URL",
            needed if needed & TOOLS != 0 => " with tools",
            _ => "",
        };
        let what = format!(
            "the server needs \"{method}\"{how} from the client, which does not support it"
        );
        Some((what, missing))
    }

    /// Both together.
    pub fn and(self, more: Capabilities) -> Capabilities {
        Capabilities(self.0 | more.0)
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The JSON text with which a client declares them.
    pub fn json(self) -> String {
        let object = |members: &[(&str, u8, &str)]| {
            let has = members.iter().filter(|(_, bits, _)| self.0 & bits != 0);
            let members: Vec<_> = has
                .map(|(name, _, value)| format!("\"{name}\":{value}"))
                .collect();
            format!("{{{}}}", members.join(","))
        };
        let sampling = object(&[("tools", TOOLS, "{}")]);
        let elicitation = object(&[("form", FORM, "{}"), ("url", URL, "{}")]);
        object(&[
            ("sampling", SAMPLING | TOOLS, &sampling),
            ("elicitation", FORM | URL, &elicitation),
            ("roots", ROOTS, "{}"),
        ])
    }
}

/// The capabilities a question needs; `None` if its method is unknown.
fn needed(question: &str) -> Option<u8> {
    let param = |name| jsonrpc::member_at(question, &["params", name]);
    match method(question)?.as_str() {
        "sampling/createMessage" if param("tools").or(param("toolChoice")).is_some() => {
            Some(SAMPLING | TOOLS)
        }
        "sampling/createMessage" => Some(SAMPLING),
        "roots/list" => Some(ROOTS),
        "elicitation/create" if param("mode") == Some("\"url\"") => Some(URL),
        "elicitation/create" => Some(FORM),
        _ => None,
    }
}

/// The method of a question (JSON text).
pub fn method(question: &str) -> Option<String> {
    jsonrpc::member(question, "method").and_then(jsonrpc::string)
}
