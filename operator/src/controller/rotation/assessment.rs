//! What becomes of the old generations of a whole stack, from what was observed.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;

use super::super::consumers::{Consumer, Consumers};
use super::super::credential::{Credential, Origin, Use};
use super::super::observed::Observed;
use super::super::stack::Stack;
use crate::access::Entity;

use super::{Evidence, Policy, Retirement, retirements};

/// What becomes of old generations, by credential and generation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Retirements(BTreeMap<String, BTreeMap<i64, Retirement>>);

impl Retirements {
    /// Whether a generation still counts.
    pub(crate) fn keeps(&self, credential: &Credential, generation: i64) -> bool {
        !matches!(self.of(credential).get(&generation), Some(Retirement::Gone))
    }

    /// Old generations of which only their use decides whether they stay.
    pub(crate) fn undecided(&self, credential: &Credential) -> impl Iterator<Item = i64> {
        let undecided = self.of(credential).iter().filter(|(_, retirement)| **retirement == Retirement::Ask);
        undecided.map(|(generation, _)| *generation)
    }

    /// The old generations of a credential.
    pub(crate) fn of(&self, credential: &Credential) -> &BTreeMap<i64, Retirement> {
        const NONE: &BTreeMap<i64, Retirement> = &BTreeMap::new();
        self.0.get(&credential.name).unwrap_or(NONE)
    }
}

/// When a credential turns, as the spec says.
pub(crate) fn policy<'a>(stack: &'a Stack, credential: &Credential) -> Option<&'a Policy> {
    match &credential.purpose {
        Use::Ingest => Some(&stack.rotation),
        Use::Reader(name) => {
            stack.readers.iter().find(|reader| reader.name == *name).map(|reader| &reader.rotation)
        }
        Use::Key(name, _) => stack.keys.iter().find(|key| key.spec.name == *name).map(|key| &key.rotation),
        Use::Migrate(_) => None,
    }
}

/// Judges every old generation of the stack.
pub(crate) fn assess(stack: &Stack, observed: &Observed, credentials: &[Credential]) -> Retirements {
    let judged = credentials.iter().filter_map(|credential| {
        let policy = policy(stack, credential)?;
        let others = on_the_server(stack, observed, credential);
        let evidence = evidence(stack, observed, credential, &others);
        Some((credential.name.clone(), retirements(credential, &others, policy, &evidence, observed.now)))
    });
    Retirements(judged.collect())
}

/// Generations that have a user in ClickHouse, whatever became of their Secrets.
fn on_the_server(stack: &Stack, observed: &Observed, credential: &Credential) -> Vec<i64> {
    let (Ok(catalogue), Some(newest)) = (&observed.catalogue, credential.value()) else { return Vec::new() };
    let has_secret = |generation: i64| credential.generations().any(|value| value.generation == generation);
    // Another cluster's stack of the same name has users of the same names.
    let is_own = |user: &String| !catalogue.is_of_another(&observed.owner, &Entity::user(user));
    let exists = |generation: &i64| {
        let user = credential.user_of(stack, *generation);
        user.is_some_and(|user| catalogue.users.contains_key(&user) && is_own(&user))
    };
    (1..newest.generation).filter(|generation| !has_secret(*generation)).filter(exists).collect()
}

fn evidence(
    stack: &Stack,
    observed: &Observed,
    credential: &Credential,
    others: &[i64],
) -> BTreeMap<i64, Evidence> {
    let old = credential.older.iter().map(|value| value.generation).chain(others.iter().copied());
    let is_supplied = |generation: i64| {
        let mut values = credential.older.iter();
        values.any(|value| value.generation == generation && value.origin == Origin::Supplied)
    };
    let judged = old.filter_map(|generation| {
        let evidence = match &credential.purpose {
            // Its user goes on with a newer password, so no log tells the use of this one.
            Use::Reader(_) if is_supplied(generation) => Evidence::LastUse(None),
            Use::Key(name, _) => use_of_key(&observed.consumers, name, generation),
            Use::Ingest | Use::Reader(_) | Use::Migrate(_) => {
                observed.evidence.get(&credential.user_of(stack, generation)?)?.clone()
            }
        };
        Some((generation, evidence))
    });
    judged.collect()
}

/// A pod knows the use of a key since it started, so its start counts as a use: what the pod before it saw is lost.
fn use_of_key(consumers: &Consumers, name: &str, generation: i64) -> Evidence {
    let Consumers::Known(pods) = consumers else {
        return Evidence::Unknown("the ingest pods could not be asked for its use".into());
    };
    let mut last: Option<i64> = None;
    for pod in pods {
        match last_use(pod, name, generation) {
            Ok(at) => last = last.max(at),
            Err(silent) => return Evidence::Unknown(format!("Pod/{silent} does not tell its use")),
        }
    }
    Evidence::LastUse(last.and_then(|second| Timestamp::from_second(second).ok()))
}

fn last_use<'a>(pod: &'a Consumer, name: &str, generation: i64) -> Result<Option<i64>, &'a str> {
    let Some(report) = &pod.report else {
        return if pod.is_ready { Err(&pod.pod) } else { Ok(None) };
    };
    let started_at = report.started_at.ok_or(pod.pod.as_str())?;
    let uses = report.key_use.iter().filter(|used| used.name == name && used.generation == generation);
    Ok(uses.filter_map(|used| used.last_used_at).chain([started_at]).max())
}
