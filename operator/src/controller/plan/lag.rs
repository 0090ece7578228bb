//! Endpoints that do not hold the access of the stack yet: which ones, and when they are asked again.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use weir_crds::{ConditionType, Reason};

use super::{Hold, Steps, View, is_established};
use crate::controller::status::short;

/// Shortest and longest time after which an endpoint that lags behind is asked again.
const AGAIN: (SignedDuration, SignedDuration) = (SignedDuration::from_secs(2), SignedDuration::from_secs(30));

/// Whether an endpoint lacks some of the access, or could not be read.
pub(super) fn is_lagging(view: &View<'_>) -> bool {
    view.observed
        .catalogue
        .as_ref()
        .is_ok_and(|catalogue| !catalogue.lagging(&view.desired.access).is_empty())
}

/// Waits for every endpoint that lags behind the first.
pub(super) fn waits(view: &View<'_>, steps: &mut Steps) {
    let Ok(catalogue) = &view.observed.catalogue else { return };
    for (endpoint, error) in catalogue.lagging(&view.desired.access) {
        let object = format!("ClickHouse/{endpoint}");
        let reason = error.as_ref().map_or(Reason::Waiting, crate::clickhouse::Error::reason);
        let hint = error.map_or_else(
            || "this endpoint does not show all users, roles, grants, row policies and quotas yet; access entities must be replicated".into(),
            |error| error.hint(),
        );
        let until = again(view, &object);
        steps.hold(Hold {
            stage: ConditionType::AccessReady,
            object,
            reason,
            hint,
            // What was proven on every endpoint before is kept while one is away.
            blocks: !is_established(view),
            until,
        });
    }
}

/// After as long as it has lasted: a replica that is behind by a moment is seen at once, one that is away is not asked
/// all the time.
pub(super) fn again(view: &View<'_>, object: &str) -> Option<Timestamp> {
    let now = view.observed.now;
    let object = short(object);
    let known = view.observed.status.blocked_by.iter().find(|wait| wait.object == object);
    let lasts = known.map_or(SignedDuration::ZERO, |wait| now.duration_since(wait.since.0));
    now.checked_add(lasts.clamp(AGAIN.0, AGAIN.1)).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use weir_crds::BlockedBy;

    use super::*;
    use crate::access::Catalogue;
    use crate::controller::plan::Step;
    use crate::controller::{build_desired, fixture};

    const ENDPOINT: &str = "https://clickhouse-2.example.com:8443";

    fn asked_again_after(lasted_seconds: Option<i64>) -> i64 {
        let stack = fixture::checked();
        let mut catalogue = Catalogue::default();
        catalogue.others.push((ENDPOINT.into(), Ok(Catalogue::default())));
        let now = Timestamp::from_second(1000).unwrap();
        let mut observed = fixture::observed();
        (observed.catalogue, observed.now) = (Ok(Arc::new(catalogue)), now);
        observed.status.blocked_by.extend(lasted_seconds.map(|lasted| BlockedBy {
            object: short(&format!("ClickHouse/{ENDPOINT}")),
            reason: Reason::Waiting.as_str().into(),
            since: Time(now - SignedDuration::from_secs(lasted)),
            hint: String::new(),
        }));
        let desired = build_desired(&stack, &fixture::owner(), &observed);
        let mut steps = Steps::default();
        waits(&View { stack: &stack, desired: &desired, observed: &observed }, &mut steps);
        let Step::Hold(hold) = &steps.steps[0] else { panic!("no wait for {ENDPOINT}") };
        hold.until.unwrap().duration_since(now).as_secs()
    }

    #[test]
    fn an_endpoint_that_lags_is_asked_again_after_as_long_as_it_has_lagged() {
        let asked = [None, Some(0), Some(8), Some(600)].map(asked_again_after);
        assert_eq!(asked, [2, 2, 8, 30]);
    }
}
