//! From what a pass did and what it waits for to a status value. Pure; runs for failures too.

pub(crate) mod adoption;
mod conditions;
#[cfg(test)]
mod kstatus;
#[cfg(test)]
mod tests;

pub(crate) use conditions::set;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use weir_crds::{
    AdoptionStatus, AnalyticsStackStatus, BlockedBy, ConditionType, CredentialStatus, ImageStatus, Reason,
    SchemaStatus, SpoolStatus,
};

use super::credential::{Credential, Use};
use super::plan::Hold;
use super::rotation;
use super::stack::{Image, Stack};
use conditions::{Judgement, Truth};

/// Largest text in a condition or hint.
const MAX_TEXT: usize = 1024;
/// Longest name of a wait, so that `kubectl get` stays within 120 columns; its hint and conditions have all of it.
const MAX_OBJECT: usize = 35;
/// Most waits that status lists.
const MAX_BLOCKED: usize = 16;

/// Conditions of the parts of a stack, in the order in which they are reached.
const STAGES: [ConditionType; 7] = [
    ConditionType::SpecValid,
    ConditionType::DependenciesReady,
    ConditionType::AccessReady,
    ConditionType::CredentialsReady,
    ConditionType::ImageResolved,
    ConditionType::SchemaReady,
    ConditionType::WorkloadReady,
];

/// What a pass came to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    /// What is waited for, in the order in which it was met.
    pub(crate) holds: Vec<Hold>,
    /// Whether some ingest pod serves.
    pub(crate) serves: bool,
    /// Who else asked for the stack's names; said where access is in order.
    pub(crate) contest: Option<String>,
    /// Facts to show; none leaves those of the status before.
    pub(crate) facts: Facts,
}

/// What status shows besides conditions; `None` keeps what was there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// Image that was resolved.
    pub(crate) image: Option<Image>,
    /// Database of the stack.
    pub(crate) database: Option<String>,
    /// Address of the stack.
    pub(crate) url: Option<String>,
    /// Published keys.
    pub(crate) keys: Option<Vec<CredentialStatus>>,
    /// Published readers.
    pub(crate) users: Option<Vec<CredentialStatus>>,
    /// Whether access is in order.
    pub(crate) access: AccessOrder,
    /// Values of the annotations that were carried out.
    pub(crate) handled: Handled,
    /// What bears the stack's names and is not its own.
    pub(crate) adoption: Adoptable,
    /// Migration of the database.
    pub(crate) schema: Option<SchemaStatus>,
    /// Claims of the spool.
    pub(crate) spool: Option<SpoolStatus>,
    /// Ready pods.
    pub(crate) replicas: Option<i32>,
    /// Label selector of the pods.
    pub(crate) selector: Option<String>,
}

/// Whether users, roles and grants have been in order since the spec last asked for others.
#[derive(Debug, Clone, Default)]
pub(crate) enum AccessOrder {
    /// Nobody could look: what was known stays.
    #[default]
    Unknown,
    /// Not yet.
    NotYet,
    /// Those of this digest are, or were.
    Of(String),
}

/// What bears the stack's names and is not its own.
#[derive(Debug, Clone, Default)]
pub(crate) enum Adoptable {
    /// Nobody could look: what was known stays.
    #[default]
    Unknown,
    /// There is nothing of the kind.
    Nothing,
    /// This.
    Of(AdoptionStatus),
}

/// Values of the annotations that were carried out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Handled {
    /// Of `weir.dev/rotate`.
    pub(crate) rotate: Option<String>,
    /// Of `weir.dev/revoke`.
    pub(crate) revoke: Option<String>,
    /// Of `weir.dev/adopt`.
    pub(crate) adopt: Option<String>,
}

/// Derives the status after a pass.
pub(crate) fn derive(
    previous: &AnalyticsStackStatus,
    generation: i64,
    outcome: &Outcome,
    now: Timestamp,
) -> AnalyticsStackStatus {
    let mut status = previous.clone();
    status.observed_generation = Some(generation);
    let judge = Judge { previous, outcome };
    let mut put = |type_, judgement: Option<Judgement>| {
        set(&mut status.conditions, type_, judgement, generation, now);
    };
    put(ConditionType::Ready, Some(judge.ready()));
    put(ConditionType::Reconciling, judge.reconciling());
    put(ConditionType::Stalled, judge.stalled());
    for stage in STAGES {
        put(stage, Some(judge.stage(stage)));
    }
    status.blocked_by = blocked_by(previous, &outcome.holds, now);
    show(&mut status, &outcome.facts);
    status
}

/// The status of a spec that was just seen: in progress, and nothing claimed about it yet.
pub(crate) fn begin(
    previous: &AnalyticsStackStatus,
    generation: i64,
    serves: bool,
    now: Timestamp,
) -> AnalyticsStackStatus {
    let start = Hold {
        stage: ConditionType::SpecValid,
        object: "AnalyticsStack".into(),
        reason: Reason::Progressing,
        hint: "the operator has started on this generation".into(),
        blocks: true,
        until: None,
    };
    let outcome = Outcome { holds: vec![start], serves, ..Outcome::default() };
    let mut status = derive(previous, generation, &outcome, now);
    status.blocked_by.clear();
    status
}

struct Judge<'a> {
    previous: &'a AnalyticsStackStatus,
    outcome: &'a Outcome,
}

impl Judge<'_> {
    /// The wait that matters most: what somebody has to mend, then what failed, then what is in progress.
    fn first(&self) -> Option<&Hold> {
        let holds = || self.outcome.holds.iter().filter(|hold| !hold.is_aside());
        holds()
            .find(|hold| hold.reason.is_permanent())
            .or_else(|| holds().find(|hold| !hold.is_progress()))
            .or_else(|| holds().next())
    }

    fn ready(&self) -> Judgement {
        let Some(hold) = self.first() else {
            return Judgement::new(Truth::True, Reason::Succeeded, "the stack serves as its spec says");
        };
        let was_ready = self.previous.conditions.iter().any(|condition| {
            condition.type_ == ConditionType::Ready.as_str() && condition.status == Truth::True.as_str()
        });
        // Behind a wait that blocks nothing, everything was verified for this generation.
        let is_verified = !self.outcome.holds.iter().any(|hold| hold.blocks);
        let truth = match (hold.is_progress(), is_verified || was_ready && self.outcome.serves) {
            (true, true) => Truth::True,
            (true, false) => Truth::Unknown,
            (false, _) => Truth::False,
        };
        Judgement::new(truth, hold.reason, sentence(hold))
    }

    fn is_stalled(&self) -> bool {
        self.first().is_some_and(|hold| hold.reason.is_permanent())
    }

    fn stalled(&self) -> Option<Judgement> {
        let hold = self.first().filter(|_| self.is_stalled())?;
        Some(Judgement::new(Truth::True, hold.reason, sentence(hold)))
    }

    fn reconciling(&self) -> Option<Judgement> {
        let hold = self.first().filter(|_| !self.is_stalled())?;
        Some(Judgement::new(Truth::True, hold.reason, sentence(hold)))
    }

    fn stage(&self, stage: ConditionType) -> Judgement {
        let of_stage = |hold: &&Hold| hold.stage == stage && (hold.blocks || !hold.is_progress());
        let holds = &self.outcome.holds;
        let own = holds.iter().filter(of_stage).find(|hold| !hold.is_progress());
        if let Some(hold) = own.or_else(|| holds.iter().find(of_stage)) {
            let truth = if hold.reason == Reason::Progressing { Truth::Unknown } else { Truth::False };
            return Judgement::new(truth, hold.reason, sentence(hold));
        }
        let blocking = holds.iter().find(|hold| hold.blocks);
        match blocking {
            Some(hold) if is_before(hold.stage, stage) => {
                Judgement::new(Truth::Unknown, Reason::Waiting, format!("waits for {}", hold.object))
            }
            Some(_) | None => Judgement::new(Truth::True, Reason::Succeeded, self.in_order(stage)),
        }
    }

    fn in_order(&self, stage: ConditionType) -> String {
        match &self.outcome.contest {
            Some(contest) if stage == ConditionType::AccessReady => {
                cut(&format!("as the spec says; {contest}"))
            }
            Some(_) | None => "as the spec says".into(),
        }
    }
}

fn is_before(one: ConditionType, other: ConditionType) -> bool {
    let position = |stage| STAGES.iter().position(|candidate| *candidate == stage);
    position(one) < position(other)
}

fn sentence(hold: &Hold) -> String {
    cut(&format!("{}: {}", hold.object, hold.hint))
}

/// The name of a wait as the column shows it.
pub(crate) fn short(object: &str) -> String {
    if object.chars().count() <= MAX_OBJECT {
        return object.to_owned();
    }
    object.chars().take(MAX_OBJECT - 1).chain(['…']).collect()
}

/// Cuts a text to what a condition may hold, at a character.
pub(crate) fn cut(text: &str) -> String {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

fn blocked_by(previous: &AnalyticsStackStatus, holds: &[Hold], now: Timestamp) -> Vec<BlockedBy> {
    let mut holds: Vec<_> = holds.iter().collect();
    holds.sort_by_key(|hold| (!hold.reason.is_permanent(), hold.is_progress()));
    holds.dedup_by_key(|hold| (hold.object.clone(), hold.reason));
    let since = |hold: &Hold| {
        let known = previous
            .blocked_by
            .iter()
            .find(|entry| entry.object == short(&hold.object) && entry.reason == hold.reason.as_str());
        known.map_or(Time(now), |entry| entry.since.clone())
    };
    let entry = |hold: &Hold| {
        let object = short(&hold.object);
        // What the column cuts off tells one endpoint from the other.
        let hint = if object == hold.object { cut(&hold.hint) } else { sentence(hold) };
        BlockedBy { object, reason: hold.reason.as_str().into(), since: since(hold), hint }
    };
    holds.into_iter().take(MAX_BLOCKED).map(entry).collect()
}

fn show(status: &mut AnalyticsStackStatus, facts: &Facts) {
    let Facts {
        image,
        database,
        url,
        keys,
        users,
        access,
        handled,
        adoption,
        schema,
        spool,
        replicas,
        selector,
    } = facts.clone();
    status.image = image.map(|image| image_status(&image)).or(status.image.take());
    status.database = database.or(status.database.take());
    status.url = url.or(status.url.take());
    status.keys = keys.unwrap_or(std::mem::take(&mut status.keys));
    status.users = users.unwrap_or(std::mem::take(&mut status.users));
    status.access_digest = match access {
        AccessOrder::Unknown => status.access_digest.take(),
        AccessOrder::NotYet => None,
        AccessOrder::Of(digest) => Some(digest),
    };
    status.last_handled_rotate = handled.rotate.or(status.last_handled_rotate.take());
    status.last_handled_revoke = handled.revoke.or(status.last_handled_revoke.take());
    status.last_handled_adopt = handled.adopt.or(status.last_handled_adopt.take());
    status.adoption = match adoption {
        Adoptable::Unknown => status.adoption.take(),
        Adoptable::Nothing => None,
        Adoptable::Of(shown) => Some(shown),
    };
    status.schema = schema.or(status.schema.take());
    status.spool = spool.or(status.spool.take());
    status.replicas = replicas.or(status.replicas);
    status.selector = selector.or(status.selector.take());
}

fn image_status(image: &Image) -> ImageStatus {
    ImageStatus {
        requested: image.requested.clone(),
        digest: image.pinned.clone(),
        short: image.short(),
        resolved_at: image.resolved_at.map(Time),
    }
}

/// What status shows of the credentials that are published: keys, then readers.
pub(crate) fn credential_status(
    stack: &Stack,
    credentials: &[Credential],
) -> (Vec<CredentialStatus>, Vec<CredentialStatus>) {
    let (mut keys, mut users) = (Vec::new(), Vec::new());
    for credential in credentials {
        let Some(newest) = credential.value() else { continue };
        // What consumers have, or what they are about to get first.
        let value = rotation::current(credential).unwrap_or(newest);
        let next = rotation::policy(stack, credential).and_then(|policy| {
            let identity = rotation::identity(&stack.uid, credential, newest.generation);
            policy.next(newest.published_at?, &identity)
        });
        let entry = |name: &str| CredentialStatus {
            name: name.into(),
            generation: value.generation,
            secret_name: credential.published.clone(),
            user: credential.user_of(stack, value.generation),
            proven_at: value.published_at.filter(|_| credential.is_login()).map(Time),
            step: rotation::step(credential),
            next_rotation_at: next.map(Time),
        };
        match &credential.purpose {
            Use::Key(name, _) => keys.push(entry(name)),
            Use::Reader(name) => users.push(entry(name)),
            Use::Ingest | Use::Migrate(_) => {}
        }
    }
    (keys, users)
}
