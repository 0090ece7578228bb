//! Values of others: what is taken and what is said of the rest.

use k8s_openapi::ByteString;
use rstest::rstest;
use weir_crds::KeyType;

use super::*;
use crate::controller::credential::{State, Use, Value};
use crate::controller::rotation::Cause;

/// As long as a value must be.
const GOOD: &str = "phc_0123456789abcdefghij";

fn reference() -> SecretKeyReference {
    SecretKeyReference { name: "owners".into(), key: "token".into() }
}

fn secret(value: &[u8]) -> Secret {
    let mut secret = Secret::default();
    secret.labels_mut().insert(CREDENTIAL_LABEL.into(), "true".into());
    secret.data = Some([("token".to_owned(), ByteString(value.to_vec()))].into());
    secret
}

fn read_as(is_key: bool, secret: Option<&Secret>) -> Result<String, Fault> {
    let reference = reference();
    let field = key_field("web");
    let wanted = Wanted { credential: key_name("web"), field, reference: &reference, is_key };
    read(&wanted, secret).map(|value| value.expose_secret().to_owned())
}

#[test]
fn a_value_of_24_characters_is_taken_as_it_is() {
    assert_eq!(GOOD.len(), MIN_LENGTH);
    assert_eq!(read_as(true, Some(&secret(GOOD.as_bytes()))).as_deref(), Ok(GOOD));
    let longest = "x".repeat(MAX_LENGTH);
    assert_eq!(read_as(false, Some(&secret(longest.as_bytes()))), Ok(longest));
}

#[rstest]
#[case::short(b"0123456789abcdefghijklm", "fewer than 24 characters")]
#[case::empty(b"", "fewer than 24 characters")]
#[case::line_break(b"0123456789abcdefghijklmn\n", "ends with a line break")]
#[case::line_break_of_windows(b"0123456789abcdefghijklmn\r\n", "ends with a line break")]
#[case::space(b"0123456789abcdef ghijklmn", "holds a space")]
#[case::no_ascii("0123456789abcdefghijklm\u{e9}".as_bytes(), "outside of ASCII")]
#[case::no_text(b"0123456789abcdefghijklmn\xff", "outside of ASCII")]
#[case::long(&[b'x'; MAX_LENGTH + 1], "more than 256 characters")]
#[case::personal(b"phx_0123456789abcdefghijkl", "begins with phx_")]
fn what_cannot_be_used_is_named_with_its_field_and_without_its_value(
    #[case] value: &[u8],
    #[case] problem: &str,
) {
    let fault = read_as(true, Some(&secret(value))).unwrap_err();
    assert_eq!((fault.object.as_str(), fault.reason), ("Secret/owners", Reason::SecretInvalid));
    let hint = &fault.hint;
    assert!(hint.contains(problem) && hint.contains("token") && hint.contains("spec.keys[web].valueFrom"));
    assert!(value.len() < 8 || !hint.contains("0123456789"), "{hint}");
}

#[test]
fn a_secret_must_be_there_hold_the_key_and_say_that_it_may_be_used() {
    let missing = read_as(true, None).unwrap_err();
    assert_eq!(missing.reason, Reason::SecretNotFound);
    assert!(missing.hint.contains("spec.keys[web].valueFrom") && missing.hint.contains(CREDENTIAL_LABEL));
    let mut closed = secret(GOOD.as_bytes());
    closed.labels_mut().clear();
    let closed = read_as(true, Some(&closed)).unwrap_err();
    assert!(closed.reason == Reason::SecretInvalid && closed.hint.contains(CREDENTIAL_LABEL));
    let mut keyless = secret(GOOD.as_bytes());
    keyless.data = None;
    assert!(read_as(true, Some(&keyless)).unwrap_err().hint.contains("it has no key token"));
}

fn credential(name: &str, has: Option<&str>, takes: &str) -> Credential {
    let value = |text: &str| Value::first(1, text.to_owned().into());
    let supply =
        Supply { reference: reference(), field: key_field(name), value: Ok(takes.to_owned().into()) };
    Credential {
        purpose: Use::Key(name.into(), KeyType::Secret),
        name: key_name(name),
        pending: format!("store-key-{name}-g1"),
        published: format!("store-key-{name}"),
        live: None,
        state: has.map_or(State::Missing { generation: 1 }, |text| State::Pending(value(text))),
        older: Vec::new(),
        next: 2,
        source: Source::Supplied(supply),
    }
}

#[test]
fn a_value_serves_the_credential_that_had_it_first_and_no_other() {
    let refused = |mut credentials: Vec<Credential>| {
        refuse_shared(&mut credentials);
        let refused = credentials.iter().filter(|credential| credential.supplied().is_none());
        refused.map(|credential| credential.name.clone()).collect::<Vec<_>>()
    };
    let [a, b] = [("a", "same"), ("b", "same")].map(|(name, takes)| credential(name, None, takes));
    assert_eq!(refused(vec![a.clone(), b.clone()]), ["key-b"]);
    let had = credential("b", Some("same"), "same");
    assert_eq!(refused(vec![a.clone(), had]), ["key-a"]);
    let turned = credential("b", Some("same"), "other");
    assert_eq!(refused(vec![a, turned]), ["key-a"], "it is still in use");
    assert_eq!(refused(vec![credential("a", None, "one"), credential("b", None, "two")]), [""; 0]);
}

#[test]
fn what_a_revocation_refuses_survives_in_a_secret_and_shows_nothing() {
    let mut revoked = credential("web", Some("current value"), "current value");
    assert!(!Refused::of(&revoked).holds(&"current value".to_owned().into()), "consumers never had it");
    revoked.live = Some(1);
    let refused = Refused::of(&revoked);
    let [current, other] = ["current value", "other"].map(|text| SecretString::from(text.to_owned()));
    assert!(refused.holds(&current) && !refused.holds(&other));
    let again = Refused::parse(&refused.text());
    assert_eq!(again, refused);
    assert_eq!(format!("{again:?}"), "Refused(1)");
    let cause = Cause::Revoke("INC-8".into());
    let barrier = Value { cause, origin: Origin::Barrier(refused), ..Value::first(2, other) };
    (revoked.state, revoked.live) = (State::Pending(barrier), None);
    assert!(Refused::of(&revoked).holds(&current), "a second revocation forgets nothing");
}
