//! Clients registered by hand, at the server's authorization server and at the company's identity provider: JSON, as text or in a
//! file, with variables.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::super::args::Typed;
use super::headers::{Environment, expand};
use super::{plain, usage};
use crate::config::OAuth;
use crate::error::{Error, Kind, Result};
use crate::log::clean;
use crate::secret::Secret;

/// The client in this flag.
///
/// # Errors
/// If it is not a JSON object.
pub(super) fn client_info(
    typed: &Typed,
    name: &str,
    environment: Environment<'_>,
    warnings: &mut Vec<String>,
    notes: &mut Vec<String>,
) -> Result<Option<Secret>> {
    let Some(value) = typed.value(name) else {
        return Ok(None);
    };
    let mut info = json_object(name, value)?;
    expand_strings(&mut info, environment, warnings, notes);
    Ok(Some(Secret::new(info.to_string())))
}

/// Reads the flags about the identity provider.
///
/// # Errors
/// If one of them is missing.
pub(super) fn enterprise(
    typed: &Typed,
    environment: Environment<'_>,
    oauth: &mut OAuth,
    warnings: &mut Vec<String>,
    notes: &mut Vec<String>,
) -> Result<()> {
    let (idp, info, token) = (
        "--enterprise-idp",
        "--enterprise-client-info",
        "--enterprise-id-token",
    );
    oauth.enterprise_idp = typed.value(idp).map(|issuer| issuer.trim().to_owned());
    oauth.enterprise_client_info = client_info(typed, info, environment, warnings, notes)?;
    oauth.enterprise_id_token = typed.value(token).map(PathBuf::from);
    match (&oauth.enterprise_idp, &oauth.enterprise_client_info) {
        (Some(_), None) => Err(usage(format!(
            "{idp} needs {info} '{{\"client_id\":\"…\"}}', our client at the provider"
        ))),
        (None, Some(_)) => Err(usage(format!("{info} needs {idp}"))),
        (None, None) if oauth.enterprise_id_token.is_some() => {
            Err(usage(format!("{token} needs {idp}")))
        }
        (Some(_), Some(_)) | (None, None) => Ok(()),
    }
}

/// A JSON object, given as text or as `@file`. Errors do not repeat its text, which may hold a secret.
pub(super) fn json_object(name: &str, value: &str) -> Result<Value> {
    let text = match value.strip_prefix('@') {
        Some(path) => std::borrow::Cow::Owned(fs::read_to_string(path).map_err(|e| {
            Error::new(
                Kind::Config,
                format!(
                    "cannot read \"{}\" ({name}): {}",
                    clean(path, 200),
                    plain(&e)
                ),
            )
        })?),
        None => value.into(),
    };
    match serde_json::from_str::<Value>(&text) {
        Ok(object) if object.is_object() => Ok(object),
        Ok(_) => Err(usage(format!("{name} must be a JSON object"))),
        Err(e) => Err(usage(format!(
            "{name} is not valid JSON (line {}, column {})",
            e.line(),
            e.column()
        ))),
    }
}

/// Replaces variables after parsing, so that a quote in a secret cannot break the JSON.
fn expand_strings(
    value: &mut Value,
    environment: Environment<'_>,
    warnings: &mut Vec<String>,
    notes: &mut Vec<String>,
) {
    match value {
        Value::String(text) => *text = expand(text, environment, warnings, notes),
        Value::Array(items) => {
            for item in items {
                expand_strings(item, environment, warnings, notes);
            }
        }
        Value::Object(members) => {
            for member in members.values_mut() {
                expand_strings(member, environment, warnings, notes);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
