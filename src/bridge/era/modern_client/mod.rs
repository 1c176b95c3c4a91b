//! A modern client at a legacy server.

pub(crate) mod input_required;
pub(crate) mod subscriptions;
pub(crate) mod translate;
