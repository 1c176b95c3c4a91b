//! The envelope of a message: the members that routing needs, read in one pass without a value tree.
//!
//! Spec: JSON-RPC 2.0 sections 4 and 5.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Kind, Malformed, RequestId};

/// The members of a message that routing needs. The last one of a name counts, as in JavaScript.
#[derive(Default)]
pub(super) struct Envelope<'a> {
    id: Option<&'a RawValue>,
    method: Option<&'a RawValue>,
    result: bool,
    error: bool,
    /// Whether `jsonrpc` is `"2.0"`.
    pub(super) has_version: bool,
}

impl Envelope<'_> {
    /// What the message is for.
    pub(super) fn kind(self) -> Result<Kind, Malformed> {
        let id = self.id.map(RequestId::from_raw);
        if let Some(id) = &id
            && !id.is_allowed()
        {
            return Err(Malformed::invalid(
                None,
                "an id must be a string, a number or null",
            ));
        }
        let Some(method) = self.method else {
            let (true, Some(id)) = (self.result || self.error, id.clone()) else {
                return Err(Malformed::invalid(
                    id,
                    "a message needs a method, or an id with a result or an error",
                ));
            };
            return Ok(Kind::Response {
                id,
                failed: self.error,
            });
        };
        let Ok(method) = serde_json::from_str::<String>(method.get()) else {
            return Err(Malformed::invalid(id, "a method must be a string"));
        };
        Ok(match id {
            Some(id) => Kind::Request { id, method },
            None => Kind::Notification { method },
        })
    }
}

impl<'de> Deserialize<'de> for Envelope<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EnvelopeVisitor;
        impl<'de> Visitor<'de> for EnvelopeVisitor {
            type Value = Envelope<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON-RPC message")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope<'de>, A::Error> {
                let mut envelope = Envelope::default();
                while let Some(name) = map.next_key::<Name>()? {
                    let value: &'de RawValue = map.next_value()?;
                    match name {
                        Name::Id => envelope.id = Some(value),
                        Name::Method => envelope.method = Some(value),
                        Name::Result => envelope.result = true,
                        Name::Version => envelope.has_version = value.get() == "\"2.0\"",
                        Name::Error => envelope.error = value.get() != "null",
                        Name::Other => {}
                    }
                }
                Ok(envelope)
            }
        }
        deserializer.deserialize_map(EnvelopeVisitor)
    }
}

/// A member's name, without an allocation for it.
enum Name {
    Id,
    Method,
    Result,
    Error,
    Version,
    Other,
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = Name;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member name")
            }
            fn visit_str<E>(self, name: &str) -> Result<Name, E> {
                Ok(match name {
                    "id" => Name::Id,
                    "method" => Name::Method,
                    "result" => Name::Result,
                    "error" => Name::Error,
                    "jsonrpc" => Name::Version,
                    _ => Name::Other,
                })
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}
