//! The `weir-ingest` program: allocator, TLS provider, arguments, exit code.

use std::process::ExitCode;

use clap::Parser as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    keep_pages_small();
    let args = weir_ingest::args::Args::parse();
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        unreachable!("nothing has installed a TLS provider before main");
    }
    weir_ingest::run::run(args)
}

/// Asks the system not to back memory by huge pages: a connection that waits with some bytes read would take five times
/// what it holds, for the rest of a page of 2 MiB is paid for as well. Where the system refuses, it takes that much.
fn keep_pages_small() {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_thp_disable(true).ok();
}
