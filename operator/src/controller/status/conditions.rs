//! One condition at a time, merged so that nothing moves that did not change.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use weir_crds::{ConditionType, Reason};

/// Status of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Truth {
    True,
    False,
    Unknown,
}

impl Truth {
    /// The status as Kubernetes writes it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// What is said about one condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) truth: Truth,
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

impl Judgement {
    pub(crate) fn new(truth: Truth, reason: Reason, message: impl Into<String>) -> Self {
        Self { truth, reason, message: message.into() }
    }
}

/// Sets or removes one condition. The time of the last transition moves only when the status does.
pub(crate) fn set(
    conditions: &mut Vec<Condition>,
    type_: ConditionType,
    judgement: Option<Judgement>,
    generation: i64,
    now: Timestamp,
) {
    let position = conditions.iter().position(|condition| condition.type_ == type_.as_str());
    let Some(judgement) = judgement else {
        if let Some(position) = position {
            conditions.remove(position);
        }
        return;
    };
    let status = judgement.truth.as_str();
    let unmoved = position.and_then(|position| conditions.get(position)).filter(|old| old.status == status);
    let condition = Condition {
        type_: type_.as_str().into(),
        status: status.into(),
        reason: judgement.reason.as_str().into(),
        message: judgement.message,
        observed_generation: Some(generation),
        last_transition_time: unmoved.map_or(Time(now), |old| old.last_transition_time.clone()),
    };
    match position.and_then(|position| conditions.get_mut(position)) {
        Some(old) => *old = condition,
        None => conditions.push(condition),
    }
}
