//! `WWW-Authenticate` to [`Challenge`].
//!
//! - Several schemes in one or in several fields, commas inside quotes, any case, unknown parameters.
//! - What cannot be read is ignored: a 401 without a challenge still starts a sign-in.
//!
//! Spec: RFC 9110 11.6.1, RFC 6750 3, RFC 9449 7.1, RFC 9728 5.1; MCP 2026-07-28 basic/authorization (Scope Challenge Handling).

use url::Url;

use super::dpop;

/// The `Bearer` or `DPoP` challenge of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Challenge {
    /// The URL of its resource metadata.
    pub resource_metadata: Option<Url>,
    /// The required scope.
    pub scope: Option<String>,
    /// RFC 6750 3.1: `invalid_token`, `insufficient_scope`, …
    pub error: Option<String>,
    /// Whether the server takes tokens bound by DPoP, with ES256.
    pub is_dpop: bool,
    /// Whether it requires a nonce in the proof.
    pub needs_nonce: bool,
}

impl Challenge {
    /// The `Bearer` or `DPoP` challenge of these field values; an empty one if there is none.
    pub fn of<'a>(fields: impl Iterator<Item = &'a str>) -> Challenge {
        let all: Vec<Parsed> = fields.flat_map(challenges).collect();
        let of_scheme = |wanted: &str| -> Vec<Challenge> {
            all.iter()
                .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(wanted))
                .map(|(_, parameters)| Challenge::from_parameters(parameters))
                .collect()
        };
        let mut chosen = told(of_scheme("bearer"));
        let dpops = of_scheme("dpop");
        if dpops.is_empty() {
            chosen.is_dpop = false;
            chosen.needs_nonce = false;
            return chosen;
        }
        let is_dpop = dpops.iter().any(|dpop| dpop.is_dpop);
        let needs_nonce = dpops.iter().any(|dpop| dpop.needs_nonce);
        // Where both are there, the token is a bound one: what is said about it comes first.
        let dpop = told(dpops);
        Challenge {
            resource_metadata: dpop.resource_metadata.or(chosen.resource_metadata),
            scope: dpop.scope.or(chosen.scope),
            error: dpop.error.or(chosen.error),
            is_dpop,
            needs_nonce,
        }
    }

    fn from_parameters(parameters: &[(String, String)]) -> Challenge {
        let mut challenge = Challenge {
            is_dpop: true,
            ..Challenge::default()
        };
        for (name, value) in parameters {
            match name.to_ascii_lowercase().as_str() {
                "resource_metadata" => challenge.resource_metadata = Url::parse(value).ok(),
                "scope" if !value.trim().is_empty() => {
                    challenge.scope = Some(value.clone());
                }
                "error" => challenge.error = Some(value.clone()),
                "algs" => challenge.is_dpop = value.split_whitespace().any(|alg| alg == "ES256"),
                _ => {}
            }
        }
        challenge.needs_nonce = challenge.error.as_deref() == Some(dpop::NEEDS_NONCE);
        challenge
    }

    /// Whether the token is valid but lacks scope (RFC 6750 3.1).
    pub fn is_insufficient_scope(&self) -> bool {
        self.error.as_deref() == Some("insufficient_scope")
    }
}

/// The challenge that says where the metadata is, else the first; an empty one if there is none.
fn told(mut all: Vec<Challenge>) -> Challenge {
    let has_metadata = |challenge: &Challenge| challenge.resource_metadata.is_some();
    let told = all.iter().position(has_metadata).unwrap_or(0);
    if told < all.len() {
        all.swap_remove(told)
    } else {
        Challenge::default()
    }
}

/// A scheme and its parameters.
type Parsed = (String, Vec<(String, String)>);

fn challenges(field: &str) -> Vec<Parsed> {
    let mut found: Vec<Parsed> = Vec::new();
    let mut rest = field;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (word, after) = split_token(rest);
        if word.is_empty() {
            // Not a token: the rest cannot be read either.
            return found;
        }
        let value = after.trim_start_matches([' ', '\t']);
        let parameter = value
            .strip_prefix('=')
            .and_then(|value| split_value(value.trim_start_matches([' ', '\t'])));
        rest = match (parameter, found.last_mut()) {
            (Some((value, after)), Some((_, parameters))) => {
                parameters.push((word.to_owned(), value));
                after
            }
            (Some((_, after)), None) => after,
            (None, _) => {
                found.push((word.to_owned(), Vec::new()));
                skip_token68(after)
            }
        };
    }
}

fn split_token(text: &str) -> (&str, &str) {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let end = text.find(|c| !is_token(c)).unwrap_or(text.len());
    text.split_at(end)
}

/// A token or a quoted string, and what comes after; `None` if there is neither.
fn split_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        // URLs often come without quotes: everything up to a comma or a space is taken.
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        let (value, after) = text.split_at(end);
        let is_padding = value.chars().all(|c| c == '=');
        return (!is_padding).then(|| (value.to_owned(), after));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, quoted.get(at + 1..).unwrap_or_default())),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    // The closing quote is missing: the rest is the value.
    Some((value, ""))
}

/// `Negotiate YII…==`: one word that is not a parameter.
fn skip_token68(text: &str) -> &str {
    let trimmed = text.trim_start_matches([' ', '\t']);
    let is_68 = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
    let end = trimmed.find(|c| !is_68(c)).unwrap_or(trimmed.len());
    let after = trimmed.get(end..).unwrap_or_default();
    let padded = after.trim_start_matches('=');
    let ends = padded.is_empty() || padded.trim_start_matches([' ', '\t']).starts_with(',');
    if end > 0 && ends { padded } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &[&str]) -> Challenge {
        Challenge::of(fields.iter().copied())
    }

    #[test]
    fn the_parameters_of_a_bearer_challenge_are_read_in_any_case_and_spacing() {
        let challenge = of(&[
            r#"bearer Realm="a, b=c" , RESOURCE_METADATA = "https://a.test/x?y=1", scope="read write",error=insufficient_scope, x"#,
        ]);
        assert_eq!(
            challenge.resource_metadata.unwrap().as_str(),
            "https://a.test/x?y=1"
        );
        assert_eq!(challenge.scope.as_deref(), Some("read write"));
        assert_eq!(challenge.error.as_deref(), Some("insufficient_scope"));
    }

    #[test]
    fn the_bearer_challenge_is_found_among_others() {
        for fields in [
            &[r#"Negotiate, Basic realm="x", Bearer scope="s""#][..],
            &[
                "Negotiate YII+/abc==",
                r#"Digest qop="auth, auth-int", nonce=a"#,
                r#"Bearer scope="s""#,
            ],
            &[r#"Negotiate abc==, Bearer scope="s""#],
            &[r#"Basic realm="say \"Bearer scope=x\"", Bearer scope=s"#],
            &[r#"Bearer realm="r", Bearer scope="s", resource_metadata="https://a.test/""#],
        ] {
            assert_eq!(of(fields).scope.as_deref(), Some("s"), "{fields:?}");
        }
    }

    #[test]
    fn a_dpop_challenge_is_read_beside_a_bearer_challenge() {
        let both = of(&[
            r#"Bearer resource_metadata="https://a.test/", scope="s", error="invalid_token""#,
            r#"DPoP algs="ES256 PS256", error="use_dpop_nonce""#,
        ]);
        assert!(both.is_dpop && both.needs_nonce);
        assert_eq!(both.scope.as_deref(), Some("s"));
        assert_eq!(both.error.as_deref(), Some("use_dpop_nonce"));
        let alone = of(&[r#"dpop resource_metadata="https://a.test/m""#]);
        assert!(alone.is_dpop && !alone.needs_nonce);
        assert_eq!(
            alone.resource_metadata.unwrap().as_str(),
            "https://a.test/m"
        );
        // Without an algorithm of ours it is no reason for DPoP.
        assert!(!of(&[r#"DPoP algs="EdDSA""#]).is_dpop);
        assert!(!of(&[r#"Bearer error="use_dpop_nonce", algs="ES256""#]).is_dpop);
    }

    #[test]
    fn what_cannot_be_read_is_left_out_and_never_panics() {
        assert_eq!(of(&[]), Challenge::default());
        assert_eq!(of(&["Basic realm=x"]), Challenge::default());
        let field =
            r#"Bearer scope="a\"b", resource_metadata=https://a.test/x, ü="1", , =, "x" Basic"#;
        for end in 0..=field.len() {
            if let Some(part) = field.get(..end) {
                of(&[part]);
            }
        }
        assert_eq!(
            of(&[r#"Bearer resource_metadata="no url", scope="unfinished"#]).scope,
            Some("unfinished".to_owned())
        );
    }

    #[test]
    fn a_url_without_quotes_is_read() {
        let challenge = of(&["Bearer resource_metadata=https://a.test/p?q=1, scope=x"]);
        assert_eq!(
            challenge.resource_metadata.unwrap().as_str(),
            "https://a.test/p?q=1"
        );
    }
}
