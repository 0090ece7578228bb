//! Actions as SQL. Pure; every name and value goes through `quote`.

use k8s_openapi::jiff::Timestamp;

use super::action::Action;
use super::desired::{Password, PasswordHash, User};
use super::ledger::{
    REQUESTS, State, adoption, create_statements, handover, insert_statement, widen_statement,
};
use super::profile::{Hosts, hosts_sql, settings_sql};
use super::request::{self, State as RequestState};
use super::right::rights_sql;
use super::{Entity, Kind};
use crate::quote::{identifier, literal};

/// Statements of an action, in order. `unknown` is the hash for a user that nobody is to know the password of.
/// Claims have none here: `apply` draws their nonces.
pub(super) fn statements(action: &Action, unknown: &PasswordHash) -> Vec<String> {
    match action {
        Action::CreateLedger => create_statements(),
        Action::RecordIntents(_) | Action::Adopt(_) => Vec::new(),
        Action::RecordHandovers(said) => {
            vec![handover::create_statement(), handover::insert_statement(said)]
        }
        Action::SettleAdoption(adoptions) => {
            vec![adoption::insert_statement(adoptions, adoption::State::Settled)]
        }
        Action::OpenLogin(user) => vec![open_login(user)],
        Action::CloseIntents(intents) => vec![insert_statement(intents, State::Closed)],
        Action::RetainIntents(intents) => vec![insert_statement(intents, State::Retained)],
        Action::RecordRequest { entity, asker } => {
            // A ledger that an older operator made has no such table.
            let request = request::insert_statement([(entity, asker)], RequestState::Refused);
            let create = request::create_statement();
            [create].into_iter().chain(widen_statement(REQUESTS, [entity])).chain([request]).collect()
        }
        Action::WithdrawRequests(requests) => {
            let requests = requests.iter().map(|request| (&request.entity, &request.asker));
            vec![request::insert_statement(requests, RequestState::Withdrawn)]
        }
        Action::CreateDatabase(name) => vec![format!("CREATE DATABASE {}", identifier(name))],
        Action::CreateRole(name) => vec![format!("CREATE ROLE {}", identifier(name))],
        Action::CreateUser(user) => vec![create_user(user, unknown)],
        Action::AlterUser(user) | Action::CloseLogin(user) => vec![alter_user(user)],
        Action::AddPassword(user) | Action::LimitPasswords(user) => {
            vec![format!("ALTER USER {} {}", identifier(&user.name), identified(&user.passwords))]
        }
        Action::Grant { to, rights } => vec![format!("GRANT {} TO {}", rights_sql(rights), grantee(to))],
        Action::ReplaceGrants { of, rights } if rights.is_empty() => {
            vec![format!("REVOKE ALL ON *.* FROM {}", grantee(of))]
        }
        Action::ReplaceGrants { of, rights } => {
            vec![format!("GRANT {} TO {} WITH REPLACE OPTION", rights_sql(rights), grantee(of))]
        }
        Action::GrantRole { role, user } => {
            vec![format!("GRANT {} TO {}", identifier(role), identifier(user))]
        }
        Action::RevokeRole { role, from } => {
            vec![format!("REVOKE {} FROM {}", identifier(role), grantee(from))]
        }
        Action::ExpireUser(name, until) => {
            vec![format!("ALTER USER {} {}", identifier(name), valid_until(*until))]
        }
        Action::DropUser(name) => {
            vec![format!("DROP USER IF EXISTS {}", identifier(name)), kill_queries(name)]
        }
        Action::DropRole(name) => vec![format!("DROP ROLE IF EXISTS {}", identifier(name))],
        Action::Rows(change) => change.statement().into_iter().collect(),
        Action::Quota(change) => vec![change.statement()],
    }
}

fn grantee(entity: &Entity) -> String {
    debug_assert!(entity.kind != Kind::Database, "rights go to roles and users");
    identifier(&entity.name)
}

// Default roles stay at ClickHouse's default, ALL: a role granted later is then active without another statement.
fn create_user(user: &User, unknown: &PasswordHash) -> String {
    let nobodys = [Password::endless(unknown.clone())];
    let passwords = if user.passwords.is_empty() { &nobodys } else { user.passwords.as_slice() };
    let (name, hosts) = (identifier(&user.name), hosts_sql(&user.hosts));
    format!("CREATE USER {name} {} {hosts} {}", identified(passwords), settings_sql(&user.settings))
}

// The whole list of hosts and settings in one statement, so that what stays is never absent.
fn alter_user(user: &User) -> String {
    let passwords =
        if user.passwords.is_empty() { String::new() } else { format!("{} ", identified(&user.passwords)) };
    let (name, hosts) = (identifier(&user.name), hosts_sql(&user.hosts));
    format!("ALTER USER {name} {passwords}{hosts} DEFAULT ROLE ALL {}", settings_sql(&user.settings))
}

// Adds to what the user has: whoever logs in as it goes on doing so.
fn open_login(user: &User) -> String {
    let newest: Vec<_> = user.passwords.iter().take(1).cloned().collect();
    let password = if newest.is_empty() { String::new() } else { format!("ADD {} ", identified(&newest)) };
    let hosts = match &user.hosts {
        Hosts::None => String::new(),
        hosts @ (Hosts::Any | Hosts::Networks(_)) => format!("ADD {} ", hosts_sql(hosts)),
    };
    format!("ALTER USER {} {password}{hosts}DEFAULT ROLE ALL", identifier(&user.name))
}

// The whole list, so that a password which stays is never absent. Without a salt: a password is 32 random bytes, or 24
// characters at least of somebody who was told so, which no table of hashes can hold.
fn identified(passwords: &[Password]) -> String {
    let method = |password: &Password| {
        let end = password.until.map(|until| format!(" {}", valid_until(until))).unwrap_or_default();
        format!("sha256_hash BY {}{end}", literal(&password.hash.hex()))
    };
    format!("IDENTIFIED WITH {}", passwords.iter().map(method).collect::<Vec<_>>().join(", "))
}

// ClickHouse reads the moment in the server's time zone unless it carries one.
fn valid_until(until: Timestamp) -> String {
    format!("VALID UNTIL {}", literal(&until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()))
}

// A dropped user's running queries go on until they are killed.
fn kill_queries(user: &str) -> String {
    format!("KILL QUERY WHERE user = {} SYNC", literal(user))
}

#[cfg(test)]
mod tests {
    use super::super::right::{Right, Scope};
    use super::*;

    fn sql(action: &Action) -> Vec<String> {
        statements(action, &PasswordHash::of("unknown"))
    }

    #[test]
    fn rights_are_grouped_by_scope_and_quoted() {
        let rights = vec![
            Right::new("SELECT", Scope::Database("a`b".into())),
            Right::new("INSERT", Scope::Table("shop".into(), "events".into())),
            Right::new("SELECT", Scope::Column("shop".into(), "events".into(), "uuid".into())),
            Right::new("SET DEFINER", Scope::Object("shop_definer".into())),
        ];
        let grant = Action::Grant { to: Entity::role("r"), rights: rights.clone() };
        let expected = r"GRANT SELECT ON `a\`b`.*, SET DEFINER ON `shop_definer`, INSERT, SELECT(`uuid`) ON `shop`.`events` TO `r`";
        assert_eq!(sql(&grant), [expected]);
        let replace = Action::ReplaceGrants { of: Entity::role("r"), rights };
        assert_eq!(sql(&replace), [format!("{expected} WITH REPLACE OPTION")]);
    }

    #[test]
    fn a_reader_of_hyperdx_is_read_only_but_for_four_settings() {
        let sql = settings_sql(&super::super::profile::hyperdx_settings());
        let changeable = [
            "max_rows_to_read",
            "read_overflow_mode",
            "cancel_http_readonly_queries_on_client_close",
            "http_wait_end_of_query",
        ];
        let expected = changeable.map(|name| format!("`{name}` CHANGEABLE_IN_READONLY")).join(", ");
        assert_eq!(sql, format!("SETTINGS `readonly` = '1', {expected}"));
        assert_eq!(settings_sql(&[]), "SETTINGS NONE");
    }

    #[test]
    fn the_passwords_of_a_user_are_set_as_one_list_each_with_its_end() {
        let until = Timestamp::from_second(3600).unwrap();
        let ending = Password { hash: PasswordHash::of("old"), until: Some(until) };
        let user = User {
            name: "u".into(),
            class: super::super::Class::Reader,
            hosts: super::super::Hosts::Any,
            role: None,
            rights: Vec::new(),
            settings: Vec::new(),
            passwords: vec![Password::endless(PasswordHash::of("new")), ending],
        };
        let [new, old] = ["new", "old"].map(|password| PasswordHash::of(password).hex());
        let list = format!(
            "IDENTIFIED WITH sha256_hash BY '{new}', sha256_hash BY '{old}' VALID UNTIL '1970-01-01T01:00:00Z'"
        );
        let limit = Action::LimitPasswords(user.clone());
        assert_eq!(sql(&limit), [format!("ALTER USER `u` {list}")]);
        assert!(![&new, &old].iter().any(|hash| format!("{limit} {limit:?}").contains(*hash)), "{limit}");
        let create = Action::CreateUser(user);
        assert_eq!(sql(&create), [format!("CREATE USER `u` {list} HOST ANY SETTINGS NONE")]);
    }

    #[test]
    fn a_dropped_user_loses_its_queries_too() {
        let expected = ["DROP USER IF EXISTS `u`", "KILL QUERY WHERE user = 'u' SYNC"];
        assert_eq!(sql(&Action::DropUser("u".into())), expected);
    }
}
