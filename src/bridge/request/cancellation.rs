//! `notifications/cancelled`: overtakes other messages, and ends a request that was not sent yet.
//!
//! The client expects no response to a request it cancelled, so the bridge makes none. A response of the server is passed on if it
//! comes within [`CANCELLED_TIMEOUT`]: a server need not respond, and may leave the stream open for ever.
//!
//! Spec: MCP 2025-11-25 basic/utilities/cancellation, basic/transports (Sending Messages to the Server).

use std::sync::Arc;
use std::time::Duration;

use crate::bridge::Bridge;
use crate::bridge::request::table::RequestState;
use crate::jsonrpc::{self, Message, RequestId};

/// The stream of a cancelled request is closed after this.
const CANCELLED_TIMEOUT: Duration = Duration::from_secs(10);

/// The id of the request that a `notifications/cancelled` is about.
pub fn cancelled(message: &Message) -> Option<RequestId> {
    if message.method() != Some("notifications/cancelled") {
        return None;
    }
    let params = message.member("params")?;
    RequestId::from_text(jsonrpc::member(params, "requestId")?)
}

impl Bridge {
    pub(crate) fn cancel(&mut self, message: Message) {
        let id = cancelled(&message);
        if self.speaks_modern() {
            id.iter().for_each(|id| self.cancel_modern(id));
            return;
        }
        let Some(id) = id else {
            self.deliver(Arc::new(message), false);
            return;
        };
        let Some(open) = self.requests.find(&id) else {
            // Its response may have crossed the cancellation; the server ignores what it does not know.
            self.deliver(Arc::new(message), false);
            return;
        };
        open.cancelled = true;
        match open.state {
            RequestState::Deferred
            | RequestState::Paused(_)
            | RequestState::AwaitsSignIn { resumes: false } => {
                self.requests.remove(&id);
                self.session_response_failed(&id);
            }
            RequestState::Running(_)
            | RequestState::Accepted
            | RequestState::AwaitsGetStream(_)
            | RequestState::Resuming(_)
            | RequestState::AwaitsSignIn { resumes: true } => {
                open.limit(self.now + CANCELLED_TIMEOUT);
                self.deliver(Arc::new(message), false);
            }
        }
    }

    /// The same for a request whose id at the server only the adapter knows.
    pub(crate) fn cancel_adapted(&mut self, id: &RequestId) {
        let params = format!("{{\"requestId\":{id}}}");
        let text = jsonrpc::notification("notifications/cancelled", &params);
        if let Ok(message) = Message::made(text) {
            self.cancel(message);
        }
    }

    /// Tells the server that nobody waits for this response any more.
    pub(crate) fn tell_cancelled(&mut self, id: &RequestId, reason: &str) {
        let reason = jsonrpc::quoted(reason);
        let params = format!("{{\"requestId\":{id},\"reason\":{reason}}}");
        let text = jsonrpc::notification("notifications/cancelled", &params);
        match Message::made(text) {
            Ok(message) => self.deliver(Arc::new(message), false),
            Err(error) => self.warn(error.to_string()),
        }
    }
}
