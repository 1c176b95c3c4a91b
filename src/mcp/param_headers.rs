//! `x-mcp-header` annotations of a tool's schema, which become `Mcp-Param-*` headers of its calls.
//!
//! - An annotation is valid on a string, integer or boolean property that is reached from the root through `properties`
//!   only; its value is an HTTP token, unique in any case. A tool with any other annotation must be hidden.
//! - The value is read at the property's exact path; where there is none, or null, there is no header.
//!
//! Spec: MCP 2026-07-28 basic/transports/streamable-http (Custom Headers from Tool Parameters), server/tools (x-mcp-header).

use serde_json::Value;
use ureq::http::HeaderName;

use super::headers;
use crate::jsonrpc;

/// One annotated parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    path: Vec<String>,
    header: String,
}

/// The annotations of an `inputSchema`.
///
/// # Errors
/// Why the tool must be hidden.
pub fn annotations(schema: &str) -> Result<Vec<Annotation>, String> {
    // Most tools have none; their schemas need no tree.
    if !schema.contains(KEY) {
        return Ok(Vec::new());
    }
    let Ok(schema) = serde_json::from_str::<Value>(schema) else {
        return Err("its schema is nested too deeply to be read".to_owned());
    };
    let mut found = Vec::new();
    visit(&schema, &mut Vec::new(), true, &mut found)?;
    Ok(found)
}

/// The headers of a call with these arguments (JSON text).
pub fn values(annotations: &[Annotation], arguments: &str) -> Vec<(String, String)> {
    let value = |annotation: &Annotation| {
        let path: Vec<&str> = annotation.path.iter().map(String::as_str).collect();
        let text = jsonrpc::member_at(arguments, &path)?;
        Some((annotation.header.clone(), headers::encode(&plain(text)?)))
    };
    annotations.iter().filter_map(value).collect()
}

/// A primitive value as text; none for null, for numbers JavaScript cannot hold exactly, and for anything that is not a primitive.
fn plain(text: &str) -> Option<String> {
    match serde_json::from_str(text).ok()? {
        Value::String(text) => Some(text),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => {
            let value = number.as_f64()?;
            if value.fract() != 0.0 {
                return Some(number.to_string());
            }
            // Zero has no sign there.
            (value.abs() <= MOST_EXACT).then(|| (value as i64).to_string())
        }
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn visit(
    schema: &Value,
    path: &mut Vec<String>,
    reachable: bool,
    found: &mut Vec<Annotation>,
) -> Result<(), String> {
    let Some(object) = schema.as_object() else {
        return Ok(());
    };
    if let Some(name) = object.get(KEY) {
        found.push(annotation(
            name,
            object.get("type"),
            path,
            reachable,
            found,
        )?);
    }
    for (keyword, value) in object {
        match keyword.as_str() {
            "properties" => {
                for (name, property) in value.as_object().into_iter().flatten() {
                    path.push(name.clone());
                    visit(property, path, reachable, found)?;
                    path.pop();
                }
            }
            // Schemas by name.
            "patternProperties" | "dependentSchemas" | "$defs" | "definitions" => {
                for below in value.as_object().into_iter().flat_map(|map| map.values()) {
                    visit(below, path, false, found)?;
                }
            }
            // A schema, or a list of them.
            "items"
            | "prefixItems"
            | "contains"
            | "additionalProperties"
            | "additionalItems"
            | "unevaluatedProperties"
            | "unevaluatedItems"
            | "propertyNames"
            | "oneOf"
            | "anyOf"
            | "allOf"
            | "not"
            | "if"
            | "then"
            | "else" => {
                visit(value, path, false, found)?;
                for below in value.as_array().into_iter().flatten() {
                    visit(below, path, false, found)?;
                }
            }
            // Data and unknown keywords hold no schema.
            _ => {}
        }
    }
    Ok(())
}

fn annotation(
    name: &Value,
    kind: Option<&Value>,
    path: &[String],
    reachable: bool,
    known: &[Annotation],
) -> Result<Annotation, String> {
    let at = path.join(".");
    let Some(name) = name.as_str().filter(|name| !name.is_empty()) else {
        return Err(format!("{KEY} of \"{at}\" is not a name"));
    };
    if !reachable || path.is_empty() {
        return Err(format!(
            "{KEY} \"{name}\" stands where no plain property is"
        ));
    }
    if HeaderName::try_from(name).is_err() {
        return Err(format!("{KEY} of \"{at}\" is not a valid HTTP header name"));
    }
    if !matches!(
        kind.and_then(Value::as_str),
        Some("string" | "integer" | "boolean")
    ) {
        return Err(format!(
            "{KEY} \"{name}\" is on a property that is not a string, integer or boolean"
        ));
    }
    let header = format!("{}{}", headers::PARAM, name);
    if known
        .iter()
        .any(|other| other.header.eq_ignore_ascii_case(&header))
    {
        return Err(format!("{KEY} \"{name}\" is used twice"));
    }
    Ok(Annotation {
        path: path.to_vec(),
        header,
    })
}

const KEY: &str = "x-mcp-header";
/// 2^53 - 1.
const MOST_EXACT: f64 = 9_007_199_254_740_991.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_mirrored_from_their_exact_path() {
        let schema = r#"{"type":"object","properties":{
            "region":{"type":"string","x-mcp-header":"Region"},
            "n":{"type":"integer","x-mcp-header":"N"},
            "on":{"type":"boolean","x-mcp-header":"On"},
            "deep":{"type":"object","properties":{"id":{"type":"string","x-mcp-header":"Deep-Id"}}},
            "x-mcp-header":{"type":"object","default":{"x-mcp-header":1}}}}"#;
        let annotations = annotations(schema).unwrap();
        let shown = |arguments: &str| {
            let mut shown: Vec<String> = values(&annotations, arguments)
                .iter()
                .map(|(name, value)| format!("{name}: {value}"))
                .collect();
            shown.sort();
            shown
        };
        assert_eq!(
            shown(r#"{"region":"ä","n":42.0,"on":false,"deep":{"id":"x"}}"#),
            [
                "mcp-param-Deep-Id: x",
                "mcp-param-N: 42",
                "mcp-param-On: false",
                "mcp-param-Region: =?base64?w6Q=?="
            ]
        );
        assert_eq!(
            shown(r#"{"region":null,"id":"x","n":9007199254740992}"#),
            Vec::<String>::new()
        );
        for (arguments, header) in [
            (r#"{"n":-7}"#, "mcp-param-N: -7"),
            (r#"{"n":-0}"#, "mcp-param-N: 0"),
            (r#"{"n":1e2}"#, "mcp-param-N: 100"),
            (r#"{"n":9007199254740991}"#, "mcp-param-N: 9007199254740991"),
            (r#"{"on":true}"#, "mcp-param-On: true"),
            (
                r#"{"deep":{"id":" x "}}"#,
                "mcp-param-Deep-Id: =?base64?IHgg?=",
            ),
            (r#"{"region":"a\tb c"}"#, "mcp-param-Region: a\tb c"),
            (
                r#"{"region":"\u007f"}"#,
                "mcp-param-Region: =?base64?fw==?=",
            ),
            (
                r#"{"region":"=?BASE64?eA==?="}"#,
                "mcp-param-Region: =?BASE64?eA==?=",
            ),
            (
                r#"{"region":"=?base64?eA==?="}"#,
                "mcp-param-Region: =?base64?PT9iYXNlNjQ/ZUE9PT89?=",
            ),
        ] {
            assert_eq!(shown(arguments), [header]);
        }
        for arguments in [
            r#"{"deep":null}"#,
            r#"{"deep":"id"}"#,
            r#"{"deep":{}}"#,
            r#"{"deep.id":"x"}"#,
            r#"{"region":["x"]}"#,
            r#"{"region":{"x":1}}"#,
            "[]",
        ] {
            assert_eq!(shown(arguments), Vec::<String>::new(), "{arguments}");
        }
    }

    #[test]
    fn annotations_that_break_a_rule_are_refused() {
        for properties in [
            r#""a":{"type":"string","x-mcp-header":""}"#,
            r#""a":{"type":"string","x-mcp-header":5}"#,
            r#""a":{"type":"string","x-mcp-header":"a b"}"#,
            r#""a":{"type":"string","x-mcp-header":"a\r\nb"}"#,
            r#""a":{"type":"number","x-mcp-header":"A"}"#,
            r#""a":{"type":"object","x-mcp-header":"A"}"#,
            r#""a":{"x-mcp-header":"A"}"#,
            r#""a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}"#,
            r#""a":{"type":"array","items":{"type":"string","x-mcp-header":"A"}}"#,
            r#""a":{"oneOf":[{"type":"string","x-mcp-header":"A"}]}"#,
            r#""a":{"items":{"properties":{"b":{"type":"string","x-mcp-header":"A"}}}}"#,
        ] {
            let schema = format!("{{\"type\":\"object\",\"properties\":{{{properties}}}}}");
            assert!(annotations(&schema).is_err(), "{properties}");
        }
        assert!(annotations(r#"{"type":"string","x-mcp-header":"A"}"#).is_err());
        assert!(annotations(r#"{"$defs":{"d":{"type":"string","x-mcp-header":"A"}}}"#).is_err());
    }
}
