//! The tables that the ingest writes.

/// A written table; the order is that in which tables are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Events themselves.
    Events,
    /// Properties of persons.
    Properties,
    /// Every `$set_once`, for keys that are unset later.
    SetOnce,
    /// Times and state of persons.
    Persons,
    /// Which distinct ids are one person.
    Links,
}

impl Table {
    /// All tables. Events come first: a fact without its event could not be explained.
    pub const ALL: [Self; 5] = [Self::Events, Self::Properties, Self::SetOnce, Self::Persons, Self::Links];

    /// Name in ClickHouse.
    pub fn name(self) -> &'static str {
        match self {
            Self::Events => "events_data",
            Self::Properties => "person_properties",
            Self::SetOnce => "person_set_once",
            Self::Persons => "person_facts",
            Self::Links => "links",
        }
    }
}
