//! The protocol revisions and their eras.
//!
//! Spec: MCP 2026-07-28 basic/versioning (Terminology, Protocol Version Negotiation).

/// Which of the two ways of speaking MCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// A session that begins with `initialize`: 2024-11-05 to 2025-11-25.
    Legacy,
    /// Version, identity and capabilities with every request: from 2026-07-28.
    Modern,
}

impl Era {
    /// The name it is remembered under, and `--protocol` takes.
    pub fn name(self) -> &'static str {
        match self {
            Era::Legacy => "legacy",
            Era::Modern => "modern",
        }
    }

    /// The era of this name.
    pub fn from_name(name: &str) -> Option<Era> {
        match name {
            "legacy" => Some(Era::Legacy),
            "modern" => Some(Era::Modern),
            _ => None,
        }
    }
}

/// The modern revision that is spoken here.
pub const MODERN: &str = "2026-07-28";
/// The latest legacy revision.
pub const LATEST_LEGACY: &str = "2025-11-25";
/// All legacy revisions.
pub const LEGACY: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", LATEST_LEGACY];

/// The version a legacy client is given: the one it asked for if it exists, else the latest.
pub fn for_legacy_client(asked: Option<&str>) -> &'static str {
    LEGACY
        .into_iter()
        .find(|version| Some(*version) == asked)
        .unwrap_or(LATEST_LEGACY)
}

/// Whether some version of the list is modern: spoken here, or newer.
pub fn has_modern(versions: &[String]) -> bool {
    versions
        .iter()
        .any(|version| version.as_str() >= MODERN && !LEGACY.contains(&version.as_str()))
}

/// Whether some version of the list is legacy.
pub fn has_legacy(versions: &[String]) -> bool {
    versions
        .iter()
        .any(|version| LEGACY.contains(&version.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_legacy_client_gets_the_version_it_asked_for_if_it_exists() {
        assert_eq!(for_legacy_client(Some("2024-11-05")), "2024-11-05");
        assert_eq!(for_legacy_client(Some("2026-07-28")), LATEST_LEGACY);
        assert_eq!(for_legacy_client(None), LATEST_LEGACY);
    }

    #[test]
    fn versions_are_told_apart_by_their_date() {
        let list = |versions: &[&str]| versions.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>();
        assert!(has_modern(&list(&["2025-11-25", "2026-07-28"])));
        assert!(has_modern(&list(&["2030-01-01"])) && !has_legacy(&list(&["2030-01-01"])));
        assert!(!has_modern(&list(&["2025-11-25"])));
    }
}
