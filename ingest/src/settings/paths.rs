//! Settings of what is served where.

use super::reader;
use super::reader::Reader;
use crate::args::SettingsArgs;
use crate::args::env;

/// What is served where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathSettings {
    /// Whether the paths of PostHog's SDKs are served.
    pub posthog: bool,
    /// Path, without a slash at its end, under which everything is served besides the root.
    pub prefix: Option<String>,
}

/// First parts of the paths that are served: a prefix that begins like one of them would hide it.
const TAKEN: [&str; 12] =
    ["api", "array", "batch", "capture", "decide", "e", "engage", "flags", "health", "i", "s", "track"];

pub(super) fn paths(reader: &mut Reader, args: &SettingsArgs) -> PathSettings {
    PathSettings {
        posthog: flag(reader, args.posthog_paths.as_ref()),
        prefix: prefix(reader, args.path_prefix.as_ref()),
    }
}

fn flag(reader: &mut Reader, text: Option<&String>) -> bool {
    match reader::given(text) {
        None | Some("true") => true,
        Some("false") => false,
        Some(other) => {
            reader.problem(format!("{} must be true or false, not {other:?}", env::WEIR_POSTHOG_PATHS));
            true
        }
    }
}

fn prefix(reader: &mut Reader, text: Option<&String>) -> Option<String> {
    let text = reader::given(text)?;
    let path = text.strip_suffix('/').unwrap_or(text);
    let Some(parts) = path.strip_prefix('/') else {
        if !path.is_empty() {
            reader.problem(format!("{} must begin with a slash, not be {text:?}", env::WEIR_PATH_PREFIX));
        }
        return None;
    };
    let is_plain = |part: &str| {
        !part.is_empty()
            && part.chars().all(|each| each.is_ascii_alphanumeric() || matches!(each, '-' | '_' | '.' | '~'))
    };
    if !parts.split('/').all(is_plain) {
        reader
            .problem(format!("{} must be a plain path such as /ingest, not {text:?}", env::WEIR_PATH_PREFIX));
    }
    if parts.split('/').next().is_some_and(|first| TAKEN.contains(&first)) {
        reader.problem(format!(
            "{} must not begin like a path that is served, as {text:?} does",
            env::WEIR_PATH_PREFIX
        ));
    }
    Some(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn read(posthog: Option<&str>, prefix: Option<&str>) -> Result<PathSettings, usize> {
        let mut reader = Reader::default();
        let args = SettingsArgs {
            posthog_paths: posthog.map(str::to_owned),
            path_prefix: prefix.map(str::to_owned),
            ..SettingsArgs::default()
        };
        let settings = paths(&mut reader, &args);
        reader.finish(settings).map_err(|invalid| invalid.0.len())
    }

    #[rstest]
    #[case(None, None)]
    #[case(Some(""), None)]
    #[case(Some("/"), None)]
    #[case(Some("/ingest/"), Some("/ingest"))]
    #[case(Some("/a/b-c"), Some("/a/b-c"))]
    fn a_prefix_is_taken_without_its_last_slash(#[case] text: Option<&str>, #[case] expected: Option<&str>) {
        assert_eq!(read(None, text).unwrap().prefix.as_deref(), expected);
    }

    #[rstest]
    #[case("ingest")]
    #[case("/{a}")]
    #[case("/a//b")]
    #[case("/e")]
    #[case("/i/v0")]
    fn a_prefix_that_is_no_path_of_its_own_is_a_problem(#[case] text: &str) {
        assert_eq!(read(None, Some(text)), Err(1));
    }

    #[test]
    fn posthogs_paths_are_on_unless_switched_off() {
        assert!(read(None, None).unwrap().posthog && !read(Some("false"), None).unwrap().posthog);
        assert_eq!(read(Some("no"), None), Err(1));
    }
}
