//! From desired and observed state to an ordered list of steps. Pure; it is what logs, status and tests show.
//!
//! The order is the safety: finalizer, access, credentials (written ahead, proven, published), what the pods mount, the
//! migration, the pods, and only after they are proven what is no longer needed. Steps behind a wait that blocks are
//! not computed.

mod access;
mod adoption;
pub(crate) mod deletion;
mod drift;
mod lag;
mod migration;
mod narrowing;
pub(crate) mod order;
mod orphans;
mod rollout;
mod spool;
mod step;
mod supplied;
#[cfg(test)]
mod tests;
mod turn;
mod workload;

pub(crate) use adoption::{handled as handled_adopt, preview};
pub(crate) use drift::{access_order, cause, drift};
pub(crate) use rollout::waits as rollout_waits;
pub(crate) use step::{Action, Generate, Hold, Proof, Step};
pub(crate) use turn::{handled_revoke, handled_rotate};
use weir_crds::{ConditionType, Reason};

use super::child::{Child, is_settled};
use super::desired::Desired;
use super::observed::{Fault, Observed};
use super::rotation;
use super::stack::Stack;

/// What a pass will do, in order.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The steps.
    pub(crate) steps: Vec<Step>,
}

impl Plan {
    /// Whether names in ClickHouse that are not the stack's own keep it from its work.
    pub(crate) fn is_in_conflict(&self) -> bool {
        let is_conflict = |reason: Reason| matches!(reason, Reason::OwnershipConflict | Reason::HandedOver);
        self.steps.iter().any(|step| matches!(step, Step::Hold(hold) if is_conflict(hold.reason)))
    }

    /// The steps that do something, redacted, one line each.
    pub(crate) fn summary(&self) -> Vec<String> {
        self.steps
            .iter()
            .filter_map(|step| match step {
                Step::Do(_, action) => Some(action.to_string()),
                Step::Hold(_) => None,
            })
            .collect()
    }
}

/// What every phase sees.
#[derive(Debug)]
pub(crate) struct View<'a> {
    /// The stack.
    pub(crate) stack: &'a Stack,
    /// What should exist.
    pub(crate) desired: &'a Desired,
    /// What does.
    pub(crate) observed: &'a Observed,
}

/// The plan while it grows.
#[derive(Debug, Default)]
struct Steps {
    steps: Vec<Step>,
    blocked: bool,
}

impl Steps {
    fn act(&mut self, stage: ConditionType, action: Action) {
        self.steps.push(Step::Do(stage, action));
    }

    fn hold(&mut self, hold: Hold) {
        self.blocked |= hold.blocks;
        self.steps.push(Step::Hold(hold));
    }

    /// Applies a child unless it is as it should be; true when it is applied.
    fn apply(&mut self, stage: ConditionType, child: &Child, observed: &Observed) -> bool {
        let key = child.key();
        let settled = is_settled(&child.hash(), observed.live.get(&key), observed.applied.get(&key));
        if !settled {
            self.act(stage, Action::Apply(child.clone()));
        }
        !settled
    }
}

/// Plans a pass for a stack that is not being deleted.
pub(crate) fn plan(view: &View<'_>) -> Plan {
    let mut steps = Steps::default();
    let phases: [fn(&View<'_>, &mut Steps); 15] = [
        finalizer,
        turn::revocations,
        dependencies,
        migration::lost_database,
        adoption::adoption,
        access::additions,
        access::credentials,
        workload::surroundings,
        migration::migration,
        workload::pods,
        access::unread,
        spool::drain,
        turn::turn,
        access::surplus,
        orphans::orphans,
    ];
    for phase in phases {
        if steps.blocked {
            break;
        }
        phase(view, &mut steps);
    }
    Plan { steps: steps.steps }
}

/// The finalizer comes before the first effect outside Kubernetes.
fn finalizer(view: &View<'_>, steps: &mut Steps) {
    if !view.observed.has_finalizer {
        steps.act(ConditionType::AccessReady, Action::AddFinalizer);
    }
}

fn dependencies(view: &View<'_>, steps: &mut Steps) {
    let blocks = !is_established(view);
    let catalogue = view.observed.catalogue.as_ref().err();
    for fault in view.observed.dependencies.iter().chain(catalogue) {
        if !steps.steps.iter().any(|step| step.names(fault)) {
            steps.hold(Hold::from_fault(fault, blocks));
        }
    }
}

/// Whether everything was made and published for this image before, so that children can be kept without ClickHouse.
fn is_established(view: &View<'_>) -> bool {
    let Some(image) = &view.stack.image else { return false };
    let is_published = |credential: &super::credential::Credential| {
        rotation::current(credential).is_some() || credential.awaits_owner()
    };
    view.observed.recorded_digest() == Some(image.digest())
        // What was proven and migrated on other endpoints says nothing about these.
        && !view.observed.has_moved(view.stack)
        && view.desired.credentials.iter().all(is_published)
        // A named CA that could not be read would change the pods.
        && (view.stack.clickhouse.ca_pem.is_some() || !view.stack.clickhouse.names_ca)
}

/// A hold for what the image lookup answered.
fn image_hold(fault: &Fault) -> Hold {
    Hold::from_fault(fault, true)
}

/// A hold for a Secret that was just written ahead; its watch event starts the next pass.
fn written_ahead(secret: &str) -> Hold {
    Hold {
        stage: ConditionType::CredentialsReady,
        object: format!("Secret/{secret}"),
        reason: Reason::Progressing,
        hint: "the credential is written ahead; its user is created next".into(),
        blocks: true,
        until: None,
    }
}
