//! Carries actions out, one at a time, each safe to repeat after a crash.

use uuid::Uuid;
use weir_crds::Reason;

use super::action::{Action, Claim};
use super::adopt::take_over;
use super::adoption::Refusal;
use super::catalogue::{Catalogue, UNKNOWN_TABLE, fetch_catalogue, open_intents};
use super::desired::PasswordHash;
use super::ledger::{INTENTS, Intent, OwnershipConflict, State, head, insert_statement, widen_statement};
use super::statement::statements;
use super::{Entity, Owner, QuotaChange, RowsChange};
use crate::clickhouse::{self, Connection};

const UNKNOWN_DATABASE: u32 = 81;
const DATABASE_ALREADY_EXISTS: u32 = 82;
const ACCESS_ENTITY_ALREADY_EXISTS: u32 = 493;
const ACCESS_STORAGE_READONLY: u32 = 495;

/// An action or a proof that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// ClickHouse refused or did not answer.
    #[error("failed to {action}")]
    Statement {
        /// The action, redacted.
        action: String,
        /// Why.
        source: clickhouse::Error,
    },
    /// The server answered that it did something, and shows nothing of it.
    #[error(
        "failed to {action}: ClickHouse at {endpoint} answered that it was done, and shows nothing of it"
    )]
    Swallowed {
        /// The action, redacted.
        action: String,
        /// Where.
        endpoint: String,
    },
    /// Somebody else was first.
    #[error("failed to claim a name")]
    Conflict(#[from] OwnershipConflict),
    /// The entity lives in a file of the server, where statements cannot change it.
    #[error("failed to {action}: it is defined in a file of the server")]
    FixedByServer {
        /// The action, redacted.
        action: String,
    },
    /// What would be taken over is not what was approved any more.
    #[error("what was approved as {approved} has changed")]
    PreviewChanged {
        /// Hash of what was approved.
        approved: String,
    },
    /// Something that was approved can never be taken over.
    #[error("{entity} is never taken over")]
    NotAdoptable {
        /// What it is.
        entity: Entity,
        /// Why.
        refusal: Refusal,
    },
    /// A new login does not work on an endpoint.
    #[error("failed to prove the login of user {user} on {endpoint}")]
    Login {
        /// The user.
        user: String,
        /// Where.
        endpoint: String,
        /// Why; `None` when the server knows the login under another name.
        source: Option<clickhouse::Error>,
    },
    /// A new login lacks rights on an endpoint.
    #[error("user {user} lacks rights on {endpoint}")]
    Rights {
        /// The user.
        user: String,
        /// Where.
        endpoint: String,
    },
}

impl Error {
    /// Reason for conditions and events.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Statement { source, .. } => source.reason(),
            Self::Swallowed { .. } => Reason::ClickhouseError,
            Self::Conflict(_) | Self::FixedByServer { .. } | Self::NotAdoptable { .. } => {
                Reason::OwnershipConflict
            }
            // The next pass shows what there is now.
            Self::PreviewChanged { .. } => Reason::Progressing,
            Self::Login { source: Some(source), .. } if source.is_transient() => source.reason(),
            Self::Login { .. } | Self::Rights { .. } => Reason::LoginNotProven,
        }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Statement { source, .. } => source.hint(),
            Self::Swallowed { endpoint, .. } => format!(
                "{endpoint} answered that it was done, and shows nothing of it; check that a ClickHouse answers there itself, that its disk can be written, and that several endpoints share the database weir_ledger"
            ),
            Self::Conflict(conflict) => conflict.hint(),
            Self::FixedByServer { action } => {
                format!(
                    "could not {action}: it is defined in users.xml; remove it there, or give the stack another name"
                )
            }
            Self::PreviewChanged { approved } => format!(
                "what weir.dev/adopt={approved} approved has changed since, so nothing was taken over; status.adoption shows what it is now"
            ),
            Self::NotAdoptable { entity, refusal } => format!("{entity} is never taken over: {refusal}"),
            Self::Login { user, endpoint, .. } => format!(
                "user {user} cannot log in on {endpoint} yet; with several replicas, check that access entities are replicated"
            ),
            Self::Rights { user, endpoint } => format!(
                "user {user} lacks rights on {endpoint}; with several replicas, check that access entities are replicated"
            ),
        }
    }
}

/// Carries one action out. On an error of unknown outcome the next pass reads the catalogue again and plans anew.
pub(crate) async fn apply(connection: &Connection, owner: &Owner, action: &Action) -> Result<(), Error> {
    if let Action::RecordIntents(claims) = action {
        return record_intents(connection, owner, claims, action).await;
    }
    if let Action::Adopt(takeover) = action {
        return take_over(connection, owner, takeover, action).await;
    }
    for statement in statements(action, &PasswordHash::unknown()) {
        if let Err(source) = connection.execute(&statement).await {
            // Of unknown outcome: what was claimed may be there already.
            let unknown = source.is_transient() || source.code().is_none();
            let error = refused(action, source);
            if !unknown {
                close_stale(connection, owner, &error).await;
            }
            return Err(error);
        }
    }
    Ok(())
}

/// Gives up the claims of what was not made, since a refusal can last long enough for somebody else to make it. The next
/// pass claims what is still free.
async fn close_stale(connection: &Connection, owner: &Owner, error: &Error) {
    let closed = async {
        let catalogue = fetch_catalogue(connection).await?;
        let stale = stale_claims(&catalogue, owner, error);
        if stale.is_empty() {
            return Ok(());
        }
        connection.execute(&insert_statement(&stale, State::Closed)).await
    };
    if let Err(error) = closed.await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "failed to close claims of what was not made"
        );
    }
}

/// The owner's claims of what does not exist, and of what somebody else turned out to have made.
fn stale_claims(catalogue: &Catalogue, owner: &Owner, error: &Error) -> Vec<Intent> {
    let is_foreign =
        |entity: &Entity| matches!(error, Error::Conflict(conflict) if conflict.entity == *entity);
    let is_stale = |intent: &&Intent| {
        intent.owner == *owner && (!catalogue.holds(&intent.entity) || is_foreign(&intent.entity))
    };
    catalogue.open_intents().iter().filter(is_stale).cloned().collect()
}

/// Claims names and reads back who is first. Claims that are not first are closed at once. A claim that does not show was
/// never made, whatever the server said, and says nothing of who owns the name.
async fn record_intents(
    connection: &Connection,
    owner: &Owner,
    claims: &[Claim],
    action: &Action,
) -> Result<(), Error> {
    let failed = |source| refused(action, source);
    let claimed: Vec<_> = claims.iter().map(|claim| new_intent(owner, claim)).collect();
    if let Some(widen) = widen_statement(INTENTS, claimed.iter().map(|intent| &intent.entity)) {
        connection.execute(&widen).await.map_err(failed)?;
    }
    connection.execute(&insert_statement(&claimed, State::Claimed)).await.map_err(failed)?;
    let open = match open_intents(connection).await {
        Ok(open) => open,
        Err(error) if matches!(error.code(), Some(UNKNOWN_TABLE | UNKNOWN_DATABASE)) => {
            return Err(swallowed(action, connection));
        }
        Err(error) => return Err(failed(error)),
    };
    let shows = |claim: &Intent| open.iter().any(|intent| intent.nonce == claim.nonce);
    if !claimed.iter().all(shows) {
        return Err(swallowed(action, connection));
    }
    let owner_of = |intent: &Intent| head(&open, &intent.entity).map(|first| first.owner.clone());
    let (won, lost): (Vec<_>, Vec<_>) =
        claimed.into_iter().partition(|intent| owner_of(intent).is_some_and(|first| owner.succeeds(&first)));
    tracing::debug!(won = won.len(), lost = lost.len(), "claimed names in the ledger");
    let Some(first_lost) = lost.first() else { return Ok(()) };
    connection.execute(&insert_statement(&lost, State::Closed)).await.map_err(failed)?;
    Err(OwnershipConflict { entity: first_lost.entity.clone(), owner: owner_of(first_lost) }.into())
}

pub(super) fn swallowed(action: &Action, connection: &Connection) -> Error {
    Error::Swallowed { action: action.to_string(), endpoint: connection.endpoint().to_owned() }
}

pub(super) fn new_intent(owner: &Owner, claim: &Claim) -> Intent {
    Intent {
        entity: claim.entity.clone(),
        class: claim.class,
        owner: owner.clone(),
        nonce: Uuid::new_v4().to_string(),
        retained: false,
    }
}

pub(super) fn refused(action: &Action, source: clickhouse::Error) -> Error {
    let entity = match action {
        Action::CreateDatabase(name) => Some(Entity::database(name)),
        Action::CreateRole(name) => Some(Entity::role(name)),
        Action::CreateUser(user) => Some(Entity::user(&user.name)),
        Action::Rows(change @ RowsChange::Create(_)) => Some(change.entity()),
        Action::Quota(change @ QuotaChange::Create(_)) => Some(change.entity()),
        Action::CreateLedger
        | Action::RecordIntents(_)
        | Action::CloseIntents(_)
        | Action::RetainIntents(_)
        | Action::RecordRequest { .. }
        | Action::WithdrawRequests(_)
        | Action::RecordHandovers(_)
        | Action::Adopt(_)
        | Action::SettleAdoption(_)
        | Action::OpenLogin(_)
        | Action::CloseLogin(_)
        | Action::AlterUser(_)
        | Action::ExpireUser(..)
        | Action::AddPassword(_)
        | Action::LimitPasswords(_)
        | Action::Grant { .. }
        | Action::ReplaceGrants { .. }
        | Action::GrantRole { .. }
        | Action::RevokeRole { .. }
        | Action::DropUser(_)
        | Action::DropRole(_)
        | Action::Rows(RowsChange::Alter(_) | RowsChange::Drop(_))
        | Action::Quota(QuotaChange::Alter(..) | QuotaChange::Drop(_)) => None,
    };
    match (source.code(), entity) {
        (Some(DATABASE_ALREADY_EXISTS | ACCESS_ENTITY_ALREADY_EXISTS), Some(entity)) => {
            OwnershipConflict { entity, owner: None }.into()
        }
        (Some(ACCESS_STORAGE_READONLY), _) => Error::FixedByServer { action: action.to_string() },
        _ => Error::Statement { action: action.to_string(), source },
    }
}
