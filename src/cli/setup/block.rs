//! The configuration of one server as a client's file spells it. Pure.
//!
//! Strings are quoted as in JSON; TOML and YAML accept that, too.

use super::clients::{Client, Format, Variables};
use super::entry::Entry;
use super::json::PLACEHOLDER;

/// A document with nothing but this entry, in the format of the client.
pub fn render(client: &Client, entry: &Entry) -> String {
    match client.format {
        Format::Json(_) => json(client, entry),
        Format::Toml => toml(client, entry),
        Format::Yaml => yaml(client, entry),
    }
}

/// The members of `env`: each variable of the entry and where the client takes its value from.
pub fn env(client: &Client, entry: &Entry) -> Vec<(String, String)> {
    let value = |name: &str| match client.variables {
        Variables::Reference(before, after) => Some(format!("{before}{name}{after}")),
        Variables::Asked => Some(format!("${{input:{}}}", input_id(name))),
        Variables::Value => Some(PLACEHOLDER.to_owned()),
        Variables::Inherited | Variables::Named(_) => None,
    };
    let names = entry.variables.iter();
    names
        .filter_map(|name| Some((name.clone(), value(name)?)))
        .collect()
}

/// The id of VS Code's input for this variable.
fn input_id(variable: &str) -> String {
    variable.to_lowercase().replace('_', "-")
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn list(items: &[String], before: &str, between: &str) -> String {
    let items: Vec<_> = items
        .iter()
        .map(|item| format!("{before}{}", quoted(item)))
        .collect();
    items.join(between)
}

fn json(client: &Client, entry: &Entry) -> String {
    let mut members = Vec::new();
    if client.has_type {
        let kind = if client.has_command_list {
            "local"
        } else {
            "stdio"
        };
        members.push(format!("\"type\": {}", quoted(kind)));
    }
    let before = "        ";
    let command = quoted(&entry.command);
    let args = list(&entry.args, before, ",\n");
    if client.has_command_list {
        members.push(format!(
            "\"command\": [\n{before}{command},\n{args}\n      ]"
        ));
    } else {
        members.push(format!("\"command\": {command}"));
        members.push(format!("\"args\": [\n{args}\n      ]"));
    }
    let env: Vec<String> = env(client, entry)
        .iter()
        .map(|(name, value)| format!("        {}: {}", quoted(name), quoted(value)))
        .collect();
    if !env.is_empty() {
        members.push(format!("\"env\": {{\n{}\n      }}", env.join(",\n")));
    }
    if client.has_tools {
        members.push("\"tools\": [\"*\"]".to_owned());
    }
    let mut block = format!(
        "{{\n  {}: {{\n    {}: {{\n      {}\n    }}\n  }}",
        quoted(client.container),
        quoted(&entry.name),
        members.join(",\n      ")
    );
    if client.variables == Variables::Asked && !entry.variables.is_empty() {
        let inputs: Vec<String> = entry.variables.iter().map(|name| input(name)).collect();
        block.push_str(&format!(",\n  \"inputs\": [\n{}\n  ]", inputs.join(",\n")));
    }
    block.push_str("\n}\n");
    block
}

fn input(variable: &str) -> String {
    format!(
        "    {{\n      \"type\": \"promptString\",\n      \"id\": {},\n      \"description\": {},\n      \"password\": true\n    }}",
        quoted(&input_id(variable)),
        quoted(&format!("Value of {variable} (mcp-remote)"))
    )
}

fn toml(client: &Client, entry: &Entry) -> String {
    let mut block = format!(
        "[{}.{}]\ncommand = {}\nargs = [{}]\n",
        client.container,
        entry.name,
        quoted(&entry.command),
        list(&entry.args, "", ", ")
    );
    if let (Variables::Named(member), false) = (client.variables, entry.variables.is_empty()) {
        block.push_str(&format!(
            "{member} = [{}]\n",
            list(&entry.variables, "", ", ")
        ));
    }
    block
}

/// Goose requires a name and a timeout in each entry.
fn yaml(client: &Client, entry: &Entry) -> String {
    let item = "      - ";
    let mut block = format!(
        "{}:\n  {}:\n    name: {}\n    type: stdio\n    enabled: true\n    cmd: {}\n    args:\n{}\n",
        client.container,
        entry.name,
        quoted(&entry.name),
        quoted(&entry.command),
        list(&entry.args, item, "\n")
    );
    if let (Variables::Named(member), false) = (client.variables, entry.variables.is_empty()) {
        let names = list(&entry.variables, item, "\n");
        block.push_str(&format!("    {member}:\n{names}\n"));
    }
    block.push_str("    timeout: 300\n");
    block
}
