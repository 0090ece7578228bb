//! The text of users.xml: the server's own two users, and every entity that was created through SQL.

use std::fmt::Write as _;

use super::{
    Access, Granted, Host, Hosts, Setting, User, Writability,
    limit::render::{limits_of, quotas},
};

/// The account that may do everything, from the server's flags.
#[derive(Debug)]
pub(crate) struct Admin<'a> {
    pub(crate) user: &'a str,
    pub(crate) sha256: &'a str,
}

/// Renders users.xml.
///
/// The user `default` is the one that the engine's own session runs as; it must be able to log in without a password
/// from this machine, so the proxy never passes a client of that name on with a local address.
pub(crate) fn render_users(access: &Access, admin: &Admin<'_>) -> String {
    let mut profiles = String::from("<default/>");
    let mut users = String::from(
        "<default><no_password/><networks><ip>127.0.0.1</ip><ip>::1</ip></networks><profile>default</profile><grants>\
         <query>GRANT SELECT, SYSTEM, KILL QUERY ON *.*</query>\
         <query>GRANT INSERT, OPTIMIZE ON system.*</query></grants></default>\n",
    );
    let Admin { user, sha256 } = admin;
    append(
        &mut users,
        format_args!(
            "<{user}><password_sha256_hex>{sha256}</password_sha256_hex><networks><ip>::/0</ip></networks>\
             <profile>default</profile>{}<grants><query>GRANT ALL ON *.* WITH GRANT OPTION</query></grants></{user}>\n",
            limits_of(access, user)
        ),
    );
    for (name, user) in &access.users {
        if !user.settings.is_empty() {
            append(&mut profiles, format_args!("<user_{name}>{}</user_{name}>\n", settings(&user.settings)));
        }
        users.push_str(&render_user(access, name, user));
    }
    let mut roles = String::new();
    for (name, role) in &access.roles {
        append(&mut roles, format_args!("<{name}>{}</{name}>\n", grants(&role.granted)));
    }
    format!(
        "<clickhouse>\n<profiles>{profiles}</profiles>\n<quotas>{}</quotas>\n<roles>{roles}</roles>\n<users>{users}</users>\n</clickhouse>\n",
        quotas(access)
    )
}

fn render_user(access: &Access, name: &str, user: &User) -> String {
    let mut text = format!("<{name}>");
    let hashes: Vec<_> = user.methods.iter().filter_map(|method| method.sha256.as_deref()).collect();
    if hashes.is_empty() {
        text.push_str("<no_password/>");
    } else {
        text.push_str("<auth_methods>");
        for (at, hash) in hashes.iter().enumerate() {
            append(
                &mut text,
                format_args!("<m{at}><password_sha256_hex>{hash}</password_sha256_hex></m{at}>"),
            );
        }
        text.push_str("</auth_methods>");
    }
    text.push_str(&networks(&user.hosts));
    let profile = if user.settings.is_empty() { "default".to_owned() } else { format!("user_{name}") };
    append(&mut text, format_args!("<profile>{profile}</profile>"));
    if let Some(database) = &user.default_database {
        append(&mut text, format_args!("<default_database>{}</default_database>", escape(database)));
    }
    text.push_str(&limits_of(access, name));
    text.push_str(&grants(&user.granted));
    append(&mut text, format_args!("</{name}>\n"));
    text
}

fn networks(hosts: &Hosts) -> String {
    match hosts {
        Hosts::Any => "<networks><ip>::/0</ip></networks>".to_owned(),
        Hosts::None => "<networks/>".to_owned(),
        Hosts::Listed(listed) => {
            let entries = listed.iter().map(|host| match host {
                Host::Local => "<host>localhost</host>".to_owned(),
                Host::Ip(ip) => format!("<ip>{}</ip>", escape(ip)),
                Host::Name(name) => format!("<host>{}</host>", escape(name)),
                Host::Regexp(regexp) => format!("<host_regexp>{}</host_regexp>", escape(regexp)),
            });
            format!("<networks>{}</networks>", entries.collect::<String>())
        }
    }
}

/// Always present: without the element the engine would give every right.
fn grants(granted: &Granted) -> String {
    let roles = granted.roles.iter().map(|(role, admin_option)| {
        format!("GRANT `{role}`{}", if *admin_option { " WITH ADMIN OPTION" } else { "" })
    });
    let queries = roles.chain(granted.privileges.iter().cloned());
    let queries = queries.map(|query| format!("<query>{}</query>", escape(&query)));
    format!("<grants>{}</grants>", queries.collect::<String>())
}

fn settings(settings: &[Setting]) -> String {
    let mut values = String::new();
    let mut constraints = String::new();
    for Setting { name, value, min, max, writability } in settings {
        if let Some(value) = value {
            append(&mut values, format_args!("<{name}>{}</{name}>", escape(value)));
        }
        let mut limits = String::new();
        for (tag, limit) in [("min", min), ("max", max)] {
            if let Some(limit) = limit {
                append(&mut limits, format_args!("<{tag}>{}</{tag}>", escape(limit)));
            }
        }
        limits.push_str(match writability {
            Some(Writability::Const) => "<readonly/>",
            Some(Writability::ChangeableInReadonly) => "<changeable_in_readonly/>",
            Some(Writability::Writable) | None => "",
        });
        if !limits.is_empty() {
            append(&mut constraints, format_args!("<{name}>{limits}</{name}>"));
        }
    }
    format!("{values}<constraints>{constraints}</constraints>")
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn append(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a String takes every write");
}
