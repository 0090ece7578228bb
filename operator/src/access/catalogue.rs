//! What ClickHouse holds: databases, roles, users, grants, row policies, quotas and the ledger, read with a fixed number of queries however
//! many stacks there are.

mod limits;
mod settings;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::action::Action;
use super::ledger::adoption::{self, AdoptionRow};
use super::ledger::handover::{self, HandoverRow};
use super::ledger::{self, Adoption, Handover, Intent, IntentRow};
use super::profile::{Automatic, Setting};
use super::quota::QuotaState;
use super::request::{self, Request, RequestRow};
use super::right::{GrantRow, Grants, PrivilegeRow, Privileges};
use super::rows::{PolicyName, PolicyState};
use super::{Desired, Entity, Kind, Owner};
use crate::clickhouse::{Connection, Error};

/// Code with which ClickHouse refuses a table that does not exist.
pub(super) const UNKNOWN_TABLE: u32 = 60;

/// What one ClickHouse holds, as its first endpoint sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Catalogue {
    /// User that it was read as; never touched.
    pub(crate) administrator: String,
    /// Names of the databases.
    pub(crate) databases: BTreeSet<String>,
    /// Names of the roles.
    pub(crate) roles: BTreeSet<String>,
    /// Users and what can be seen of them.
    pub(crate) users: BTreeMap<String, UserState>,
    /// Rights of each role and user.
    pub(super) grants: BTreeMap<Entity, Grants>,
    /// Roles that each role and user holds.
    pub(super) role_grants: BTreeMap<Entity, BTreeSet<String>>,
    /// Row policies on any table.
    pub(crate) policies: BTreeMap<PolicyName, PolicyState>,
    /// Quotas.
    pub(crate) quotas: BTreeMap<String, QuotaState>,
    /// Which privileges a group holds.
    pub(super) privileges: Privileges,
    /// What the server chooses where a setting leaves it to it.
    pub(super) automatic: Automatic,
    /// Open claims, oldest first; `None` when the ledger does not exist yet.
    pub(crate) intents: Option<Vec<Intent>>,
    /// Adoptions whose claims are open.
    pub(crate) adoptions: Vec<Adoption>,
    /// Stacks that would take over what others own, oldest first.
    pub(crate) handovers: Vec<Handover>,
    /// Requests for names of others that were refused, oldest first.
    pub(super) requests: Vec<Request>,
    /// The other endpoints, each with what it holds or why it could not be read.
    pub(crate) others: Vec<(String, Result<Catalogue, Error>)>,
}

/// What can be seen of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UserState {
    /// May log in from everywhere.
    pub(crate) any_host: bool,
    /// May log in from hosts that are named, not numbered.
    pub(crate) has_names: bool,
    /// Networks that it may log in from.
    pub(crate) networks: BTreeSet<String>,
    /// Every granted role is active after login.
    pub(crate) default_roles_all: bool,
    /// Its settings, sorted, those of profiles that it was given included.
    pub(crate) settings: Vec<Setting>,
}

/// Reads the catalogue from every endpoint. The first one decides; the others are there to be compared.
pub(crate) async fn fetch_catalogue(connection: &Connection) -> Result<Catalogue, Error> {
    let endpoints = connection.each_endpoint();
    let reads = endpoints
        .iter()
        .map(|endpoint| async move { (endpoint.endpoint().to_owned(), fetch_endpoint(endpoint).await) });
    let mut answers = futures::future::join_all(reads).await.into_iter();
    let first = answers.next().map_or_else(|| Ok(Catalogue::default()), |(_, first)| first)?;
    Ok(Catalogue { others: answers.collect(), ..first })
}

async fn fetch_endpoint(connection: &Connection) -> Result<Catalogue, Error> {
    let databases: BTreeSet<String> = names(connection, "SELECT name FROM system.databases").await?;
    let privileges = Privileges::new(
        connection
            .rows::<PrivilegeRow>("SELECT privilege, level, parent_group FROM system.privileges")
            .await?,
    );
    let users = connection.rows::<UserRow>("SELECT * FROM system.users").await?;
    let settings = settings::fetch(connection).await?;
    let grants = connection.rows::<GranteeRow<GrantRow>>("SELECT * FROM system.grants").await?;
    let role_grants = connection.rows::<GranteeRow<RoleGrantRow>>("SELECT * FROM system.role_grants").await?;
    let intents = fetch_intents(connection, databases.contains(ledger::DATABASE)).await?;
    let adoptions = fetch_adoptions(connection, intents.as_deref()).await?;
    let handovers = if intents.is_some() { fetch_handovers(connection).await? } else { Vec::new() };
    let requests = if intents.is_some() { fetch_requests(connection).await? } else { Vec::new() };
    Ok(Catalogue {
        administrator: connection.user().to_owned(),
        roles: names(connection, "SELECT name FROM system.roles").await?,
        users: users.into_iter().map(|user| user.into_state(&settings)).collect(),
        grants: collect_grants(grants, &privileges),
        role_grants: collect_role_grants(role_grants),
        policies: limits::fetch_policies(connection).await?,
        quotas: limits::fetch_quotas(connection).await?,
        privileges,
        automatic: settings::fetch_automatic(connection).await?,
        intents,
        adoptions,
        handovers,
        requests,
        databases,
        others: Vec::new(),
    })
}

/// Reads the open claims; `None` when the ledger's table does not exist.
async fn fetch_intents(connection: &Connection, database_exists: bool) -> Result<Option<Vec<Intent>>, Error> {
    if !database_exists {
        return Ok(None);
    }
    match open_intents(connection).await {
        Ok(intents) => Ok(Some(intents)),
        Err(error) if error.code() == Some(UNKNOWN_TABLE) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) async fn open_intents(connection: &Connection) -> Result<Vec<Intent>, Error> {
    let rows = connection.rows::<IntentRow>(&ledger::open_query()).await?;
    Ok(rows.into_iter().map(Intent::from).collect())
}

/// Reads the adoptions of open claims; none where nothing was ever taken over.
async fn fetch_adoptions(connection: &Connection, open: Option<&[Intent]>) -> Result<Vec<Adoption>, Error> {
    let Some(open) = open else { return Ok(Vec::new()) };
    match connection.rows::<AdoptionRow>(&adoption::query()).await {
        Ok(rows) => Ok(adoption::of_open(rows, open)),
        Err(error) if error.code() == Some(UNKNOWN_TABLE) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Reads the handovers that are not over; none where nobody ever asked.
async fn fetch_handovers(connection: &Connection) -> Result<Vec<Handover>, Error> {
    match connection.rows::<HandoverRow>(&handover::query()).await {
        Ok(rows) => Ok(rows.into_iter().map(Handover::from).collect()),
        Err(error) if error.code() == Some(UNKNOWN_TABLE) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Reads the refused requests; none where an older operator made the ledger and nothing was refused since.
async fn fetch_requests(connection: &Connection) -> Result<Vec<Request>, Error> {
    match connection.rows::<RequestRow>(&request::open_query()).await {
        Ok(rows) => Ok(rows.into_iter().map(Request::from).collect()),
        Err(error) if error.code() == Some(UNKNOWN_TABLE) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

async fn names(connection: &Connection, query: &str) -> Result<BTreeSet<String>, Error> {
    #[derive(Deserialize)]
    struct Row {
        name: String,
    }
    Ok(connection.rows::<Row>(query).await?.into_iter().map(|row| row.name).collect())
}

impl Catalogue {
    /// Endpoints that do not hold all of the desired access yet, or could not be read, each with why.
    pub(crate) fn lagging(&self, desired: &Desired) -> Vec<(String, Option<Error>)> {
        let desired = &desired.beside_others(self);
        // What only the end of an adoption changes is no lag; the first endpoint alone knows of it.
        let waits = |action: &Action| match action {
            Action::AlterUser(user) => {
                super::is_half_adopted(&desired.owner, self, &Entity::user(&user.name))
            }
            _ => false,
        };
        let behind =
            |other: &Catalogue| !super::plan::entity_actions(desired, other, &|_| true).iter().all(waits);
        let lag = |(endpoint, read): &(String, Result<Self, Error>)| match read {
            Ok(other) => behind(other).then(|| (endpoint.clone(), None)),
            Err(error) => Some((endpoint.clone(), Some(error.clone()))),
        };
        self.others.iter().filter_map(lag).collect()
    }

    /// Whether an entity exists, whoever made it.
    pub(crate) fn holds(&self, entity: &Entity) -> bool {
        match entity.kind {
            Kind::Database => self.databases.contains(&entity.name),
            Kind::Role => self.roles.contains(&entity.name),
            Kind::User => self.users.contains_key(&entity.name),
            Kind::RowPolicy => {
                PolicyName::parse(&entity.name).is_some_and(|name| self.policies.contains_key(&name))
            }
            Kind::Quota => self.quotas.contains_key(&entity.name),
        }
    }

    /// What narrows readers, where the entity is that.
    pub(super) fn limits_of(&self, entity: &Entity) -> (Option<&PolicyState>, Option<&QuotaState>) {
        let policy = PolicyName::parse(&entity.name).filter(|_| entity.kind == Kind::RowPolicy);
        let quota = self.quotas.get(&entity.name).filter(|_| entity.kind == Kind::Quota);
        (policy.and_then(|name| self.policies.get(&name)), quota)
    }

    /// Whether an entity belongs to another stack.
    pub(crate) fn is_of_another(&self, owner: &Owner, entity: &Entity) -> bool {
        ledger::head(self.open_intents(), entity).is_some_and(|intent| !owner.succeeds(&intent.owner))
    }

    pub(super) fn open_intents(&self) -> &[Intent] {
        self.intents.as_deref().unwrap_or_default()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct UserRow {
    name: String,
    host_ip: Vec<String>,
    host_names: Vec<String>,
    host_names_regexp: Vec<String>,
    host_names_like: Vec<String>,
    default_roles_all: u8,
}

impl UserRow {
    fn into_state(self, settings: &settings::Elements) -> (String, UserState) {
        let any_host = self.host_ip.iter().any(|host| host == "::/0")
            || self.host_names_like.iter().any(|host| host == "%");
        let names = [&self.host_names, &self.host_names_regexp, &self.host_names_like];
        let has_names = names.iter().any(|list| !list.is_empty());
        let state = UserState {
            any_host,
            has_names,
            networks: self.host_ip.into_iter().collect(),
            default_roles_all: self.default_roles_all != 0,
            settings: settings.of_user(&self.name),
        };
        (self.name, state)
    }
}

#[derive(Debug, Deserialize)]
struct GranteeRow<T> {
    user_name: Option<String>,
    role_name: Option<String>,
    // The row is our own reading of a server table, not input of a user, so a vague message of a flattened row is no loss.
    #[serde(flatten)]
    row: T,
}

impl<T> GranteeRow<T> {
    fn split(self) -> Option<(Entity, T)> {
        let entity = match (self.user_name, self.role_name) {
            (Some(user), _) => Entity::user(&user),
            (None, Some(role)) => Entity::role(&role),
            (None, None) => return None,
        };
        Some((entity, self.row))
    }
}

#[derive(Debug, Deserialize)]
struct RoleGrantRow {
    granted_role_name: String,
}

fn collect_grants(rows: Vec<GranteeRow<GrantRow>>, privileges: &Privileges) -> BTreeMap<Entity, Grants> {
    let mut grants: BTreeMap<Entity, Grants> = BTreeMap::new();
    for (entity, row) in rows.into_iter().filter_map(GranteeRow::split) {
        grants.entry(entity).or_default().add(&row, privileges);
    }
    grants
}

fn collect_role_grants(rows: Vec<GranteeRow<RoleGrantRow>>) -> BTreeMap<Entity, BTreeSet<String>> {
    let mut grants: BTreeMap<Entity, BTreeSet<String>> = BTreeMap::new();
    for (entity, row) in rows.into_iter().filter_map(GranteeRow::split) {
        grants.entry(entity).or_default().insert(row.granted_role_name);
    }
    grants
}
