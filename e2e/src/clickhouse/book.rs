//! The access entities as the engine has them, and as they will be after the next restart.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use tokio::sync::{Notify, oneshot};

use super::access::{Access, AccessError, Login, Statement, apply::Builtin};

/// Where a statement's outcome is awaited.
pub(crate) type Outcome = oneshot::Receiver<Result<(), AccessError>>;

/// Both states, and who waits for the second to become the first.
#[derive(Debug)]
pub(crate) struct Book {
    pages: Mutex<Pages>,
    builtin: Builtin,
    /// Told when there is something to bring to the engine.
    pub(crate) changed: Notify,
}

#[derive(Debug)]
struct Pages {
    /// What the engine runs with.
    current: Access,
    /// What it runs with next.
    next: Access,
    waiters: Vec<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    /// A statement that only takes access away is answered once it is on disk and the gate is shut: from then on nobody
    /// can see the old state, and its caller must be able to go on to `KILL QUERY`.
    is_removal: bool,
    reply: oneshot::Sender<Result<(), AccessError>>,
}

/// What the front says about a request's credential before the engine sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The engine judges.
    Pass,
    /// The password was good until `VALID UNTIL`, which the engine does not know.
    Expired,
    /// A statement took it away, and the engine has not restarted yet.
    Removed,
}

impl Book {
    pub(crate) fn new(access: Access, admin_user: &str) -> Self {
        let users = BTreeSet::from(["default".to_owned(), admin_user.to_owned()]);
        let pages = Pages { current: access.clone(), next: access, waiters: Vec::new() };
        Self { pages: Mutex::new(pages), builtin: Builtin { users }, changed: Notify::new() }
    }

    /// Records statements, all or none; the outcome comes with the restart that makes them true.
    pub(crate) fn record(&self, statements: &[Statement]) -> Result<Outcome, AccessError> {
        let mut pages = self.lock();
        let next = pages.next.after(statements, &self.builtin)?;
        let (reply, outcome) = oneshot::channel();
        if next == pages.next && pages.next == pages.current {
            drop(reply.send(Ok(())));
            return Ok(outcome);
        }
        let is_removal = statements.iter().all(is_removal);
        pages.next = next;
        pages.waiters.push(Waiter { is_removal, reply });
        self.changed.notify_one();
        Ok(outcome)
    }

    /// Records other entities in place of all.
    pub(crate) fn replace(&self, access: Access) -> Outcome {
        let mut pages = self.lock();
        let (reply, outcome) = oneshot::channel();
        if access == pages.next && pages.next == pages.current {
            drop(reply.send(Ok(())));
            return outcome;
        }
        pages.next = access;
        pages.waiters.push(Waiter { is_removal: false, reply });
        self.changed.notify_one();
        outcome
    }

    /// Judges a credential.
    pub(crate) fn verdict(&self, user: &str, password: &str) -> Verdict {
        let pages = self.lock();
        let now = Timestamp::now();
        let login = |access: &Access| access.users.get(user).map(|user| user.login(password, now));
        match (login(&pages.current), login(&pages.next)) {
            (Some(Login::Accepted), Some(Login::Refused) | None) => Verdict::Removed,
            (_, Some(Login::Expired)) => Verdict::Expired,
            _ => Verdict::Pass,
        }
    }

    /// The roles that a login of this user must be limited to, when they are not all that it has.
    pub(crate) fn narrowed_roles(&self, user: &str) -> Vec<String> {
        let pages = self.lock();
        let Some(user) = pages.current.users.get(user) else { return Vec::new() };
        match &user.default_roles {
            super::access::DefaultRoles::Only(roles) if roles.len() < user.granted.roles.len() => {
                roles.iter().cloned().collect()
            }
            _ => Vec::new(),
        }
    }

    /// The state that the engine is to have.
    pub(crate) fn next(&self) -> Access {
        self.lock().next.clone()
    }

    /// The state that the engine has.
    pub(crate) fn current(&self) -> Access {
        self.lock().current.clone()
    }

    /// Whether the engine has another state than it is to have, or somebody waits for it.
    pub(crate) fn is_behind(&self) -> bool {
        let pages = self.lock();
        pages.next != pages.current || !pages.waiters.is_empty()
    }

    /// Answers the statements that only take access away.
    pub(crate) fn answer_removals(&self) {
        let mut pages = self.lock();
        let (removals, others) = std::mem::take(&mut pages.waiters).into_iter().partition(|w| w.is_removal);
        pages.waiters = others;
        answer(removals, &Ok(()));
    }

    /// The engine has the next state: it is the current one.
    pub(crate) fn turn(&self) {
        let mut pages = self.lock();
        pages.current = pages.next.clone();
        answer(std::mem::take(&mut pages.waiters), &Ok(()));
    }

    /// The engine could not take the next state: everything stays as it was.
    pub(crate) fn turn_back(&self, error: &AccessError) {
        let mut pages = self.lock();
        pages.next = pages.current.clone();
        answer(std::mem::take(&mut pages.waiters), &Err(error.clone()));
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(waiters: Vec<Waiter>, result: &Result<(), AccessError>) {
    for waiter in waiters {
        // A client that has left does not wait for its answer.
        drop(waiter.reply.send(result.clone()));
    }
}

fn is_removal(statement: &Statement) -> bool {
    match statement {
        Statement::DropUser { .. } => true,
        Statement::AlterUser { clauses, .. } => clauses.methods.is_some() || clauses.valid_until.is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::access::parse;
    use super::*;

    #[tokio::test]
    async fn a_restart_brings_along_what_was_recorded_meanwhile() {
        let book = Book::new(Access::default(), "admin");
        assert!(!book.is_behind());
        let outcomes = ["CREATE ROLE a", "CREATE ROLE b"].map(|sql| book.record(&[parse(sql)?]));
        assert!(book.is_behind());
        book.turn();
        book.changed.notified().await;
        assert!(!book.is_behind(), "who is told of it afterwards finds nothing to do");
        for outcome in outcomes {
            outcome.unwrap().await.unwrap().unwrap();
        }
    }
}
