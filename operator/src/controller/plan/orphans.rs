//! Children that the stack owns and no longer wants.

use std::collections::BTreeSet;

use weir_crds::ConditionType;

use super::access::secret_keys;
use super::{Action, Steps, View, workload};

/// Deletes what is owned by the stack's UID and not wanted, by UID.
pub(super) fn orphans(view: &View<'_>, steps: &mut Steps) {
    let mut wanted: BTreeSet<_> = secret_keys(view).into_iter().collect();
    wanted.extend(workload::keys(view));
    for (key, live) in view.observed.live.iter().filter(|(key, _)| !wanted.contains(key)) {
        steps.act(ConditionType::WorkloadReady, Action::Delete(key.clone(), live.uid.clone()));
    }
}
