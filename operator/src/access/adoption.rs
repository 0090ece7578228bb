//! What a stack would take over of what bears its names and is not its own: a preview that somebody approves by its hash.
//!
//! The preview is made by the planner itself, on the catalogue as it would be with the claims of the stack in place, so
//! that what it shows is what is done. Its hash is of everything that it shows and of everything that it was made from: the
//! claims that stand before, the rights, roles and settings of each entity. So it changes with any of them, and an approval
//! is of this one preview and of nothing that comes later.

mod changes;
mod items;
mod progress;
mod protected;

use std::collections::{BTreeMap, BTreeSet};

use super::action::Action;
use super::catalogue::Catalogue;
use super::desired::Desired;
use super::handover::{self, Consent};
use super::ledger::{self, Adoption, Intent};
use super::{Class, Entity, Owner};

pub(crate) use progress::{adopted, is_half_adopted, is_held, pending, settlement};

/// What a stack would take over. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Preview {
    /// Approves exactly this.
    pub(crate) hash: String,
    /// What would be taken over, in the order in which the stack needs it.
    pub(crate) items: Vec<Item>,
}

/// One entity that a stack would take over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// What it is.
    pub(crate) entity: Entity,
    /// What it is for.
    pub(crate) class: Class,
    /// Who owns it; none when Weir did not make it.
    pub(crate) owner: Option<Owner>,
    /// Why it is never taken over.
    pub(crate) refusal: Option<Refusal>,
    /// What its owner says to that.
    pub(crate) consent: Consent,
    /// What would change of it, in words, at once and later.
    pub(crate) changes: Vec<String>,
    /// Open claims of its owner, oldest first.
    pub(crate) claims: Vec<Intent>,
}

/// Why an entity is never taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The operator itself logs in with it.
    Administrator,
    /// Every server has it.
    Builtin,
    /// Statements cannot change it.
    Fixed,
    /// The stack gave it to the one that has it.
    Given,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Administrator => "it is the account that the operator itself logs in with",
            Self::Builtin => "every ClickHouse has it for itself",
            Self::Fixed => {
                "it is defined in a file of the server, or the operator's account may not change it"
            }
            Self::Given => "this stack gave it to the one that has it",
        })
    }
}

/// What a preview depends on besides desired access and catalogue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AdoptionRules {
    /// Entities that statements of the operator's account cannot change.
    pub(crate) fixed: BTreeSet<Entity>,
    /// Seconds after which an owner that was asked and does not answer counts as lost.
    pub(crate) silence: i64,
}

/// What bears the stack's names and is not its own; none when there is nothing of the kind.
pub(crate) fn preview(desired: &Desired, catalogue: &Catalogue, rules: &AdoptionRules) -> Option<Preview> {
    let mut items = items::items(desired, catalogue, rules);
    if items.is_empty() {
        return None;
    }
    let after = taken_over(desired, catalogue, &items);
    for item in items.iter_mut().filter(|item| item.refusal.is_none()) {
        item.changes = changes::of(desired, &after, item);
    }
    let hash = hash(desired, catalogue, &items);
    for item in items.iter_mut().filter(|item| item.consent == Consent::Missing) {
        let is_given = |owner: &Owner| handover::is_given(&desired.owner, owner, catalogue, &hash);
        if item.owner.as_ref().is_some_and(is_given) {
            item.consent = Consent::Given;
        }
    }
    Some(Preview { hash, items })
}

impl Preview {
    /// The first entity that is never taken over, which keeps everything else from being.
    pub(crate) fn refused(&self) -> Option<(&Item, Refusal)> {
        self.items.iter().find_map(|item| Some((item, item.refusal?)))
    }

    /// The first entity whose owner has to say something before anything is taken over.
    pub(crate) fn awaited(&self) -> Option<&Item> {
        // Whether an owner answers at all decides what else there is to take over.
        let unknown = self.items.iter().find(|item| item.consent == Consent::Unknown);
        unknown.or_else(|| self.items.iter().find(|item| !item.consent.suffices()))
    }

    /// Owners who have to be asked.
    pub(crate) fn asked(&self) -> Vec<Owner> {
        let mut asked: Vec<Owner> = Vec::new();
        let items = self.items.iter().filter(|item| item.refusal.is_none());
        for claim in items.flat_map(|item| &item.claims).filter(|claim| !claim.retained) {
            if !asked.contains(&claim.owner) {
                asked.push(claim.owner.clone());
            }
        }
        asked
    }

    /// The action that takes everything over, provided that the preview is still the same then.
    pub(crate) fn action(&self, desired: &Desired, silence: i64) -> Action {
        let entities = self.items.iter().map(|item| item.entity.clone()).collect();
        let (hash, desired) = (self.hash.clone(), desired.clone());
        Action::Adopt(Box::new(Takeover { hash, entities, desired, silence }))
    }
}

#[cfg(test)]
impl Item {
    /// An entity that Weir did not make and of which nothing would change.
    pub(crate) const fn of(entity: Entity, class: Class) -> Self {
        let consent = Consent::Unneeded;
        Self { entity, class, owner: None, refusal: None, consent, changes: Vec::new(), claims: Vec::new() }
    }
}

/// An approved preview, to be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Takeover {
    /// Hash that was approved.
    pub(crate) hash: String,
    /// What is taken over.
    pub(crate) entities: Vec<Entity>,
    /// What the preview was made for.
    pub(super) desired: Desired,
    /// Seconds after which an owner that does not answer counts as lost.
    pub(super) silence: i64,
}

impl Takeover {
    /// Users that are taken over, whose passwords nobody knows.
    pub(crate) fn users(&self) -> impl Iterator<Item = &String> {
        let users = self.entities.iter().filter(|entity| entity.kind == super::Kind::User);
        users.map(|entity| &entity.name)
    }
}

/// The catalogue as it would be with the claims of the stack in place.
fn taken_over(desired: &Desired, catalogue: &Catalogue, items: &[Item]) -> Catalogue {
    let mut after = Catalogue { others: Vec::new(), ..catalogue.clone() };
    let intents = after.intents.get_or_insert_default();
    intents.retain(|intent| !items.iter().any(|item| item.claims.contains(intent)));
    for item in items {
        let nonce = format!("preview of {}", item.entity);
        let (entity, owner) = (item.entity.clone(), desired.owner.clone());
        let intent = Intent { entity, class: item.class, owner, nonce, retained: false };
        after.adoptions.push(Adoption { intent: intent.clone(), hash: String::new(), is_settled: false });
        intents.push(intent);
    }
    after
}

/// Hash of what is shown and of what it was made from.
fn hash(desired: &Desired, catalogue: &Catalogue, items: &[Item]) -> String {
    use sha2::Digest as _;
    let mut hash = sha2::Sha256::new();
    let mut add = |part: &str| {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    };
    add(&format!("{:?}", desired.owner));
    for Item { entity, class, owner: _, refusal, consent: _, changes, claims } in items {
        add(&format!("{entity:?} {class:?} {refusal:?} {changes:?}"));
        add(&format!("{:?}", claims.iter().map(|claim| &claim.nonce).collect::<Vec<_>>()));
        add(&format!("{:?} {:?}", catalogue.grants.get(entity), catalogue.role_grants.get(entity)));
        add(&format!("{:?}", catalogue.users.get(&entity.name).filter(|_| entity.kind == super::Kind::User)));
        add(&format!("{:?}", catalogue.limits_of(entity)));
        add(&format!("{}", catalogue.holds(entity)));
    }
    hex::encode(&hash.finalize()[..8])
}

/// The open claims that an adoption stands for, by what they are on.
pub(super) fn heads(owner: &Owner, catalogue: &Catalogue) -> BTreeMap<Entity, Adoption> {
    let is_head = |adoption: &&Adoption| {
        let head = ledger::head(catalogue.open_intents(), &adoption.intent.entity);
        head.is_some_and(|head| head.nonce == adoption.intent.nonce && head.owner == *owner)
    };
    let adoptions = catalogue.adoptions.iter().filter(is_head);
    adoptions.map(|adoption| (adoption.intent.entity.clone(), adoption.clone())).collect()
}
