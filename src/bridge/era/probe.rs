//! Refuses the `server/discover` of a modern client at a legacy server.
//!
//! - A client of both eras falls back to `initialize` after an error that no modern server sends, and then speaks legacy.
//! - A client that goes on with modern requests is translated for.
//! - That the refusal was passed on is stored until a client sends `initialize`; while it is stored, `server/discover` is
//!   translated too, so that a client of the modern era alone works from its second start on. A client may probe in a process
//!   of its own: the `initialize` of the next process removes what the probe stored.
//!
//! Spec: MCP 2026-07-28 basic/transports/stdio (Backward Compatibility), server/discover.
//! Not done here: with `--protocol legacy`, `server/discover` is always translated.

use crate::bridge::era::Why;
use crate::bridge::{Action, Bridge};
use crate::jsonrpc::{Message, RequestId, failure};
use crate::mcp::errors;
use crate::mcp::version::{Era, MODERN};

impl Bridge {
    /// Refuses `server/discover` with an error that no modern server sends, so that a client of both eras falls back to
    /// `initialize`. It is stored for a client that does not: its next `server/discover` is translated.
    pub(crate) fn refuse_discover(&mut self, id: &RequestId, why: &Why) {
        let answer = match why {
            Why::Answered(answer) => Some(answer.with_id(id)),
            Why::Refused(refusal) => match &refusal.answer {
                Some(answer) => Some(answer.with_id(id)),
                None => Message::made(refusal.error.to_json_rpc(id)).ok(),
            },
            Why::Silent => None,
        };
        let is_legacy =
            |answer: &Message| errors::code(answer).is_some_and(|code| !errors::is_modern(code));
        match answer.filter(is_legacy) {
            Some(answer) => self.out.push_back(Action::Client(answer)),
            None => {
                let what = format!("{} speaks versions before {MODERN}", self.settings.server);
                let text = failure(id, errors::METHOD_NOT_FOUND, &what);
                self.out.push_back(Action::Respond(text));
            }
        }
        self.eras.remembered = Some(Era::Legacy);
        if self.eras.stored != Some(Era::Legacy) {
            self.store_era(Some(Era::Legacy));
        }
    }

    /// Whether this is the first `server/discover` of a client at a server that is found to be legacy otherwise.
    pub(crate) fn is_probe_of_legacy(&self, message: &Message) -> bool {
        self.adapts_to() == Some(Era::Legacy)
            && message.method() == Some("server/discover")
            && self.eras.remembered != Some(Era::Legacy)
            && self.settings.protocol.finds_out()
    }
}
