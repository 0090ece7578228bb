//! Writes the CRD manifests: beside this crate's `Cargo.toml`, and as a template of the chart `weir-crds`.

use std::{fs, path::Path, process::ExitCode};

fn main() -> ExitCode {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let written = weir_crds::manifests().map_err(|error| error.to_string()).and_then(|manifests| {
        manifests.into_iter().try_for_each(|(path, yaml)| {
            fs::write(crate_folder.join(path), yaml).map_err(|error| format!("{path}: {error}"))
        })
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed to write a manifest: {error}");
            ExitCode::FAILURE
        }
    }
}
