//! Names of a stack's databases, roles and users in ClickHouse.

/// Names that one stack uses in ClickHouse. Two stacks can meet in one name (`a-b` and `a.b`); the ledger then gives it to
/// the first and names it to the second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClickhouseNames {
    /// `weir_<namespace>__<stack>`, start of every role and user.
    pub(crate) prefix: String,
    /// Database of the stack.
    pub(crate) database: String,
}

impl ClickhouseNames {
    /// Derives the names; `database` is the one that the spec asks for, if it does.
    pub(crate) fn new(namespace: &str, stack: &str, database: Option<&str>) -> Self {
        let prefix = format!("weir_{}__{}", plain(namespace), plain(stack));
        let database = database.map_or_else(|| prefix.clone(), str::to_owned);
        Self { prefix, database }
    }

    /// Role that may insert events.
    pub(crate) fn ingest_role(&self) -> String {
        format!("{}_ingest", self.prefix)
    }

    /// User of the ingest pods.
    pub(crate) fn ingest_user(&self, generation: i64) -> String {
        format!("{}_g{generation}", self.ingest_role())
    }

    /// Role that may change the schema.
    pub(crate) fn migrate_role(&self) -> String {
        format!("{}_migrate", self.prefix)
    }

    /// User of one migration run.
    pub(crate) fn migrate_user(&self, run: &str) -> String {
        format!("{}_{run}", self.migrate_role())
    }

    /// Role of one declared reader.
    pub(crate) fn reader_role(&self, reader: &str) -> String {
        format!("{}_reader_{}", self.prefix, plain(reader))
    }

    /// Row policies that let everybody but the filtered readers see what they saw without them.
    pub(crate) fn open_rows(&self) -> String {
        format!("{}_rows", self.prefix)
    }

    /// User of one declared reader.
    pub(crate) fn reader_user(&self, reader: &str, generation: i64) -> String {
        format!("{}_g{generation}", self.reader_role(reader))
    }

    /// User of one declared reader whose password is kept by the owner of a Secret. No role has such a name.
    pub(crate) fn reader_login(&self, reader: &str) -> String {
        format!("{}_login_{}", self.prefix, plain(reader))
    }

    /// User that views run as. It stays with the data.
    pub(crate) fn definer(&self) -> String {
        format!("{}_definer", self.database)
    }
}

fn plain(name: &str) -> String {
    name.replace(['-', '.'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_namespace_and_stack() {
        let names = ClickhouseNames::new("team-a", "web.shop", None);
        assert_eq!(names.prefix, "weir_team_a__web_shop");
        assert_eq!(names.database, names.prefix);
        assert_eq!(names.ingest_user(2), "weir_team_a__web_shop_ingest_g2");
        assert_eq!(names.migrate_user("0a1b2c3d"), "weir_team_a__web_shop_migrate_0a1b2c3d");
        assert_eq!(names.reader_user("bi-tool", 1), "weir_team_a__web_shop_reader_bi_tool_g1");
        assert_eq!(names.reader_login("bi-tool"), "weir_team_a__web_shop_login_bi_tool");
    }

    #[test]
    fn definer_follows_the_database() {
        let names = ClickhouseNames::new("shop", "web", Some("shop_analytics"));
        assert_eq!(
            (names.database.as_str(), names.definer().as_str()),
            ("shop_analytics", "shop_analytics_definer")
        );
        assert_eq!(names.ingest_role(), "weir_shop__web_ingest");
    }
}
