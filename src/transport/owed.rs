//! What the client is owed: the ids it has asked under and has no answer to. Kept beside the bridge, for the case that the
//! bridge itself panics: then each of them is answered with an error, and the process ends.
//!
//! Spec: JSON-RPC 2.0 section 5 (every request is answered, with its own id).

use std::collections::BTreeSet;

use crate::bridge::{Action, Event, cancelled};
use crate::error::{Error, Kind};
use crate::jsonrpc::{self, Message, Parsed, RequestId};

/// The ids without an answer.
#[derive(Debug, Default)]
pub(super) struct Owed(BTreeSet<RequestId>);

impl Owed {
    /// Something came, perhaps from the client.
    pub(super) fn came(&mut self, input: &Event) {
        match input {
            Event::Client(Ok(Parsed::One(message))) => self.asked(message),
            Event::Client(Ok(Parsed::Batch(parts))) => parts
                .iter()
                .flatten()
                .for_each(|message| self.asked(message)),
            _ => {}
        }
    }

    fn asked(&mut self, message: &Message) {
        if let jsonrpc::Kind::Request { id, .. } = message.kind() {
            self.0.insert(id.clone());
        } else if let Some(id) = cancelled(message) {
            // The client wants no answer, and may never get one.
            self.0.remove(&id);
        }
    }

    /// Something goes, perhaps to the client.
    pub(super) fn goes(&mut self, output: &Action) {
        match output {
            Action::Client(message) => self.answered(message),
            // Made here, and rare.
            Action::Respond(text) => {
                if let Ok(message) = Message::parse(text) {
                    self.answered(&message);
                }
            }
            _ => {}
        }
    }

    fn answered(&mut self, message: &Message) {
        if let jsonrpc::Kind::Response { id, .. } = message.kind() {
            self.0.remove(id);
        }
    }

    /// An error for each.
    pub(super) fn errors(&self) -> Vec<String> {
        let error = Error::new(Kind::Bug, "mcp-remote panicked; please report this");
        self.0.iter().map(|id| error.to_json_rpc(id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_cancelled_is_not_owed_and_takes_no_memory() {
        let mut owed = Owed::default();
        for text in [
            r#"{"id":1,"method":"a"}"#,
            r#"{"id":"1","method":"a"}"#,
            r#"{"method":"notifications/cancelled","params":{"requestId":1}}"#,
        ] {
            owed.came(&Event::Client(Message::read(text.to_owned())));
        }
        let errors = owed.errors();
        assert!(
            errors.len() == 1 && errors[0].contains(r#""id":"1""#),
            "{errors:?}"
        );
    }
}
