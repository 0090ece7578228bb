//! Who has to consent before a stack takes over what another one owns, and how the two talk about it in the ledger. Pure.
//!
//! A stack that was deleted has nothing to say. One that was not is asked; a living one answers when it next looks at
//! ClickHouse, and then has to give what the preview shows. One that does not answer for a while is lost with its cluster.

use super::action::Action;
use super::adoption::{Preview, pending};
use super::catalogue::Catalogue;
use super::ledger::Intent;
use super::ledger::handover::{Answer, Handover, Question, Said, Word};
use super::{Owner, is_held};

/// What the owner of something says to its being taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consent {
    /// There is nobody to ask: Weir did not make it, or the stack was deleted.
    Unneeded,
    /// It was not asked yet, or may still answer.
    Unknown,
    /// It lives, and has not given this.
    Missing,
    /// It gives this.
    Given,
    /// It was asked and has not answered for so long that it counts as lost.
    Silent,
}

impl Consent {
    /// Whether nothing more is needed.
    pub(crate) const fn suffices(self) -> bool {
        matches!(self, Self::Unneeded | Self::Given | Self::Silent)
    }

    /// Whether the owner is gone, so that everything of it goes along with its database.
    pub(super) const fn is_of_nobody(self) -> bool {
        matches!(self, Self::Unneeded | Self::Silent)
    }

    /// Word for it in status.
    pub(crate) const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Unneeded => None,
            Self::Unknown => Some("Asked"),
            Self::Missing => Some("Missing"),
            Self::Given => Some("Given"),
            Self::Silent => Some("Silent"),
        }
    }
}

/// Consent of the owner of claims, but for the preview that it was given for.
pub(super) fn consent(taker: &Owner, catalogue: &Catalogue, claims: &[Intent], silence: i64) -> Consent {
    let Some(claim) = claims.iter().find(|claim| !claim.retained) else { return Consent::Unneeded };
    match pair(taker, &claim.owner, catalogue) {
        Some(pair) if pair.is_answered => Consent::Missing,
        Some(pair) if pair.question == Question::Asked && pair.age >= silence => Consent::Silent,
        Some(_) | None => Consent::Unknown,
    }
}

/// Whether the owner gave exactly the preview of that hash.
pub(super) fn is_given(taker: &Owner, owner: &Owner, catalogue: &Catalogue, hash: &str) -> bool {
    let answer =
        pair(taker, owner, catalogue).filter(|pair| pair.is_answered).and_then(|pair| pair.answer.as_ref());
    answer.is_some_and(|(answer, given)| *answer == Answer::Given && given == hash)
}

/// Whether a stack gave what that other one owns now.
pub(crate) fn gave(giver: &Owner, to: &Owner, catalogue: &Catalogue) -> bool {
    let gave = |pair: &&Handover| matches!(pair.answer, Some((Answer::Given, _))) && pair.owner == *giver;
    catalogue.handovers.iter().filter(gave).any(|pair| pair.taker == *to)
}

/// Whether the pods of the stack that took over are proven.
pub(crate) fn is_settled(giver: &Owner, taker: &Owner, catalogue: &Catalogue) -> bool {
    pair(taker, giver, catalogue).is_some_and(|pair| pair.question == Question::Settled)
}

fn pair<'a>(taker: &Owner, owner: &Owner, catalogue: &'a Catalogue) -> Option<&'a Handover> {
    catalogue.handovers.iter().find(|pair| pair.taker == *taker && pair.owner == *owner)
}

/// What a stack asks of the owners in its preview, and takes back of those that are not in it any more. A stack that
/// answered is asked about another preview, and again when it was approved without it: it may be lost since.
pub(crate) fn questions(
    taker: &Owner,
    catalogue: &Catalogue,
    preview: Option<&Preview>,
    (approved, silence): (bool, i64),
) -> Option<Action> {
    let mut said = Vec::new();
    let mut say = |owner: &Owner, question: Question, hash: &str| {
        let word = Word::Question(question);
        said.push(Said { taker: taker.clone(), owner: owner.clone(), word, hash: hash.to_owned() });
    };
    let asked = preview.map(Preview::asked).unwrap_or_default();
    for owner in &asked {
        let hash = preview.map_or("", |preview| preview.hash.as_str());
        let is_current = pair(taker, owner, catalogue).is_some_and(|pair| {
            let is_old = approved && pair.age >= silence && !is_given(taker, owner, catalogue, hash);
            // Whoever was asked and is silent is not asked again, or it would never count as lost.
            pair.question == Question::Asked && (!pair.is_answered || pair.hash == hash && !is_old)
        });
        if !is_current {
            say(owner, Question::Asked, hash);
        }
    }
    let is_own = |pair: &&Handover| pair.taker == *taker && pair.question == Question::Asked;
    let is_over = |pair: &&Handover| !asked.contains(&pair.owner) && !gave(&pair.owner, taker, catalogue);
    for pair in catalogue.handovers.iter().filter(is_own).filter(is_over) {
        say(&pair.owner, Question::Withdrawn, &pair.hash);
    }
    (!said.is_empty()).then_some(Action::RecordHandovers(said))
}

/// What an owner answers to those that ask: once to each question, and again when its mind was changed.
pub(crate) fn answers(owner: &Owner, catalogue: &Catalogue, approved: Option<&str>) -> Option<Action> {
    let answer = |pair: &Handover| {
        let word = match &pair.answer {
            _ if approved == Some(pair.hash.as_str()) => Answer::Given,
            Some((Answer::Given, given)) if *given == pair.hash => Answer::Kept,
            Some((Answer::Kept, kept)) if *kept == pair.hash => Answer::Kept,
            Some(_) | None => Answer::Seen,
        };
        let is_said = pair.is_answered
            && pair.answer.as_ref().is_some_and(|(said, hash)| *said == word && *hash == pair.hash);
        (!is_said).then(|| Said {
            taker: pair.taker.clone(),
            owner: owner.clone(),
            word: Word::Answer(word),
            hash: pair.hash.clone(),
        })
    };
    let said: Vec<_> = asking(owner, catalogue).filter_map(answer).collect();
    (!said.is_empty()).then_some(Action::RecordHandovers(said))
}

/// Stacks that ask for what this one owns.
fn asking<'a>(owner: &'a Owner, catalogue: &'a Catalogue) -> impl Iterator<Item = &'a Handover> {
    let owns = |pair: &&Handover| {
        let claims = catalogue.open_intents().iter();
        pair.owner == *owner && claims.into_iter().any(|claim| claim.owner == *owner && !claim.retained)
    };
    // What was taken over as it was given is over.
    let is_open = |pair: &&Handover| {
        pair.question == Question::Asked && super::adopted(&pair.taker, catalogue, &pair.hash).is_empty()
    };
    catalogue.handovers.iter().filter(is_open).filter(owns)
}

/// The preview that a stack gave as its annotation says.
pub(crate) fn given(owner: &Owner, catalogue: &Catalogue, approved: &str) -> bool {
    let is_given =
        |pair: &Handover| pair.owner == *owner && pair.answer == Some((Answer::Given, approved.to_owned()));
    catalogue.handovers.iter().any(is_given)
}

/// What there is to say of those that ask for what a stack owns.
pub(crate) fn told(owner: &Owner, catalogue: &Catalogue) -> Option<String> {
    let tell = |pair: &Handover| {
        let hash = &pair.hash;
        if is_given(&pair.taker, owner, catalogue, hash) {
            return format!("{} may take over what its preview {hash} shows; this stack gave it", pair.taker);
        }
        format!(
            "{} asks to take over what its preview {hash} shows; to give it, set the annotation weir.dev/adopt={hash} on this stack",
            pair.taker
        )
    };
    let took = |pair: &&Handover| {
        let is_left =
            catalogue.open_intents().iter().any(|claim| claim.owner == pair.owner && !claim.retained);
        pair.taker == *owner && is_left && !super::adopted(owner, catalogue, &pair.hash).is_empty()
    };
    let taken = catalogue.handovers.iter().filter(took);
    let taken =
        taken.map(|pair| format!("what {} gave is this stack's; that one is not deleted yet", pair.owner));
    let told: Vec<_> = asking(owner, catalogue).map(tell).chain(taken).collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// Tells those that gave that the stack's own pods are proven, once nothing but their own users keeps the end back.
pub(crate) fn settled(taker: &Owner, catalogue: &Catalogue) -> Option<Action> {
    let waits = |entity: &super::Entity| is_held(taker, catalogue, entity).is_none();
    if pending(taker, catalogue).iter().any(waits) {
        return None;
    }
    let is_over = |pair: &&Handover| {
        pair.taker == *taker
            && pair.question == Question::Asked
            && matches!(pair.answer, Some((Answer::Given, _)))
    };
    let took = |pair: &&Handover| !super::adopted(taker, catalogue, &pair.hash).is_empty();
    let say = |pair: &Handover| Said {
        taker: taker.clone(),
        owner: pair.owner.clone(),
        word: Word::Question(Question::Settled),
        hash: pair.hash.clone(),
    };
    let said: Vec<_> = catalogue.handovers.iter().filter(is_over).filter(took).map(say).collect();
    (!said.is_empty()).then_some(Action::RecordHandovers(said))
}
