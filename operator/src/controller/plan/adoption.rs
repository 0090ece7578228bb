//! Phase of adoption: what bears the stack's names and is not its own is taken over when exactly that was approved.

mod wait;

use k8s_openapi::jiff::SignedDuration;
pub(super) use wait::conflict;
use weir_crds::{ConditionType, Reason};

use super::{Action, Hold, Steps, View};
use crate::access::{self, Preview};
use crate::controller::status::adoption::is_outdated;

/// Time after which it is looked whether an adoption is over: its end is nothing that a watch tells.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(5);

/// What somebody said about a preview.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict<'a> {
    /// Nothing, or only about an earlier one that was carried out.
    Unasked,
    /// It was approved.
    Approved,
    /// Something else was approved.
    Another(&'a str),
    /// It was approved as it was before it changed.
    Outdated(&'a str),
}

/// The preview of what the stack would take over; none when nothing is in its way.
pub(crate) fn preview(view: &View<'_>) -> Option<Preview> {
    let catalogue = view.observed.catalogue.as_ref().ok()?;
    access::preview(&view.desired.access, catalogue, &view.observed.adoption)
}

/// Value of the request to adopt, once what it approved belongs to the stack, or was given by it.
pub(crate) fn handled(view: &View<'_>) -> Option<String> {
    let value = view.stack.requests.adopt.as_ref()?;
    let catalogue = view.observed.catalogue.as_ref().ok()?;
    let owner = &view.observed.owner;
    let is_done =
        !access::adopted(owner, catalogue, value).is_empty() || access::given(owner, catalogue, value);
    is_done.then(|| value.clone())
}

/// Takes over what was approved, and nothing besides in the same pass: what follows is planned from what is there then.
pub(super) fn adoption(view: &View<'_>, steps: &mut Steps) {
    let Ok(catalogue) = &view.observed.catalogue else { return };
    let preview = preview(view);
    talk(view, preview.as_ref(), steps);
    let is_approved = |preview: &Preview| verdict(view, preview) == Verdict::Approved;
    let can_be = |preview: &Preview| preview.refused().is_none() && preview.awaited().is_none();
    let Some(preview) = preview.filter(|preview| is_approved(preview) && can_be(preview)) else {
        return progress(view, steps);
    };
    if catalogue.intents.is_none() {
        steps.act(ConditionType::AccessReady, Action::Access(access::Action::CreateLedger));
    }
    steps.act(
        ConditionType::AccessReady,
        Action::Access(preview.action(&view.desired.access, view.observed.adoption.silence)),
    );
    let hint = "it was taken over as approved; it is brought in line next".into();
    let Some(first) = preview.items.first() else { return };
    steps.hold(Hold { blocks: true, ..hold(&first.entity.to_string(), Reason::Progressing, hint) });
}

/// Asks the owners in the preview, and answers those that ask this stack.
fn talk(view: &View<'_>, preview: Option<&Preview>, steps: &mut Steps) {
    let Ok(catalogue) = &view.observed.catalogue else { return };
    let (owner, silence) = (&view.observed.owner, view.observed.adoption.silence);
    let is_approved = preview.is_some_and(|preview| verdict(view, preview) == Verdict::Approved);
    let question = access::questions(owner, catalogue, preview, (is_approved, silence));
    let answer = access::answers(owner, catalogue, view.stack.requests.adopt.as_deref());
    for said in question.into_iter().chain(answer) {
        steps.act(ConditionType::AccessReady, Action::Access(said));
    }
}

/// Says what an adoption still waits for: whoever used the entities before goes on with them meanwhile.
fn progress(view: &View<'_>, steps: &mut Steps) {
    let Ok(catalogue) = &view.observed.catalogue else { return };
    let (owner, pending) = (&view.observed.owner, access::pending(&view.observed.owner, catalogue));
    for entity in &pending {
        let Some((user, other)) = access::is_held(owner, catalogue, entity) else { continue };
        let hint = format!(
            "it was taken over, and {user} of {other} still holds it; it keeps every right that it has until that stack is deleted"
        );
        steps.hold(hold(&entity.to_string(), Reason::Retiring, hint));
    }
    let is_free = |entity: &&access::Entity| access::is_held(owner, catalogue, entity).is_none();
    let own: Vec<_> = pending.iter().filter(is_free).map(ToString::to_string).collect();
    if let Some(first) = own.first() {
        let hint = format!(
            "taken over: {}; rights, passwords, hosts and settings that the spec does not ask for stay until the stack's own pods are proven",
            own.join(", ")
        );
        let until = view.observed.now.checked_add(LOOK_AGAIN).ok();
        steps.hold(Hold { until, ..hold(first, Reason::Adopting, hint) });
    }
}

fn hold(entity: &str, reason: Reason, hint: String) -> Hold {
    Hold::of_access(format!("ClickHouse/{entity}"), reason, hint)
}

fn verdict<'a>(view: &View<'a>, preview: &Preview) -> Verdict<'a> {
    let status = &view.observed.status;
    match view.stack.requests.adopt.as_deref() {
        None => Verdict::Unasked,
        Some(value) if value == preview.hash => Verdict::Approved,
        Some(value) if status.last_handled_adopt.as_deref() == Some(value) => Verdict::Unasked,
        Some(value) if is_outdated(status.adoption.as_ref(), value, &preview.hash) => {
            Verdict::Outdated(value)
        }
        Some(value) => Verdict::Another(value),
    }
}
