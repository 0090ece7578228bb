//! What a stack would have to take over: what bears its names and is not its own, and what its owner would leave. Pure.

use std::collections::BTreeSet;

use super::super::catalogue::Catalogue;
use super::super::desired::Desired;
use super::super::handover;
use super::super::ledger::{self, Intent};
use super::super::plan::{Standing, standing};
use super::super::{Class, Entity, Owner};
use super::protected::is_builtin;
use super::{AdoptionRules, Item, Refusal};

/// Every entity that would be taken over, without what would change of it; those of the stack's names first.
pub(super) fn items(desired: &Desired, catalogue: &Catalogue, rules: &AdoptionRules) -> Vec<Item> {
    let mut items = wanted(desired, catalogue, rules);
    let left = left_behind(catalogue, &items);
    items.extend(left);
    items
}

/// Entities of the stack's names that somebody else has.
fn wanted(desired: &Desired, catalogue: &Catalogue, rules: &AdoptionRules) -> Vec<Item> {
    let item = |(entity, class): (Entity, Class)| {
        let Standing::Taken(conflict) = standing(desired, catalogue, &entity) else { return None };
        let claims = claims_of(conflict.owner.as_ref(), catalogue, &entity);
        let refusal = refusal(desired, catalogue, (&entity, &claims), &rules.fixed);
        let consent = handover::consent(&desired.owner, catalogue, &claims, rules.silence);
        Some(Item { entity, class, owner: conflict.owner, refusal, consent, changes: Vec::new(), claims })
    };
    desired.entities().into_iter().filter_map(item).collect()
}

/// Everything else of the owners who are gone and whose databases are taken over: nobody else would ever end it.
fn left_behind(catalogue: &Catalogue, wanted: &[Item]) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let taken = wanted.iter().filter(|item| item.class == Class::Data && item.consent.is_of_nobody());
    for (owner, consent) in taken.filter_map(|item| Some((item.owner.as_ref()?, item.consent))) {
        for claim in catalogue.open_intents().iter().filter(|claim| owner.succeeds(&claim.owner)) {
            let is_listed = |item: &Item| item.entity == claim.entity;
            // What only waits in line for what somebody else has is not theirs.
            let is_theirs = ledger::head(catalogue.open_intents(), &claim.entity) == Some(claim);
            if is_theirs && !wanted.iter().chain(&items).any(is_listed) {
                items.push(Item {
                    entity: claim.entity.clone(),
                    class: claim.class,
                    owner: Some(owner.clone()),
                    refusal: None,
                    consent,
                    changes: Vec::new(),
                    claims: claims_of(Some(owner), catalogue, &claim.entity),
                });
            }
        }
    }
    items
}

fn claims_of(owner: Option<&Owner>, catalogue: &Catalogue, entity: &Entity) -> Vec<Intent> {
    let Some(owner) = owner else { return Vec::new() };
    let is_theirs = |intent: &&Intent| intent.entity == *entity && owner.succeeds(&intent.owner);
    catalogue.open_intents().iter().filter(is_theirs).cloned().collect()
}

fn refusal(
    desired: &Desired,
    catalogue: &Catalogue,
    (entity, claims): (&Entity, &[Intent]),
    fixed: &BTreeSet<Entity>,
) -> Option<Refusal> {
    if *entity == Entity::user(&catalogue.administrator) {
        return Some(Refusal::Administrator);
    }
    if is_builtin(entity) {
        return Some(Refusal::Builtin);
    }
    if fixed.contains(entity) {
        return Some(Refusal::Fixed);
    }
    let is_given =
        |claim: &&Intent| !claim.retained && handover::gave(&desired.owner, &claim.owner, catalogue);
    claims.iter().find(is_given).map(|_| Refusal::Given)
}
