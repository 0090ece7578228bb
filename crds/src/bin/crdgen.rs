//! Writes the CRD manifests beside this crate's `Cargo.toml`.

use std::{fs, path::Path, process::ExitCode};

fn main() -> ExitCode {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("analyticsstacks.yaml");
    let written = weir_crds::render_yaml(&weir_crds::analytics_stack_crd())
        .map_err(|error| error.to_string())
        .and_then(|yaml| fs::write(&path, yaml).map_err(|error| error.to_string()));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed to write {}: {error}", path.display());
            ExitCode::FAILURE
        }
    }
}
