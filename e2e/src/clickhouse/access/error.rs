//! Why an access statement was refused, with the codes and the texts of ClickHouse.

/// A refusal that is answered to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AccessError {
    #[error("{kind} `{name}`: cannot insert because {kind} `{name}` already exists in `local_directory`")]
    AlreadyExists { kind: &'static str, name: String },
    #[error("There is no {kind} `{name}` in `local_directory`")]
    Unknown { kind: &'static str, name: String },
    #[error("Role {role} is not granted to user {user}")]
    NotGranted { role: String, user: String },
    /// The entity lives in the configuration: the engine's own answer (495) is the right one.
    #[error("{name} is defined by the configuration")]
    Builtin { name: String },
    /// Loud, because silence would let a test pass that ClickHouse would fail, or the other way round.
    #[error("the ClickHouse development server cannot keep this: {0}")]
    Unsupported(String),
    #[error("the engine did not take the new access entities: {0}")]
    Engine(String),
}

impl AccessError {
    /// ClickHouse's number and name of the error.
    pub(crate) fn code(&self) -> (u16, &'static str) {
        match self {
            Self::AlreadyExists { .. } => (493, "ACCESS_ENTITY_ALREADY_EXISTS"),
            Self::Unknown { kind: "role", .. } => (511, "UNKNOWN_ROLE"),
            Self::Unknown { kind: "row policy", .. } => (523, "UNKNOWN_ROW_POLICY"),
            Self::Unknown { kind: "quota", .. } => (199, "UNKNOWN_QUOTA"),
            Self::Unknown { .. } => (192, "UNKNOWN_USER"),
            Self::NotGranted { .. } => (512, "SET_NON_GRANTED_ROLE"),
            Self::Builtin { .. } => (495, "ACCESS_STORAGE_READONLY"),
            Self::Unsupported(_) => (48, "NOT_IMPLEMENTED"),
            Self::Engine(_) => (1002, "UNKNOWN_EXCEPTION"),
        }
    }
}
