//! The process that carries the engine: it loads the library and gives it the arguments of clickhouse-local.
//!
//! A process of its own, because the engine can abort and cannot be started twice in one.

use std::{
    ffi::{CString, c_char, c_int, c_void},
    io::Read as _,
    path::Path,
    process::ExitCode,
};

use anyhow::Context as _;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// The library's entry: argc and argv of clickhouse-local; returns when the last query ends.
type Entry = unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut c_void;

/// The head of what the entry returns; the fields behind are not read.
#[repr(C)]
struct Outcome {
    buffer: *mut c_char,
    length: usize,
    vector: *mut c_void,
    elapsed: f64,
    rows: u64,
    bytes: u64,
    error: *mut c_char,
}

/// Runs the engine in this process until it ends, or until the parent that holds the standard input is gone.
pub(crate) fn run(library: &Path, arguments: &[String]) -> anyhow::Result<ExitCode> {
    std::thread::spawn(end_with_parent);
    let arguments = std::iter::once("clickhouse").chain(arguments.iter().map(String::as_str));
    let arguments = arguments.map(CString::new).collect::<Result<Vec<_>, _>>()?;
    let mut pointers: Vec<_> = arguments.iter().map(|argument| argument.as_ptr().cast_mut()).collect();
    let count = c_int::try_from(pointers.len())?;
    pointers.push(std::ptr::null_mut());
    let error = call(library, count, &mut pointers)?;
    anyhow::bail!("the engine ended: {error}")
}

#[expect(unsafe_code, reason = "the engine is a C library; there is no other way to run it on this machine")]
fn call(library: &Path, count: c_int, pointers: &mut [*mut c_char]) -> anyhow::Result<String> {
    // SAFETY: the pinned library exports this symbol with this signature; the pointers outlive the call and end in a
    // null, and the returned value starts with the fields of `Outcome` or is null.
    unsafe {
        let library = libloading::Library::new(library).context("failed to load the engine")?;
        let entry =
            library.get::<Entry>(b"query_stable_v2\0").context("failed to find the engine's entry")?;
        let outcome = entry(count, pointers.as_mut_ptr()).cast::<Outcome>().as_ref();
        let error = outcome.filter(|outcome| !outcome.error.is_null());
        let text =
            error.map(|outcome| std::ffi::CStr::from_ptr(outcome.error).to_string_lossy().into_owned());
        Ok(text.unwrap_or_else(|| "its last query is over".to_owned()))
    }
}

/// The parent never writes to the pipe; its end is the parent's end, however it came.
fn end_with_parent() {
    drop(std::io::stdin().read(&mut [0]));
    // Not an exit: the library's own clean-up can hang, and everything acknowledged is on disk.
    kill(Pid::this(), Signal::SIGKILL).expect("a process may end itself");
}
