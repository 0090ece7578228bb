//! The `weir-ingest` program: allocator, TLS provider, arguments, exit code.

use std::process::ExitCode;

use clap::Parser as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = weir_ingest::args::Args::parse();
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        unreachable!("nothing has installed a TLS provider before main");
    }
    weir_ingest::run::run(args)
}
