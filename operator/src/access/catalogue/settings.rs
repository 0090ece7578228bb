//! Settings of users, as `system.settings_profile_elements` shows them.

use std::collections::HashMap;

use serde::Deserialize;

use super::super::profile::{Automatic, Change, Setting};
use crate::clickhouse::{Connection, Error};

/// Profile that every user has who was given none.
const DEFAULT: &str = "default";

/// Elements by the user or profile that they belong to.
#[derive(Debug, Default)]
pub(super) struct Elements {
    users: HashMap<String, Vec<Row>>,
    profiles: HashMap<String, Vec<Row>>,
}

#[derive(Debug, Deserialize)]
struct Row {
    user_name: Option<String>,
    profile_name: Option<String>,
    setting_name: Option<String>,
    value: Option<String>,
    min: Option<String>,
    max: Option<String>,
    writability: Option<String>,
    inherit_profile: Option<String>,
}

/// Reads the elements of every user and profile.
pub(super) async fn fetch(connection: &Connection) -> Result<Elements, Error> {
    let rows = connection.rows::<Row>("SELECT * FROM system.settings_profile_elements").await?;
    let mut elements = Elements::default();
    for row in rows {
        match (row.user_name.clone(), row.profile_name.clone()) {
            (Some(user), _) => elements.users.entry(user).or_default().push(row),
            (None, Some(profile)) => elements.profiles.entry(profile).or_default().push(row),
            (None, None) => {}
        }
    }
    Ok(elements)
}

/// Reads what the server chooses where it may: the default of such a setting is shown as `'auto(8)'`.
pub(super) async fn fetch_automatic(connection: &Connection) -> Result<Automatic, Error> {
    #[derive(Deserialize)]
    struct Row {
        name: String,
        number: String,
    }
    let query =
        "SELECT name, extract(default, 'auto.([0-9]+)') AS number FROM system.settings WHERE number != ''";
    Ok(connection.rows::<Row>(query).await?.into_iter().map(|row| (row.name, row.number)).collect())
}

impl Elements {
    /// Settings of a user and of the profiles that it was given, sorted.
    pub(super) fn of_user(&self, user: &str) -> Vec<Setting> {
        let own = self.users.get(user).into_iter().flatten();
        let mut settings = Vec::new();
        for row in own {
            match &row.inherit_profile {
                Some(profile) if profile != DEFAULT => {
                    let inherited = self.profiles.get(profile).into_iter().flatten();
                    settings.extend(inherited.filter_map(Row::setting));
                }
                Some(_) => {}
                None => settings.extend(row.setting()),
            }
        }
        settings.sort();
        settings
    }
}

impl Row {
    fn setting(&self) -> Option<Setting> {
        let change = match self.writability.as_deref() {
            Some("CONST") => Change::Const,
            Some("CHANGEABLE_IN_READONLY") => Change::ChangeableInReadonly,
            Some(_) | None => Change::Writable,
        };
        let (value, min, max) = (self.value.clone(), self.min.clone(), self.max.clone());
        Some(Setting { name: self.setting_name.clone()?, value, min, max, change })
    }
}
