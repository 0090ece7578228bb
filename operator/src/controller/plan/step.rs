//! The steps of a plan. Their text is redacted by construction: no variant shows a value that opens anything.

use k8s_openapi::jiff::Timestamp;
use secrecy::SecretString;
use weir_crds::{ConditionType, KeyType, Reason};

use crate::access;
use crate::controller::child::{Child, ChildKey};
use crate::controller::credential::Origin;
use crate::controller::observed::Fault;
use crate::controller::rotation::Cause;

/// One step, with the condition that it belongs to.
#[derive(Debug)]
pub(crate) enum Step {
    /// Something to do.
    Do(ConditionType, Action),
    /// Something to wait for.
    Hold(Hold),
}

impl Step {
    /// Whether it makes or changes the login of a user.
    pub(crate) fn makes_user(&self, name: &str) -> bool {
        match self {
            Self::Do(
                _,
                Action::Access(
                    access::Action::CreateUser(user)
                    | access::Action::AlterUser(user)
                    | access::Action::OpenLogin(user)
                    | access::Action::AddPassword(user),
                ),
            ) => user.name == name,
            Self::Do(..) | Self::Hold(_) => false,
        }
    }

    /// Whether it is a wait that a fault would only repeat.
    pub(crate) fn names(&self, fault: &Fault) -> bool {
        matches!(self, Self::Hold(hold) if hold.object == fault.object && hold.reason == fault.reason)
    }
}

/// Something to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hold {
    /// Condition that it belongs to.
    pub(crate) stage: ConditionType,
    /// What is waited for, as kind and name.
    pub(crate) object: String,
    /// Why.
    pub(crate) reason: Reason,
    /// What to do about it.
    pub(crate) hint: String,
    /// Whether the steps behind it must not run.
    pub(crate) blocks: bool,
    /// When time alone ends it.
    pub(crate) until: Option<Timestamp>,
}

impl Hold {
    /// A wait of access that stops nothing and that time alone does not end.
    pub(crate) const fn of_access(object: String, reason: Reason, hint: String) -> Self {
        Self { stage: ConditionType::AccessReady, object, reason, hint, blocks: false, until: None }
    }

    /// The wait that a fault causes.
    pub(crate) fn from_fault(fault: &Fault, blocks: bool) -> Self {
        Self {
            stage: fault.stage,
            object: fault.object.clone(),
            reason: fault.reason,
            hint: fault.hint.clone(),
            blocks,
            until: None,
        }
    }

    /// Whether it is work in progress and no fault.
    pub(crate) const fn is_progress(&self) -> bool {
        matches!(
            self.reason,
            Reason::Progressing
                | Reason::Waiting
                | Reason::Adopting
                | Reason::Retiring
                | Reason::SuppliedByOwner
                | Reason::MigrationRunning
                | Reason::RolloutInProgress
                | Reason::SpoolDraining
        )
    }

    /// Whether the stack is as its spec says meanwhile, so that nobody has to wait for the end of it.
    pub(crate) const fn is_aside(&self) -> bool {
        matches!(self.reason, Reason::Retiring | Reason::SuppliedByOwner)
    }
}

/// Something to do.
#[derive(Debug)]
pub(crate) enum Action {
    /// Adds the finalizer.
    AddFinalizer,
    /// Removes the finalizer, which lets the stack go.
    RemoveFinalizer,
    /// Changes access in ClickHouse.
    Access(access::Action),
    /// Writes a new credential ahead.
    Generate(Generate),
    /// Writes a known credential ahead again; fails when somebody did.
    Create(Child),
    /// Logs in as a user and checks its rights.
    Prove(Proof),
    /// Tells pods what to read, so that their mounts are refreshed at once.
    Tell(Vec<String>, String),
    /// Notes when a generation was published.
    MarkPublished {
        /// Secret that it was written ahead into.
        secret: String,
        /// Secret that its consumers use.
        published: String,
    },
    /// Notes when ClickHouse will refuse a generation.
    MarkExpiry(String, Timestamp),
    /// Notes that the database is migrated, with its version where a login to read it is left.
    RecordMigration(Option<Proof>),
    /// Applies a child.
    Apply(Child),
    /// Deletes a child that is no longer wanted.
    Delete(ChildKey, String),
    /// Deletes the pods and waits for their end.
    DeletePods(ChildKey, String),
}

/// A credential to generate.
#[derive(Debug)]
pub(crate) struct Generate {
    /// Secret to write it into.
    pub(crate) secret: String,
    /// Its name among the stack's credentials.
    pub(crate) credential: String,
    /// Its generation.
    pub(crate) generation: i64,
    /// Why it is made.
    pub(crate) cause: Cause,
    /// Where it counts as being from.
    pub(crate) origin: Origin,
    /// User of the migration that it is for, when it is one's.
    pub(crate) migration_user: Option<String>,
    /// Type of the key, when it is one.
    pub(crate) key: Option<KeyType>,
}

/// A login to prove.
pub(crate) struct Proof {
    /// The user.
    pub(crate) user: String,
    /// Its password.
    pub(crate) password: SecretString,
    /// What it must be allowed.
    pub(crate) required: Vec<access::Right>,
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Proof({})", self.user)
    }
}

impl Action {
    /// Label in metrics.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::AddFinalizer => "AddFinalizer",
            Self::RemoveFinalizer => "RemoveFinalizer",
            Self::Access(_) => "Access",
            Self::Generate(_) => "Generate",
            Self::Create(_) => "Create",
            Self::Prove(_) => "Prove",
            Self::Tell(..) => "Tell",
            Self::MarkPublished { .. } => "MarkPublished",
            Self::MarkExpiry(..) => "MarkExpiry",
            Self::RecordMigration(_) => "RecordMigration",
            Self::Apply(_) => "Apply",
            Self::Delete(..) => "Delete",
            Self::DeletePods(..) => "DeletePods",
        }
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AddFinalizer => formatter.write_str("add the finalizer"),
            Self::RemoveFinalizer => formatter.write_str("remove the finalizer"),
            Self::Access(action) => action.fmt(formatter),
            Self::Generate(generate) => {
                write!(formatter, "generate Secret/{} generation {}", generate.secret, generate.generation)
            }
            Self::Create(child) => write!(formatter, "create {}", child.key()),
            Self::Prove(proof) => write!(formatter, "prove the login of user {}", proof.user),
            Self::Tell(pods, _) => write!(formatter, "refresh the mounts of {}", pods.join(", ")),
            Self::MarkExpiry(secret, until) => write!(formatter, "mark Secret/{secret} to end at {until}"),
            Self::MarkPublished { secret, .. } => write!(formatter, "mark Secret/{secret} as published"),
            Self::RecordMigration(_) => formatter.write_str("record the migration"),
            Self::Apply(child) => write!(formatter, "apply {}", child.key()),
            Self::Delete(key, _) => write!(formatter, "delete {key}"),
            Self::DeletePods(key, _) => write!(formatter, "delete {key} and wait for its pods"),
        }
    }
}
