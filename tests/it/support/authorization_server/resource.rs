//! The MCP endpoint: an ordinary server behind a bearer token.

use super::{Request, Rules};
use crate::support::http::Reply;
use crate::support::mcp::{ordinary, result};

pub fn answer(rules: &Rules, granted: Option<String>, request: &Request, reply: &mut Reply<'_>) {
    if rules.guarded {
        let Some(scope) = granted else {
            let challenge = rules.challenge.as_ref();
            let header = challenge.map_or(String::new(), |c| format!("www-authenticate: {c}\r\n"));
            return reply.full(401, &header, "who are you?");
        };
        let has = |wanted: &str| {
            let mut words = wanted.split(' ');
            words.all(|word| scope.split(' ').any(|known| known == word))
        };
        let needs = rules.needs.as_deref().filter(|_| request.rpc() == "ask");
        if let Some(needs) = needs.filter(|needs| rules.never_enough || !has(needs)) {
            let header = format!(
                "www-authenticate: Bearer error=\"insufficient_scope\", scope=\"{needs}\", resource_metadata=\"{}\"\r\n",
                rules.resource_metadata_url()
            );
            return reply.full(403, &header, "more scope, please");
        }
    }
    if request.rpc() == "ask" {
        reply.json(result(&request.id(), r#"{"asked":true}"#));
    } else if request.rpc() == "tools/list" {
        reply.json(result(&request.id(), r#"{"tools":[{"name":"a tool"}]}"#));
    } else if request.rpc() == "server/discover" {
        reply.status(404);
    } else if !ordinary(request, reply) {
        panic!("unscripted: {} {}", request.what(), request.body);
    }
}
