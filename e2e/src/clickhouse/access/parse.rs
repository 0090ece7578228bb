//! Reads the access statements that the development server can keep; every other one is refused, never half understood.
//!
//! Only statements that the engine has already parsed come here, so this looks for what to store, not for mistakes.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use super::{AccessError, DefaultRoles, Host, Hosts, Method, Setting, Writability, cursor::Cursor, limit};

/// One statement that changes users or roles.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Statement {
    CreateUser {
        names: Vec<String>,
        if_not_exists: bool,
        clauses: UserClauses,
    },
    AlterUser {
        names: Vec<String>,
        if_exists: bool,
        clauses: UserClauses,
    },
    CreateRole {
        names: Vec<String>,
        if_not_exists: bool,
    },
    DropUser {
        names: Vec<String>,
        if_exists: bool,
    },
    DropRole {
        names: Vec<String>,
        if_exists: bool,
    },
    /// `GRANT` or `REVOKE` of privileges, as text without the grantees.
    Privileges {
        text: String,
        grantees: Vec<String>,
        /// `WITH REPLACE OPTION`: what was granted before is gone.
        replaces: bool,
    },
    GrantRoles {
        roles: Vec<String>,
        grantees: Vec<String>,
        admin_option: bool,
    },
    RevokeRoles {
        roles: Vec<String>,
        grantees: Vec<String>,
        admin_option_only: bool,
    },
    SetDefaultRole {
        roles: DefaultRoles,
        users: Vec<String>,
    },
    /// About a row policy or quota.
    Limit(limit::Statement),
}

/// What `CREATE USER` and `ALTER USER` say; an absent clause changes nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct UserClauses {
    pub(crate) methods: Option<Vec<Method>>,
    pub(crate) added_methods: Vec<Method>,
    pub(crate) valid_until: Option<Validity>,
    pub(crate) hosts: Option<Hosts>,
    pub(crate) added_hosts: Option<Hosts>,
    pub(crate) default_roles: Option<DefaultRoles>,
    pub(crate) default_database: Option<String>,
    pub(crate) settings: Option<Vec<Setting>>,
}

/// `VALID UNTIL`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Validity {
    Infinite,
    Until(Timestamp),
}

impl Validity {
    /// The end, when there is one.
    pub(crate) fn end(self) -> Option<Timestamp> {
        match self {
            Self::Infinite => None,
            Self::Until(at) => Some(at),
        }
    }
}

/// Reads one statement.
pub(crate) fn parse(sql: &str) -> Result<Statement, AccessError> {
    let mut cursor = Cursor::new(sql);
    let statement = if cursor.take("CREATE USER") {
        let if_not_exists = cursor.take("IF NOT EXISTS");
        Statement::CreateUser { names: cursor.names()?, if_not_exists, clauses: user_clauses(&mut cursor)? }
    } else if cursor.take("ALTER USER") {
        let if_exists = cursor.take("IF EXISTS");
        Statement::AlterUser { names: cursor.names()?, if_exists, clauses: user_clauses(&mut cursor)? }
    } else if cursor.take("CREATE ROLE") {
        let if_not_exists = cursor.take("IF NOT EXISTS");
        Statement::CreateRole { names: cursor.names()?, if_not_exists }
    } else if cursor.take("DROP USER") {
        let if_exists = cursor.take("IF EXISTS");
        Statement::DropUser { names: cursor.names()?, if_exists }
    } else if cursor.take("DROP ROLE") {
        let if_exists = cursor.take("IF EXISTS");
        Statement::DropRole { names: cursor.names()?, if_exists }
    } else if cursor.take("SET DEFAULT ROLE") {
        set_default_role(&mut cursor)?
    } else if let Some(statement) = limit::parse::parse(&mut cursor)? {
        Statement::Limit(statement)
    } else if cursor.take("GRANT") {
        grant(&mut cursor)?
    } else if cursor.take("REVOKE") {
        revoke(&mut cursor)?
    } else {
        return Err(cursor.unsupported());
    };
    cursor.end(statement)
}

fn set_default_role(cursor: &mut Cursor<'_>) -> Result<Statement, AccessError> {
    let roles = default_roles(cursor)?;
    if !cursor.take("TO") {
        return Err(cursor.unsupported());
    }
    Ok(Statement::SetDefaultRole { roles, users: cursor.names()? })
}

fn default_roles(cursor: &mut Cursor<'_>) -> Result<DefaultRoles, AccessError> {
    if cursor.take("ALL") {
        Ok(DefaultRoles::All)
    } else if cursor.take("NONE") {
        Ok(DefaultRoles::Only(std::collections::BTreeSet::new()))
    } else {
        Ok(DefaultRoles::Only(cursor.names()?.into_iter().collect()))
    }
}

fn grant(cursor: &mut Cursor<'_>) -> Result<Statement, AccessError> {
    let from = cursor.at();
    if !cursor.contains("ON") {
        let roles = cursor.names()?;
        if !cursor.take("TO") {
            return Err(cursor.unsupported());
        }
        let grantees = cursor.names()?;
        let admin_option = cursor.take("WITH ADMIN OPTION");
        return Ok(Statement::GrantRoles { roles, grantees, admin_option });
    }
    let to = cursor.find_last("TO").ok_or_else(|| cursor.unsupported())?;
    let privileges = qualified(cursor, from, to)?;
    cursor.go_to(to);
    cursor.take("TO");
    let grantees = cursor.names()?;
    let option = if cursor.take("WITH GRANT OPTION") { " WITH GRANT OPTION" } else { "" };
    let replaces = cursor.take("WITH REPLACE OPTION");
    Ok(Statement::Privileges { text: format!("GRANT {privileges}{option}"), grantees, replaces })
}

fn revoke(cursor: &mut Cursor<'_>) -> Result<Statement, AccessError> {
    let from = cursor.at();
    let to = cursor.find_last("FROM").ok_or_else(|| cursor.unsupported())?;
    if !cursor.contains("ON") {
        let admin_option_only = cursor.take("ADMIN OPTION FOR");
        let roles = cursor.names()?;
        cursor.take("FROM");
        return Ok(Statement::RevokeRoles { roles, grantees: cursor.names()?, admin_option_only });
    }
    let privileges = qualified(cursor, from, to)?;
    cursor.go_to(to);
    cursor.take("FROM");
    let grantees = cursor.names()?;
    Ok(Statement::Privileges { text: format!("REVOKE {privileges}"), grantees, replaces: false })
}

/// The privileges' text, provided that no table in it depends on the session's database.
fn qualified<'a>(cursor: &Cursor<'a>, from: usize, to: usize) -> Result<&'a str, AccessError> {
    const UNSCOPED: [&str; 7] =
        ["NAMED COLLECTION", "SET DEFINER", "TABLE ENGINE", "READ", "WRITE", "IMPERSONATE", "USER"];
    let text = cursor.text(from, to);
    let tokens = cursor.tokens(from, to);
    let upper = text.to_ascii_uppercase();
    let is_unscoped = UNSCOPED.iter().any(|word| upper.contains(word));
    for (at, token) in tokens.iter().enumerate() {
        let is_on = token.text.eq_ignore_ascii_case("ON");
        if is_on && !is_unscoped && tokens.get(at + 2).is_none_or(|next| next.text != "." && next.text != "*")
        {
            return Err(AccessError::Unsupported(format!("{text}: name the database")));
        }
    }
    Ok(text)
}

fn user_clauses(cursor: &mut Cursor<'_>) -> Result<UserClauses, AccessError> {
    let mut clauses = UserClauses::default();
    while !cursor.is_done() {
        if cursor.take("NOT IDENTIFIED") {
            clauses.methods = Some(vec![Method { sha256: None, valid_until: None }]);
        } else if cursor.take("ADD IDENTIFIED") {
            clauses.added_methods = methods(cursor)?;
        } else if cursor.take("IDENTIFIED") {
            clauses.methods = Some(methods(cursor)?);
        } else if cursor.take("VALID UNTIL") {
            clauses.valid_until = Some(valid_until(cursor)?);
        } else if cursor.take("ADD HOST") {
            clauses.added_hosts = Some(hosts(cursor)?);
        } else if cursor.take("HOST") {
            clauses.hosts = Some(hosts(cursor)?);
        } else if cursor.take("DEFAULT ROLE") {
            clauses.default_roles = Some(default_roles(cursor)?);
        } else if cursor.take("DEFAULT DATABASE") {
            clauses.default_database = Some(cursor.name()?).filter(|name| !name.eq_ignore_ascii_case("NONE"));
        } else if cursor.take("SETTINGS") {
            clauses.settings = Some(settings(cursor)?);
        } else {
            return Err(cursor.unsupported());
        }
    }
    Ok(clauses)
}

fn methods(cursor: &mut Cursor<'_>) -> Result<Vec<Method>, AccessError> {
    let mut methods = Vec::new();
    loop {
        cursor.take("WITH");
        if !cursor.take("sha256_hash BY") {
            return Err(cursor.unsupported());
        }
        let sha256 = cursor.value()?.to_ascii_lowercase();
        if cursor.take("SALT") {
            return Err(AccessError::Unsupported("SALT: users.xml has no salted hashes".to_owned()));
        }
        let valid_until = if cursor.take("VALID UNTIL") { valid_until(cursor)?.end() } else { None };
        methods.push(Method { sha256: Some(sha256), valid_until });
        if !cursor.take_sign(",") {
            return Ok(methods);
        }
    }
}

fn valid_until(cursor: &mut Cursor<'_>) -> Result<Validity, AccessError> {
    let text = cursor.value()?;
    if text.eq_ignore_ascii_case("infinity") {
        return Ok(Validity::Infinite);
    }
    let civil =
        || text.parse::<DateTime>().and_then(|at| at.to_zoned(TimeZone::UTC)).map(|at| at.timestamp());
    let seconds = || text.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    let at = text.parse::<Timestamp>().or_else(|_| civil()).ok().or_else(seconds);
    at.map(Validity::Until).ok_or_else(|| AccessError::Unsupported(format!("VALID UNTIL '{text}'")))
}

fn hosts(cursor: &mut Cursor<'_>) -> Result<Hosts, AccessError> {
    if cursor.take("ANY") {
        return Ok(Hosts::Any);
    }
    if cursor.take("NONE") {
        return Ok(Hosts::None);
    }
    let mut listed = Vec::new();
    loop {
        let of: fn(String) -> Host = if cursor.take("LOCAL") {
            listed.push(Host::Local);
            if cursor.take_sign(",") {
                continue;
            }
            return Ok(Hosts::Listed(listed));
        } else if cursor.take("IP") {
            Host::Ip
        } else if cursor.take("NAME") {
            Host::Name
        } else if cursor.take("REGEXP") {
            Host::Regexp
        } else {
            return Err(cursor.unsupported());
        };
        listed.push(of(cursor.value()?));
        // `HOST IP 'a', 'b'` repeats the kind.
        while cursor.take_sign(",") {
            if cursor.peek().is_some_and(|next| next.kind == super::token::Kind::Text) {
                listed.push(of(cursor.value()?));
            } else {
                cursor.go_to(cursor.at() - 1);
                break;
            }
        }
        if !cursor.take_sign(",") {
            return Ok(Hosts::Listed(listed));
        }
    }
}

fn settings(cursor: &mut Cursor<'_>) -> Result<Vec<Setting>, AccessError> {
    if cursor.take("NONE") {
        return Ok(Vec::new());
    }
    let mut settings = Vec::new();
    loop {
        if cursor.take("PROFILE") {
            return Err(AccessError::Unsupported("SETTINGS PROFILE of a user".to_owned()));
        }
        settings.push(setting(cursor)?);
        if !cursor.take_sign(",") {
            return Ok(settings);
        }
    }
}

fn setting(cursor: &mut Cursor<'_>) -> Result<Setting, AccessError> {
    let mut setting = Setting { name: cursor.name()?, ..Setting::default() };
    if cursor.take_sign("=") {
        setting.value = Some(cursor.value()?);
    }
    loop {
        if cursor.take("MIN") {
            cursor.take_sign("=");
            setting.min = Some(cursor.value()?);
        } else if cursor.take("MAX") {
            cursor.take_sign("=");
            setting.max = Some(cursor.value()?);
        } else if cursor.take("READONLY") || cursor.take("CONST") {
            setting.writability = Some(Writability::Const);
        } else if cursor.take("WRITABLE") {
            setting.writability = Some(Writability::Writable);
        } else if cursor.take("CHANGEABLE_IN_READONLY") {
            setting.writability = Some(Writability::ChangeableInReadonly);
        } else {
            return Ok(setting);
        }
    }
}
