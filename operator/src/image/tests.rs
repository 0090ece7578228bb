//! Against a real registry with TLS and a login. `cargo verify` brings one up and says where it is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

struct RegistryUnderTest {
    host: String,
    user: String,
    password: String,
    ca: Vec<u8>,
    /// `repository:tag` of an image that exists there.
    image: String,
}

fn setting(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("set {name}: image tests need the registry that `cargo verify` starts"))
}

fn registry() -> RegistryUnderTest {
    RegistryUnderTest {
        host: setting("WEIR_TEST_REGISTRY"),
        user: setting("WEIR_TEST_REGISTRY_USER"),
        password: setting("WEIR_TEST_REGISTRY_PASSWORD"),
        ca: std::fs::read(setting("WEIR_TEST_REGISTRY_CA_FILE")).unwrap(),
        image: setting("WEIR_TEST_IMAGE"),
    }
}

impl RegistryUnderTest {
    fn secret(&self, password: &str) -> Vec<u8> {
        let auth = STANDARD.encode(format!("{}:{password}", self.user));
        format!(r#"{{"auths": {{"{}": {{"auth": "{auth}"}}}}}}"#, self.host).into_bytes()
    }

    fn reference(&self) -> String {
        format!("{}/{}", self.host, self.image)
    }
}

#[tokio::test]
async fn a_tag_becomes_a_digest_and_the_digest_needs_no_registry() {
    let registry = registry();
    let secret = registry.secret(&registry.password);
    let resolved = resolve(&registry.reference(), &[secret], Some(&registry.ca)).await.unwrap();
    assert!(reference::is_digest(&resolved.digest), "{resolved}");
    assert_eq!(resolve(&resolved.to_string(), &[], None).await.unwrap(), resolved);
}

#[tokio::test]
async fn a_second_pull_secret_is_tried_after_a_refused_one() {
    let registry = registry();
    let secrets = [registry.secret("wrong"), registry.secret(&registry.password)];
    resolve(&registry.reference(), &secrets, Some(&registry.ca)).await.unwrap();
}

#[tokio::test]
async fn each_fault_has_its_reason_and_no_secret_in_its_text() {
    let registry = registry();
    let good = || vec![registry.secret(&registry.password)];
    let wrong = || vec![registry.secret("canary-password")];
    let ca = Some(registry.ca.as_slice());
    let reference = registry.reference();
    let repository = reference.rsplit_once(':').unwrap().0;
    let cases = [
        (format!("{repository}:no-such-tag"), good(), ca, Failure::NotFound),
        (format!("{}/no/such/image:1", registry.host), good(), ca, Failure::NotFound),
        (reference.clone(), vec![], ca, Failure::Authentication { with_login: false }),
        (reference.clone(), wrong(), ca, Failure::Authentication { with_login: true }),
        (reference.clone(), good(), None, Failure::Certificate),
        (reference.clone(), good(), Some(b"no PEM".as_slice()), Failure::CaBundle),
        ("127.0.0.1:1/weir:1".to_owned(), vec![], ca, Failure::Unreachable),
    ];
    for (image, secrets, ca, expected) in cases {
        let error = resolve(&image, &secrets, ca).await.unwrap_err();
        assert_eq!(error.failure, expected, "{image}");
        let texts = format!("{error} {error:?} {}", error.hint());
        assert!(!texts.contains("canary-password"), "{texts}");
        assert!(error.hint().contains(&image), "{texts}");
    }
}
