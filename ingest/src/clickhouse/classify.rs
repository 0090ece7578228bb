//! From an HTTP answer to a failure, and from a code to its class. Pure.
//!
//! A code that is not listed is definite and no fault of the data: nobody retries it in a loop, and nobody throws an
//! event away for it.

use http::HeaderMap;
use http::StatusCode;

use super::error::Class;
use super::error::Detail;
use super::error::Error;

/// Longest text of an exception that is kept.
const MAX_DETAIL_CHARS: usize = 800;

/// Separates output from an exception that came after it had begun.
const LATE_EXCEPTION: &[u8] = b"__exception__\r\n";

/// The failure that an answer stands for, if it is one.
pub(super) fn failure(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Error> {
    let header = headers.get("x-clickhouse-exception-code");
    let from_header = header.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    if status.is_success() && from_header.is_none() {
        let late = body.windows(LATE_EXCEPTION.len()).position(|window| window == LATE_EXCEPTION)?;
        let text = String::from_utf8_lossy(&body[late + LATE_EXCEPTION.len()..]);
        return code_in(&text).map(|code| refused(code, &text));
    }
    let text = String::from_utf8_lossy(body);
    match from_header.or_else(|| code_in(&text)) {
        Some(code) => Some(refused(code, &text)),
        None => Some(Error::Status(status.as_u16())),
    }
}

fn refused(code: i32, text: &str) -> Error {
    let detail = text.trim().chars().take(MAX_DETAIL_CHARS).collect();
    Error::Refused { code, name: name_in(text).to_owned(), detail: Detail(detail) }
}

/// The number in `Code: 60. DB::Exception: ...`.
fn code_in(text: &str) -> Option<i32> {
    let (_, rest) = text.split_once("Code: ")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

/// The name in `... (UNKNOWN_TABLE) (version ...)`.
fn name_in(text: &str) -> &str {
    let is_name = |part: &&str| {
        part.contains('_') && part.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    };
    text.rsplit(['(', ')']).find(is_name).unwrap_or("without a name")
}

/// Class of an exception of ClickHouse.
pub(super) fn class_of_code(code: i32) -> Class {
    match code {
        // Unknown, wrong or missing login, address not allowed, rights missing.
        192..=195 | 497 | 516 => Class::Auth,
        // The server gave up while the statement ran: timeout, socket timeout, aborted, unknown status, cancelled.
        159 | 209 | 236 | 319 | 394 => Class::Unknown,
        // Files and disk; quota, too many queries or parts, memory, threads, locks; network, replicas, Keeper, tables
        // that are read-only for the moment.
        74..=76
        | 243
        | 425
        | 201..=203
        | 241
        | 252
        | 439
        | 473
        | 210
        | 225
        | 242
        | 279
        | 285
        | 286
        | 305
        | 999
        | 1000 => Class::Transient,
        _ => Class::Definite,
    }
}

/// Class of an answer without an exception code.
pub(super) fn class_of_status(status: u16) -> Class {
    match status {
        401 | 403 | 407 => Class::Auth,
        408 | 429 | 503 => Class::Transient,
        // A gateway may have passed the call on before it failed.
        500.. => Class::Unknown,
        _ => Class::Definite,
    }
}

/// Whether a code says that rows were unreadable or out of range.
pub(super) fn is_data_fault(code: i32) -> bool {
    matches!(
        code,
        6 | 25
            ..=28
                | 33
                | 38
                | 41
                | 69
                | 70
                | 72
                | 117
                | 128
                | 131
                | 321
                | 349
                | 376
                | 407
                | 467
                | 469
                | 675
                | 676
                | 691
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use rstest::rstest;

    const MISSING: &str =
        "Code: 60. DB::Exception: Table d.secret_name does not exist. (UNKNOWN_TABLE) (version 26.7)";

    #[test]
    fn an_exception_shows_code_and_name_and_withholds_the_rest() {
        let error = failure(StatusCode::NOT_FOUND, &HeaderMap::new(), MISSING.as_bytes()).unwrap();
        assert_eq!(error.to_string(), "ClickHouse refused with code 60 (UNKNOWN_TABLE)");
        assert!(!format!("{error:?}").contains("secret_name"));
        assert!(error.detail().unwrap().contains("secret_name"));
    }

    #[test]
    fn the_code_in_the_header_wins_over_the_status() {
        let mut headers = HeaderMap::new();
        headers.insert("x-clickhouse-exception-code", HeaderValue::from_static("241"));
        assert_eq!(failure(StatusCode::OK, &headers, b"").unwrap().code(), Some(241));
    }

    #[test]
    fn output_that_only_mentions_a_code_is_no_failure() {
        assert!(failure(StatusCode::OK, &HeaderMap::new(), MISSING.as_bytes()).is_none());
        let late = format!("1\n2\n\r\n__exception__\r\nabcd\r\n{MISSING}\n97 abcd\r\n__exception__\r\n");
        assert_eq!(failure(StatusCode::OK, &HeaderMap::new(), late.as_bytes()).unwrap().code(), Some(60));
    }

    #[rstest]
    #[case(516, Class::Auth, false)]
    #[case(497, Class::Auth, false)]
    #[case(241, Class::Transient, false)]
    #[case(252, Class::Transient, false)]
    #[case(242, Class::Transient, false)]
    #[case(159, Class::Unknown, false)]
    #[case(319, Class::Unknown, false)]
    #[case(60, Class::Definite, false)]
    #[case(33, Class::Definite, true)]
    #[case(321, Class::Definite, true)]
    #[case(12345, Class::Definite, false)]
    fn codes_have_classes(#[case] code: i32, #[case] class: Class, #[case] data: bool) {
        assert_eq!((class_of_code(code), is_data_fault(code)), (class, data));
    }

    #[rstest]
    #[case(403, Class::Auth)]
    #[case(503, Class::Transient)]
    #[case(502, Class::Unknown)]
    #[case(504, Class::Unknown)]
    #[case(404, Class::Definite)]
    fn answers_of_proxies_have_classes(#[case] status: u16, #[case] class: Class) {
        assert_eq!(class_of_status(status), class);
    }
}
