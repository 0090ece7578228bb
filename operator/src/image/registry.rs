//! The one question to a registry: which digest does a tag have?

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use secrecy::ExposeSecret;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::credentials::Login;
use super::error::Failure;
use super::reference::{DOCKER_HUB, Reference, is_digest};
use crate::dialer::{Barred, Dialer};
use crate::tls;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(15);
/// Registries refuse larger manifests themselves.
const MAX_MANIFEST_BYTES: usize = 4 << 20;

/// The index comes first: its digest runs on every architecture.
const MANIFESTS: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// One repository of one registry, over https.
pub(super) struct Registry {
    client: Client<HttpsConnector<Dialer>, Empty<Bytes>>,
    host: String,
    repository: String,
}

/// How a registry asks for a login.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer { realm: Url, service: Option<String> },
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Registry {
    pub(super) fn new(reference: &Reference, ca_pem: Option<&[u8]>) -> Result<Self, Failure> {
        let connector =
            tls::connector(ca_pem, CONNECT_TIMEOUT, Barred::default()).map_err(|_| Failure::CaBundle)?;
        let host =
            if reference.registry == DOCKER_HUB { "registry-1.docker.io" } else { &reference.registry };
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client, host: host.to_owned(), repository: reference.repository.clone() })
    }

    /// Asks with each login in turn, or as nobody when there is none.
    pub(super) async fn fetch_digest(&self, tag: &str, logins: &[Login]) -> Result<String, Failure> {
        let attempts = async {
            let mut refused = Failure::Authentication { with_login: false };
            let logins: Vec<_> =
                if logins.is_empty() { vec![None] } else { logins.iter().map(Some).collect() };
            for login in logins {
                match self.fetch_digest_as(tag, login).await {
                    Err(failure @ Failure::Authentication { .. }) => refused = failure,
                    other => return other,
                }
            }
            Err(refused)
        };
        tokio::time::timeout(TIMEOUT, attempts).await.unwrap_or(Err(Failure::Unreachable))
    }

    async fn fetch_digest_as(&self, tag: &str, login: Option<&Login>) -> Result<String, Failure> {
        let url = format!("https://{}/v2/{}/manifests/{tag}", self.host, self.repository);
        let url = Url::parse(&url).map_err(|_| Failure::Reference)?;
        if tls::is_refused_host(&url.host().ok_or(Failure::Reference)?) {
            return Err(Failure::Reference);
        }
        let mut head = self.send(Method::HEAD, &url, None).await?;
        let mut authorization = None;
        if head.status() == StatusCode::UNAUTHORIZED {
            authorization = self.authorize(&head, login).await?;
            head = self.send(Method::HEAD, &url, authorization.as_ref()).await?;
        }
        check_status(head.status(), login.is_some())?;
        check_media_type(&head)?;
        match head.headers().get("docker-content-digest").and_then(|digest| digest.to_str().ok()) {
            Some(digest) if is_digest(digest) => Ok(digest.to_owned()),
            Some(_) => Err(Failure::Answer),
            None => self.hash_manifest(&url, authorization.as_ref(), login.is_some()).await,
        }
    }

    // The digest header is optional in the protocol; the digest is that of the bytes.
    async fn hash_manifest(
        &self,
        url: &Url,
        authorization: Option<&HeaderValue>,
        with_login: bool,
    ) -> Result<String, Failure> {
        let response = self.send(Method::GET, url, authorization).await?;
        check_status(response.status(), with_login)?;
        check_media_type(&response)?;
        let body = read(response).await?;
        Ok(format!("sha256:{}", hex::encode(Sha256::digest(&body))))
    }

    async fn authorize(
        &self,
        refusal: &Response<hyper::body::Incoming>,
        login: Option<&Login>,
    ) -> Result<Option<HeaderValue>, Failure> {
        let refused = Failure::Authentication { with_login: login.is_some() };
        let mut challenges =
            refusal.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let challenge = challenges.find_map(parse_challenge).ok_or_else(|| refused.clone())?;
        match (challenge, login) {
            (Challenge::Basic, None) => Err(refused),
            (Challenge::Basic, Some(login)) => basic(login).map(Some),
            (Challenge::Bearer { realm, service }, login) => {
                self.fetch_token(realm, service, login).await.map(Some)
            }
        }
    }

    async fn fetch_token(
        &self,
        mut realm: Url,
        service: Option<String>,
        login: Option<&Login>,
    ) -> Result<HeaderValue, Failure> {
        if let Some(service) = service {
            realm.query_pairs_mut().append_pair("service", &service);
        }
        realm.query_pairs_mut().append_pair("scope", &format!("repository:{}:pull", self.repository));
        let authorization = login.map(basic).transpose()?;
        let response = self.send(Method::GET, &realm, authorization.as_ref()).await?;
        check_status(response.status(), login.is_some())?;
        let Token { token, access_token } =
            serde_json::from_slice(&read(response).await?).map_err(|_| Failure::Answer)?;
        let token = token.or(access_token).ok_or(Failure::Answer)?;
        sensitive(&format!("Bearer {token}"))
    }

    async fn send(
        &self,
        method: Method,
        url: &Url,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response<hyper::body::Incoming>, Failure> {
        let mut request = http::Request::builder()
            .method(method)
            .uri(url.as_str())
            .header("user-agent", concat!("weir-operator/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, MANIFESTS.join(", "));
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Empty::new()).map_err(|_| Failure::Reference)?;
        self.client.request(request).await.map_err(|error| {
            if tls::is_barred(&error) {
                Failure::Reference
            } else if tls::is_certificate_error(&error) {
                Failure::Certificate
            } else {
                Failure::Unreachable
            }
        })
    }
}

fn check_status(status: StatusCode, with_login: bool) -> Result<(), Failure> {
    match status.as_u16() {
        200 => Ok(()),
        401 | 403 => Err(Failure::Authentication { with_login }),
        404 => Err(Failure::NotFound),
        status @ (429 | 500..=599) => Err(Failure::Status(status)),
        _ => Err(Failure::Answer),
    }
}

fn check_media_type(response: &Response<hyper::body::Incoming>) -> Result<(), Failure> {
    let value =
        response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim();
    if MANIFESTS.contains(&media_type) { Ok(()) } else { Err(Failure::Answer) }
}

async fn read(response: Response<hyper::body::Incoming>) -> Result<Bytes, Failure> {
    let body = Limited::new(response.into_body(), MAX_MANIFEST_BYTES).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|_| Failure::Answer)
}

fn basic(login: &Login) -> Result<HeaderValue, Failure> {
    let pair = STANDARD.encode(format!("{}:{}", login.username, login.password.expose_secret()));
    sensitive(&format!("Basic {pair}"))
}

fn sensitive(value: &str) -> Result<HeaderValue, Failure> {
    let mut header = HeaderValue::from_str(value).map_err(|_| Failure::PullSecret)?;
    header.set_sensitive(true);
    Ok(header)
}

// The realm receives the login, so it must be https and must not be an address of the node.
fn parse_challenge(value: &str) -> Option<Challenge> {
    let (scheme, rest) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let realm = Url::parse(parameter(rest, "realm")?).ok()?;
    let allowed = realm.scheme() == "https" && !tls::is_refused_host(&realm.host()?);
    allowed.then(|| Challenge::Bearer { realm, service: parameter(rest, "service").map(str::to_owned) })
}

fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = parameters;
    while let Some((key, value)) = rest.split_once("=\"") {
        let (value, after) = value.split_once('"')?;
        if key.trim_start_matches([',', ' ']).eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_challenge_are_read() {
        assert_eq!(parse_challenge("Basic realm=\"weir\""), Some(Challenge::Basic));
        let bearer = parse_challenge(
            "Bearer realm=\"https://auth.test/token\",service=\"registry.test\",scope=\"a,b\"",
        );
        let realm = Url::parse("https://auth.test/token").unwrap();
        assert_eq!(bearer, Some(Challenge::Bearer { realm, service: Some("registry.test".into()) }));
    }

    #[test]
    fn a_realm_that_must_not_see_a_login_is_refused() {
        for realm in ["http://auth.test/token", "https://169.254.169.254/", "not a url"] {
            assert_eq!(parse_challenge(&format!("Bearer realm=\"{realm}\"")), None);
        }
    }
}
