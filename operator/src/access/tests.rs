//! Access as a whole: plans against a model of ClickHouse, and the same actions against a real one.

mod adoption;
mod handover;
pub(crate) mod model;
mod narrowing;
mod planning;
mod real;

use std::collections::BTreeMap;

use super::action::Claim;
use super::adoption::Refusal;
use super::desired::User;
use super::ledger::{Intent, OwnershipConflict};
use super::plan::Plan;
use super::request::Request;
use super::right::Scope;
use super::*;
use crate::names::ClickhouseNames;

/// A stack of its own for each test, so that tests share a server without meeting.
struct Stack {
    owner: Owner,
    names: ClickhouseNames,
    /// What the server makes of the readers' conditions.
    forms: Forms,
}

impl Stack {
    fn new(namespace: &str, name: &str) -> Self {
        let owner = Owner {
            cluster_id: "cluster-a".into(),
            namespace: namespace.into(),
            name: name.into(),
            uid: format!("uid-of-{name}"),
        };
        Self { names: ClickhouseNames::new(namespace, name, None), owner, forms: Forms::default() }
    }

    /// The access of a stack with one reader, `bi`, and the given logins.
    fn desired(&self, logins: &[Login]) -> Desired {
        self.desired_with(&[reader("bi")], logins)
    }

    fn desired_with(&self, readers: &[Reader], logins: &[Login]) -> Desired {
        desired(&DesiredRequest {
            owner: &self.owner,
            names: &self.names,
            readers,
            logins,
            forms: &self.forms,
        })
    }

    fn logins(&self) -> Vec<Login> {
        let login = |user: String, purpose| Login { passwords: passwords_of(&user), user, purpose };
        vec![
            login(self.names.ingest_user(1), Purpose::Ingest),
            login(self.names.reader_user("bi", 1), Purpose::Reader("bi".into())),
        ]
    }

    fn migration(&self, run: &str) -> Login {
        let user = self.names.migrate_user(run);
        Login { passwords: passwords_of(&user), user, purpose: Purpose::Migrate }
    }
}

/// A reader of one table, with a condition where there is one.
fn filtered(name: &str, table: &str, condition: Option<&str>) -> Reader {
    let rows = condition.map(|condition| (table.to_owned(), condition.to_owned()));
    let reads = Reads::Tables(vec![(table.to_owned(), Vec::new())]);
    Reader { reads, rows: rows.into_iter().collect(), ..reader(name) }
}

/// A quota of an hour.
fn hourly(limits: &[(&str, &str)]) -> BTreeMap<u64, Limits> {
    let limits = limits.iter().map(|(name, amount)| ((*name).to_owned(), (*amount).to_owned()));
    [(3600, limits.collect())].into()
}

fn password_of(user: &str) -> String {
    format!("password of {user}")
}

fn passwords_of(user: &str) -> Vec<Password> {
    vec![Password::endless(PasswordHash::of(&password_of(user)))]
}

/// A reader of everything.
fn reader(name: &str) -> Reader {
    Reader {
        name: name.into(),
        reads: Reads::Everything,
        hosts: Hosts::Any,
        settings: Vec::new(),
        rows: BTreeMap::new(),
        quota: BTreeMap::new(),
    }
}
