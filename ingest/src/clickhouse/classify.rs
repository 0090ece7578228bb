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

/// The login or its rights do not suffice: unknown, wrong, missing or expired login, address or database not allowed,
/// rights missing, a second factor asked for.
const AUTH: [i32; 9] = [192, 193, 194, 195, 291, 497, 516, 720, 767];

/// The server gave up while the statement ran, or does not know itself: timeouts, sockets, aborted and cancelled
/// statements, unfinished work, an error of the file system after the write, Keeper, S3, and what it has no word for.
const UNKNOWN: [i32; 22] = [
    49, 95, 96, 159, 160, 204, 209, 210, 236, 244, 319, 341, 394, 499, 659, 677, 710, 735, 999, 1000, 1001,
    1002,
];

/// Refused before anything was stored, for a reason that passes.
const TRANSIENT: [i32; 47] = [
    // Files, folders, memory, disk.
    74, 75, 76, 77, 172, 173, 241, 243, 400, 586, 641, 771, 777, 778,
    // Quota, too many queries, connections, sessions, parts or mutations, overload.
    201, 202, 203, 252, 290, 364, 574, 692, 700, 745, 749, 762, 776, // Threads and locks.
    335, 337, 384, 411, 425, 439, 473, 738,
    // Replicas, Keeper, tables that are read-only or not there yet for the moment.
    225, 242, 254, 265, 279, 285, 286, 305, 667, 695, 722, 733,
];

/// Class of an exception of ClickHouse.
pub(super) fn class_of_code(code: i32) -> Class {
    if AUTH.contains(&code) {
        Class::Auth
    } else if UNKNOWN.contains(&code) {
        Class::Unknown
    } else if TRANSIENT.contains(&code) {
        Class::Transient
    } else {
        Class::Definite
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

/// Rows were unreadable, out of range, or against a constraint: also in the expressions of materialized columns.
const DATA: [i32; 34] = [
    6, 25, 26, 27, 28, 33, 38, 41, 69, 70, 72, 117, 127, 128, 130, 131, 153, 248, 306, 321, 349, 376, 395,
    407, 441, 467, 469, 563, 621, 632, 645, 675, 676, 691,
];

/// Whether a code says that ClickHouse refused because of the rows themselves.
pub(super) fn is_data_fault(code: i32) -> bool {
    DATA.contains(&code)
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
    #[case(243, Class::Transient, false)]
    #[case(745, Class::Transient, false)]
    #[case(999, Class::Unknown, false)]
    #[case(209, Class::Unknown, false)]
    #[case(720, Class::Auth, false)]
    #[case(164, Class::Definite, false)]
    #[case(60, Class::Definite, false)]
    #[case(16, Class::Definite, false)]
    #[case(774, Class::Definite, false)]
    #[case(117, Class::Definite, true)]
    #[case(469, Class::Definite, true)]
    #[case(33, Class::Definite, true)]
    #[case(321, Class::Definite, true)]
    #[case(12345, Class::Definite, false)]
    fn codes_have_classes(#[case] code: i32, #[case] class: Class, #[case] data: bool) {
        assert_eq!((class_of_code(code), is_data_fault(code)), (class, data));
    }

    #[test]
    fn a_code_has_one_class() {
        let mut codes = [&AUTH[..], &UNKNOWN, &TRANSIENT, &DATA].concat();
        codes.sort_unstable();
        assert!(codes.windows(2).all(|pair| pair[0] != pair[1]), "{codes:?}");
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
