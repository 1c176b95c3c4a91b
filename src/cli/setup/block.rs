//! The entry in the words of a client. Pure.
//!
//! Strings are quoted as JSON quotes them, which TOML and YAML read as well.

use super::clients::{Client, Format, Variables};
use super::entry::Entry;
use super::tree::Trouble;
use super::{json, toml, yaml};

/// What stands where a person must put a value.
pub const BLANK: &str = "put the value here";

/// The text of a file with the entry in it; of an empty one, to be shown.
///
/// # Errors
/// If the text is not understood.
pub fn put(client: &Client, entry: &Entry, text: &str) -> Result<String, Trouble> {
    let (container, name) = (client.container, entry.name.as_str());
    match client.format {
        Format::Json { comments } => {
            let old = values(text, comments, container, name);
            let value = json(client, entry, &old);
            let mut new = json::put(text, comments, container, name, &value)?;
            if client.variables == Variables::Asked {
                for name in &entry.variables {
                    let (id, input) = (input_id(name), input(name));
                    new = json::list(&new, comments, "inputs", &id, &input)?;
                }
            }
            Ok(new)
        }
        Format::Toml => toml::put(text, container, name, &toml(client, entry)),
        Format::Yaml => yaml::put(text, container, name, &yaml(client, entry)),
    }
}

/// Whether the text has an entry of this name already.
pub fn has(client: &Client, name: &str, text: &str) -> bool {
    let found = |root: Option<super::tree::Node>| {
        let container = root?
            .members()?
            .iter()
            .find(|member| member.key == client.container)?
            .value
            .clone();
        container
            .members()?
            .iter()
            .find(|member| member.key == name)
            .map(drop)
    };
    match client.format {
        Format::Json { comments } => json::read(text, comments).ok().and_then(found).is_some(),
        Format::Yaml => yaml::read(text).ok().and_then(found).is_some(),
        Format::Toml => toml::read(text).is_ok_and(|tables| {
            tables
                .iter()
                .any(|table| table.path == [client.container, name])
        }),
    }
}

/// The values of variables that a person has put into an entry of the same name: they stay.
fn values(text: &str, comments: bool, container: &str, name: &str) -> Vec<(String, String)> {
    let root = json::read(text, comments).ok().flatten();
    let below = |node: &super::tree::Node, key: &str| {
        let member = node.members()?.iter().find(|member| member.key == key)?;
        Some(member.value.clone())
    };
    let env = root.and_then(|root| below(&below(&below(&root, container)?, name)?, "env"));
    let members = env
        .as_ref()
        .and_then(|env| env.members())
        .unwrap_or_default();
    members
        .iter()
        .filter_map(|member| Some((member.key.clone(), member.value.text()?.to_owned())))
        .collect()
}

/// What VS Code calls a value it asks for.
fn input_id(variable: &str) -> String {
    variable.to_lowercase().replace('_', "-")
}

fn input(variable: &str) -> String {
    format!(
        "{{\n  \"type\": \"promptString\",\n  \"id\": {},\n  \"description\": {},\n  \"password\": true\n}}",
        quoted(&input_id(variable)),
        quoted(&format!("Value of {variable} (mcp-remote)"))
    )
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn json(client: &Client, entry: &Entry, old: &[(String, String)]) -> String {
    let list = |items: Vec<String>| items.join(",\n    ");
    let mut members = Vec::new();
    if client.has_type {
        members.push("\"type\": \"stdio\"".to_owned());
    }
    members.push(format!("\"command\": {}", quoted(&entry.command)));
    let args = list(entry.args.iter().map(|arg| quoted(arg)).collect());
    members.push(format!("\"args\": [\n    {args}\n  ]"));
    let value = |name: &str| match client.variables {
        Variables::Reference(before, after) => Some(format!("{before}{name}{after}")),
        Variables::Asked => Some(format!("${{input:{}}}", input_id(name))),
        Variables::Value => {
            let old = old.iter().find(|(old, _)| old == name);
            Some(old.map_or(BLANK, |(_, value)| value).to_owned())
        }
        Variables::Inherited | Variables::Named(_) => None,
    };
    let env: Vec<String> = entry
        .variables
        .iter()
        .filter_map(|name| Some(format!("{}: {}", quoted(name), quoted(&value(name)?))))
        .collect();
    if !env.is_empty() {
        members.push(format!("\"env\": {{\n    {}\n  }}", list(env)));
    }
    format!("{{\n  {}\n}}", members.join(",\n  "))
}

fn toml(client: &Client, entry: &Entry) -> String {
    let list = |items: &[String]| {
        items
            .iter()
            .map(|item| quoted(item))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut lines = format!(
        "[{}.{}]\ncommand = {}\nargs = [{}]\n",
        client.container,
        entry.name,
        quoted(&entry.command),
        list(&entry.args)
    );
    if let (Variables::Named(member), false) = (client.variables, entry.variables.is_empty()) {
        lines.push_str(&format!("{member} = [{}]\n", list(&entry.variables)));
    }
    lines
}

/// Goose wants a name and a time limit in each entry.
fn yaml(client: &Client, entry: &Entry) -> String {
    let list = |items: &[String]| {
        items
            .iter()
            .map(|item| format!("\n  - {}", quoted(item)))
            .collect::<String>()
    };
    let mut lines = format!(
        "name: {}\ntype: stdio\nenabled: true\ncmd: {}\nargs:{}\n",
        quoted(&entry.name),
        quoted(&entry.command),
        list(&entry.args)
    );
    if let (Variables::Named(member), false) = (client.variables, entry.variables.is_empty()) {
        lines.push_str(&format!("{member}:{}\n", list(&entry.variables)));
    }
    lines.push_str("timeout: 300");
    lines
}
