//! The image of a stack: what status remembers, or what the registry answers.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use weir_crds::{AnalyticsStack, AnalyticsStackStatus, ConditionType, UpdatePolicy};

use super::dependencies::Dependencies;
use super::is_within;
use crate::controller::Context;
use crate::controller::observed::Fault;
use crate::controller::stack::Image;
use crate::image;

/// Time for which a registry's refusal is believed.
const REFUSAL_LIFETIME: Duration = Duration::from_secs(2);
/// Time for which an answer is kept at all.
const KEPT: Duration = Duration::from_hours(24);

/// Answers of registries, shared by all stacks; keyed by reference and by what was logged in with.
#[derive(Debug, Default)]
pub(crate) struct Images(Mutex<HashMap<[u8; 32], Answer>>);

/// When a registry was asked, and what it said.
type Answer = (Instant, Result<String, image::Error>);

impl Images {
    fn cached(&self, key: &[u8; 32], lifetime: Duration) -> Option<Result<String, image::Error>> {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.retain(|_, (at, _)| at.elapsed() < KEPT);
        let (at, answer) = answers.get(key)?;
        let lifetime = if answer.is_ok() { lifetime } else { REFUSAL_LIFETIME };
        (at.elapsed() < lifetime).then(|| answer.clone())
    }

    fn keep(&self, key: [u8; 32], answer: Result<String, image::Error>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, (Instant::now(), answer));
    }
}

/// The image that status remembers for the spec's reference or for an earlier one.
pub(super) fn remembered(status: &AnalyticsStackStatus) -> Option<Image> {
    let image = status.image.as_ref()?;
    Some(Image {
        requested: image.requested.clone(),
        pinned: image.digest.clone(),
        resolved_at: image.resolved_at.as_ref().map(|at| at.0),
    })
}

/// What goes on being run while a lookup under `Always` fails; nothing when the spec names another reference.
pub(super) fn last(stack: &AnalyticsStack, status: &AnalyticsStackStatus) -> Option<Image> {
    remembered(status).filter(|image| image.requested == stack.spec.ingest.image.reference)
}

/// Resolves the image by the update policy.
pub(super) async fn resolve(
    ctx: &Context,
    stack: &AnalyticsStack,
    status: &AnalyticsStackStatus,
    dependencies: &Dependencies,
    now: Timestamp,
) -> Result<Image, Fault> {
    let spec = &stack.spec.ingest.image;
    if spec.reference.contains("@sha256:") {
        return Ok(Image {
            requested: spec.reference.clone(),
            pinned: spec.reference.clone(),
            resolved_at: None,
        });
    }
    let known = last(stack, status);
    let lifetime = match (&known, spec.update_policy) {
        (None, _) => ctx.settings.image_cache,
        (Some(image), UpdatePolicy::IfNotPresent | UpdatePolicy::Never) => return Ok(image.clone()),
        // The moment of the last lookup is that of the answer, since an unchanged digest leaves status as it is.
        (Some(image), UpdatePolicy::Always) => {
            let interval = interval_seconds(&spec.interval);
            if image.resolved_at.is_some_and(|at| is_within(now, at, interval)) {
                return Ok(image.clone());
            }
            Duration::from_secs(interval.unsigned_abs())
        }
    };
    let pinned = lookup(ctx, &spec.reference, &dependencies.pull, lifetime).await.map_err(|error| Fault {
        stage: ConditionType::ImageResolved,
        object: format!("Image/{}", spec.reference),
        reason: error.reason(),
        hint: error.hint(),
    })?;
    Ok(resolved(known, &spec.reference, pinned, now))
}

/// An answer as status shows it: the moment is that in which the digest was first seen.
fn resolved(known: Option<Image>, reference: &str, pinned: String, now: Timestamp) -> Image {
    let same = known.filter(|image| image.pinned == pinned && image.resolved_at.is_some());
    same.unwrap_or_else(|| Image { requested: reference.into(), pinned, resolved_at: Some(now) })
}

async fn lookup(
    ctx: &Context,
    reference: &str,
    pull: &[Vec<u8>],
    lifetime: Duration,
) -> Result<String, image::Error> {
    let mut hash = Sha256::new_with_prefix(reference);
    for secret in pull {
        hash.update([0]);
        hash.update(secret);
    }
    let key = hash.finalize().into();
    if let Some(answer) = ctx.images.cached(&key, lifetime) {
        return answer;
    }
    let answer = image::resolve(reference, pull, ctx.settings.registry_ca.as_deref()).await;
    let answer = answer.map(|resolved| resolved.to_string());
    ctx.images.keep(key, answer.clone());
    answer
}

/// Seconds of a duration such as `1h30m`, at least a minute.
pub(crate) fn interval_seconds(text: &str) -> i64 {
    text.parse::<SignedDuration>().unwrap_or_default().as_secs().max(60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::fixture;

    #[test]
    fn an_unchanged_digest_keeps_the_moment_in_which_it_was_resolved() {
        let known = fixture::image();
        let now = Timestamp::from_second(7200).unwrap();
        let again = resolved(Some(known.clone()), &known.requested, known.pinned.clone(), now);
        assert_eq!(again, known);
        let moved = resolved(Some(known), "registry.example.com/ingest:1.2.3", "other".into(), now);
        assert_eq!((moved.pinned.as_str(), moved.resolved_at), ("other", Some(now)));
    }

    #[test]
    fn the_registry_is_asked_once_in_each_interval() {
        let (images, key) = (Images::default(), [0; 32]);
        let asked = Instant::now().checked_sub(Duration::from_mins(30)).unwrap();
        images.0.lock().unwrap().insert(key, (asked, Ok("pinned".into())));
        // A stack with a shorter interval does not take the answer from one with a longer.
        let known = [10, 60, 30].map(|minutes| images.cached(&key, Duration::from_mins(minutes)).is_some());
        assert_eq!(known, [false, true, false]);
    }

    #[test]
    fn durations_are_read_in_hours_minutes_and_seconds() {
        let read = ["1h", "15m", "1h30m", "90s", "5s", ""].map(interval_seconds);
        assert_eq!(read, [3600, 900, 5400, 90, 60, 60]);
    }
}
