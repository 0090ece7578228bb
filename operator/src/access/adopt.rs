//! Takes entities over in the ledger, once their preview was approved and is still the same.
//!
//! One insert makes the stack's claims and closes those of the owner before, as one block: whoever reads the ledger sees
//! both or none, and of two that take the same name the one with the lower block number has it. So an entity is never
//! without an owner and never has two, and a crash leaves either the one or the other.

use std::collections::BTreeSet;

use super::action::{Action, Claim};
use super::adoption::{AdoptionRules, Preview, Takeover, preview};
use super::apply::{Error, new_intent, refused, swallowed};
use super::catalogue::{fetch_catalogue, open_intents};
use super::ledger::{
    self, Adoption, INTENTS, Intent, OwnershipConflict, State, adoption, rows_statement, widen_statement,
};
use super::rows::PolicyName;
use super::{Entity, Kind, Owner};
use crate::clickhouse::{self, Connection};
use crate::quote::identifier;

const ACCESS_STORAGE_READONLY: u32 = 495;
const ACCESS_DENIED: u32 = 497;

/// Takes over what was approved. Nothing is done unless the preview is still the one that was.
pub(super) async fn take_over(
    connection: &Connection,
    owner: &Owner,
    takeover: &Takeover,
    action: &Action,
) -> Result<(), Error> {
    let failed = |source| refused(action, source);
    let preview = current(connection, takeover).await.map_err(failed)?;
    let Some(preview) = preview.filter(|preview| preview.hash == takeover.hash) else {
        return Err(Error::PreviewChanged { approved: takeover.hash.clone() });
    };
    if preview.awaited().is_some() {
        return Err(Error::PreviewChanged { approved: takeover.hash.clone() });
    }
    if let Some((item, refusal)) = preview.refused() {
        return Err(Error::NotAdoptable { entity: item.entity.clone(), refusal });
    }
    let adoptions = new_adoptions(owner, &preview);
    let widen = widen_statement(INTENTS, adoptions.iter().map(|adoption| &adoption.intent.entity));
    let noted =
        [adoption::create_statement(), adoption::insert_statement(&adoptions, adoption::State::Adopted)];
    for statement in widen.into_iter().chain(noted) {
        connection.execute(&statement).await.map_err(failed)?;
    }
    let claimed: Vec<_> = adoptions.into_iter().map(|adoption| adoption.intent).collect();
    let closed: Vec<_> = preview.items.into_iter().flat_map(|item| item.claims).collect();
    let rows = claimed.iter().map(|intent| (intent, State::Claimed));
    let rows = rows.chain(closed.iter().map(|intent| (intent, State::Closed)));
    connection.execute(&rows_statement(rows)).await.map_err(failed)?;
    let open = open_intents(connection).await.map_err(failed)?;
    if !claimed.iter().all(|claim| open.iter().any(|intent| intent.nonce == claim.nonce)) {
        return Err(swallowed(action, connection));
    }
    give_up_lost(connection, owner, claimed, &open).await.map_err(failed)?
}

/// What would be taken over now.
async fn current(connection: &Connection, takeover: &Takeover) -> Result<Option<Preview>, clickhouse::Error> {
    let fixed = fetch_fixed(connection, &takeover.entities).await?;
    let catalogue = fetch_catalogue(connection).await?;
    let rules = AdoptionRules { fixed, silence: takeover.silence };
    Ok(preview(&takeover.desired, &catalogue, &rules))
}

fn new_adoptions(owner: &Owner, preview: &Preview) -> Vec<Adoption> {
    let adoption = |(entity, class)| Adoption {
        intent: new_intent(owner, &Claim { entity, class }),
        hash: preview.hash.clone(),
        is_settled: false,
    };
    preview.items.iter().map(|item| adoption((item.entity.clone(), item.class))).collect()
}

/// Gives up the claims that somebody else was faster with.
async fn give_up_lost(
    connection: &Connection,
    owner: &Owner,
    claimed: Vec<Intent>,
    open: &[Intent],
) -> Result<Result<(), Error>, clickhouse::Error> {
    let first = |intent: &Intent| ledger::head(open, &intent.entity).map(|head| head.owner.clone());
    let lost: Vec<_> = claimed
        .into_iter()
        .filter(|intent| first(intent).is_none_or(|head| !owner.succeeds(&head)))
        .collect();
    let Some(contested) = lost.first() else { return Ok(Ok(())) };
    connection.execute(&ledger::insert_statement(&lost, State::Closed)).await?;
    let conflict = OwnershipConflict { entity: contested.entity.clone(), owner: first(contested) };
    Ok(Err(conflict.into()))
}

/// A statement that changes nothing of an entity, and that is refused where none could. There is none for databases, which are
/// never in a file of the server.
fn probe(entity: &Entity) -> Option<String> {
    match entity.kind {
        Kind::Database => None,
        Kind::Role | Kind::User => Some(format!("REVOKE USAGE ON *.* FROM {}", identifier(&entity.name))),
        Kind::Quota => Some(format!("ALTER QUOTA {}", identifier(&entity.name))),
        Kind::RowPolicy => Some(format!("ALTER ROW POLICY {}", PolicyName::parse(&entity.name)?.sql())),
    }
}

/// Those of the entities that statements of this account cannot change.
pub(crate) async fn fetch_fixed(
    connection: &Connection,
    entities: &[Entity],
) -> Result<BTreeSet<Entity>, clickhouse::Error> {
    let mut fixed = BTreeSet::new();
    for (entity, probe) in entities.iter().filter_map(|entity| Some((entity, probe(entity)?))) {
        match connection.execute(&probe).await {
            Err(error) if matches!(error.code(), Some(ACCESS_STORAGE_READONLY | ACCESS_DENIED)) => {
                fixed.insert(entity.clone());
            }
            Err(error) if error.is_transient() || error.code().is_none() => return Err(error),
            // It can be changed, or is gone, which the next look at the catalogue shows.
            Ok(()) | Err(_) => {}
        }
    }
    Ok(fixed)
}
