//! What status shows of entities that are not the stack's own, within its share of status. Pure.

use weir_crds::{AdoptedEntity, AdoptionStatus};

use crate::access::{Consent, Item, Preview};

/// Bytes of text that the list may hold: status stays under 16 KiB with its conditions and waits.
const MAX_LIST: usize = 6144;
/// Longest text of one change.
const MAX_CHANGE: usize = 1024;
/// Bytes that an entity takes besides its texts.
const FRAME: usize = 64;

/// The preview as status shows it; `value` is what the annotation says.
pub(crate) fn adoption_status(
    preview: &Preview,
    previous: Option<&AdoptionStatus>,
    value: Option<&str>,
) -> AdoptionStatus {
    let outdated = value.filter(|value| is_outdated(previous, value, &preview.hash));
    let mut room = MAX_LIST;
    let mut entities = Vec::new();
    for item in &preview.items {
        let entity = entity(item);
        let Some(left) = room.checked_sub(size(&entity)) else { break };
        room = left;
        entities.push(entity);
    }
    let is_unknown = preview.awaited().is_some_and(|item| item.consent == Consent::Unknown);
    let is_decided = preview.refused().is_none() && !is_unknown;
    let omitted = i32::try_from(preview.items.len() - entities.len()).unwrap_or(i32::MAX);
    AdoptionStatus {
        // What there is to take over is not known before it is known whether its owners live.
        hash: is_decided.then(|| preview.hash.clone()),
        outdated: outdated.map(str::to_owned),
        entities,
        omitted: (omitted > 0).then_some(omitted),
    }
}

/// Whether a value approved a preview that status showed and that is another one now.
pub(crate) fn is_outdated(previous: Option<&AdoptionStatus>, value: &str, hash: &str) -> bool {
    let Some(previous) = previous else { return false };
    let was_shown = [&previous.hash, &previous.outdated].into_iter().flatten().any(|shown| shown == value);
    was_shown && value != hash
}

fn entity(item: &Item) -> AdoptedEntity {
    AdoptedEntity {
        entity: item.entity.to_string(),
        owner: item.owner.as_ref().map(ToString::to_string),
        consent: item.consent.as_str().map(str::to_owned),
        refusal: item.refusal.map(|refusal| refusal.to_string()),
        changes: item.changes.iter().map(|change| shortened(change)).collect(),
    }
}

fn shortened(change: &str) -> String {
    if change.len() <= MAX_CHANGE {
        return change.to_owned();
    }
    let mut end = MAX_CHANGE - '…'.len_utf8();
    while !change.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", change.get(..end).unwrap_or_default())
}

fn size(entity: &AdoptedEntity) -> usize {
    let AdoptedEntity { entity, owner, consent, refusal, changes } = entity;
    let texts = [Some(entity), owner.as_ref(), consent.as_ref(), refusal.as_ref()]
        .into_iter()
        .flatten()
        .chain(changes);
    FRAME + texts.map(|text| text.len() + 4).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Class, Entity};

    fn preview(entities: usize, change: &str) -> Preview {
        let item = |number: usize| Item {
            changes: vec![change.into(), change.into()],
            ..Item::of(Entity::role(&format!("weir_retail__store_reader_{number}")), Class::Reader)
        };
        Preview { hash: "0123456789abcdef".into(), items: (0..entities).map(item).collect() }
    }

    #[test]
    fn a_preview_of_any_size_keeps_its_share_of_status_and_counts_what_it_leaves_out() {
        let status = adoption_status(&preview(500, &"ü".repeat(900)), None, None);
        let size = serde_json::to_string(&status).unwrap().len();
        assert!(size < MAX_LIST + 200, "{size}");
        let listed = i32::try_from(status.entities.len()).unwrap();
        assert!(listed > 1 && status.omitted == Some(500 - listed), "{listed}");
        let small = adoption_status(&preview(2, "grant SELECT"), None, None);
        assert_eq!((small.entities.len(), small.omitted), (2, None));
    }

    #[test]
    fn an_approval_of_what_was_shown_before_is_told_from_any_other_value() {
        let first = adoption_status(&preview(1, "a"), None, None);
        let changed = Preview { hash: "fedcba9876543210".into(), ..preview(1, "b") };
        let shown = adoption_status(&changed, Some(&first), first.hash.as_deref());
        assert_eq!(shown.outdated, first.hash);
        let again = adoption_status(&changed, Some(&shown), first.hash.as_deref());
        assert_eq!(again, shown, "it stays told");
        assert_eq!(adoption_status(&changed, Some(&shown), Some("another")).outdated, None);
        assert_eq!(adoption_status(&changed, Some(&shown), changed.hash.as_str().into()).outdated, None);
    }
}
