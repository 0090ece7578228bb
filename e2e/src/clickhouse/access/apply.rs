//! The effect of statements on the entities, with ClickHouse's refusals. They take effect whole or not at all.

use std::collections::BTreeSet;

use super::{
    Access, AccessError, DefaultRoles, Granted, Hosts, Method, User,
    parse::{Statement, UserClauses},
};

/// Names that the server's own configuration holds.
#[derive(Debug, Clone)]
pub(crate) struct Builtin {
    pub(crate) users: BTreeSet<String>,
}

impl Access {
    /// Returns the entities as they are after the statements.
    pub(crate) fn after(&self, statements: &[Statement], builtin: &Builtin) -> Result<Self, AccessError> {
        let mut access = self.clone();
        statements.iter().try_for_each(|statement| access.apply(statement, builtin))?;
        Ok(access)
    }

    fn apply(&mut self, statement: &Statement, builtin: &Builtin) -> Result<(), AccessError> {
        match statement {
            Statement::CreateUser { names, if_not_exists, clauses } => {
                self.create_users(names, *if_not_exists, clauses, builtin)
            }
            Statement::AlterUser { names, if_exists, clauses } => {
                for name in names {
                    if *if_exists && !self.users.contains_key(name) {
                        continue;
                    }
                    change_user(self.user(name, builtin)?, name, clauses, false)?;
                    self.check_roles(clauses)?;
                }
                Ok(())
            }
            Statement::CreateRole { names, if_not_exists } => self.create_roles(names, *if_not_exists),
            Statement::DropUser { names, if_exists } => {
                for name in names {
                    if self.users.remove(name).is_none() && !*if_exists {
                        return Err(missing_user(name, builtin));
                    }
                    self.forget_grantee(name);
                }
                Ok(())
            }
            Statement::DropRole { names, if_exists } => self.drop_roles(names, *if_exists),
            Statement::Privileges { text, grantees, replaces } => self.each(grantees, builtin, |granted| {
                if *replaces {
                    granted.privileges.clear();
                }
                // It is no right: such a statement only asks whether the entity can be changed.
                if text == "REVOKE USAGE ON *.*" {
                    return;
                }
                // Only the last of equal texts matters, and drift repair would pile them up.
                granted.privileges.retain(|earlier| earlier != text);
                granted.privileges.push(text.clone());
            }),
            Statement::GrantRoles { roles, grantees, admin_option } => {
                self.check_exist(roles)?;
                self.each(grantees, builtin, |granted| {
                    for role in roles {
                        *granted.roles.entry(role.clone()).or_default() |= *admin_option;
                    }
                })
            }
            Statement::RevokeRoles { roles, grantees, admin_option_only } => {
                self.revoke_roles(roles, grantees, *admin_option_only, builtin)
            }
            Statement::Limit(statement) => self.apply_limit(statement),
            Statement::SetDefaultRole { roles, users } => {
                for name in users {
                    set_default_roles(self.user(name, builtin)?, name, roles)?;
                }
                Ok(())
            }
        }
    }

    fn create_users(
        &mut self,
        names: &[String],
        if_not_exists: bool,
        clauses: &UserClauses,
        builtin: &Builtin,
    ) -> Result<(), AccessError> {
        self.check_roles(clauses)?;
        for name in names {
            if self.users.contains_key(name) || builtin.users.contains(name) {
                if if_not_exists {
                    continue;
                }
                return Err(AccessError::AlreadyExists { kind: "user", name: name.clone() });
            }
            check_name(name)?;
            let mut user =
                User { methods: vec![Method { sha256: None, valid_until: None }], ..User::default() };
            change_user(&mut user, name, clauses, true)?;
            self.users.insert(name.clone(), user);
        }
        Ok(())
    }

    fn create_roles(&mut self, names: &[String], if_not_exists: bool) -> Result<(), AccessError> {
        for name in names {
            check_name(name)?;
            if self.roles.contains_key(name) && !if_not_exists {
                return Err(AccessError::AlreadyExists { kind: "role", name: name.clone() });
            }
            self.roles.entry(name.clone()).or_default();
        }
        Ok(())
    }

    fn drop_roles(&mut self, names: &[String], if_exists: bool) -> Result<(), AccessError> {
        for name in names {
            if self.roles.remove(name).is_none() && !if_exists {
                return Err(AccessError::Unknown { kind: "role", name: name.clone() });
            }
            for granted in self.all_granted() {
                granted.roles.remove(name);
            }
            self.forget_grantee(name);
            for user in self.users.values_mut() {
                if let DefaultRoles::Only(roles) = &mut user.default_roles {
                    roles.remove(name);
                }
            }
        }
        Ok(())
    }

    fn revoke_roles(
        &mut self,
        roles: &[String],
        grantees: &[String],
        admin_option_only: bool,
        builtin: &Builtin,
    ) -> Result<(), AccessError> {
        let all = roles.iter().any(|role| role.eq_ignore_ascii_case("ALL"));
        if all {
            return Err(AccessError::Unsupported("REVOKE ALL of roles".to_owned()));
        }
        self.check_exist(roles)?;
        self.each(grantees, builtin, |granted| {
            for role in roles {
                if !admin_option_only {
                    granted.roles.remove(role);
                } else if let Some(admin_option) = granted.roles.get_mut(role) {
                    *admin_option = false;
                }
            }
        })?;
        for user in self.users.values_mut() {
            if let DefaultRoles::Only(defaults) = &mut user.default_roles {
                defaults.retain(|role| user.granted.roles.contains_key(role));
            }
        }
        Ok(())
    }

    /// Changes what each grantee holds; a name is looked for among users first, as ClickHouse does.
    fn each(
        &mut self,
        grantees: &[String],
        builtin: &Builtin,
        change: impl Fn(&mut Granted),
    ) -> Result<(), AccessError> {
        for name in grantees {
            match (self.users.get_mut(name), self.roles.get_mut(name)) {
                (Some(user), _) => change(&mut user.granted),
                (None, Some(role)) => change(&mut role.granted),
                (None, None) if builtin.users.contains(name) => return Err(missing_user(name, builtin)),
                (None, None) => return Err(AccessError::Unknown { kind: "role", name: name.clone() }),
            }
        }
        Ok(())
    }

    fn user(&mut self, name: &str, builtin: &Builtin) -> Result<&mut User, AccessError> {
        self.users.get_mut(name).ok_or_else(|| missing_user(name, builtin))
    }

    fn check_roles(&self, clauses: &UserClauses) -> Result<(), AccessError> {
        match &clauses.default_roles {
            Some(DefaultRoles::Only(roles)) => self.check_exist(roles),
            Some(DefaultRoles::All) | None => Ok(()),
        }
    }

    fn check_exist<'a>(&self, roles: impl IntoIterator<Item = &'a String>) -> Result<(), AccessError> {
        match roles.into_iter().find(|role| !self.roles.contains_key(*role)) {
            Some(role) => Err(AccessError::Unknown { kind: "role", name: role.clone() }),
            None => Ok(()),
        }
    }

    fn all_granted(&mut self) -> impl Iterator<Item = &mut Granted> {
        let users = self.users.values_mut().map(|user| &mut user.granted);
        users.chain(self.roles.values_mut().map(|role| &mut role.granted))
    }
}

fn change_user(user: &mut User, name: &str, clauses: &UserClauses, is_new: bool) -> Result<(), AccessError> {
    let UserClauses {
        methods,
        added_methods,
        valid_until,
        hosts,
        added_hosts,
        default_roles,
        default_database,
        settings,
    } = clauses.clone();
    if let Some(methods) = methods {
        user.methods = methods;
    }
    user.methods.extend(added_methods);
    // The clause outside a method sets every method, as in ClickHouse.
    if let Some(valid_until) = valid_until {
        for method in &mut user.methods {
            method.valid_until = valid_until.end();
        }
    }
    if let Some(hosts) = hosts {
        user.hosts = hosts;
    }
    if let Some(added) = added_hosts {
        user.hosts = user.hosts.clone().and(added);
    }
    if let Some(settings) = settings {
        user.settings = settings;
    }
    if default_database.is_some() {
        user.default_database = default_database;
    }
    if let Some(roles) = default_roles {
        if let (true, DefaultRoles::Only(roles)) = (is_new, &roles) {
            // CREATE USER … DEFAULT ROLE also grants the role.
            user.granted.roles.extend(roles.iter().map(|role| (role.clone(), false)));
        }
        set_default_roles(user, name, &roles)?;
    }
    if user.methods.iter().any(|method| method.sha256.is_none()) && user.hosts != Hosts::None {
        return Err(AccessError::Unsupported(format!(
            "user {name} without a password, except with HOST NONE"
        )));
    }
    Ok(())
}

fn set_default_roles(user: &mut User, name: &str, roles: &DefaultRoles) -> Result<(), AccessError> {
    if let DefaultRoles::Only(only) = roles {
        if let Some(role) = only.iter().find(|role| !user.granted.roles.contains_key(*role)) {
            return Err(AccessError::NotGranted { role: role.clone(), user: name.to_owned() });
        }
        if only.is_empty() && !user.granted.roles.is_empty() {
            return Err(AccessError::Unsupported("DEFAULT ROLE NONE for a user that has roles".to_owned()));
        }
    }
    user.default_roles = roles.clone();
    Ok(())
}

fn missing_user(name: &str, builtin: &Builtin) -> AccessError {
    if builtin.users.contains(name) {
        AccessError::Builtin { name: name.to_owned() }
    } else {
        AccessError::Unknown { kind: "user", name: name.to_owned() }
    }
}

/// users.xml keeps a name as the name of an element.
fn check_name(name: &str) -> Result<(), AccessError> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if starts_well && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
        Ok(())
    } else {
        Err(AccessError::Unsupported(format!("the name `{name}`: users.xml takes letters, digits, _ and -")))
    }
}
