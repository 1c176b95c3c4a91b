//! The requests of the client and of the bridge, from their arrival to their one response.

pub(crate) mod cancellation;
mod lifecycle;
mod response;
pub(crate) mod resumption;
pub(crate) mod table;
