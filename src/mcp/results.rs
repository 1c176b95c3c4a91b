//! What a result carries in one era and not in the other. What is not touched keeps its bytes.
//!
//! - For a legacy client: `resultType`, `ttlMs`, `cacheScope` and the server's identity are taken out, and the error for a
//!   missing resource gets the code of its own. Its revisions know only objects as structured content: other values stay
//!   in the text content, which servers send beside them.
//! - For a modern client they are added; caching is left to it by a time to live of zero. The errors for a missing
//!   resource, and for an address the client cannot be asked to visit, have other codes.
//!
//! Spec: MCP 2026-07-28 changelog, basic/index (Responses), server/utilities/caching, server/discover.

use serde_json::value::RawValue;

use super::{errors, meta, version};
use crate::jsonrpc::{self, Message};

/// What a modern result says about itself.
#[derive(Debug, PartialEq, Eq)]
pub enum ResultType {
    /// The final content; also where nothing is said.
    Complete,
    /// The server needs input first.
    InputRequired,
    /// Some extension's, which the client has no part in.
    Other(String),
}

/// The `resultType` of a response.
pub fn result_type(answer: &Message) -> ResultType {
    let said = jsonrpc::member_at(answer.text(), &["result", "resultType"]);
    let Some(said) = said else {
        return ResultType::Complete;
    };
    let name = jsonrpc::string(said).unwrap_or_else(|| said.to_owned());
    match name.as_str() {
        "complete" => ResultType::Complete,
        "input_required" => ResultType::InputRequired,
        _ => ResultType::Other(name),
    }
}

/// A modern server's answer to this method, for a legacy client.
pub fn for_legacy_client(method: &str, answer: &Message) -> Message {
    if method == "resources/read"
        && errors::code(answer) == Some(errors::INVALID_PARAMS)
        && let Some(error) = answer.member("error")
        && jsonrpc::member_at(error, &["data", "uri"]).is_some()
    {
        let code = errors::RESOURCE_NOT_FOUND.to_string();
        return answer.with_member("error", &jsonrpc::replace_member(error, "code", &code));
    }
    let Some(result) = answer.member("result").filter(|r| r.starts_with('{')) else {
        return answer.clone();
    };
    let mut left = jsonrpc::without_member(result, "resultType");
    if is_cacheable(method) {
        left = jsonrpc::without_member(&left, "ttlMs");
        left = jsonrpc::without_member(&left, "cacheScope");
    }
    if let Some(stripped) = meta::stripped(&left, &[meta::SERVER_INFO]) {
        left = stripped;
    }
    match method {
        "tools/list" => left = without_odd_output_schemas(&left),
        "tools/call"
            if jsonrpc::member(&left, "structuredContent").is_some_and(|c| !c.starts_with('{')) =>
        {
            left = jsonrpc::without_member(&left, "structuredContent");
        }
        _ => {}
    }
    answer.with_member("result", &left)
}

/// Legacy revisions know only output schemas of objects; their clients refuse a whole list for one of another type.
fn without_odd_output_schemas(result: &str) -> String {
    let Some(list) = jsonrpc::member(result, "tools") else {
        return result.to_owned();
    };
    let is_odd = |tool: &&RawValue| {
        jsonrpc::member(tool.get(), "outputSchema").is_some_and(|schema| {
            jsonrpc::member(schema, "type")
                .and_then(jsonrpc::string)
                .as_deref()
                != Some("object")
        })
    };
    match serde_json::from_str::<Vec<&RawValue>>(list) {
        Ok(tools) if tools.iter().any(&is_odd) => {
            let tools: Vec<String> = tools
                .iter()
                .map(|tool| {
                    if is_odd(tool) {
                        jsonrpc::without_member(tool.get(), "outputSchema")
                    } else {
                        tool.get().to_owned()
                    }
                })
                .collect();
            jsonrpc::replace_member(result, "tools", &format!("[{}]", tools.join(",")))
        }
        Ok(_) | Err(_) => result.to_owned(),
    }
}

/// A legacy server's answer to this method, for a modern client.
pub fn for_modern_client(method: &str, answer: &Message, server_info: Option<&str>) -> Message {
    if errors::code(answer) == Some(errors::RESOURCE_NOT_FOUND)
        && let Some(error) = answer.member("error")
    {
        let code = errors::INVALID_PARAMS.to_string();
        return answer.with_member("error", &jsonrpc::replace_member(error, "code", &code));
    }
    if errors::code(answer) == Some(errors::URL_ELICITATION)
        && let Some(error) = answer.member("error")
    {
        let needed = r#"{"elicitation":{"url":{}}}"#;
        return answer.with_member("error", &errors::missing(error, needed));
    }
    let Some(result) = answer.member("result").filter(|r| r.starts_with('{')) else {
        return answer.clone();
    };
    let mut full = result.to_owned();
    let mut add = |name: &str, value: &str| {
        if jsonrpc::member(&full, name).is_none() {
            full = jsonrpc::replace_member(&full, name, value);
        }
    };
    add("resultType", "\"complete\"");
    if is_cacheable(method) {
        add("ttlMs", "0");
        add("cacheScope", "\"private\"");
    }
    if let Some(info) = server_info {
        let said = jsonrpc::member(&full, "_meta").filter(|said| said.starts_with('{'));
        let said = jsonrpc::replace_member(said.unwrap_or("{}"), meta::SERVER_INFO, info);
        full = jsonrpc::replace_member(&full, "_meta", &said);
    }
    answer.with_member("result", &full)
}

/// The result of `server/discover`, from a legacy server's result of `initialize`.
pub fn discover(initialized: &str) -> String {
    let part = |name: &str| jsonrpc::member(initialized, name);
    // Tasks of 2025-11-25 and the extension of the same name have nothing in common.
    let capabilities = jsonrpc::without_member(part("capabilities").unwrap_or("{}"), "tasks");
    let mut text = format!(
        "{{\"resultType\":\"complete\",\"supportedVersions\":[\"{}\"],\"capabilities\":{capabilities}",
        version::MODERN
    );
    if let Some(instructions) = part("instructions") {
        text.push_str(&format!(",\"instructions\":{instructions}"));
    }
    if let Some(info) = part("serverInfo") {
        text.push_str(&format!(",\"_meta\":{{\"{}\":{info}}}", meta::SERVER_INFO));
    }
    text.push_str(",\"ttlMs\":0,\"cacheScope\":\"private\"}");
    text
}

/// The result of `initialize`, from a modern server's result of `server/discover`.
pub fn initialized(discovered: &str, asked: Option<&str>, server: &str) -> String {
    let part = |name: &str| jsonrpc::member(discovered, name);
    let version = version::for_legacy_client(asked);
    let info = jsonrpc::member_at(discovered, &["_meta", meta::SERVER_INFO]).map_or_else(
        || {
            format!(
                "{{\"name\":{},\"version\":\"unknown\"}}",
                jsonrpc::quoted(server)
            )
        },
        str::to_owned,
    );
    let capabilities = part("capabilities").unwrap_or("{}");
    let mut text = format!(
        "{{\"protocolVersion\":\"{version}\",\"capabilities\":{capabilities},\"serverInfo\":{info}"
    );
    if let Some(instructions) = part("instructions") {
        text.push_str(&format!(",\"instructions\":{instructions}"));
    }
    text.push('}');
    text
}

fn is_cacheable(method: &str) -> bool {
    matches!(
        method,
        "server/discover"
            | "tools/list"
            | "prompts/list"
            | "resources/list"
            | "resources/templates/list"
            | "resources/read"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Message {
        Message::parse(text).unwrap()
    }

    #[test]
    fn a_legacy_client_gets_nothing_it_does_not_know() {
        let answer = parse(
            r#"{"id":1,"result":{"resultType":"complete","tools":[{"name":"a","outputSchema":{"type":"array"}},{"name":"b","n":1.0}],"ttlMs":5,"cacheScope":"public","_meta":{"io.modelcontextprotocol/serverInfo":{}}}}"#,
        );
        assert_eq!(
            for_legacy_client("tools/list", &answer).text(),
            r#"{"id":1,"result":{"tools":[{"name":"a"},{"name":"b","n":1.0}]}}"#
        );
        let answer = parse(r#"{"id":1,"result":{"content":[],"structuredContent":[1],"ttlMs":5}}"#);
        assert_eq!(
            for_legacy_client("tools/call", &answer).text(),
            r#"{"id":1,"result":{"content":[],"ttlMs":5}}"#
        );
    }

    #[test]
    fn a_missing_resource_has_the_code_of_the_clients_era() {
        let missing =
            parse(r#"{"id":1,"error":{"code":-32602,"message":"no","data":{"uri":"file:///a"}}}"#);
        let own = missing.text().replace("-32602", "-32002");
        let of = |method| for_legacy_client(method, &missing).text().to_owned();
        assert_eq!(of("resources/read"), own);
        assert_eq!(of("tools/call"), missing.text());
        let other = parse(r#"{"id":1,"error":{"code":-32602,"message":"no"}}"#);
        assert_eq!(
            for_legacy_client("resources/read", &other).text(),
            other.text()
        );
    }

    #[test]
    fn only_an_absent_type_of_a_result_means_that_it_is_complete() {
        let of = |said: &str| result_type(&parse(&format!(r#"{{"id":1,"result":{{{said}}}}}"#)));
        assert_eq!(of(""), ResultType::Complete);
        assert_eq!(of(r#""resultType":"complete""#), ResultType::Complete);
        assert_eq!(
            of(r#""resultType":"input_required""#),
            ResultType::InputRequired
        );
        assert_eq!(
            of(r#""resultType":"task""#),
            ResultType::Other("task".to_owned())
        );
        assert_eq!(
            of(r#""resultType":null"#),
            ResultType::Other("null".to_owned())
        );
    }

    #[test]
    fn a_modern_client_gets_complete_results() {
        let answer = parse(r#"{"id":1,"result":{"tools":[], "n":1.0}}"#);
        assert_eq!(
            for_modern_client("tools/list", &answer, Some("{\"name\":\"s\"}")).text(),
            r#"{"id":1,"result":{"tools":[], "n":1.0,"resultType":"complete","ttlMs":0,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s"}}}}"#
        );
        let missing = parse(r#"{"id":1,"error":{"code":-32002,"message":"no"}}"#);
        assert_eq!(
            for_modern_client("resources/read", &missing, None).text(),
            r#"{"id":1,"error":{"code":-32602,"message":"no"}}"#
        );
        let visit =
            parse(r#"{"id":1,"error":{"code":-32042,"message":"v","data":{"elicitations":[]}}}"#);
        assert_eq!(
            for_modern_client("tools/call", &visit, None).text(),
            r#"{"id":1,"error":{"code":-32021,"message":"v","data":{"requiredCapabilities":{"elicitation":{"url":{}}}}}}"#
        );
    }

    #[test]
    fn each_handshake_is_answered_from_the_other() {
        let legacy = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"tasks":{}},"serverInfo":{"name":"s"},"instructions":"i"}"#;
        let modern = discover(legacy);
        assert_eq!(
            modern,
            r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"instructions":"i","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s"}},"ttlMs":0,"cacheScope":"private"}"#
        );
        assert_eq!(
            initialized(&modern, Some("2025-06-18"), "h"),
            r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"s"},"instructions":"i"}"#
        );
    }
}
