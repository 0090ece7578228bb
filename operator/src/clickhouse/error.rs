//! What can go wrong between the operator and ClickHouse, without any text of an answer.

use weir_crds::v1alpha1::Reason;

/// A statement that failed, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to run a statement on ClickHouse at {endpoint}: {failure}")]
pub(crate) struct Error {
    /// Endpoint that failed; empty when none is configured.
    pub(crate) endpoint: String,
    /// How it failed.
    pub(crate) failure: Failure,
}

/// How a statement failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// The settings name no endpoint.
    #[error("no endpoint is configured")]
    NoEndpoint,
    /// An endpoint is not an address that the operator may connect to.
    #[error("the address cannot be used")]
    Address,
    /// The CA bundle is not PEM.
    #[error("the CA bundle holds no certificate in PEM form")]
    CaBundle,
    /// A setting or login cannot travel in a header.
    #[error("the user name or password cannot be sent in a header")]
    Login,
    /// No connection: refused, no route, unknown name.
    #[error("the connection could not be made")]
    Connect,
    /// The certificate was not accepted.
    #[error("the server's certificate was not accepted")]
    Certificate,
    /// No answer in time; the statement may or may not have run.
    #[error("no answer in time")]
    Timeout,
    /// The connection broke; the statement may or may not have run.
    #[error("the connection broke")]
    Broken,
    /// ClickHouse refused the statement.
    #[error("ClickHouse answered with code {code}{}{}", Named(name.as_deref()), Missing(privilege.as_deref()))]
    Server {
        /// ClickHouse's error code.
        code: u32,
        /// ClickHouse's name of the code.
        name: Option<String>,
        /// Right that was missing, for code 497.
        privilege: Option<String>,
    },
    /// Something that is not ClickHouse, or a proxy before it, answered.
    #[error("the answer was HTTP status {0} without ClickHouse's error code")]
    Status(u16),
    /// The answer was too large or not in the form asked for.
    #[error("the answer could not be read")]
    Answer,
}

struct Named<'a>(Option<&'a str>);
struct Missing<'a>(Option<&'a str>);

impl std::fmt::Display for Named<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |name| write!(formatter, " ({name})"))
    }
}

impl std::fmt::Display for Missing<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |privilege| write!(formatter, ", missing right {privilege}"))
    }
}

impl Error {
    pub(crate) fn new(endpoint: &str, failure: Failure) -> Self {
        Self { endpoint: endpoint.to_owned(), failure }
    }

    /// ClickHouse's error code, when it was ClickHouse that refused.
    pub(crate) const fn code(&self) -> Option<u32> {
        match self.failure {
            Failure::Server { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Whether the statement surely did not run because no connection was made.
    pub(crate) const fn is_unconnected(&self) -> bool {
        matches!(self.failure, Failure::Connect)
    }

    /// Whether trying again alone can help.
    pub(crate) const fn is_transient(&self) -> bool {
        match self.failure {
            Failure::Connect | Failure::Timeout | Failure::Broken => true,
            Failure::Status(status) => status >= 500 || status == 429,
            Failure::Server { code, .. } => is_transient_code(code),
            Failure::NoEndpoint
            | Failure::Address
            | Failure::CaBundle
            | Failure::Login
            | Failure::Certificate
            | Failure::Answer => false,
        }
    }

    /// Reason for conditions and events.
    pub(crate) const fn reason(&self) -> Reason {
        match self.failure {
            Failure::Server { code: 192 | 193 | 194 | 516, .. } => Reason::ClickhouseAuthenticationFailed,
            Failure::Server { code: 497, .. } => Reason::ClickhousePermissionDenied,
            Failure::Server { .. } | Failure::Answer => Reason::ClickhouseError,
            Failure::NoEndpoint | Failure::Address => Reason::InvalidSpec,
            Failure::CaBundle | Failure::Login => Reason::SecretInvalid,
            Failure::Connect
            | Failure::Certificate
            | Failure::Timeout
            | Failure::Broken
            | Failure::Status(_) => Reason::ClickhouseUnreachable,
        }
    }

    /// What to do about it. Never holds a secret or the text of an answer.
    pub(crate) fn hint(&self) -> String {
        let at = &self.endpoint;
        match &self.failure {
            Failure::NoEndpoint => "set spec.clickhouse.endpoints".into(),
            Failure::Address => {
                format!(
                    "{at} is not an address that the operator connects to, or its name leads to a link-local address or to the Kubernetes API server; set spec.clickhouse.endpoints to http(s)://host:port of a ClickHouse"
                )
            }
            Failure::CaBundle => {
                "put a certificate in PEM form into the Secret that spec.clickhouse.ca names".into()
            }
            Failure::Login => {
                "the Secret's username or password holds a line break or another control character".into()
            }
            Failure::Connect => {
                format!(
                    "{at} does not accept connections; check spec.clickhouse.endpoints, the server and network policies"
                )
            }
            Failure::Certificate => {
                format!(
                    "the certificate of {at} is not trusted for that name; set spec.clickhouse.ca, or fix the certificate"
                )
            }
            Failure::Timeout | Failure::Broken => {
                format!("{at} did not finish the statement in time; check the server's load and logs")
            }
            Failure::Server { code: 192 | 193 | 194 | 516, .. } => {
                format!(
                    "{at} refused the login; check username and password in the Secret that spec.clickhouse.adminSecretRef names"
                )
            }
            Failure::Server { code: 497, privilege, .. } => match privilege {
                Some(privilege) => format!(
                    "the administrator on {at} lacks {privilege}; grant it with grant option where it is to be passed on, and where it is to be taken away, let somebody who may grant it revoke it"
                ),
                None => format!(
                    "the administrator on {at} lacks a right; compare its grants with those that the documentation lists"
                ),
            },
            Failure::Server { code, .. } => format!(
                "{at} answered with code {code}; its log shows the statement under this stack's log_comment"
            ),
            Failure::Status(status) => format!(
                "{at} answered with HTTP status {status}; it is not ClickHouse, or a proxy before it refuses"
            ),
            Failure::Answer => {
                format!("{at} answered in an unexpected form; check that it is ClickHouse 25.3 or newer")
            }
        }
    }
}

// Overload, lost connections between replicas, Keeper trouble, memory limits: they pass without anybody's help.
const fn is_transient_code(code: u32) -> bool {
    matches!(code, 159 | 202 | 203 | 209 | 210 | 236 | 241 | 242 | 252 | 279 | 319 | 394 | 425 | 999)
}

/// Reads ClickHouse's refusal: the code, its name and the missing right, and nothing else of the text.
pub(crate) fn parse_refusal(code_header: Option<&str>, body: &str) -> Option<Failure> {
    let leading = body.strip_prefix("Code: ").and_then(|rest| rest.split('.').next());
    let code: u32 = code_header.or(leading)?.trim().parse().ok()?;
    let privilege = if code == 497 { missing_privilege(body) } else { None };
    Some(Failure::Server { code, name: code_name(body), privilege })
}

// The name stands in the last parentheses before the version: "... (UNKNOWN_TABLE) (version 26.7.2.1)".
fn code_name(body: &str) -> Option<String> {
    let name = body.rsplit('(').find(|part| !part.starts_with("version") && !part.starts_with("official"))?;
    let name = name.split(')').next()?;
    let plain = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    (plain && name.len() <= 64).then(|| name.to_owned())
}

fn missing_privilege(body: &str) -> Option<String> {
    let rest = body.split("have the grant ").nth(1)?;
    let privilege = rest.split(" ON ").next()?.split('(').next()?;
    let plain =
        !privilege.is_empty() && privilege.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b' ');
    (plain && privilege.len() <= 64).then(|| privilege.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: u32, name: &str, privilege: Option<&str>) -> Failure {
        Failure::Server { code, name: Some(name.into()), privilege: privilege.map(Into::into) }
    }

    #[test]
    fn code_and_name_are_read_and_the_rest_of_the_text_is_dropped() {
        let body = "Code: 516. DB::Exception: root: Authentication failed: hunter2. (AUTHENTICATION_FAILED) (version 26.7.2.1)\n";
        assert_eq!(parse_refusal(None, body), Some(refusal(516, "AUTHENTICATION_FAILED", None)));
        assert_eq!(
            parse_refusal(Some("516"), ""),
            Some(Failure::Server { code: 516, name: None, privilege: None })
        );
        assert_eq!(parse_refusal(None, "<html>502</html>"), None);
    }

    #[test]
    fn missing_right_is_named_without_its_object() {
        let body = "Code: 497. DB::Exception: app: Not enough privileges. To execute this query, it's necessary to have the \
                    grant SELECT(secret) ON shop.t. (ACCESS_DENIED) (version 26.7.2.1)";
        assert_eq!(parse_refusal(None, body), Some(refusal(497, "ACCESS_DENIED", Some("SELECT"))));
        let body = body.replace("SELECT(secret) ON shop.t", "CREATE USER ON *.*");
        assert_eq!(parse_refusal(None, &body), Some(refusal(497, "ACCESS_DENIED", Some("CREATE USER"))));
    }

    #[test]
    fn each_failure_has_its_reason() {
        let reason = |failure| Error::new("http://db:8123", failure).reason();
        let server = |code| Failure::Server { code, name: None, privilege: None };
        for code in [192, 193, 194, 516] {
            assert_eq!(reason(server(code)), Reason::ClickhouseAuthenticationFailed);
        }
        assert_eq!(reason(server(497)), Reason::ClickhousePermissionDenied);
        assert_eq!(reason(server(60)), Reason::ClickhouseError);
        assert_eq!(reason(Failure::Timeout), Reason::ClickhouseUnreachable);
        assert_eq!(reason(Failure::CaBundle), Reason::SecretInvalid);
    }
}
