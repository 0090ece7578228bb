//! Ids that broken clients send for everybody. A link to one of them would join all their users into one person. Pure.

/// In any letter case, in quotes or not: PostHog's list, and what the seed's SDK refuses.
const NOBODY: [&str; 20] = [
    "",
    "0",
    "-1",
    "anonymous",
    "distinct_id",
    "distinctid",
    "email",
    "false",
    "guest",
    "id",
    "nan",
    "nil",
    "none",
    "not_authenticated",
    "null",
    "true",
    "undefined",
    "[object object]",
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
];

/// Whether an id stands for nobody in particular.
pub(super) fn is_nobody(distinct_id: &str) -> bool {
    let bare = unquoted(distinct_id.trim());
    NOBODY.iter().any(|nobody| bare.eq_ignore_ascii_case(nobody))
}

fn unquoted(text: &str) -> &str {
    let within = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    within('"').or_else(|| within('\'')).unwrap_or(text).trim()
}
