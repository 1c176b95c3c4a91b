//! Reads a JSON-RPC batch, in bounded memory.
//!
//! Spec: JSON-RPC 2.0 section 6; MCP 2025-03-26 basic/index (batching).

use std::fmt;

use serde::Deserializer as _;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Malformed, Message};

/// How many messages of one batch are read. Each takes more memory than its text, so their number has a bound too.
pub(super) const MAX_BATCH_PARTS: usize = 10_000;
/// How many invalid parts of one batch are reported.
pub(super) const MAX_INVALID_PARTS: usize = 10;

/// Reads the parts of a batch one after the other: a list of all would take more memory than the text.
pub(super) fn read_batch(text: &str) -> Result<Vec<Result<Message, Malformed>>, Malformed> {
    let mut parts = serde_json::Deserializer::from_str(text);
    let parts = parts
        .deserialize_seq(BatchVisitor)
        .and_then(|read| parts.end().map(|()| read))
        .map_err(|e| Malformed::not_json(&e))?;
    if parts.is_empty() {
        return Err(Malformed::invalid(None, "an empty batch"));
    }
    Ok(parts)
}

struct BatchVisitor;

impl<'de> Visitor<'de> for BatchVisitor {
    type Value = Vec<Result<Message, Malformed>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a batch")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let (mut parts, mut invalid) = (Vec::new(), 0);
        while parts.len() < MAX_BATCH_PARTS && invalid < MAX_INVALID_PARTS {
            let Some(part) = seq.next_element::<&RawValue>()? else {
                return Ok(parts);
            };
            let part = Message::parse(part.get());
            invalid += usize::from(part.is_err());
            parts.push(part);
        }
        let mut skipped = 0;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            skipped += 1;
        }
        if skipped > 0 {
            let read = parts.len();
            let reason =
                format!("{skipped} messages of a batch were skipped after the first {read}");
            parts.push(Err(Malformed::invalid(None, &reason)));
        }
        Ok(parts)
    }
}
