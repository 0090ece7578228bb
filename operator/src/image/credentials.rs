//! Logins of registries from pull secrets. Pure; nothing here is ever printed.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use serde::Deserialize;

use super::error::Failure;
use super::reference::{DOCKER_HUB, Reference};

/// Logins of several registries.
pub(super) struct Credentials(Vec<(String, Login)>);

/// User name and password for one registry.
#[derive(Clone, Debug)]
pub(super) struct Login {
    pub(super) username: String,
    pub(super) password: SecretString,
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
}

#[derive(Deserialize)]
struct Auth {
    username: Option<String>,
    password: Option<String>,
    #[serde(rename = "auth")]
    encoded: Option<String>,
}

impl Credentials {
    /// Reads the contents of `.dockerconfigjson` keys.
    pub(super) fn parse(secrets: &[Vec<u8>]) -> Result<Self, Failure> {
        let mut logins = Vec::new();
        for secret in secrets {
            let config: DockerConfig = serde_json::from_slice(secret).map_err(|_| Failure::PullSecret)?;
            for (address, auth) in config.auths {
                // An entry without a login is what `docker logout` leaves behind.
                if let Some(login) = auth.login()? {
                    logins.push((address, login));
                }
            }
        }
        Ok(Self(logins))
    }

    /// Logins for the registry of `reference`.
    pub(super) fn of(&self, reference: &Reference) -> Vec<Login> {
        let matching = self.0.iter().filter(|(address, _)| is_for(address, reference));
        matching.map(|(_, login)| login.clone()).collect()
    }
}

impl Auth {
    fn login(self) -> Result<Option<Login>, Failure> {
        match (self.username, self.password, self.encoded) {
            (Some(username), Some(password), _) => Ok(Some(Login { username, password: password.into() })),
            (_, _, Some(encoded)) => {
                let decoded = STANDARD.decode(encoded.trim()).map_err(|_| Failure::PullSecret)?;
                let text = String::from_utf8(decoded).map_err(|_| Failure::PullSecret)?;
                let (username, password) = text.split_once(':').ok_or(Failure::PullSecret)?;
                Ok(Some(Login { username: username.to_owned(), password: password.to_owned().into() }))
            }
            _ => Ok(None),
        }
    }
}

// Entries are `host[:port][/path]`, with or without a scheme; Docker's own tools append the version of the API.
fn is_for(address: &str, reference: &Reference) -> bool {
    let address = address.trim_start_matches("https://").trim_start_matches("http://");
    let (host, path) = address.split_once('/').unwrap_or((address, ""));
    let host = match host {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB,
        other => other,
    };
    let path = path.trim_end_matches('/');
    let below = || reference.repository == path || reference.repository.starts_with(&format!("{path}/"));
    host == reference.registry && (matches!(path, "" | "v1" | "v2") || below())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use secrecy::ExposeSecret as _;

    use super::*;

    fn logins(config: &str, image: &str) -> Vec<(String, String)> {
        let credentials = Credentials::parse(&[config.as_bytes().to_vec()]).unwrap();
        let of = credentials.of(&Reference::parse(image).unwrap());
        of.into_iter().map(|login| (login.username, login.password.expose_secret().to_owned())).collect()
    }

    #[rstest]
    #[case("registry.test:5000", "registry.test:5000/weir", true)]
    #[case("https://registry.test:5000/v2/", "registry.test:5000/weir", true)]
    #[case("registry.test", "registry.test:5000/weir", false)]
    #[case("https://index.docker.io/v1/", "weir", true)]
    #[case("quay.io/team", "quay.io/team/weir", true)]
    #[case("quay.io/team", "quay.io/teammate/weir", false)]
    fn an_entry_is_for_its_host_port_and_path(
        #[case] address: &str,
        #[case] image: &str,
        #[case] expected: bool,
    ) {
        let config = format!(r#"{{"auths": {{"{address}": {{"username": "u", "password": "p"}}}}}}"#);
        assert_eq!(!logins(&config, image).is_empty(), expected);
    }

    #[test]
    fn auth_holds_user_and_password_in_base64() {
        let config = format!(r#"{{"auths": {{"quay.io": {{"auth": "{}"}}}}}}"#, STANDARD.encode("robot:a:b"));
        assert_eq!(logins(&config, "quay.io/a"), [("robot".to_owned(), "a:b".to_owned())]);
    }

    #[test]
    fn what_is_no_pull_secret_is_refused() {
        for secret in ["", "7", r#"{"auths": {"quay.io": {"auth": "?"}}}"#] {
            assert_eq!(Credentials::parse(&[secret.as_bytes().to_vec()]).err(), Some(Failure::PullSecret));
        }
    }
}
