//! Signing in.

pub mod browser;
pub mod callback;
pub mod callback_page;
