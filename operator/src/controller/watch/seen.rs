//! What one watch has shown, so that an event, or a list that replaces lost events, names what changed. Pure.
//!
//! A list is taken in at its end only: before that the store still holds what the list replaces, and a pass that started
//! earlier would read it. An object that went while the watch was away shows by its absence from the list.

use std::collections::HashMap;

use kube::Resource;
use kube::runtime::watcher::Event;

use super::mark::Mark;

/// What is remembered of an object: its mark, and what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shown<T> {
    mark: String,
    about: T,
}

/// What an event changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change<T> {
    /// An object is new, or not as it was.
    Present(T),
    /// An object is gone.
    Gone(T),
}

impl<T> Change<T> {
    /// What changed, whichever way.
    pub(super) fn into_subject(self) -> T {
        match self {
            Self::Present(about) | Self::Gone(about) => about,
        }
    }
}

/// Objects by UID, as the watch last showed them.
type Objects<T> = HashMap<String, Shown<T>>;

/// The memory of one watch.
#[derive(Debug)]
pub(super) struct Seen<K, T> {
    mark: Mark<K>,
    about: fn(&K) -> T,
    shown: Objects<T>,
    /// The list that is being read, when one is.
    listed: Option<Objects<T>>,
}

impl<K: Resource, T: Clone + PartialEq> Seen<K, T> {
    /// A watch that has shown nothing. `about` says what of an object is told on.
    pub(super) fn new(mark: Mark<K>, about: fn(&K) -> T) -> Self {
        Self { mark, about, shown: HashMap::new(), listed: None }
    }

    /// Takes an event in and tells what it changed.
    pub(super) fn take(&mut self, event: Event<K>) -> Vec<Change<T>> {
        match event {
            Event::Init => self.listed = Some(HashMap::new()),
            Event::InitApply(object) => {
                let (uid, shown) = self.read(&object);
                self.listed.get_or_insert_default().insert(uid, shown);
            }
            Event::InitDone => return self.replace(),
            Event::Apply(object) => {
                let (uid, shown) = self.read(&object);
                let before = self.shown.insert(uid, shown.clone());
                return differences(before, shown);
            }
            Event::Delete(object) => {
                let (uid, shown) = self.read(&object);
                self.shown.remove(&uid);
                return vec![Change::Gone(shown.about)];
            }
        }
        Vec::new()
    }

    fn read(&self, object: &K) -> (String, Shown<T>) {
        let uid = object.meta().uid.clone().unwrap_or_default();
        (uid, Shown { mark: (self.mark)(object), about: (self.about)(object) })
    }

    /// Puts the list in the place of what was shown before.
    fn replace(&mut self) -> Vec<Change<T>> {
        let listed = self.listed.take().unwrap_or_default();
        let mut before = std::mem::replace(&mut self.shown, listed);
        let mut told = Vec::new();
        for (uid, shown) in &self.shown {
            told.extend(differences(before.remove(uid), shown.clone()));
        }
        // What is gone comes first: another object may have its name by now.
        before.into_values().map(|gone| Change::Gone(gone.about)).chain(told).collect()
    }
}

/// What to tell of an object that was one thing and is another: an owner that lost it hears of it too.
fn differences<T: PartialEq>(before: Option<Shown<T>>, now: Shown<T>) -> Vec<Change<T>> {
    match before {
        Some(before) if before == now => Vec::new(),
        Some(before) if before.about != now.about => {
            vec![Change::Gone(before.about), Change::Present(now.about)]
        }
        Some(_) | None => vec![Change::Present(now.about)],
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Secret;
    use kube::ResourceExt as _;

    use super::*;

    fn secret(name: &str, version: &str) -> Secret {
        let mut secret = Secret::default();
        secret.metadata.name = Some(name.into());
        secret.metadata.uid = Some(format!("uid of {name}"));
        secret.metadata.resource_version = Some(version.into());
        secret
    }

    fn seen() -> Seen<Secret, String> {
        Seen::new(|secret| secret.resource_version().unwrap_or_default(), Secret::name_any)
    }

    /// Shows a whole list and returns what its end told, in order.
    fn list(seen: &mut Seen<Secret, String>, secrets: &[Secret]) -> Vec<Change<String>> {
        assert_eq!(seen.take(Event::Init), []);
        for secret in secrets {
            assert_eq!(seen.take(Event::InitApply(secret.clone())), [], "the store is not there yet");
        }
        let mut told = seen.take(Event::InitDone);
        told.sort_by_key(|change| format!("{change:?}"));
        told
    }

    fn present(name: &str) -> Change<String> {
        Change::Present(name.into())
    }

    fn gone(name: &str) -> Change<String> {
        Change::Gone(name.into())
    }

    #[test]
    fn a_list_is_told_at_its_end_and_again_only_where_it_differs() {
        let mut seen = seen();
        assert_eq!(list(&mut seen, &[secret("a", "1"), secret("b", "1")]), [present("a"), present("b")]);
        assert_eq!(list(&mut seen, &[secret("a", "1"), secret("b", "2")]), [present("b")]);
    }

    #[test]
    fn an_object_that_went_while_the_watch_was_away_is_told_as_gone() {
        let mut seen = seen();
        list(&mut seen, &[secret("a", "1"), secret("b", "1")]);
        assert_eq!(list(&mut seen, &[secret("b", "1")]), [gone("a")]);
        assert_eq!(list(&mut seen, &[secret("b", "1")]), [], "once");
    }

    #[test]
    fn a_list_that_breaks_off_and_starts_again_loses_nothing() {
        let mut seen = seen();
        list(&mut seen, &[secret("a", "1"), secret("b", "1")]);
        seen.take(Event::Init);
        seen.take(Event::InitApply(secret("a", "2")));
        assert_eq!(list(&mut seen, &[secret("a", "2")]), [gone("b"), present("a")]);
    }

    #[test]
    fn an_unchanged_object_is_told_once_and_a_deleted_one_always() {
        let mut seen = seen();
        assert_eq!(seen.take(Event::Apply(secret("a", "1"))), [present("a")]);
        assert_eq!(seen.take(Event::Apply(secret("a", "1"))), []);
        assert_eq!(seen.take(Event::Delete(secret("a", "1"))), [gone("a")]);
        assert_eq!(seen.take(Event::Apply(secret("a", "1"))), [present("a")]);
    }

    #[test]
    fn whoever_loses_an_object_hears_of_it_too() {
        let mut seen = Seen::new(
            |secret: &Secret| secret.resource_version().unwrap_or_default(),
            |secret: &Secret| secret.labels().get("owner").cloned(),
        );
        let mut owned = secret("a", "1");
        owned.labels_mut().insert("owner".into(), "store".into());
        seen.take(Event::Apply(owned));
        let told = seen.take(Event::Apply(secret("a", "2")));
        assert_eq!(told, [Change::Gone(Some("store".to_owned())), Change::Present(None)]);
    }
}
