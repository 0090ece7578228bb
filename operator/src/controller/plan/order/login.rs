//! Which names belong to one login: the users of its generations in ClickHouse, and the Secrets that keep them.
//!
//! A plan holds names only. They are read as `names` and `credential` write them; what cannot be read belongs to nobody, so
//! that a strange name can make no plan wrong.

/// Whether a login's consumers go from one user to the other: to a newer generation, or between the generated users of a
/// reader and the one whose password its owner keeps.
pub(super) fn is_replaced_by(old: &str, new: &str) -> bool {
    let is_newer = generation(old)
        .zip(generation(new))
        .is_some_and(|((old, before), (new, after))| old == new && before < after);
    is_newer || is_other_form(old, new) || is_other_form(new, old)
}

/// Whether the first is a generated user of the reader whose password the owner of a Secret keeps for the second.
pub(super) fn is_other_form(generated: &str, kept: &str) -> bool {
    let Some((login, _)) = generation(generated) else { return false };
    around(kept, "_login_").any(|(stack, reader)| login == format!("{stack}_reader_{reader}"))
}

/// Whether a generation that was written ahead into that Secret logs in as that user.
pub(super) fn is_kept_in(user: &str, secret: &str) -> bool {
    let Some((ahead, number)) = secret.rsplit_once("-g") else { return false };
    let is_generated = generation(user)
        .is_some_and(|(login, of)| of.to_string() == number && is_called(login, ahead, "reader"));
    is_generated || is_called(user, ahead, "login")
}

/// Whether a login has this name in ClickHouse and that one in Kubernetes, where readers are called users.
fn is_called(login: &str, ahead: &str, readers: &str) -> bool {
    let plain = ahead.replace(['-', '.'], "_");
    let is = |name: &str| login.ends_with(&format!("__{name}"));
    let mut read = around(&plain, "_user_").map(|(stack, reader)| format!("{stack}_{readers}_{reader}"));
    is(&plain) || read.any(|name| is(&name))
}

/// What stands before and behind a word, wherever it is in a name: stacks and readers may be called like it.
fn around<'a>(name: &'a str, word: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    name.char_indices().filter_map(move |(at, _)| Some((&name[..at], name[at..].strip_prefix(word)?)))
}

/// A user's name without its generation, and the generation.
fn generation(user: &str) -> Option<(&str, i64)> {
    let (login, number) = user.rsplit_once("_g")?;
    Some((login, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::credential::generation_secret;
    use crate::controller::fixture;
    use crate::controller::supply::user_name;
    use crate::names::ClickhouseNames;

    /// Stacks and readers whose names look like parts of other names.
    const NAMES: [&str; 6] = ["store", "a-user-b", "user", "login-g2", "a--reader-b", "g1"];

    #[test]
    fn a_newer_generation_and_the_other_form_of_a_reader_replace_a_user_and_nothing_else_does() {
        for (stack, reader) in NAMES.into_iter().flat_map(|stack| NAMES.map(|reader| (stack, reader))) {
            let names = ClickhouseNames::new("retail", stack, None);
            let (first, second) = (names.reader_user(reader, 1), names.reader_user(reader, 2));
            let kept = names.reader_login(reader);
            assert!(is_replaced_by(&first, &second) && !is_replaced_by(&second, &first), "{first}");
            assert!(!is_replaced_by(&first, &first) && !is_replaced_by(&kept, &kept));
            assert!(is_replaced_by(&first, &kept) && is_replaced_by(&kept, &second), "{kept}");
            assert!(!is_replaced_by(&names.ingest_user(1), &second), "of another login");
            assert!(is_replaced_by(&names.ingest_user(9), &names.ingest_user(10)), "numbers, not text");
            for other in NAMES.into_iter().filter(|other| *other != reader) {
                assert!(!is_replaced_by(&first, &names.reader_user(other, 2)), "{reader} {other}");
                assert!(!is_replaced_by(&first, &names.reader_login(other)), "{reader} {other}");
            }
        }
    }

    #[test]
    fn a_user_is_kept_in_the_secret_of_its_own_generation() {
        let mut checked = fixture::checked();
        for (stack, reader) in NAMES.into_iter().flat_map(|stack| NAMES.map(|reader| (stack, reader))) {
            checked.name = stack.to_owned();
            let names = ClickhouseNames::new("retail", stack, None);
            let ahead = |name: &str, generation| generation_secret(&checked, name, generation);
            let own = ahead(&user_name(reader), 1);
            assert!(is_kept_in(&names.reader_user(reader, 1), &own), "{own}");
            assert!(!is_kept_in(&names.reader_user(reader, 2), &own), "{own}");
            assert!(is_kept_in(&names.reader_login(reader), &own), "its passwords have one user");
            assert!(is_kept_in(&names.ingest_user(1), &ahead("ingest", 1)));
            assert!(!is_kept_in(&names.ingest_user(1), &own), "{own}");
            for other in NAMES.into_iter().filter(|other| *other != reader) {
                assert!(!is_kept_in(&names.reader_user(other, 1), &own), "{own} {other}");
                assert!(!is_kept_in(&names.reader_login(other), &own), "{own} {other}");
            }
        }
    }
}
